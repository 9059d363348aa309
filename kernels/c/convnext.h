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

enum { CONVNEXT_ROWS = 96 }; /* that go through all of a block before the next ones do */

/* mixed [rows, channels] of x [rows + taps - 1, channels]. */
void toneme_convnext_mix(const ConvNeXt *block, const float *x, size_t rows, float *mixed);

/* out [rows, channels] of x and what was mixed of it, which is written over; `wide` is memory for [rows, outputs of `wide`]. */
void toneme_convnext_add(const ConvNeXt *block, const float *x, float *mixed, size_t rows, float *wide, float *out);
#endif
#endif
