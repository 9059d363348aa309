/* x where x > 0, e^x - 1 elsewhere. */
#ifndef TONEME_ELU_H
#define TONEME_ELU_H

#include "kernels.h"

#ifdef TONEME_AVX2
/* Rows of x that begin `x_step` numbers apart into rows of out `out_step` apart; out may be x. */
void toneme_elu(const float *x, float *out, size_t rows, size_t width, size_t x_step, size_t out_step);
#endif
#endif
