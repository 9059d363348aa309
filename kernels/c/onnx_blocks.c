/* What a graph says of blocks of time (export/scans.py): "Spans", where each begins and what it sees, and "Between", zeros in place
   of samples that are not wanted. As functions they are some forty operators for each layer, which a session takes longer to make
   than to compute. */
#include "onnx.h"

#ifdef TONEME_AVX2
#include <stdlib.h>
#include <string.h>

enum { ROWS, BATCH, WHOLE };
enum { ENDS, BEGIN, AT_END, LENGTH, STOP };

static const char *const NAMES[] = {"size", "step", "stride", "rate", "shift", "extra", "first", "last"};

typedef struct {
    const Function *table;
    int64_t size, step, stride, rate, shift, extra, first, last; /* in the order of their names */
} Spans;

typedef struct {
    const Function *table;
    int64_t first, width;
} Between;

static const int SPANS[] = {INTEGERS, INTEGERS, INTEGERS}, SPANS_GIVE[] = {INTEGERS, INTEGERS, BOOLEANS, INTEGERS, INTEGERS};
static const int BETWEEN[] = {FLOATS, INTEGERS, INTEGERS}, BETWEEN_GIVES[] = {FLOATS};

static void *integers(const Function *table, const void *info, const char *const *names, size_t count, int64_t *to) {
    void *wrong = NULL;
    for (size_t i = 0; i < count && !wrong; i++) wrong = TABLE(INTEGER_ATTRIBUTE, IntegerAttribute)(info, names[i], to + i);
    return wrong;
}

static void *create_spans(const Operator *o, const Function *table, const void *info, void **kernel) {
    (void)o;
    int64_t v[sizeof NAMES / sizeof *NAMES];
    void *wrong = integers(table, info, NAMES, sizeof NAMES / sizeof *NAMES, v);
    if (wrong) return wrong;
    if (v[0] < 1 || v[1] < 1) return toneme_wrong(table, "blocks of no size");
    Spans *s = malloc(sizeof *s);
    if (!s) return toneme_wrong(table, "no memory for blocks");
    *s = (Spans){table, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]};
    *kernel = s;
    return NULL;
}

static int64_t quotient(int64_t whole, int64_t part) { return (whole + part - 1) / part; }

static void *one(const Function *table, const void *context, size_t index, int64_t *number) {
    Tensor of;
    void *wrong = toneme_input(table, context, index, &of);
    if (wrong) return wrong;
    if (toneme_elements(&of) != 1) return toneme_wrong(table, "a number of blocks is not one");
    *number = *(const int64_t *)of.data;
    return NULL;
}

static void *compute_spans(void *kernel, void *context) {
    const Spans *s = kernel;
    const Function *table = s->table;
    int64_t rows = 0, batch = 0, whole = 0;
    void *wrong = one(table, context, ROWS, &rows);
    if (!wrong) wrong = one(table, context, BATCH, &batch);
    if (!wrong) wrong = one(table, context, WHOLE, &whole);
    if (wrong) return wrong;
    if (rows < 1 || batch < 0) return toneme_wrong(table, "blocks of no rows");
    int64_t length = quotient(quotient(rows, quotient(rows, s->size)), s->step) * s->step, count = quotient(rows, length);
    int64_t all = batch * count, stop = rows * s->rate - s->last;
    Tensor ends = {.sizes = {all, 4}, .rank = 2}, begin = {.sizes = {all}, .rank = 1}, at_end = begin;
    Tensor lengths = {.sizes = {1}, .rank = 1}, stops = lengths;
    if ((wrong = toneme_output(table, context, ENDS, &ends)) || (wrong = toneme_output(table, context, BEGIN, &begin)) ||
        (wrong = toneme_output(table, context, AT_END, &at_end)) || (wrong = toneme_output(table, context, LENGTH, &lengths)) ||
        (wrong = toneme_output(table, context, STOP, &stops)))
        return wrong;
    *(int64_t *)lengths.data = length, *(int64_t *)stops.data = stop;
    for (int64_t n = 0; n < all; n++) {
        int64_t item = n / count, start = n % count * length, *to = (int64_t *)ends.data + 4 * n;
        int64_t at = start * s->rate, seen = length * s->stride - s->shift + s->extra;
        to[0] = -item, to[1] = s->shift - start * s->stride;
        to[2] = item + 1 - batch, to[3] = seen - whole + start * s->stride;
        ((int64_t *)begin.data)[n] = at;
        ((char *)at_end.data)[n] = at < s->first || at + length * s->rate > stop;
    }
    return NULL;
}

static void *create_between(const Operator *o, const Function *table, const void *info, void **kernel) {
    (void)o;
    static const char *const names[] = {"first", "width"};
    int64_t v[2];
    void *wrong = integers(table, info, names, 2, v);
    if (wrong) return wrong;
    if (v[1] < 1) return toneme_wrong(table, "samples of no width");
    Between *b = malloc(sizeof *b);
    if (!b) return toneme_wrong(table, "no memory for samples");
    *b = (Between){table, v[0], v[1]};
    *kernel = b;
    return NULL;
}

static void *compute_between(void *kernel, void *context) {
    const Between *b = kernel;
    const Function *table = b->table;
    int64_t begin = 0, stop = 0;
    Tensor x, y;
    void *wrong = toneme_input(table, context, 0, &x);
    if (!wrong) wrong = one(table, context, 1, &begin);
    if (!wrong) wrong = one(table, context, 2, &stop);
    if (wrong) return wrong;
    y = x;
    if ((wrong = toneme_output(table, context, 0, &y)) || !toneme_elements(&x)) return wrong;
    int64_t count = toneme_elements(&x) / b->width, from = b->first - begin, to = stop - begin;
    from = from < 0 ? 0 : from > count ? count : from;
    to = to < from ? from : to > count ? count : to;
    size_t sample = b->width * sizeof(float);
    memset(y.data, 0, from * sample);
    memcpy((char *)y.data + from * sample, (const char *)x.data + from * sample, (to - from) * sample);
    memset((char *)y.data + to * sample, 0, (count - to) * sample);
    return NULL;
}

const Kind TONEME_BLOCKS[2] = {
    KIND("Spans", SPANS, SPANS_GIVE, create_spans, compute_spans, free),
    KIND("Between", BETWEEN, BETWEEN_GIVES, create_between, compute_between, free),
};
#endif
