/* "Snake" of rows [..., channels] times a scale [channels], and "Bent" of any shape as it is: s + sin(s)^2. */
#include "onnx.h"
#include "rows.h"
#include "snake.h"

#ifdef TONEME_AVX2
enum { X, SCALE, PIECE = 1 << 14 }; /* numbers that a thread takes at once */

typedef struct {
    const float *x, *scale; /* null where there is none */
    float *y;
    size_t rows, channels, parts;
} Job;

static const int SNAKE[] = {FLOATS, FLOATS}, BENT[] = {FLOATS}, GIVES[] = {FLOATS};

INLINE __m256 bend(__m256 s) { return snake(s, _mm256_set1_ps(1), _mm256_set1_ps(1)); }

KERNEL static void bend_row(const float *x, const float *scale, size_t count, float *y) {
    size_t i = 0;
    for (; i + 8 <= count; i += 8) _mm256_storeu_ps(y + i, bend(_mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(scale + i))));
    if (i < count) {
        Some some = first(count - i);
        store(y + i, some, bend(_mm256_mul_ps(load(x + i, some), load(scale + i, some))));
    }
}

KERNEL static void bend_plain(const float *x, size_t count, float *y) {
    size_t i = 0;
    for (; i + 8 <= count; i += 8) _mm256_storeu_ps(y + i, bend(_mm256_loadu_ps(x + i)));
    if (i < count) store(y + i, first(count - i), bend(load(x + i, first(count - i))));
}

static void do_part(void *of, size_t part) {
    const Job *job = of;
    size_t from = job->rows * part / job->parts, to = job->rows * (part + 1) / job->parts;
    if (!job->scale) {
        bend_plain(job->x + from, to - from, job->y + from);
        return;
    }
    for (size_t row = from; row < to; row++)
        bend_row(job->x + row * job->channels, job->scale, job->channels, job->y + row * job->channels);
}

static void *compute(const Function *table, void *context, int scaled) {
    Tensor x, y, scale = {0};
    void *wrong = toneme_input(table, context, X, &x);
    if (!wrong && scaled) wrong = toneme_input(table, context, SCALE, &scale);
    if (wrong) return wrong;
    if (scaled && (!x.rank || !toneme_rows_are(&scale, x.sizes[x.rank - 1])))
        return toneme_wrong(table, "a scale that does not fit the channels");
    y = x;
    if ((wrong = toneme_output(table, context, 0, &y))) return wrong;
    size_t count = toneme_elements(&x), channels = scaled ? x.sizes[x.rank - 1] : 1, parts = (count + PIECE - 1) / PIECE;
    Job job = {x.data, scale.data, y.data, channels ? count / channels : 0, channels, parts};
    if (parts > 1) return TABLE(SHARE, Share)(context, do_part, parts, 0, &job);
    if (parts) do_part(&job, 0);
    return NULL;
}

static void *compute_snake(void *kernel, void *context) { return compute(kernel, context, 1); }
static void *compute_bent(void *kernel, void *context) { return compute(kernel, context, 0); }

const Kind TONEME_SNAKE[2] = {
    KIND("Snake", SNAKE, GIVES, toneme_bare, compute_snake, toneme_nothing),
    KIND("Bent", BENT, GIVES, toneme_bare, compute_bent, toneme_nothing),
};
#endif
