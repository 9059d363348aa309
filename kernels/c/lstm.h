/* The steps of an LSTM layer. */
#ifndef TONEME_LSTM_H
#define TONEME_LSTM_H

#include "kernels.h"

#ifdef TONEME_AVX2
/* Cells [rows, H] and outputs [rows, steps, H] after every step, of inputs [rows, steps, 4 H] in the order i, f, g, o, and of
   recurrent weights in panels [panels][4 gates][H][16 units]. */
void toneme_lstm(const float *weights, const float *inputs, const float *hidden, float *cells, float *outputs, size_t rows,
                 size_t steps, size_t H, int threads);
#endif
#endif
