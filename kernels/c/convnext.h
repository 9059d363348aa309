/* A ConvNeXt block over rows: a filter for each channel, a norm, and a perceptron of two layers, added to what came in. */
#ifndef TONEME_CONVNEXT_H
#define TONEME_CONVNEXT_H

#include "linear.h"

#ifdef TONEME_AVX2
/* Filters [taps, channels]; bias, gain, shift and scale [channels]. `x` and so on of the two layers are filled in here. */
typedef struct {
    size_t channels, taps;
    const float *filters, *bias, *gain, *shift, *scale;
    float epsilon;
    Linear wide, narrow;
} ConvNeXt;

enum { CONVNEXT_ROWS = 48 }; /* that go through all of a block before the next ones do */

/* Numbers of memory that so many rows need. */
size_t toneme_convnext_memory(const ConvNeXt *block, size_t rows);

/* out [rows, channels] of x [rows + taps - 1, channels]; at most CONVNEXT_ROWS. */
void toneme_convnext(const ConvNeXt *block, const float *x, size_t rows, float *out, float *memory);
#endif
#endif
