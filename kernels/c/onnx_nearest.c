/* "Nearest": a stage of residual search. Of rows [N, D] the codes [N] under a codebook [K, D], as sums in 64 bits would choose them,
   and what they leave of the rows; `bias` [K] is minus half of the codes' squared norms. "...Half" of codebooks in 16 bits. */
#include "onnx.h"
#include "search.h"

#ifdef TONEME_AVX2
#include <stdlib.h>

enum { ROWS, CODEBOOK, BIAS, INPUTS, LANES = 16, IN_CACHE = 1 << 16 }; /* numbers of the rows that are searched at once */

typedef struct {
    const Function *table;
    float *codebook, *half_norms, slope, offset;
    size_t codes, width;
} Stage;

static const int FULL[INPUTS] = {FLOATS, FLOATS, FLOATS}, HALF[INPUTS] = {FLOATS, HALVES, FLOATS}, OUTPUTS[] = {INTEGERS, FLOATS};

static void destroy(void *kernel) {
    Stage *stage = kernel;
    free(stage->codebook);
    free(stage->half_norms);
    free(stage);
}

__attribute__((target("avx2,fma,f16c"))) static void widen(const uint16_t *from, size_t count, float *to) {
    for (size_t i = 0; i < count; i++) to[i] = _cvtsh_ss(from[i]);
}

static int copy(Stage *stage, const Tensor *codebook, int half, const Tensor *bias) {
    size_t count = stage->codes * stage->width;
    stage->codebook = malloc(count * sizeof(float) + 1), stage->half_norms = malloc(stage->codes * sizeof(float) + 1);
    if (!stage->codebook || !stage->half_norms) return 0;
    if (half) widen(codebook->data, count, stage->codebook);
    for (size_t i = 0; !half && i < count; i++) stage->codebook[i] = ((const float *)codebook->data)[i];
    for (size_t i = 0; i < stage->codes; i++) stage->half_norms[i] = -((const float *)bias->data)[i];
    return 1;
}

static void *create(const Operator *o, const Function *table, const void *info, void **kernel) {
    Tensor codebook, bias;
    Stage read = {.table = table};
    void *wrong;
    if ((wrong = toneme_constant(table, info, CODEBOOK, &codebook)) || (wrong = toneme_constant(table, info, BIAS, &bias)) ||
        (wrong = TABLE(FLOAT_ATTRIBUTE, FloatAttribute)(info, "slope", &read.slope)) ||
        (wrong = TABLE(FLOAT_ATTRIBUTE, FloatAttribute)(info, "offset", &read.offset)))
        return wrong;
    if (codebook.rank != 2 || !toneme_rows_are(&bias, codebook.sizes[0])) return toneme_wrong(table, "a codebook that does not fit");
    read.codes = codebook.sizes[0], read.width = codebook.sizes[1];
    Stage *stage = malloc(sizeof *stage);
    if (!stage) return toneme_wrong(table, "no memory for a codebook");
    *stage = read;
    if (!copy(stage, &codebook, ((const Kind *)o)->types[CODEBOOK] == HALVES, &bias))
        return destroy(stage), toneme_wrong(table, "no memory for a codebook");
    *kernel = stage;
    return NULL;
}

static void *search(const Stage *s, const float *x, size_t rows, int64_t *codes, float *rest) {
    size_t most = IN_CACHE / (s->width + 1) / LANES * LANES + LANES, size = rows < most ? rows : most;
    void *work = malloc(toneme_search_bytes(size, (int)s->width, 1) + 1);
    if (!work) return toneme_wrong(s->table, "no memory for a search");
    if (rows)
        toneme_search(x, rows, size, 1, (int)s->codes, (int)s->width, s->codebook, s->half_norms, &s->slope, &s->offset, 0.5, codes,
                      rows, NULL, work, 1);
    free(work);
    for (size_t row = 0; row < rows; row++) {
        const float *code = s->codebook + codes[row] * s->width;
        for (size_t d = 0; d < s->width; d++) rest[row * s->width + d] = x[row * s->width + d] - code[d];
    }
    return NULL;
}

static void *compute(void *kernel, void *context) {
    const Stage *stage = kernel;
    const Function *table = stage->table;
    Tensor x, codes, rest;
    void *wrong = toneme_input(table, context, ROWS, &x);
    if (wrong) return wrong;
    if (x.rank != 2 || (size_t)x.sizes[1] != stage->width) return toneme_wrong(table, "rows that do not fit a codebook");
    codes = (Tensor){.sizes = {x.sizes[0]}, .rank = 1}, rest = x;
    if ((wrong = toneme_output(table, context, 0, &codes)) || (wrong = toneme_output(table, context, 1, &rest))) return wrong;
    return search(stage, x.data, x.sizes[0], codes.data, rest.data);
}

const Kind TONEME_NEAREST[2] = {
    KIND("Nearest", FULL, OUTPUTS, create, compute, destroy),
    KIND("NearestHalf", HALF, OUTPUTS, create, compute, destroy),
};
#endif
