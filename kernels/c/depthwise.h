/* Convolution of rows with one filter for each channel. */
#ifndef TONEME_DEPTHWISE_H
#define TONEME_DEPTHWISE_H

#include "kernels.h"

#ifdef TONEME_AVX2
/* `out` [rows, channels] of x [rows + (taps - 1) * dilation, channels] and filters [taps, channels]. The bias may be missing, and
   so may Snake, whose alpha and inverse are those of toneme_snake. */
void toneme_depthwise(const float *x, size_t rows, size_t channels, size_t taps, size_t dilation, const float *filters,
                      const float *bias, const float *alpha, const float *inverse, float *out);
#endif
#endif
