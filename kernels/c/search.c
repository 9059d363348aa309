/* Residual search with scores that never leave the registers.

   Sixteen rows, or eight where no more are left, lie beside each other in a panel [D][lanes], so that a vector holds one
   dimension of eight rows; a tile is the scores of a panel and six codes (twelve), whose numbers are read where they lie. Each
   lane keeps its own best code, best and next best score: nothing is left to search when the last tile has been seen. Codes are
   taken in order and only a greater score replaces a code, so the lowest index wins.

   A row by itself is a panel of one lane, and a vector holds eight of its dimensions.

   A row in doubt is compared in 64 bits with the codes of those blocks alone whose best score comes near enough to its best. With
   all of 4096 codes of 512 dimensions, the one row in seventy that is in doubt took a sixth of the time of the search. */
#include "search.h"

#include "pool.h"
#include "rows.h"

#ifdef TONEME_AVX2
#include <math.h>

/* A block of codes meets every panel before the next one does. A panel keeps the greatest score of each group of blocks; it has a
   group for so many dimensions, which takes an eighth of its own memory. */
enum { LANES = 16, TILE = 12, BLOCK_FLOATS = 1 << 15, DIMENSIONS_OF_GROUP = 8 };

/* Dimensions after which a tile fetches more of the next one's codes; vectors of fewer than LONG are in the cache without. */
enum { STEP = 16, LONG = 32 };

/* Of a row by itself: sums of products side by side, and how far ahead its codes are fetched. */
enum { SUMS = 4, AHEAD = 128 };

/* Numbers of a codebook from which threads share the codes where there are too few rows to share. */
enum { SHARED = 1 << 19 };

typedef struct {
    float best[LANES], second[LANES];
    int32_t code[LANES];
} Leaders;

/* Add the products of one dimension of a panel and of n codes to their scores. */
INLINE void multiply(const float *panel, const float *const *codes, int d, __m256 (*score)[2], const int n, const int vectors) {
    __m256 x[2];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) x[v] = _mm256_loadu_ps(panel + (size_t)d * 8 * vectors + 8 * v);
#pragma GCC unroll 12
    for (int k = 0; k < n; k++) {
        __m256 value = _mm256_broadcast_ss(codes[k] + d);
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) score[k][v] = _mm256_fmadd_ps(x[v], value, score[k][v]);
    }
}

/* Meet n codes with a panel of `vectors` times eight lanes. */
INLINE void tile(const float *panel, const float *codes, const float *half_norms, int D, int first, Leaders *l, const int n,
                 const int vectors, const int is_long) {
    __m256 score[TILE][2];
    const float *c[TILE], *next = codes + (size_t)n * D;
#pragma GCC unroll 12
    for (int k = 0; k < n; k++) {
        c[k] = codes + (size_t)k * D;
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) score[k][v] = _mm256_set1_ps(-half_norms[k]);
    }
    int d = 0;
    for (; is_long && d + STEP <= D; d += STEP, next += n * STEP) {
        /* a processor sees too many streams to fetch the next tile's codes by itself; at every dimension it would be work for it */
#pragma GCC unroll 12
        for (int line = 0; line < n * STEP; line += 16) _mm_prefetch((const char *)(next + line), _MM_HINT_T0);
#pragma GCC unroll 8
        for (int i = 0; i < STEP; i++) multiply(panel, c, d + i, score, n, vectors);
    }
    for (; d < D; d++) multiply(panel, c, d, score, n, vectors);
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

/* Meet the code `index` with the row of a panel of one lane. */
INLINE void dot(const float *row, const float *code, const float *half_norm, int D, int index, Leaders *l) {
    __m256 sum[SUMS];
#pragma GCC unroll 4
    for (int i = 0; i < SUMS; i++) sum[i] = _mm256_setzero_ps();
    int d = 0;
    for (; d + 8 * SUMS <= D; d += 8 * SUMS)
#pragma GCC unroll 4
        for (int i = 0; i < SUMS; i++) {
            const float *at = code + d + 8 * i;
            if (i % 2 == 0) _mm_prefetch((const char *)(at + AHEAD), _MM_HINT_T0);
            sum[i] = _mm256_fmadd_ps(_mm256_loadu_ps(row + d + 8 * i), _mm256_loadu_ps(at), sum[i]);
        }
    for (; d + 8 <= D; d += 8) sum[0] = _mm256_fmadd_ps(_mm256_loadu_ps(row + d), _mm256_loadu_ps(code + d), sum[0]);
    float score = sum_of(_mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3]))), best = l->best[0];
    for (; d < D; d++) score += row[d] * code[d];
    score -= *half_norm;
    float lower = score < best ? score : best;
    if (lower > l->second[0]) l->second[0] = lower;
    if (score > best) l->best[0] = score, l->code[0] = index;
}

/* What is searched at a stage. */
typedef struct {
    const float *codebook, *half_norms;
    int K, D, block, blocks, groups; /* codes of a block, and groups of blocks */
    float slope, offset;
    double half;
} Stage;

/* Meet codes `from` to `to`; what is left of the last whole tile goes one by one. */
#define COMPARE(name, codes, vectors, is_long)                                                                             \
    KERNEL static void name(const float *panel, const Stage *s, int from, int to, Leaders *l) {                            \
        const float *codebook = s->codebook, *half_norms = s->half_norms;                                                  \
        int D = s->D, k = from;                                                                                            \
        for (; k + codes <= to; k += codes)                                                                                \
            tile(panel, codebook + (size_t)k * D, half_norms + k, D, k, l, codes, vectors, is_long);                       \
        for (; k < to; k++) tile(panel, codebook + (size_t)k * D, half_norms + k, D, k, l, 1, vectors, is_long);           \
    }
COMPARE(compare_16, 6, 2, 0)
COMPARE(compare_8, 12, 1, 0)
COMPARE(compare_long_16, 6, 2, 1)
COMPARE(compare_long_8, 12, 1, 1)

KERNEL static void compare_1(const float *row, const Stage *s, int from, int to, Leaders *l) {
    for (int k = from; k < to; k++) dot(row, s->codebook + (size_t)k * s->D, s->half_norms + k, s->D, k, l);
}

/* A panel's rows, and its lanes: eight where that many are enough, or one. */
typedef struct {
    float *values;
    int rows, lanes;
} Panel;

KERNEL static void lay_out(const float *x, Panel p, int D) {
    for (int lane = 0; lane < p.lanes; lane++)
        for (int d = 0; d < D; d++) p.values[(size_t)d * p.lanes + lane] = lane < p.rows ? x[(size_t)lane * D + d] : 0;
}

/* Write twice the error of a score of each row; the rows' lengths are rounded up. */
INLINE void bounds_of(const float *values, const int lanes, const Stage *s, float *bounds) {
    float squares[LANES] = {0}, up = 1.0001f + (float)s->D * 0x1p-24f;
    for (int d = 0; d < s->D; d++)
        for (int lane = 0; lane < lanes; lane++) squares[lane] += values[(size_t)d * lanes + lane] * values[(size_t)d * lanes + lane];
    for (int lane = 0; lane < lanes; lane++) bounds[lane] = s->offset + up * sqrtf(squares[lane]) * s->slope;
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

/* The best code of one lane in 64 bits, the lowest where those are equal too. Blocks whose best score is further from the lane's
   than `bound`, twice the error of a score, do not have it; a score that is not a number leaves out none. */
KERNEL static int32_t exact_code(const Stage *s, Panel p, int lane, const Leaders *l, const float *peaks, float bound, double *row) {
    double best = -INFINITY;
    int32_t code = 0;
    for (int d = 0; d < s->D; d++) row[d] = p.values[(size_t)d * p.lanes + lane];
    for (int from = 0, b = 0; from < s->K; from += s->block, b++) {
        if (peaks && l->best[lane] - peaks[b % s->groups * LANES + lane] > bound) continue;
        int to = s->K - from < s->block ? s->K : from + s->block;
        for (int k = from; k < to; k++) {
            double score = exact_score(row, s->codebook + (size_t)k * s->D, s->D, s->half);
            if (score > best) best = score, code = k;
        }
    }
    return code;
}

KERNEL static void find_bounds(const Stage *s, Panel p, float *bounds) {
    if (p.lanes == LANES) bounds_of(p.values, LANES, s, bounds);
    else if (p.lanes > 1) bounds_of(p.values, LANES / 2, s, bounds);
    else bounds_of(p.values, 1, s, bounds);
}

KERNEL static void reduce(Panel p, const float *codebook, int D, const Leaders *l) {
    if (p.lanes == LANES) take_away(p.values, LANES, codebook, D, l);
    else if (p.lanes > 1) take_away(p.values, LANES / 2, codebook, D, l);
    else take_away(p.values, 1, codebook, D, l);
}

static void start(Leaders *l) {
    for (int lane = 0; lane < LANES; lane++) l->best[lane] = l->second[lane] = -INFINITY, l->code[lane] = 0;
}

/* Add what a block of codes after all others has to the leaders, and its best scores to the peaks of its group. */
KERNEL static void add_block(const Leaders *block, Leaders *l, float *peaks, int first_of_group) {
    for (int v = 0; v < LANES; v += 8) {
        __m256 s = _mm256_loadu_ps(block->best + v), best = _mm256_loadu_ps(l->best + v);
        __m256 code = _mm256_loadu_ps((const float *)l->code + v), other = _mm256_loadu_ps((const float *)block->code + v);
        __m256 second = _mm256_max_ps(_mm256_loadu_ps(block->second + v), _mm256_loadu_ps(l->second + v));
        _mm256_storeu_ps(l->second + v, _mm256_max_ps(_mm256_min_ps(best, s), second));
        _mm256_storeu_ps((float *)l->code + v, _mm256_blendv_ps(code, other, _mm256_cmp_ps(s, best, _CMP_GT_OQ)));
        _mm256_storeu_ps(l->best + v, _mm256_max_ps(s, best));
        _mm256_storeu_ps(peaks + v, first_of_group ? s : _mm256_max_ps(s, _mm256_loadu_ps(peaks + v)));
    }
}

static int groups_of(int D) { return 1 + D / DIMENSIONS_OF_GROUP; }

static size_t panels_of(size_t rows) { return (rows + LANES - 1) / LANES; }

static Panel panel_at(float *values, size_t p, size_t rows, int D) {
    size_t left = rows - p * LANES;
    int lanes = rows == 1 && D >= LONG ? 1 : left <= LANES / 2 ? LANES / 2 : LANES;
    return (Panel){values + p * LANES * D, left < LANES ? (int)left : LANES, lanes};
}

/* A worker's memory: a row in 64 bits, the panels, and the leaders and peaks of each. */
typedef struct {
    double *row;
    float *values, *peaks;
    Leaders *leaders;
} Room;

static Room room_at(uint8_t *work, size_t rows, int D) {
    float *values = (float *)(work + D * sizeof(double)), *peaks = values + panels_of(rows) * LANES * D;
    return (Room){(double *)work, values, peaks, (Leaders *)(peaks + panels_of(rows) * groups_of(D) * LANES)};
}

typedef struct {
    const float *x, *codebooks, *half_norms, *slopes, *offsets;
    size_t rows, size, step; /* rows in all and in a part; numbers between stages of the codes */
    int Q, K, D;
    double half;
    int64_t *codes;
    uint8_t *doubt, *work;
} Search;

/* Bytes of a room for so many rows, a whole number of lines of the cache. */
static size_t bytes_for(size_t rows, int D) {
    size_t of_panel = (size_t)(D + groups_of(D)) * LANES * sizeof(float) + sizeof(Leaders);
    return (D * sizeof(double) + panels_of(rows) * of_panel + 63) / 64 * 64;
}

KERNEL static void meet(const Stage *s, Panel p, int from, int to, Leaders *l, float *peaks, int first_of_group) {
    Leaders block;
    start(&block);
    if (p.lanes == 1) compare_1(p.values, s, from, to, &block);
    else if (p.lanes == LANES) (s->D < LONG ? compare_16 : compare_long_16)(p.values, s, from, to, &block);
    else (s->D < LONG ? compare_8 : compare_long_8)(p.values, s, from, to, &block);
    add_block(&block, l, peaks, first_of_group);
}

/* Meet the blocks of codes from `first` to `last` with all panels. */
KERNEL static void meet_blocks(const Stage *s, int first, int last, float *values, size_t rows, const Room *room) {
    for (size_t p = 0; p < panels_of(rows); p++) start(room->leaders + p);
    for (int b = first; b < last; b++) {
        int from = b * s->block, to = s->K - from < s->block ? s->K : from + s->block;
        for (size_t p = 0; p < panels_of(rows); p++) {
            float *peaks = room->peaks + (p * s->groups + (b - first) % s->groups) * LANES;
            meet(s, panel_at(values, p, rows, s->D), from, to, room->leaders + p, peaks, b - first < s->groups);
        }
    }
}

/* Write the codes of a panel, and where `doubt` is not null, which of them are in doubt; otherwise those are settled, and among all
   codes where there are no peaks. */
KERNEL static void write_codes(const Stage *s, Panel p, Leaders *l, const float *peaks, int64_t *codes, uint8_t *doubt, double *row) {
    float bounds[LANES];
    find_bounds(s, p, bounds);
    for (int lane = 0; lane < p.rows; lane++) {
        int unsure = !(l->best[lane] - l->second[lane] > bounds[lane]); /* what is not a number is */
        if (doubt) doubt[lane] = (uint8_t)unsure;
        else if (unsure) l->code[lane] = exact_code(s, p, lane, l, peaks, bounds[lane], row);
        codes[lane] = l->code[lane];
    }
}

static Stage stage_of(const Search *s, int q) {
    int block = BLOCK_FLOATS / s->D / TILE * TILE;
    const float *codebook = s->codebooks + (size_t)q * s->K * s->D, *half_norms = s->half_norms + (size_t)q * s->K;
    if (block < TILE) block = TILE;
    int blocks = (s->K + block - 1) / block;
    return (Stage){codebook, half_norms, s->K, s->D, block, blocks, groups_of(s->D), s->slopes[q], s->offsets[q], s->half};
}

/* Write the codes of the rows from `at` on, which have met all codes of stage q, and leave what the next stage codes. */
KERNEL static void end_stage(const Search *s, int q, const Stage *stage, size_t at, size_t rows, const Room *room, const float *peaks) {
    for (size_t p = 0; p < panels_of(rows); p++) {
        Panel panel = panel_at(room->values, p, rows, s->D);
        size_t row = at + p * LANES;
        const float *of_panel = peaks ? peaks + p * stage->groups * LANES : NULL;
        uint8_t *doubt = s->doubt ? s->doubt + q * s->rows + row : NULL;
        write_codes(stage, panel, room->leaders + p, of_panel, s->codes + q * s->step + row, doubt, room->row);
        if (q + 1 < s->Q) reduce(panel, stage->codebook, s->D, room->leaders + p);
    }
}

static Room room_of(const Search *s, int worker) { return room_at(s->work + worker * bytes_for(s->size, s->D), s->size, s->D); }

KERNEL static void enter(const Search *s, size_t at, size_t rows, float *values) {
    for (size_t p = 0; p < panels_of(rows); p++) lay_out(s->x + (at + p * LANES) * s->D, panel_at(values, p, rows, s->D), s->D);
}

KERNEL static void some_rows(const void *job, int part, int parts, int worker) {
    const Search *s = job;
    size_t panels = panels_of(s->rows), at = panels * part / parts * LANES, end = panels * (part + 1) / parts * LANES;
    size_t rows = (end < s->rows ? end : s->rows) - at;
    Room room = room_of(s, worker);
    enter(s, at, rows, room.values);
    for (int q = 0; q < s->Q; q++) {
        Stage stage = stage_of(s, q);
        meet_blocks(&stage, 0, stage.blocks, room.values, rows, &room);
        end_stage(s, q, &stage, at, rows, &room, room.peaks);
    }
}

typedef struct {
    const Search *search;
    Stage stage;
    float *values;
} Codes;

KERNEL static void some_codes(const void *job, int part, int parts, int worker) {
    const Codes *c = job;
    Room room = room_of(c->search, part);
    int64_t blocks = c->stage.blocks, first = blocks * part / parts, last = blocks * (part + 1) / parts;
    (void)worker;
    meet_blocks(&c->stage, (int)first, (int)last, c->values, c->search->rows, &room);
}

/* Search the rows of one panel; the threads share the codes. */
KERNEL static void one_panel(const Search *s, int threads) {
    Room room = room_of(s, 0);
    enter(s, 0, s->rows, room.values);
    for (int q = 0; q < s->Q; q++) {
        Codes codes = {s, stage_of(s, q), room.values};
        toneme_share(some_codes, &codes, threads, threads);
        for (int part = 1; part < threads; part++) add_block(room_of(s, part).leaders, room.leaders, room.peaks, 1);
        end_stage(s, q, &codes.stage, 0, s->rows, &room, NULL);
    }
}

size_t toneme_search_bytes(size_t size, int D, int threads) { return threads * bytes_for(size, D); }

void toneme_search(const float *x, size_t rows, size_t size, int Q, int K, int D, const float *codebooks, const float *half_norms,
                   const float *slopes, const float *offsets, double half, int64_t *codes, size_t step, uint8_t *doubt, void *work,
                   int threads) {
    Search s = {x, codebooks, half_norms, slopes, offsets, rows, size, step, Q, K, D, half, codes, doubt, work};
    if (rows <= LANES && threads > 1 && (size_t)K * D >= SHARED) one_panel(&s, threads);
    else toneme_share(some_rows, &s, (int)((panels_of(rows) + panels_of(size) - 1) / panels_of(size)), threads);
}
#endif
