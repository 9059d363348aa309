/* Six rows and sixteen columns at a time, whose sums stay in registers. Each is taken in the order of its numbers, wherever its row
   stands. */
#include "exp.h"
#include "product.h"
#include "rows.h"

#ifdef TONEME_AVX2

enum { HEIGHT = 6, PANEL = 16 };

INLINE void leave(const Product *p, size_t row, size_t column, Some some, __m256 sum, const int plain) {
    if (plain) {
        store(p->out + row * p->out_step + column, some, sum);
        return;
    }
    if (p->onto) sum = _mm256_add_ps(sum, load(p->onto + row * p->onto_step + column, some));
    if (p->out) store(p->out + row * p->out_step + column, some, sum);
    if (p->active) store(p->active + row * p->active_step + column, some, elu(sum));
}

/* `height` rows times a panel of `vectors` times eight columns, of which the last vector may have fewer. */
INLINE void tile(const Product *p, const float *w, size_t row, const int height, size_t column, const int vectors, Some last,
                 const int plain) {
    __m256 sum[HEIGHT][2], start[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++)
        if (p->bias) start[v] = load(p->bias + column + 8 * v, v == vectors - 1 ? last : ALL);
#pragma GCC unroll 6
    for (int r = 0; r < height; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) sum[r][v] = start[v];
    for (size_t s = 0; s < p->sources; s++) {
        const Source *source = p->source + s;
        const float *x[HEIGHT];
        const size_t depth = source->depth;
#pragma GCC unroll 6
        for (int r = 0; r < height; r++) x[r] = source->rows + (row + r) * source->step;
#pragma GCC unroll 4
        for (size_t k = 0; k < depth; k++, w += PANEL) {
            __m256 weight[2];
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) weight[v] = _mm256_loadu_ps(w + 8 * v);
#pragma GCC unroll 6
            for (int r = 0; r < height; r++) {
                __m256 value = _mm256_broadcast_ss(x[r] + k);
#pragma GCC unroll 2
                for (int v = 0; v < vectors; v++) sum[r][v] = _mm256_fmadd_ps(value, weight[v], sum[r][v]);
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < height; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) leave(p, row + r, column + 8 * v, v == vectors - 1 ? last : ALL, sum[r][v], plain);
}

INLINE void panel(const Product *p, size_t rows, size_t column, const int vectors, Some last, const int plain) {
    const float *w = p->panels + column * p->depth;
    size_t row = 0;
    for (; row + HEIGHT <= rows; row += HEIGHT) tile(p, w, row, HEIGHT, column, vectors, last, plain);
    switch (rows - row) {
    case 5: tile(p, w, row, 5, column, vectors, last, plain); break;
    case 4: tile(p, w, row, 4, column, vectors, last, plain); break;
    case 3: tile(p, w, row, 3, column, vectors, last, plain); break;
    case 2: tile(p, w, row, 2, column, vectors, last, plain); break;
    case 1: tile(p, w, row, 1, column, vectors, last, plain); break;
    }
}

KERNEL static void whole_panel(const Product *p, size_t rows, size_t column) { panel(p, rows, column, 2, ALL, 0); }

/* Where the sums are only stored: what else could be asked for each of them takes as long as a short row. */
KERNEL static void plain_panel(const Product *p, size_t rows, size_t column) { panel(p, rows, column, 2, ALL, 1); }

KERNEL static void last_panel(const Product *p, size_t rows, size_t column, size_t left) {
    if (left > 8) panel(p, rows, column, 2, first(left - 8), 0);
    else panel(p, rows, column, 1, first(left), 0);
}

void toneme_multiply(const Product *p, size_t rows) {
    size_t column = 0;
    int plain = p->out && !p->onto && !p->active;
    for (; column + PANEL <= p->columns; column += PANEL) (plain ? plain_panel : whole_panel)(p, rows, column);
    if (column < p->columns) last_panel(p, rows, column, p->columns - column);
}
#endif
