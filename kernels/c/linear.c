/* Rows times a matrix in panels, of few rows as in a stream's step or of many. What is in 16 bits is widened in registers: a step
   of a stream is over as soon as its weights are read, and takes half of the time to read them. */
#include "linear.h"
#include "rows.h"

#ifdef TONEME_AVX2

enum { HEIGHT = 6, PANEL = 16, AHEAD = 512 }; /* bytes */
enum { IN_CACHE = 1 << 16 };                   /* numbers of the rows that a panel meets at once */

#define WIDE __attribute__((target("avx2,fma,f16c")))
#define TILE WIDE static inline __attribute__((always_inline))

TILE __m256 weights(const void *panel, size_t at, const int half) {
    if (half) return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)((const uint16_t *)panel + at)));
    return _mm256_loadu_ps((const float *)panel + at);
}

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
TILE void tile(const Linear *l, const void *panel, size_t row, const int height, size_t column, const int half) {
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
    for (size_t k = 0; k < l->inputs; k++) {
        __m256 low = weights(panel, PANEL * k, half), high = weights(panel, PANEL * k + 8, half);
        _mm_prefetch((const char *)panel + PANEL * k * (half ? 2 : 4) + AHEAD, _MM_HINT_T0);
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

TILE void stripe(const Linear *l, size_t from, size_t to, size_t number, const int half) {
    const void *panel = (const char *)l->panels + number * PANEL * l->inputs * (half ? 2 : 4);
    size_t row = from, column = number * PANEL;
    for (; row + HEIGHT <= to; row += HEIGHT) tile(l, panel, row, HEIGHT, column, half);
    switch (to - row) {
    case 5: tile(l, panel, row, 5, column, half); break;
    case 4: tile(l, panel, row, 4, column, half); break;
    case 3: tile(l, panel, row, 3, column, half); break;
    case 2: tile(l, panel, row, 2, column, half); break;
    case 1: tile(l, panel, row, 1, column, half); break;
    }
}

WIDE static void halves(const Linear *l, size_t from, size_t to, size_t number) { stripe(l, from, to, number, 1); }
WIDE static void floats(const Linear *l, size_t from, size_t to, size_t number) { stripe(l, from, to, number, 0); }

/* Sixteen rows of a turned matrix, a line of the cache of each at a time, to one panel. */
#define TURN(type)                                                                                                                \
    do {                                                                                                                          \
        const type *from = matrix;                                                                                                \
        type *to = panels;                                                                                                        \
        for (size_t column = 0; column < s->outputs; column += PANEL, to += PANEL * s->inputs)                                    \
            for (size_t i = 0; i < PANEL; i++) {                                                                                  \
                const type *row = from + (column + i) * s->inputs;                                                                \
                if (column + i < s->outputs)                                                                                      \
                    for (size_t k = 0; k < s->inputs; k++) to[PANEL * k + i] = row[k];                                            \
                else                                                                                                              \
                    for (size_t k = 0; k < s->inputs; k++) to[PANEL * k + i] = 0;                                                 \
            }                                                                                                                     \
    } while (0)

#define LAY(type)                                                                                                                 \
    do {                                                                                                                          \
        const type *from = matrix;                                                                                                \
        type *to = panels;                                                                                                        \
        for (size_t column = 0; column < s->outputs; column += PANEL, to += PANEL * s->inputs)                                    \
            for (size_t k = 0; k < s->inputs; k++)                                                                                \
                for (size_t i = 0; i < PANEL; i++)                                                                                \
                    to[PANEL * k + i] = column + i < s->outputs ? from[k * s->outputs + column + i] : 0;                          \
    } while (0)

void toneme_pack(const void *matrix, int turned, const Linear *s, void *panels) {
    if (turned && s->half) TURN(uint16_t);
    else if (turned) TURN(float);
    else if (s->half) LAY(uint16_t);
    else LAY(float);
}

void toneme_linear_panels(const Linear *l, size_t from, size_t to) {
    size_t block = IN_CACHE / (l->inputs + 1) / HEIGHT * HEIGHT + HEIGHT;
    for (size_t row = 0; row < l->rows; row += block) {
        size_t end = row + block < l->rows ? row + block : l->rows;
        for (size_t number = from; number < to; number++)
            if (l->half) halves(l, row, end, number);
            else floats(l, row, end, number);
    }
}
#endif
