/* Rows times a matrix in panels, of few rows as in a stream's step or of many. What is in 16 bits is widened in registers: a step
   of a stream is over as soon as its weights are read, and takes half of the time to read them. It is the only difference from
   product.c, whose sums take more forms than these. */
#include "linear.h"
#include "product.h"

#ifdef TONEME_AVX2

enum { HEIGHT = 6, PANEL = 16, AHEAD = 512 }; /* bytes */
enum { IN_CACHE = 1 << 13, LEAST_ROWS = 48, DEPTH = 1024 }; /* numbers of the rows that a panel meets at once, and of each of them */

#define WIDE __attribute__((target("avx2,fma,f16c")))
#define TILE WIDE static inline __attribute__((always_inline))

TILE void leave(const Linear *l, size_t row, size_t column, __m256 low, __m256 high) {
    float *y = l->y + row * l->outputs + column, rest[PANEL];
    if (column + PANEL <= l->outputs) {
        _mm256_storeu_ps(y, low);
        _mm256_storeu_ps(y + 8, high);
        return;
    }
    _mm256_storeu_ps(rest, low);
    _mm256_storeu_ps(rest + 8, high);
    for (size_t i = 0; i < l->outputs - column; i++) y[i] = rest[i];
}

/* `height` rows times the panel of columns from `column` on. */
TILE void tile(const Linear *l, const uint16_t *panel, size_t row, const int height, size_t column) {
    const float *x = l->x + row * l->inputs;
    __m256 sum[HEIGHT][2], start[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    if (l->bias) {
        float bias[PANEL];
        for (size_t i = 0; i < PANEL; i++) bias[i] = column + i < l->outputs ? l->bias[column + i] : 0;
        start[0] = _mm256_loadu_ps(bias);
        start[1] = _mm256_loadu_ps(bias + 8);
    }
#pragma GCC unroll 6
    for (int r = 0; r < height; r++) sum[r][0] = start[0], sum[r][1] = start[1];
#pragma GCC unroll 4
    for (size_t k = 0; k < l->inputs; k++) {
        const __m128i *eight = (const __m128i *)(panel + PANEL * k);
        __m256 low = _mm256_cvtph_ps(_mm_loadu_si128(eight)), high = _mm256_cvtph_ps(_mm_loadu_si128(eight + 1));
        _mm_prefetch((const char *)eight + AHEAD, _MM_HINT_T0);
#pragma GCC unroll 6
        for (int r = 0; r < height; r++) {
            __m256 value = _mm256_broadcast_ss(x + r * l->inputs + k);
            sum[r][0] = _mm256_fmadd_ps(value, low, sum[r][0]);
            sum[r][1] = _mm256_fmadd_ps(value, high, sum[r][1]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < height; r++) leave(l, row + r, column, sum[r][0], sum[r][1]);
}

WIDE static void halves(const Linear *l, size_t from, size_t to, size_t number) {
    const uint16_t *panel = (const uint16_t *)l->panels + number * PANEL * l->inputs;
    size_t row = from, column = number * PANEL;
    for (; row + HEIGHT <= to; row += HEIGHT) tile(l, panel, row, HEIGHT, column);
    switch (to - row) {
    case 5: tile(l, panel, row, 5, column); break;
    case 4: tile(l, panel, row, 4, column); break;
    case 3: tile(l, panel, row, 3, column); break;
    case 2: tile(l, panel, row, 2, column); break;
    case 1: tile(l, panel, row, 1, column); break;
    }
}

/* Panels in 32 bits are those of toneme_multiply, of which so much at a time is taken as stays near the processor. */
static void floats(const Linear *l, size_t row, size_t rows, size_t from, size_t to) {
    size_t step = l->x_step ? l->x_step : l->inputs;
    size_t end = to * PANEL < l->outputs ? to * PANEL : l->outputs, depth;
    for (size_t column = from * PANEL; column < end; column += PANEL) {
        float *y = l->y + row * l->outputs + column;
        for (size_t k = 0; k < l->inputs; k += depth) {
            depth = l->inputs - k < DEPTH ? l->inputs - k : DEPTH;
            Product p = {.source = {{l->x + row * step + k, step, depth}}, .sources = 1, .depth = depth};
            p.columns = end - column < PANEL ? end - column : PANEL;
            p.panels = (const float *)l->panels + column * l->inputs + k * PANEL;
            if (k) p.onto = y;
            else if (l->onto) p.onto = l->onto + row * l->outputs + column;
            if (!k && l->bias) p.bias = l->bias + column;
            p.out = y, p.out_step = p.onto_step = l->outputs;
            toneme_multiply(&p, rows);
        }
    }
}

/* Sixteen columns of a matrix to each panel; its numbers lie `down` apart in a column and `across` in a row. */
#define PACK(type)                                                                                                                \
    do {                                                                                                                          \
        const type *from = matrix;                                                                                                \
        type *to = panels;                                                                                                        \
        for (size_t column = 0; column < s->outputs; column += PANEL)                                                             \
            for (size_t k = 0; k < s->inputs; k++, to += PANEL)                                                                   \
                for (size_t i = 0; i < PANEL; i++)                                                                                \
                    to[i] = column + i < s->outputs ? from[k * down + (column + i) * across] : 0;                                 \
    } while (0)

void toneme_pack(const void *matrix, int turned, const Linear *s, void *panels) {
    size_t down = turned ? 1 : s->outputs, across = turned ? s->inputs : 1;
    if (s->half) PACK(uint16_t);
    else PACK(float);
}

static void block(const Linear *l, size_t row, size_t end, size_t from, size_t to) {
    if (l->half)
        for (size_t number = from; number < to; number++) halves(l, row, end, number);
    else if (from < to) floats(l, row, end - row, from, to);
}

static void blocks(const Linear *l, size_t row, size_t end, size_t from, size_t to) {
    size_t size = IN_CACHE / (l->inputs + 1) / HEIGHT * HEIGHT;
    if (size < LEAST_ROWS) size = LEAST_ROWS;
    for (; row < end; row += size) block(l, row, row + size < end ? row + size : end, from, to);
}

void toneme_linear_panels(const Linear *l, size_t from, size_t to) { blocks(l, 0, l->rows, from, to); }

void toneme_linear_rows(const Linear *l, size_t from, size_t to) { blocks(l, from, to, 0, toneme_panels(l->outputs)); }
#endif
