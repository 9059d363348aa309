/* Snake over rows whose channels lie beside each other, in one pass. */
#include "snake.h"
#include "rows.h"

#ifdef TONEME_AVX2

INLINE void bend(const float *x, const float *alpha, const float *inverse, float *out, Some some) {
    store(out, some, snake(load(x, some), load(alpha, some), load(inverse, some)));
}

/* `out` [rows, channels], which may be x, becomes x + sin(alpha x)^2 times `inverse`, both [channels]. */
KERNEL void toneme_snake(const float *x, size_t rows, size_t channels, const float *alpha, const float *inverse, float *out) {
    for (size_t row = 0; row < rows; row++, x += channels, out += channels) {
        size_t c = 0;
        for (; c + 8 <= channels; c += 8) bend(x + c, alpha + c, inverse + c, out + c, ALL);
        if (c < channels) bend(x + c, alpha + c, inverse + c, out + c, first(channels - c));
    }
}
#endif
