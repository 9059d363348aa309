/* "Delayed": x [batch, rows, channels], plus rows that come one later, of which `first` [batch, 1, channels] comes first. */
#include "onnx.h"

#ifdef TONEME_AVX2
enum { X, LATE, FIRST, INPUTS, PIECE = 1 << 15 }; /* numbers that a thread takes at once */

typedef struct {
    const float *x, *late, *first;
    float *y;
    size_t count, width, parts; /* numbers of an item and of a row; parts of an item */
} Job;

static const int TYPES[INPUTS] = {FLOATS, FLOATS, FLOATS}, GIVES[] = {FLOATS};

KERNEL static void add(const float *a, const float *b, size_t count, float *y) {
    size_t i = 0;
    for (; i + 8 <= count; i += 8) _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
    for (; i < count; i++) y[i] = a[i] + b[i];
}

static void do_part(void *of, size_t part) {
    const Job *job = of;
    size_t item = part / job->parts, piece = part % job->parts;
    size_t from = job->count * piece / job->parts, to = job->count * (piece + 1) / job->parts, start = item * job->count;
    if (from < job->width) {
        size_t end = to < job->width ? to : job->width;
        add(job->x + start + from, job->first + item * job->width + from, end - from, job->y + start + from);
        from = end;
    }
    add(job->x + start + from, job->late + start + from - job->width, to - from, job->y + start + from);
}

static int fit(const Tensor *x, const Tensor *late, const Tensor *first) {
    if (x->rank != 3 || late->rank != 3 || first->rank != 3) return 0;
    for (int axis = 0; axis < 3; axis++)
        if (x->sizes[axis] != late->sizes[axis] || first->sizes[axis] != (axis == 1 ? 1 : x->sizes[axis])) return 0;
    return 1;
}

static void *compute(void *kernel, void *context) {
    const Function *table = kernel;
    Tensor t[INPUTS], y;
    void *wrong = NULL;
    for (size_t i = 0; !wrong && i < INPUTS; i++) wrong = toneme_input(table, context, i, t + i);
    if (wrong) return wrong;
    if (!fit(t + X, t + LATE, t + FIRST)) return toneme_wrong(table, "rows that do not fit each other");
    y = t[X];
    if ((wrong = toneme_output(table, context, 0, &y))) return wrong;
    size_t batch = y.sizes[0], width = y.sizes[2], count = y.sizes[1] * width;
    Job job = {t[X].data, t[LATE].data, t[FIRST].data, y.data, count, width, (count + PIECE - 1) / PIECE};
    if (batch * job.parts > 1) return TABLE(SHARE, Share)(context, do_part, batch * job.parts, 0, &job);
    if (batch && job.parts) do_part(&job, 0);
    return NULL;
}

const Kind TONEME_DELAYED[1] = {KIND("Delayed", TYPES, GIVES, toneme_bare, compute, toneme_nothing)};
#endif
