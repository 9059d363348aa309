/* x + sin(alpha x)^2 / beta of eight numbers. */
#ifndef TONEME_SNAKE_H
#define TONEME_SNAKE_H

#include "kernels.h"

#ifdef TONEME_AVX2
#include <math.h>

static const float REACH = 65536; /* angle up to which the multiple of pi is taken away without loss */

/* The square of the sine is the same a multiple of pi further on. Pi in two parts: the first, with a fused product, is taken away
   exactly; what both leave out of pi is 1e-15. The polynomial is within 7e-9 of the sine's size from -1.58 to 1.58. */
INLINE __m256 near_wave(__m256 y) {
    __m256 turns = _mm256_round_ps(_mm256_mul_ps(y, _mm256_set1_ps(0x1.45f306p-2f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 angle = _mm256_fnmadd_ps(turns, _mm256_set1_ps(0x1.921fb6p+1f), y);
    angle = _mm256_fnmadd_ps(turns, _mm256_set1_ps(-0x1.777a5cp-24f), angle);
    __m256 square = _mm256_mul_ps(angle, angle);
    __m256 sum = _mm256_fmadd_ps(square, _mm256_set1_ps(2.605140480e-06f), _mm256_set1_ps(-1.98094407e-04f));
    sum = _mm256_fmadd_ps(square, sum, _mm256_set1_ps(8.33306648e-03f));
    sum = _mm256_fmadd_ps(square, sum, _mm256_set1_ps(-1.66666597e-01f));
    __m256 sine = _mm256_fmadd_ps(_mm256_mul_ps(angle, square), sum, angle);
    return _mm256_mul_ps(sine, sine);
}

/* The same of any numbers, one after another. */
KERNEL __attribute__((noinline, unused)) static __m256 far_wave(__m256 y) {
    float angles[8];
    _mm256_storeu_ps(angles, y);
    for (int lane = 0; lane < 8; lane++) angles[lane] = sinf(angles[lane]), angles[lane] *= angles[lane];
    return _mm256_loadu_ps(angles);
}

INLINE __m256 snake(__m256 x, __m256 alpha, __m256 inverse) {
    __m256 y = _mm256_mul_ps(x, alpha), size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), y);
    int far = _mm256_movemask_ps(_mm256_cmp_ps(size, _mm256_set1_ps(REACH), _CMP_NLE_UQ)); /* not a number counts as far */
    __m256 wave = __builtin_expect(far, 0) ? far_wave(y) : near_wave(y);
    return _mm256_fmadd_ps(wave, inverse, x);
}

#endif
#endif
