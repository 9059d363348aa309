/* What passes between the layers of a block stays in the cache. */
#include "convnext.h"
#include "depthwise.h"
#include "gelu.h"
#include "rows.h"

#ifdef TONEME_AVX2
#include <math.h>

INLINE __m256 eight(const float *x, size_t at, size_t count) {
    return at + 8 <= count ? _mm256_loadu_ps(x + at) : load(x + at, first(count - at));
}

INLINE void put(float *to, size_t at, size_t count, __m256 value) {
    if (at + 8 <= count) _mm256_storeu_ps(to + at, value);
    else store(to + at, first(count - at), value);
}

KERNEL static void norm(float *x, size_t count, const float *gain, const float *shift, float epsilon) {
    __m256 sum = _mm256_setzero_ps(), squares = _mm256_setzero_ps();
    for (size_t i = 0; i < count; i += 8) sum = _mm256_add_ps(sum, eight(x, i, count));
    __m256 mean = _mm256_set1_ps(sum_of(sum) / count);
    for (size_t i = 0; i < count; i += 8) {
        __m256 off = _mm256_sub_ps(eight(x, i, count), mean);
        if (i + 8 > count) off = _mm256_and_ps(off, _mm256_castsi256_ps(first(count - i).lanes));
        squares = _mm256_fmadd_ps(off, off, squares);
    }
    __m256 by = _mm256_set1_ps(1 / sqrtf(sum_of(squares) / count + epsilon));
    for (size_t i = 0; i < count; i += 8) {
        __m256 unit = _mm256_mul_ps(_mm256_sub_ps(eight(x, i, count), mean), by);
        put(x, i, count, _mm256_fmadd_ps(unit, eight(gain, i, count), eight(shift, i, count)));
    }
}

KERNEL static void activate(float *x, size_t count) {
    for (size_t i = 0; i < count; i += 8) put(x, i, count, gelu(eight(x, i, count)));
}

/* out = x + scale * y */
KERNEL static void add(const float *x, const float *scale, const float *y, size_t count, float *out) {
    for (size_t i = 0; i < count; i += 8)
        put(out, i, count, _mm256_fmadd_ps(eight(scale, i, count), eight(y, i, count), eight(x, i, count)));
}

static void apply(Linear layer, const float *x, size_t rows, float *y) {
    layer.x = x, layer.rows = rows, layer.y = y;
    toneme_linear_panels(&layer, 0, toneme_panels(layer.outputs));
}

void toneme_convnext_mix(const ConvNeXt *block, const float *x, size_t rows, float *mixed) {
    toneme_depthwise(x, rows, block->channels, block->taps, 1, block->filters, block->bias, NULL, NULL, mixed);
}

void toneme_convnext_add(const ConvNeXt *block, const float *x, float *mixed, size_t rows, float *wide, float *out) {
    size_t channels = block->channels;
    for (size_t r = 0; r < rows; r++) norm(mixed + r * channels, channels, block->gain, block->shift, block->epsilon);
    apply(block->wide, mixed, rows, wide);
    activate(wide, rows * block->wide.outputs);
    apply(block->narrow, wide, rows, mixed);
    for (size_t r = 0; r < rows; r++)
        add(x + r * channels, block->scale, mixed + r * channels, channels, out + r * channels);
}
#endif
