/* Rows of numbers whose count need not be a multiple of eight: what is beyond them is neither read nor written. */
#ifndef TONEME_ROWS_H
#define TONEME_ROWS_H

#include "kernels.h"

#ifdef TONEME_AVX2
typedef struct {
    int whole;
    __m256i lanes;
} Some; /* of eight numbers: all, or the first so many */

static const Some ALL = {1, {-1, -1, -1, -1}};

INLINE Some first(size_t count) {
    return (Some){0, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))};
}

INLINE __m256 load(const float *from, Some some) {
    return some.whole ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, some.lanes);
}

INLINE void store(float *to, Some some, __m256 numbers) {
    if (some.whole) _mm256_storeu_ps(to, numbers);
    else _mm256_maskstore_ps(to, some.lanes, numbers);
}

/* The sum of eight numbers. */
INLINE float sum_of(__m256 v) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
#endif
#endif
