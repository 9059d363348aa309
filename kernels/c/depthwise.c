/* Convolution of rows with one filter for each channel, and Snake of what it gives, in one pass. */
#include "depthwise.h"

#include "snake.h"
#include "rows.h"

#ifdef TONEME_AVX2

enum { ROWS = 4 }; /* which share the filter's numbers while those are in registers */

typedef struct {
    size_t channels, taps, step;
    const float *filters, *bias, *alpha, *inverse;
} Layer;

/* So many rows of eight channels from c on. Each number is summed in the order of the taps whatever the rows beside it. */
INLINE void tile(const Layer *l, const float *x, size_t c, float *out, Some some, const int rows) {
    __m256 sum[ROWS], bias = l->bias ? load(l->bias + c, some) : _mm256_setzero_ps();
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) sum[r] = bias;
    for (size_t j = 0; j < l->taps; j++) {
        __m256 factor = load(l->filters + j * l->channels + c, some);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
            sum[r] = _mm256_fmadd_ps(load(x + j * l->step + (size_t)r * l->channels + c, some), factor, sum[r]);
    }
    if (l->alpha) {
        __m256 alpha = load(l->alpha + c, some), inverse = load(l->inverse + c, some);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) sum[r] = snake(sum[r], alpha, inverse);
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) store(out + (size_t)r * l->channels + c, some, sum[r]);
}

INLINE void strip(const Layer *l, const float *x, float *out, const int rows) {
    size_t c = 0;
    for (; c + 8 <= l->channels; c += 8) tile(l, x, c, out, ALL, rows);
    if (c < l->channels) tile(l, x, c, out, first(l->channels - c), rows);
}

KERNEL void toneme_depthwise(const float *x, size_t rows, size_t channels, size_t taps, size_t dilation, const float *filters,
                             const float *bias, const float *alpha, const float *inverse, float *out) {
    Layer l = {channels, taps, dilation * channels, filters, bias, alpha, inverse};
    size_t row = 0;
    for (; row + ROWS <= rows; row += ROWS) strip(&l, x + row * channels, out + row * channels, ROWS);
    for (; row < rows; row++) strip(&l, x + row * channels, out + row * channels, 1);
}
#endif
