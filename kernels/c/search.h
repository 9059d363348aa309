/* Residual search. */
#ifndef TONEME_SEARCH_H
#define TONEME_SEARCH_H

#include "kernels.h"

#ifdef TONEME_AVX2
/* Bytes of working memory that toneme_search needs. */
size_t toneme_search_bytes(size_t size, int D, int threads);

/* Codes of x [rows, D] under codebooks [Q, K, D], stage q of row n at codes[q * step + n], at most `size` rows at a time. Slopes
   and offsets [Q] are those of rescan.error_factors. A code that rounding may have chosen is chosen again in 64 bits, half of the
   code taken from x (0.5, or 0 for a cosine search); with `doubt` [Q, rows] it stays and has a one there. */
void toneme_search(const float *x, size_t rows, size_t size, int Q, int K, int D, const float *codebooks, const float *half_norms,
                   const float *slopes, const float *offsets, double half, int64_t *codes, size_t step, uint8_t *doubt, void *work,
                   int threads);
#endif
#endif
