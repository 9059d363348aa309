/* "Elu" of any shape. */
#include "elu.h"
#include "onnx.h"

#ifdef TONEME_AVX2
enum { PIECE = 1 << 14 }; /* numbers that a thread takes at once */

typedef struct {
    const float *x;
    float *y;
    size_t count;
} Job;

static const int INPUTS[] = {FLOATS}, GIVES[1] = {FLOATS};

static void do_part(void *job, size_t part) {
    const Job *j = job;
    size_t at = part * PIECE, count = j->count - at < PIECE ? j->count - at : PIECE;
    toneme_elu(j->x + at, j->y + at, 1, count, count, count);
}

static void *compute(void *kernel, void *context) {
    const Function *table = kernel;
    Tensor x, y;
    void *wrong = toneme_input(table, context, 0, &x);
    if (wrong) return wrong;
    y = x;
    if ((wrong = toneme_output(table, context, 0, &y))) return wrong;
    Job job = {x.data, y.data, toneme_elements(&x)};
    size_t parts = (job.count + PIECE - 1) / PIECE;
    if (parts > 1) return TABLE(SHARE, Share)(context, do_part, parts, 0, &job);
    if (parts) do_part(&job, 0);
    return NULL;
}

const Kind TONEME_ELU[1] = {KIND("Elu", INPUTS, GIVES, toneme_bare, compute, toneme_nothing)};
#endif
