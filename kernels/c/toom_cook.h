/* What enters and what leaves the products of a convolution of seven taps, of some of its tiles. */
#ifndef TONEME_TOOM_COOK_H
#define TONEME_TOOM_COOK_H

#include "kernels.h"

#ifdef TONEME_AVX2
/* Tiles `from` to `to` of what toneme_toom_cook_enter and toneme_toom_cook_leave write. */
void toneme_toom_cook_enter_tiles(const float *x, size_t from, size_t to, size_t tiles, size_t width, float *values);
void toneme_toom_cook_leave_tiles(const float *products, size_t from, size_t to, size_t tiles, size_t dilation, size_t channels,
                                  const float *bias, const float *alpha, const float *inverse, size_t rows, float *out);
#endif
#endif
