/* Snake at twice the rate: rows are doubled, bent and halved while they are in the first cache. */
#include "rows.h"
#include "snake.h"

#ifdef TONEME_AVX2

enum { TAPS = 12, AT_ONCE = 128, BEFORE = 5, BEHIND = 6 }; /* doubled rows that a row sees before it, and from it on less one */

typedef struct {
    size_t time, channels;
    const float *alpha, *inverse, *taps;
} Layer;

INLINE size_t held(ptrdiff_t row, size_t time) { return row < 0 ? 0 : (size_t)row < time ? (size_t)row : time - 1; }

/* The doubled row n of eight channels: every other tap on six rows of x, whose ends are held. */
INLINE __m256 doubled(const Layer *l, const float *x, size_t n, Some some) {
    ptrdiff_t row = (ptrdiff_t)(n / 2) - (n % 2 ? 2 : 3);
    const float *tap = l->taps + (n % 2 ? TAPS - 2 : TAPS - 1);
    int inside = row >= 0 && (size_t)row + TAPS / 2 <= l->time;
    __m256 sum = _mm256_setzero_ps();
#pragma GCC unroll 6
    for (int k = 0; k < TAPS / 2; k++) {
        size_t here = inside ? (size_t)row + (size_t)k : held(row + k, l->time);
        sum = _mm256_fmadd_ps(load(x + here * l->channels, some), _mm256_broadcast_ss(tap - 2 * k), sum);
    }
    return _mm256_add_ps(sum, sum);
}

/* Eight channels from c on of rows `from` to `to`, at most AT_ONCE of them; the ends of the doubled signal are held as well. */
INLINE void columns(const Layer *l, const float *x, size_t from, size_t to, size_t c, float *out, Some some) {
    __m256 doubles[2 * AT_ONCE + BEFORE + BEHIND], alpha = load(l->alpha + c, some), inverse = load(l->inverse + c, some);
    size_t twice = 2 * l->time, start = 2 * from < BEFORE ? 0 : 2 * from - BEFORE;
    size_t end = 2 * to + BEHIND - 1 < twice ? 2 * to + BEHIND - 1 : twice, skipped = start + BEFORE - 2 * from;
    for (size_t n = start; n < end; n++) doubles[skipped + n - start] = snake(doubled(l, x + c, n, some), alpha, inverse);
    for (size_t n = 0; n < skipped; n++) doubles[n] = doubles[skipped];
    for (size_t n = skipped + end - start; n < 2 * (to - from) + TAPS - 2; n++) doubles[n] = doubles[skipped + end - start - 1];
    for (size_t row = from; row < to; row++) {
        __m256 sum = _mm256_setzero_ps();
        for (int k = 0; k < TAPS; k++)
            sum = _mm256_fmadd_ps(doubles[2 * (row - from) + k], _mm256_broadcast_ss(l->taps + k), sum);
        store(out + (row - from) * l->channels + c, some, sum);
    }
}

/* `out` are rows `first` to `last` of the activation of x [time, channels]. Snake's alpha and inverse are those of toneme_snake;
   the 12 taps are those of the low pass. */
KERNEL void toneme_alias_free(const float *x, size_t time, size_t channels, size_t first_row, size_t last_row, const float *alpha,
                              const float *inverse, const float *taps, float *out) {
    Layer l = {time, channels, alpha, inverse, taps};
    for (size_t from = first_row; from < last_row; from += AT_ONCE) {
        size_t to = last_row - from < AT_ONCE ? last_row : from + AT_ONCE, c = 0;
        float *here = out + (from - first_row) * channels;
        for (; c + 8 <= channels; c += 8) columns(&l, x, from, to, c, here, ALL);
        if (c < channels) columns(&l, x, from, to, c, here, first(channels - c));
    }
}
#endif
