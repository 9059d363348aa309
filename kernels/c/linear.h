/* Rows times a matrix that lies in panels, in 32 bits or in 16. */
#ifndef TONEME_LINEAR_H
#define TONEME_LINEAR_H

#include "kernels.h"

#ifdef TONEME_AVX2
/* x [rows, inputs] times a matrix [inputs, outputs], plus a bias [outputs] or, of a matrix of floats, numbers `onto` [rows, outputs]
   where these are not null, to y [rows, outputs]. Panels hold sixteen columns each, the last filled up: of every row of the matrix
   sixteen numbers, floats or, if `half`, in 16 bits. */
typedef struct {
    const float *x, *bias, *onto;
    const void *panels;
    float *y;
    size_t rows, inputs, outputs, x_step; /* from one row of x to the next, of a matrix of floats: 0 for `inputs` */
    int half;
} Linear;

/* The columns of panels `from` to `to`, and all columns of rows `from` to `to`. A number does not depend on those beside it. */
void toneme_linear_panels(const Linear *l, size_t from, size_t to), toneme_linear_rows(const Linear *l, size_t from, size_t to);

/* Write a matrix [inputs, outputs], or [outputs, inputs] if it is turned, as panels of so many numbers. */
void toneme_pack(const void *matrix, int turned, const Linear *sizes, void *panels);

static inline size_t toneme_panels(size_t outputs) { return (outputs + 15) / 16; }

static inline size_t toneme_panel_bytes(const Linear *l) { return toneme_panels(l->outputs) * 16 * l->inputs * (l->half ? 2 : 4); }
#endif
#endif
