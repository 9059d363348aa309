/* Products of a few rows with a large matrix, as in each step of a stream: what counts is to read the matrix once and in order. */
#include "kernels.h"
#include "pool.h"
#include "rows.h"

#ifdef TONEME_AVX2

enum { OUTPUTS = 4, ROWS = 3 };

typedef struct {
    const float *x, *matrix, *bias;
    float *y;
    size_t rows, inputs, outputs;
} Product;

/* `outs` outputs of `rows` rows, of a matrix [outputs, inputs]. */
INLINE void dots(const Product *p, size_t row, size_t out, const int rows, const int outs) {
    __m256 sum[ROWS][OUTPUTS];
    const float *x = p->x + row * p->inputs, *w = p->matrix + out * p->inputs;
#pragma GCC unroll 3
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int o = 0; o < outs; o++) sum[r][o] = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 8 <= p->inputs; i += 8) {
        __m256 value[ROWS];
#pragma GCC unroll 3
        for (int r = 0; r < rows; r++) value[r] = _mm256_loadu_ps(x + r * p->inputs + i);
#pragma GCC unroll 4
        for (int o = 0; o < outs; o++) {
            const float *at = w + o * p->inputs + i;
            _mm_prefetch((const char *)(at + outs * p->inputs), _MM_HINT_T0);
            __m256 weight = _mm256_loadu_ps(at);
#pragma GCC unroll 3
            for (int r = 0; r < rows; r++) sum[r][o] = _mm256_fmadd_ps(value[r], weight, sum[r][o]);
        }
    }
#pragma GCC unroll 3
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int o = 0; o < outs; o++) {
            float total = sum_of(sum[r][o]);
            for (size_t j = i; j < p->inputs; j++) total += x[r * p->inputs + j] * w[o * p->inputs + j];
            p->y[(row + r) * p->outputs + out + o] = p->bias ? total + p->bias[out + o] : total;
        }
}

INLINE void some_outputs(const Product *p, size_t out, const int outs) {
    size_t row = 0;
    for (; row + ROWS <= p->rows; row += ROWS) dots(p, row, out, ROWS, outs);
    if (p->rows - row == 2) dots(p, row, out, 2, outs);
    if (p->rows - row == 1) dots(p, row, out, 1, outs);
}

KERNEL static void by_outputs(const void *job, int part, int parts, int worker) {
    const Product *p = job;
    (void)worker;
    size_t out = p->outputs * part / parts, last = p->outputs * (part + 1) / parts;
    for (; out + OUTPUTS <= last; out += OUTPUTS) some_outputs(p, out, OUTPUTS);
    for (; out < last; out++) some_outputs(p, out, 1);
}

/* y [rows, outputs] = x [rows, inputs] times a matrix [outputs, inputs] turned over, plus the bias if it is not null. */
void toneme_linear(const float *x, size_t rows, size_t inputs, const float *matrix, size_t outputs, const float *bias, float *y,
                   int threads) {
    Product p = {x, matrix, bias, y, rows, inputs, outputs};
    toneme_share(by_outputs, &p, threads, threads);
}

#endif
