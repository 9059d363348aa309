/* Residual search with scores that never leave the registers.

   Sixteen rows, or eight where no more are left, lie beside each other in a panel [D][lanes], so that a vector holds one
   dimension of eight rows; a tile is the scores of a panel and six codes (twelve), whose numbers are read where they lie. Each
   lane keeps its own best code, best and next best score: nothing is left to search when the last tile has been seen. Codes are
   taken in order and only a greater score replaces a code, so the lowest index wins. */
#include "kernels.h"
#include "pool.h"

#ifdef TONEME_AVX2
#include <math.h>

/* Codes that every panel meets before the next; fewer where a panel of long vectors fills the first cache by itself. */
enum { LANES = 16, TILE = 12, BLOCK_FLOATS = 1 << 15, LONG = 256, LONG_BLOCK_FLOATS = 1 << 13 };

typedef struct {
    float best[LANES], second[LANES];
    int32_t code[LANES];
} Leaders;

/* Meet n codes with a panel of `vectors` times eight lanes. */
INLINE void tile(const float *panel, const float *codes, const float *half_norms, int D, int first, Leaders *l, const int n,
                 const int vectors) {
    __m256 score[TILE][2];
    const float *c[TILE];
#pragma GCC unroll 12
    for (int k = 0; k < n; k++) {
        c[k] = codes + (size_t)k * D;
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) score[k][v] = _mm256_set1_ps(-half_norms[k]);
    }
    for (int d = 0; d < D; d++) {
        /* the next tile's codes, of which a processor sees too many streams to fetch them by itself */
        _mm_prefetch((const char *)(codes + (size_t)n * D + (size_t)d * n), _MM_HINT_T0);
        __m256 x[2];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) x[v] = _mm256_loadu_ps(panel + (size_t)d * 8 * vectors + 8 * v);
#pragma GCC unroll 12
        for (int k = 0; k < n; k++) {
            __m256 value = _mm256_broadcast_ss(c[k] + d);
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) score[k][v] = _mm256_fmadd_ps(x[v], value, score[k][v]);
        }
    }
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) {
        __m256 best = _mm256_loadu_ps(l->best + 8 * v), second = _mm256_loadu_ps(l->second + 8 * v);
        __m256 code = _mm256_loadu_ps((float *)l->code + 8 * v);
#pragma GCC unroll 12
        for (int k = 0; k < n; k++) {
            __m256 s = score[k][v], index = _mm256_castsi256_ps(_mm256_set1_epi32(first + k));
            second = _mm256_max_ps(_mm256_min_ps(best, s), second);
            code = _mm256_blendv_ps(code, index, _mm256_cmp_ps(s, best, _CMP_GT_OQ));
            best = _mm256_max_ps(s, best);
        }
        _mm256_storeu_ps(l->best + 8 * v, best);
        _mm256_storeu_ps(l->second + 8 * v, second);
        _mm256_storeu_ps((float *)l->code + 8 * v, code);
    }
}

/* Meet codes `from` to `to`; what is left of the last whole tile goes one by one. */
#define COMPARE(name, codes, vectors)                                                                                       \
    KERNEL static void name(const float *panel, const float *codebook, const float *half_norms, int D, int from, int to,    \
                            Leaders *l) {                                                                                   \
        int k = from;                                                                                                       \
        for (; k + codes <= to; k += codes) tile(panel, codebook + (size_t)k * D, half_norms + k, D, k, l, codes, vectors); \
        for (; k < to; k++) tile(panel, codebook + (size_t)k * D, half_norms + k, D, k, l, 1, vectors);                     \
    }
COMPARE(compare_16, 6, 2)
COMPARE(compare_8, 12, 1)

/* A panel's rows, and its lanes: eight where that many are enough. */
typedef struct {
    float *values;
    int rows, lanes;
} Panel;

KERNEL static void lay_out(const float *x, Panel p, int D) {
    for (int lane = 0; lane < p.lanes; lane++)
        for (int d = 0; d < D; d++) p.values[(size_t)d * p.lanes + lane] = lane < p.rows ? x[(size_t)lane * D + d] : 0;
}

/* Write a one for each row whose best score does not lead by more than twice the error of a score. */
INLINE void doubt_of(const float *values, int rows, const int lanes, int D, float slope, float offset, const Leaders *l,
                     uint8_t *doubt) {
    float squares[LANES] = {0};
    for (int d = 0; d < D; d++)
        for (int lane = 0; lane < lanes; lane++) squares[lane] += values[(size_t)d * lanes + lane] * values[(size_t)d * lanes + lane];
    for (int lane = 0; lane < rows; lane++) /* the length is rounded up; what is not a number is in doubt */
        doubt[lane] = !(l->best[lane] - l->second[lane] > offset + 1.0001f * sqrtf(squares[lane]) * slope);
}

INLINE void take_away(float *values, const int lanes, const float *codebook, int D, const Leaders *l) {
    for (int lane = 0; lane < lanes; lane++) {
        const float *chosen = codebook + (size_t)l->code[lane] * D;
        for (int d = 0; d < D; d++) values[(size_t)d * lanes + lane] -= chosen[d];
    }
}

/* <x - c / 2, c>, or <x, c> where half is zero, in 64 bits. */
INLINE double exact_score(const double *x, const float *c, int D, double half) {
    __m256d sum = _mm256_setzero_pd(), by = _mm256_set1_pd(-half);
    int d = 0;
    for (; d + 4 <= D; d += 4) {
        __m256d value = _mm256_cvtps_pd(_mm_loadu_ps(c + d));
        sum = _mm256_fmadd_pd(_mm256_fmadd_pd(value, by, _mm256_loadu_pd(x + d)), value, sum);
    }
    double total = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    for (; d < D; d++) total += (x[d] - half * c[d]) * c[d];
    return total;
}

/* The best code of one lane in 64 bits, the lowest where those are equal too; `row` has room for D numbers. */
KERNEL static int32_t exact_code(Panel p, int lane, const float *codebook, int K, int D, double half, double *row) {
    double best = -INFINITY;
    int32_t code = 0;
    for (int d = 0; d < D; d++) row[d] = p.values[(size_t)d * p.lanes + lane];
    for (int k = 0; k < K; k++) {
        double score = exact_score(row, codebook + (size_t)k * D, D, half);
        if (score > best) best = score, code = k;
    }
    return code;
}

KERNEL static void find_doubt(Panel p, int D, float slope, float offset, const Leaders *l, uint8_t *doubt) {
    if (p.lanes == LANES) doubt_of(p.values, p.rows, LANES, D, slope, offset, l, doubt);
    else doubt_of(p.values, p.rows, LANES / 2, D, slope, offset, l, doubt);
}

KERNEL static void reduce(Panel p, const float *codebook, int D, const Leaders *l) {
    if (p.lanes == LANES) take_away(p.values, LANES, codebook, D, l);
    else take_away(p.values, LANES / 2, codebook, D, l);
}

static void start(Leaders *l) {
    for (int lane = 0; lane < LANES; lane++) l->best[lane] = l->second[lane] = -INFINITY, l->code[lane] = 0;
}

static Panel panel_at(float *work, size_t p, size_t rows, int D) {
    size_t left = rows - p * LANES;
    return (Panel){work + p * LANES * D, left < LANES ? (int)left : LANES, left <= LANES / 2 ? LANES / 2 : LANES};
}

typedef struct {
    const float *x, *codebooks, *half_norms, *slopes, *offsets;
    size_t rows, size, step; /* rows in all and in a part; numbers between stages of the codes */
    int Q, K, D;
    double half;
    int64_t *codes;
    uint8_t *doubt, *work;
} Search;

/* Bytes of working memory for so many rows, a whole number of lines of the cache. */
static size_t bytes_for(size_t rows, int D) {
    size_t bytes = D * sizeof(double) + (rows + LANES - 1) / LANES * (LANES * D * sizeof(float) + sizeof(Leaders));
    return (bytes + 63) / 64 * 64;
}

KERNEL static void stage_of(const Search *s, int q, size_t at, size_t rows, float *values, Leaders *leaders, double *row) {
    size_t panels = (rows + LANES - 1) / LANES;
    int K = s->K, D = s->D, block = (D > LONG ? LONG_BLOCK_FLOATS : BLOCK_FLOATS) / D / TILE * TILE;
    const float *codebook = s->codebooks + (size_t)q * K * D, *half_norm = s->half_norms + (size_t)q * K;
    if (block < TILE) block = TILE;
    for (size_t p = 0; p < panels; p++) start(leaders + p);
    for (int from = 0; from < K; from += block) {
        int to = K - from < block ? K : from + block;
        for (size_t p = 0; p < panels; p++) {
            Panel panel = panel_at(values, p, rows, D);
            (panel.lanes == LANES ? compare_16 : compare_8)(panel.values, codebook, half_norm, D, from, to, leaders + p);
        }
    }
    for (size_t p = 0; p < panels; p++) {
        Panel panel = panel_at(values, p, rows, D);
        uint8_t unsure[LANES], *here = s->doubt ? s->doubt + q * s->rows + at + p * LANES : unsure;
        find_doubt(panel, D, s->slopes[q], s->offsets[q], leaders + p, here);
        for (int lane = 0; lane < panel.rows; lane++) {
            if (!s->doubt && here[lane]) leaders[p].code[lane] = exact_code(panel, lane, codebook, K, D, s->half, row);
            s->codes[q * s->step + at + p * LANES + lane] = leaders[p].code[lane];
        }
        if (q + 1 < s->Q) reduce(panel, codebook, D, leaders + p);
    }
}

KERNEL static void some_rows(const void *job, int part, int parts, int worker) {
    const Search *s = job;
    size_t at = s->size * part, rows = s->rows - at < s->size ? s->rows - at : s->size, panels = (rows + LANES - 1) / LANES;
    double *row = (double *)(s->work + worker * bytes_for(s->size, s->D));
    float *values = (float *)(row + s->D);
    (void)parts;
    for (size_t p = 0; p < panels; p++) lay_out(s->x + (at + p * LANES) * s->D, panel_at(values, p, rows, s->D), s->D);
    for (int q = 0; q < s->Q; q++) stage_of(s, q, at, rows, values, (Leaders *)(values + panels * LANES * s->D), row);
}

/* Bytes of working memory that toneme_search needs. */
size_t toneme_search_bytes(size_t size, int D, int threads) { return threads * bytes_for(size, D); }

/* Codes of x [rows, D] under codebooks [Q, K, D], stage q of row n at codes[q * step + n], `size` rows at a time. Slopes and offsets
   [Q] are those of rescan.error_factors. A code that rounding may have chosen is chosen again in 64 bits, half of the code taken
   from x (0.5, or 0 for a cosine search); with `doubt` [Q, rows] it stays and has a one there. */
void toneme_search(const float *x, size_t rows, size_t size, int Q, int K, int D, const float *codebooks, const float *half_norms,
                   const float *slopes, const float *offsets, double half, int64_t *codes, size_t step, uint8_t *doubt, void *work,
                   int threads) {
    Search s = {x, codebooks, half_norms, slopes, offsets, rows, size, step, Q, K, D, half, codes, doubt, work};
    toneme_share(some_rows, &s, (int)((rows + size - 1) / size), threads);
}
#endif
