/* What enters and what leaves the products of a convolution of seven taps by Toom and Cook (codecs/layers/toom_cook.py), each in
   one pass. The factors are those of that module's tables, where equal ones are taken out. */
#include "toom_cook.h"

#include "rows.h"
#include "snake.h"

#ifdef TONEME_AVX2

enum { TILE = 4, POINTS = 7 };

#define TIMES(factor) _mm256_set1_ps(factor)

/* The values of a tile's seven rows, so many numbers apart, at 0, 1, -1, 2, -2, 1/2 and infinity. */
INLINE void enter(const float *x, size_t width, float *values, size_t apart, Some some) {
    __m256 a = load(x, some), b = load(x + width, some), c = load(x + 2 * width, some), d = load(x + 3 * width, some);
    __m256 e = load(x + 4 * width, some), f = load(x + 5 * width, some), g = load(x + 6 * width, some), sum;
    sum = _mm256_fmadd_ps(c, TIMES(-1.25f), _mm256_fmadd_ps(b, TIMES(-2), a));
    sum = _mm256_fmadd_ps(e, TIMES(0.25f), _mm256_fmadd_ps(d, TIMES(2.5f), sum));
    store(values, some, _mm256_fmadd_ps(f, TIMES(-0.5f), sum));
    sum = _mm256_fmadd_ps(d, TIMES(-2.25f), _mm256_sub_ps(b, c));
    store(values + apart, some, _mm256_fmadd_ps(f, TIMES(0.5f), _mm256_fmadd_ps(e, TIMES(0.25f), sum)));
    sum = _mm256_fmadd_ps(d, TIMES(1.75f), _mm256_fmadd_ps(c, TIMES(-3), b));
    store(values + 2 * apart, some, _mm256_fmadd_ps(f, TIMES(-0.5f), _mm256_fmadd_ps(e, TIMES(0.75f), sum)));
    sum = _mm256_fmadd_ps(d, TIMES(-2), _mm256_fmadd_ps(c, TIMES(-1.5f), b));
    store(values + 3 * apart, some, _mm256_add_ps(f, _mm256_fmadd_ps(e, TIMES(1.5f), sum)));
    sum = _mm256_fmadd_ps(_mm256_sub_ps(e, c), TIMES(2.5f), b);
    store(values + 4 * apart, some, _mm256_sub_ps(sum, f));
    sum = _mm256_fmadd_ps(d, TIMES(-1.25f), b);
    store(values + 5 * apart, some, _mm256_fmadd_ps(f, TIMES(0.25f), sum));
    sum = _mm256_fmadd_ps(d, TIMES(-1.25f), _mm256_fmadd_ps(c, TIMES(-2), b));
    sum = _mm256_fmadd_ps(f, TIMES(0.25f), _mm256_fmadd_ps(e, TIMES(2.5f), sum));
    store(values + 6 * apart, some, _mm256_fmadd_ps(g, TIMES(-0.5f), sum));
}

typedef struct {
    const float *bias, *alpha, *inverse;
} Layer;

INLINE void leave_one(const Layer *l, size_t c, float *out, Some some, __m256 sum) {
    if (l->bias) sum = _mm256_add_ps(sum, load(l->bias + c, some));
    if (l->alpha) sum = snake(sum, load(l->alpha + c, some), load(l->inverse + c, some));
    store(out, some, sum);
}

/* The first so many of four outputs, so many numbers apart, of eight channels from c on. */
INLINE void leave(const Layer *l, const float *products, size_t apart, size_t c, float *out, size_t width, size_t count, Some some) {
    __m256 zero = load(products, some), half = load(products + 5 * apart, some), top = load(products + 6 * apart, some);
    __m256 one = load(products + apart, some), other = load(products + 2 * apart, some);
    __m256 even = _mm256_add_ps(one, other), odd = _mm256_sub_ps(one, other);
    one = load(products + 3 * apart, some), other = load(products + 4 * apart, some);
    __m256 even2 = _mm256_add_ps(one, other), odd2 = _mm256_sub_ps(one, other);
    if (count > 0) leave_one(l, c, out, some, _mm256_add_ps(_mm256_add_ps(zero, even), _mm256_add_ps(even2, half)));
    if (count > 1) leave_one(l, c, out + width, some, _mm256_fmadd_ps(half, TIMES(0.5f), _mm256_fmadd_ps(odd2, TIMES(2), odd)));
    if (count > 2) leave_one(l, c, out + 2 * width, some, _mm256_fmadd_ps(half, TIMES(0.25f), _mm256_fmadd_ps(even2, TIMES(4), even)));
    odd = _mm256_fmadd_ps(half, TIMES(0.125f), _mm256_fmadd_ps(odd2, TIMES(8), odd));
    if (count > 3) leave_one(l, c, out + 3 * width, some, _mm256_add_ps(odd, top));
}

KERNEL void toneme_toom_cook_enter_tiles(const float *x, size_t from, size_t to, size_t tiles, size_t width, float *values) {
    size_t apart = tiles * width;
    x += from * TILE * width, values += from * width;
    for (size_t tile = from; tile < to; tile++, x += TILE * width, values += width) {
        size_t w = 0;
        for (; w + 8 <= width; w += 8) enter(x + w, width, values + w, apart, ALL);
        if (w < width) enter(x + w, width, values + w, apart, first(width - w));
    }
}

KERNEL void toneme_toom_cook_leave_tiles(const float *products, size_t from, size_t to, size_t tiles, size_t dilation,
                                         size_t channels, const float *bias, const float *alpha, const float *inverse,
                                         size_t rows, float *out) {
    Layer l = {bias, alpha, inverse};
    size_t width = dilation * channels, apart = tiles * width;
    products += from * width;
    for (size_t tile = from; tile < to; tile++)
        for (size_t d = 0; d < dilation; d++, products += channels) {
            size_t row = tile * TILE * dilation + d, c = 0, count = row < rows ? (rows - row + dilation - 1) / dilation : 0;
            float *here = out + (count ? row : 0) * channels;
            for (; c + 8 <= channels; c += 8) leave(&l, products + c, apart, c, here + c, width, count, ALL);
            if (c < channels) leave(&l, products + c, apart, c, here + c, width, count, first(channels - c));
        }
}

/* Values [7, tiles, width] of x, of which tile t takes the rows of so many numbers from 4 t to 4 t + 6. */
void toneme_toom_cook_enter(const float *x, size_t tiles, size_t width, float *values) {
    toneme_toom_cook_enter_tiles(x, 0, tiles, tiles, width, values);
}

/* `out` are the first `rows` of [tiles, 4, dilation, channels] that products [7, tiles, dilation, channels] make: each may get a
   bias [channels], and then Snake, whose alpha and inverse are those of toneme_snake. */
void toneme_toom_cook_leave(const float *products, size_t tiles, size_t dilation, size_t channels, const float *bias,
                            const float *alpha, const float *inverse, size_t rows, float *out) {
    toneme_toom_cook_leave_tiles(products, 0, tiles, tiles, dilation, channels, bias, alpha, inverse, rows, out);
}
#endif
