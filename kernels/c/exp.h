/* ELU of eight numbers, and the e^x - 1 of it, which those above 88 do not have: with t = x log2(e) = n + f, n whole and
   |f| <= 1/2, it is 2^n (2^f - 1) + (2^n - 1), so that near zero nothing is lost. */
#ifndef TONEME_EXP_H
#define TONEME_EXP_H

#include "kernels.h"

#ifdef TONEME_AVX2
/* Coefficients of f (c1 + c2 f + ... + c6 f^5), which is 2^f - 1 to 2e-9: minimax on [-1/2, 1/2]. */
static const float C1 = 0.6931472062f, C2 = 0.2402265135f, C3 = 0.05550327791f, C4 = 0.00961800389f, C5 = 0.001340026984f,
                   C6 = 0.0001547630033f;
static const float LOG2_E = 1.4426950408889634f, LEAST = -126, ROUNDER = 12582912; /* 3 * 2^22: a sum's low bits are its whole part */

INLINE __m256 exp_less_one(__m256 x) {
    /* what is no number must be the second operand of the maximum, which then returns it */
    __m256 t = _mm256_max_ps(_mm256_set1_ps(LEAST), _mm256_mul_ps(x, _mm256_set1_ps(LOG2_E))), one = _mm256_set1_ps(1);
    __m256 shifted = _mm256_add_ps(t, _mm256_set1_ps(ROUNDER)), f = _mm256_sub_ps(t, _mm256_sub_ps(shifted, _mm256_set1_ps(ROUNDER)));
    __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
    __m256 power = _mm256_castsi256_ps(_mm256_add_epi32(exponent, _mm256_castps_si256(one)));
    __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(C6), f, _mm256_set1_ps(C5));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(C4));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(C3));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(C2));
    p = _mm256_mul_ps(_mm256_fmadd_ps(p, f, _mm256_set1_ps(C1)), f);
    return _mm256_fmadd_ps(power, p, _mm256_sub_ps(power, one));
}

INLINE __m256 elu(__m256 x) {
    return _mm256_blendv_ps(exp_less_one(x), x, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GT_OQ));
}
#endif
#endif
