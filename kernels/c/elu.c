/* In one pass. */
#include "elu.h"

#include "exp.h"

#ifdef TONEME_AVX2
KERNEL static void elu_row(const float *x, float *out, size_t width) {
    size_t i = 0;
    for (; i + 16 <= width; i += 16) {
        __m256 low = elu(_mm256_loadu_ps(x + i)), high = elu(_mm256_loadu_ps(x + i + 8));
        _mm256_storeu_ps(out + i, low);
        _mm256_storeu_ps(out + i + 8, high);
    }
    for (; i + 8 <= width; i += 8) _mm256_storeu_ps(out + i, elu(_mm256_loadu_ps(x + i)));
    for (; i < width; i++) _mm_store_ss(out + i, _mm256_castps256_ps128(elu(_mm256_set1_ps(x[i]))));
}

KERNEL void toneme_elu(const float *x, float *out, size_t rows, size_t width, size_t x_step, size_t out_step) {
    for (size_t r = 0; r < rows; r++) elu_row(x + r * x_step, out + r * out_step, width);
}
#endif
