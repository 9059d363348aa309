/* The steps of an LSTM layer: gates = inputs + W h, of which the four of a unit make its cell and its next h.

   Reading W, which is larger than a core's second cache, is what takes the time of a few rows. It lies as panels
   [4 gates][H][16 units], so that reading is one linear stream and the gates of sixteen units are complete at the end of a panel;
   every other step walks through the panels backwards, and finds the last ones still cached. Any number of threads may run the
   same call: each takes the next free group of panels, and waits only for groups that another is already at. */
#include "lstm.h"

#include "exp.h"
#include "pool.h"
#include "rows.h"

#ifdef TONEME_AVX2
#include <sched.h>

enum { UNITS = 16, GATES = 4, ROWS = 6, PHASES = 4, MOST_GROUPS = 16, PATIENCE = 4096, APART = 8, AHEAD = 1024 };

typedef struct {
    const float *weights, *inputs, *hidden; /* panels; [rows, steps, 4 H]; [rows, H] before the first step */
    float *cells, *outputs;                 /* [rows, H]; [rows, steps, H] */
    size_t rows, steps, H;
    size_t *shared;
} Call;

/* Sixteen numbers of the products of n rows, each at its own place, in enough sums to keep both units of multiplication busy. */
INLINE void some_rows(const float *w, const float *const *h, size_t H, float *out, const int n, const int phases) {
    __m256 sums[PHASES][ROWS][2];
#pragma GCC unroll 4
    for (int p = 0; p < phases; p++)
#pragma GCC unroll 6
        for (int r = 0; r < n; r++) sums[p][r][0] = sums[p][r][1] = _mm256_setzero_ps();
    size_t k = 0;
    for (; k + phases <= H; k += phases) {
#pragma GCC unroll 4
        for (int p = 0; p < phases; p++, w += UNITS) {
            _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
            __m256 low = _mm256_loadu_ps(w), high = _mm256_loadu_ps(w + 8);
#pragma GCC unroll 6
            for (int r = 0; r < n; r++) {
                __m256 value = _mm256_broadcast_ss(h[r] + k + p);
                sums[p][r][0] = _mm256_fmadd_ps(low, value, sums[p][r][0]);
                sums[p][r][1] = _mm256_fmadd_ps(high, value, sums[p][r][1]);
            }
        }
    }
    for (; k < H; k++, w += UNITS)
        for (int r = 0; r < n; r++)
            for (int half = 0; half < 2; half++)
                sums[0][r][half] = _mm256_fmadd_ps(_mm256_loadu_ps(w + 8 * half), _mm256_broadcast_ss(h[r] + k), sums[0][r][half]);
#pragma GCC unroll 6
    for (int r = 0; r < n; r++)
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
#pragma GCC unroll 4
            for (int p = 1; p < phases; p++) sums[0][r][half] = _mm256_add_ps(sums[0][r][half], sums[p][r][half]);
            _mm256_storeu_ps(out + r * UNITS + 8 * half, sums[0][r][half]);
        }
}

KERNEL static void product(const float *w, const float *const *h, size_t H, float *out, int n) {
    switch (n) {
        case 1: some_rows(w, h, H, out, 1, 4); break;
        case 2: some_rows(w, h, H, out, 2, 2); break;
        case 3: some_rows(w, h, H, out, 3, 2); break;
        case 4: some_rows(w, h, H, out, 4, 1); break;
        case 5: some_rows(w, h, H, out, 5, 1); break;
        case 6: some_rows(w, h, H, out, 6, 1); break;
    }
}

/* 1 / (1 + e^-x) and tanh x, both of e^-|x| - 1, which loses nothing near zero and overflows nowhere. */
INLINE __m256 sigmoid(__m256 x) {
    __m256 sign = _mm256_set1_ps(-0.0f), one = _mm256_set1_ps(1), less = exp_less_one(_mm256_or_ps(x, sign));
    __m256 top = _mm256_blendv_ps(one, _mm256_add_ps(one, less), x);
    return _mm256_div_ps(top, _mm256_add_ps(_mm256_set1_ps(2), less));
}

INLINE __m256 hyperbolic_tangent(__m256 x) {
    __m256 sign = _mm256_set1_ps(-0.0f), doubled = _mm256_add_ps(x, x), less = exp_less_one(_mm256_or_ps(doubled, sign));
    __m256 size = _mm256_div_ps(less, _mm256_add_ps(_mm256_set1_ps(2), less)); /* not above zero */
    return _mm256_xor_ps(_mm256_andnot_ps(sign, size), _mm256_and_ps(sign, x));
}

/* Eight units' next cells and outputs, of the products of their gates, [4][ROWS][UNITS]. */
INLINE void advance(const float *products, const float *inputs, size_t H, float *cells, float *out, Some some) {
    __m256 gate[GATES];
#pragma GCC unroll 4
    for (int g = 0; g < GATES; g++)
        gate[g] = _mm256_add_ps(_mm256_loadu_ps(products + g * ROWS * UNITS), load(inputs + g * H, some));
    __m256 fresh = _mm256_mul_ps(sigmoid(gate[0]), hyperbolic_tangent(gate[2]));
    __m256 cell = _mm256_fmadd_ps(sigmoid(gate[1]), load(cells, some), fresh);
    store(cells, some, cell);
    store(out, some, _mm256_mul_ps(sigmoid(gate[3]), hyperbolic_tangent(cell)));
}

KERNEL static void panel_of(const Call *c, size_t step, size_t panel) {
    size_t H = c->H, unit = panel * UNITS, size = (size_t)H * UNITS;
    const float *weights = c->weights + panel * GATES * size;
    for (size_t row = 0; row < c->rows; row += ROWS) {
        int n = c->rows - row < ROWS ? (int)(c->rows - row) : ROWS;
        float products[GATES][ROWS][UNITS];
        const float *h[ROWS];
        for (int r = 0; r < n; r++) h[r] = step ? c->outputs + ((row + r) * c->steps + step - 1) * H : c->hidden + (row + r) * H;
        for (int g = 0; g < GATES; g++) product(weights + g * size, h, H, products[g][0], n);
        for (int r = 0; r < n; r++)
            for (size_t u = 0; u < UNITS && unit + u < H; u += 8) {
                size_t at = (row + r) * c->steps + step, left = H - unit - u;
                advance(&products[0][r][u], c->inputs + at * GATES * H + unit + u, H, c->cells + (row + r) * H + unit + u,
                        c->outputs + at * H + unit + u, left < 8 ? first(left) : ALL);
            }
    }
}

static void wait_for(const size_t *done, size_t count) {
    for (int spins = 0; __atomic_load_n(done, __ATOMIC_ACQUIRE) < count; spins++) {
        if (spins < PATIENCE) _mm_pause();
        else sched_yield();
    }
}

/* Take part in all steps that are left, however many others do. */
KERNEL static void take_part(const void *job, int part, int parts, int worker) {
    const Call *c = job;
    size_t *next = c->shared, *done = c->shared + APART, panels = (c->H + UNITS - 1) / UNITS;
    size_t size = (panels + MOST_GROUPS - 1) / MOST_GROUPS, groups = (panels + size - 1) / size;
    (void)part, (void)parts, (void)worker;
    for (;;) {
        size_t ticket = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED), step = ticket / groups, group = ticket % groups;
        if (step >= c->steps) break;
        wait_for(done, step * groups);
        for (size_t i = 0; i < size; i++) {
            size_t place = group * size + i;
            if (place < panels) panel_of(c, step, step % 2 ? panels - 1 - place : place);
        }
        __atomic_fetch_add(done, 1, __ATOMIC_RELEASE);
    }
    wait_for(done, c->steps * groups);
}

void toneme_lstm(const float *weights, const float *inputs, const float *hidden, float *cells, float *outputs, size_t rows,
                 size_t steps, size_t H, int threads) {
    _Alignas(64) size_t shared[2 * APART] = {0}; /* the next ticket, and how many are done, in lines of cache of their own */
    Call c = {weights, inputs, hidden, cells, outputs, rows, steps, H, shared};
    toneme_share(take_part, &c, threads, threads);
}
#endif
