/* Rows of channels to mean 0 and variance 1 over all of them, then a gain and a bias per channel: one pass for the moments, one to
   write. */
#include <math.h>

#include "pool.h"
#include "rows.h"

#ifdef TONEME_AVX2

enum { PARTS = 16 }; /* however many threads there are, so that sums do not depend on their number */

typedef struct {
    float *x;
    size_t rows, channels;
    const float *gain, *bias;
    double (*sums)[2];
    double mean, scale;
} Norm;

/* Sum and sum of squares, in 64 bits, which leaves nothing to cancel between numbers of 32. */
KERNEL static void moments(const void *job, int part, int parts, int worker) {
    const Norm *n = job;
    (void)worker;
    size_t numbers = n->rows * n->channels, at = numbers * part / parts, last = numbers * (part + 1) / parts;
    __m256d sum[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()}, square[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()};
    for (; at + 8 <= last; at += 8)
        for (int v = 0; v < 2; v++) {
            __m256d x = _mm256_cvtps_pd(_mm_loadu_ps(n->x + at + 4 * v));
            sum[v] = _mm256_add_pd(sum[v], x);
            square[v] = _mm256_fmadd_pd(x, x, square[v]);
        }
    __m256d s = _mm256_add_pd(sum[0], sum[1]), q = _mm256_add_pd(square[0], square[1]);
    double total = (s[0] + s[1]) + (s[2] + s[3]), squares = (q[0] + q[1]) + (q[2] + q[3]);
    for (; at < last; at++) total += n->x[at], squares += (double)n->x[at] * n->x[at];
    n->sums[part][0] = total;
    n->sums[part][1] = squares;
}

INLINE void some(const Norm *n, float *x, size_t c, Some lanes) {
    __m256 gain = _mm256_mul_ps(load(n->gain + c, lanes), _mm256_set1_ps((float)n->scale));
    __m256 centred = _mm256_sub_ps(load(x + c, lanes), _mm256_set1_ps((float)n->mean));
    store(x + c, lanes, _mm256_fmadd_ps(centred, gain, load(n->bias + c, lanes)));
}

KERNEL static void apply(const void *job, int part, int parts, int worker) {
    const Norm *n = job;
    (void)worker;
    size_t row = n->rows * part / parts, last = n->rows * (part + 1) / parts;
    for (; row < last; row++) {
        float *x = n->x + row * n->channels;
        size_t c = 0;
        for (; c + 8 <= n->channels; c += 8) some(n, x, c, ALL);
        if (c < n->channels) some(n, x, c, first(n->channels - c));
    }
}

/* x [rows, channels] in place. */
void toneme_group_norm(float *x, size_t rows, size_t channels, const float *gain, const float *bias, double epsilon, int threads) {
    double sums[PARTS][2], total = 0, squares = 0, count = (double)rows * channels;
    Norm n = {x, rows, channels, gain, bias, sums, 0, 0};
    toneme_share(moments, &n, PARTS, threads);
    for (int part = 0; part < PARTS; part++) total += sums[part][0], squares += sums[part][1];
    n.mean = total / count;
    double variance = squares / count - n.mean * n.mean;
    n.scale = 1 / sqrt((variance < 0 ? 0 : variance) + epsilon);
    toneme_share(apply, &n, PARTS, threads);
}
#endif
