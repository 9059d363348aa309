/* GELU of eight numbers, x (1 + erf(x / sqrt 2)) / 2. Of z = |x| / sqrt 2 it takes 1 - erf(z) = e^(z R(z)), R a polynomial for z up
   to 4, beyond which erf is 1: near zero nothing is lost, since e^t - 1 is had by itself. */
#ifndef TONEME_GELU_H
#define TONEME_GELU_H

#include "exp.h"

#ifdef TONEME_AVX2
/* Such that erf is right to 1.6e-8. */
static const float ERF[8] = {-1.1283803f,     -0.63659775f, -0.1029196f,    0.019583931f,
                             -0.00053689204f, -0.001032432f, 0.00030881324f, -3.144174e-05f};

INLINE __m256 gelu(__m256 x) {
    __m256 sign = _mm256_set1_ps(-0.0f), half = _mm256_mul_ps(x, _mm256_set1_ps(0.5f));
    /* what is no number must be the second operand of the minimum, which then returns it */
    __m256 z = _mm256_min_ps(_mm256_set1_ps(4), _mm256_mul_ps(_mm256_andnot_ps(sign, x), _mm256_set1_ps(0.70710678118654752f)));
    __m256 r = _mm256_set1_ps(ERF[7]);
#pragma GCC unroll 7
    for (int i = 6; i >= 0; i--) r = _mm256_fmadd_ps(r, z, _mm256_set1_ps(ERF[i]));
    __m256 less = exp_less_one(_mm256_mul_ps(r, z)); /* -erf(z) */
    return _mm256_fnmadd_ps(_mm256_andnot_ps(sign, half), less, half);
}
#endif
#endif
