/* Rows times matrices, and what follows on the sums while they are in registers. */
#ifndef TONEME_PRODUCT_H
#define TONEME_PRODUCT_H

#include "kernels.h"

#ifdef TONEME_AVX2
enum { SOURCES = 8 };

/* Rows that begin `step` numbers apart, of which the first `depth` are multiplied; rows may overlap, as windows do. */
typedef struct {
    const float *rows;
    size_t step, depth;
} Source;

/* The sources' rows one after the other, times a matrix [depth of all, columns], plus a bias [columns] and rows of `onto`,
   where these are not null. The sums go to `out`, their ELU to `active`, or either. */
typedef struct {
    Source source[SOURCES];
    size_t sources, depth, columns;
    const float *panels, *bias, *onto;
    float *out, *active;
    size_t onto_step, out_step, active_step;
} Product;

/* Of so many rows; panels hold sixteen columns each, the last filled up: of every row of the matrix sixteen numbers. */
void toneme_multiply(const Product *p, size_t rows);
#endif
#endif
