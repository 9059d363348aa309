/* "TwoTapsPanels" and "PairedTapsPanels": a convolution of two strides over samples x [batch, time, channels], of which the last `cut` are left out, behind
   `before` and in front of `tail` [batch, any, channels], as rows y [batch, rows, columns]. Its windows are read where they lie, but
   for those that reach into another piece. The matrix lies as linear.h has it, [2 * stride * channels, columns]; V is its first half
   and W its second.

   "PairedTaps" also takes `both`, the sum of these, with which pairs of rows save a quarter of the products: of three strides a, b and c, aV + bW = b(V + W) + (a - b)V and
   bV + cW = b(V + W) + (c - b)W. Source: Winograd, "Arithmetic Complexity of Computations", 1980. */
#include "onnx_linear.h"
#include "product.h"

#ifdef TONEME_AVX2
#include <stdlib.h>
#include <string.h>

enum { X, BEFORE, TAIL, MATRIX, BIAS, BOTH, INPUTS, PIECES = 3, PARTS = 16, ROWS_OF_PART = 48, ALONE = 1 << 20 };
enum { PANEL = 16, DEPTH = 512, DIFFERENCES = 1 << 14, LEAST_PAIRS = 48 }; /* numbers of a stride at once, and of all of its pairs */

typedef struct {
    const Function *table;
    size_t stride, cut;
    int paired;
} Layer;

typedef struct {
    const float *samples;
    size_t count;
} Piece;

typedef struct {
    Linear linear; /* of windows in a row */
    const float *both; /* null where no pairs are formed */
    size_t parts;
    int failed;
} Job;

static const int TYPES[INPUTS - 1] = {FLOATS, FLOATS, FLOATS, FLOATS, FLOATS}, GIVES[] = {FLOATS};
static const int PAIRED[INPUTS] = {FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS};

static void *create(const Operator *o, const Function *table, const void *info, void **kernel) {
    int64_t stride = 0, cut = 0;
    void *wrong = TABLE(INTEGER_ATTRIBUTE, IntegerAttribute)(info, "stride", &stride);
    if (!wrong) wrong = TABLE(INTEGER_ATTRIBUTE, IntegerAttribute)(info, "cut", &cut);
    if (wrong) return wrong;
    if (stride < 1 || cut < 0) return toneme_wrong(table, "a convolution needs a stride");
    Layer *layer = malloc(sizeof *layer);
    if (!layer) return toneme_wrong(table, "no memory for a convolution");
    *layer = (Layer){table, stride, cut, ((const Kind *)o)->inputs > BOTH};
    *kernel = layer;
    return NULL;
}

/* `count` samples from `at` on, of pieces one behind the other. */
static void gather(const Piece *pieces, size_t at, size_t count, size_t channels, float *to) {
    for (size_t p = 0; p < PIECES && count; p++) {
        if (at >= pieces[p].count) {
            at -= pieces[p].count;
            continue;
        }
        size_t some = pieces[p].count - at < count ? pieces[p].count - at : count;
        memcpy(to, pieces[p].samples + at * channels, some * channels * sizeof(float));
        to += some * channels, count -= some, at = 0;
    }
}

/* Differences of the first and of the last of three strides to the one between them, of numbers `at` to `at + depth`. */
KERNEL static void differ(const float *restrict x, size_t stride, size_t pairs, size_t at, size_t depth, float *restrict first,
                          float *restrict last) {
    for (size_t pair = 0; pair < pairs; pair++, first += depth, last += depth) {
        const float *a = x + 2 * pair * stride + at, *b = a + stride, *c = b + stride;
        for (size_t k = 0; k < depth; k++) first[k] = a[k] - b[k], last[k] = c[k] - b[k];
    }
}

/* Every second row of y: what it holds, or of the first numbers what both rows share, and differences times one half of the matrix. */
static void add(const Linear *l, const float *rows, size_t pairs, size_t half, size_t at, size_t depth, const float *shared, float *y) {
    for (size_t column = 0; column < l->outputs; column += PANEL) {
        Product p = {.source = {{rows, depth, depth}}, .sources = 1, .depth = depth, .out = y + column, .out_step = 2 * l->outputs};
        p.columns = l->outputs - column < PANEL ? l->outputs - column : PANEL;
        p.panels = (const float *)l->panels + column * l->inputs + (half + at) * PANEL;
        p.onto = at ? y + column : shared + column, p.onto_step = at ? 2 * l->outputs : l->outputs;
        toneme_multiply(&p, pairs);
    }
}

static size_t most_pairs(const Linear *l) {
    size_t pairs = DIFFERENCES / (l->x_step < DEPTH ? l->x_step : DEPTH);
    return pairs < LEAST_PAIRS ? LEAST_PAIRS : pairs;
}

static void some_pairs(const Job *j, size_t from, size_t pairs, float *memory) {
    const Linear *l = &j->linear;
    size_t stride = l->x_step;
    const float *x = l->x + 2 * from * stride;
    float *y = l->y + 2 * from * l->outputs, *first = memory, *last = first + most_pairs(l) * DEPTH;
    float *shared = last + most_pairs(l) * DEPTH;
    Linear middle = {.x = x + stride, .x_step = 2 * stride, .bias = l->bias, .panels = j->both, .y = shared, .rows = pairs};
    middle.inputs = stride, middle.outputs = l->outputs;
    toneme_linear_rows(&middle, 0, pairs);
    for (size_t at = 0, depth; at < stride; at += depth) {
        depth = stride - at < DEPTH ? stride - at : DEPTH;
        differ(x, stride, pairs, at, depth, first, last);
        add(l, first, pairs, 0, at, depth, shared, y);
        add(l, last, pairs, stride, at, depth, shared, y + l->outputs);
    }
}

static void do_pairs(void *of, size_t part) {
    Job *j = of;
    size_t pairs = j->linear.rows / 2, from = pairs * part / j->parts, to = pairs * (part + 1) / j->parts;
    size_t most = most_pairs(&j->linear);
    float *memory = malloc(most * (2 * DEPTH + j->linear.outputs) * sizeof(float));
    if (!memory) __atomic_store_n(&j->failed, 1, __ATOMIC_RELAXED);
    for (; memory && from < to; from += most) some_pairs(j, from, to - from < most ? to - from : most, memory);
    free(memory);
}

static void *form_pairs(const Function *table, void *context, Job job) {
    const Linear *l = &job.linear;
    size_t most = l->rows * l->inputs * l->outputs < ALONE ? 1 : l->rows / (2 * ROWS_OF_PART);
    void *wrong = NULL;
    job.parts = most > PARTS ? PARTS : most ? most : 1;
    if (job.parts > 1) wrong = TABLE(SHARE, Share)(context, do_pairs, job.parts, 0, &job);
    else do_pairs(&job, 0);
    return wrong || !job.failed ? wrong : toneme_wrong(table, "no memory for windows");
}

/* All rows of windows that lie in a row. */
static void *multiply(const Function *table, void *context, Job job) {
    if (!job.both || job.linear.rows < 2) return toneme_share_linear(table, context, &job.linear);
    void *wrong = form_pairs(table, context, job);
    if (wrong || job.linear.rows % 2 == 0) return wrong;
    job.linear.x += (job.linear.rows - 1) * job.linear.x_step, job.linear.y += (job.linear.rows - 1) * job.linear.outputs;
    job.linear.rows = 1;
    return toneme_share_linear(table, context, &job.linear);
}

/* Rows `from` to `to` of one item, whose windows are gathered. */
static void *edge(const Function *table, void *context, const Piece *pieces, size_t channels, size_t stride, Job job, size_t from, size_t to) {
    if (from >= to) return NULL;
    size_t samples = (to - from + 1) * stride;
    float *joined = malloc(samples * channels * sizeof(float));
    if (!joined) return toneme_wrong(table, "no memory for windows");
    gather(pieces, from * stride, samples, channels, joined);
    job.linear.x = joined, job.linear.rows = to - from, job.linear.y += from * job.linear.outputs;
    void *wrong = multiply(table, context, job);
    free(joined);
    return wrong;
}

/* Rows come in pairs from the first one on, wherever the pieces meet. */
static void *item(const Function *table, void *context, const Piece *pieces, size_t channels, size_t stride, Job job, size_t rows) {
    size_t begin = pieces[0].count, end = begin + pieces[1].count, first = (begin + stride - 1) / stride, last = end / stride;
    last = last ? last - 1 : 0; /* the row after the last one that lies within x */
    if (last > rows) last = rows;
    if (job.both) first += first % 2, last -= last % 2;
    if (first > last) first = last = rows;
    void *wrong = edge(table, context, pieces, channels, stride, job, 0, first);
    if (!wrong) wrong = edge(table, context, pieces, channels, stride, job, last, rows);
    if (wrong || first == last) return wrong;
    job.linear.x = pieces[1].samples + (first * stride - begin) * channels;
    job.linear.rows = last - first, job.linear.y += first * job.linear.outputs;
    return multiply(table, context, job);
}

static int panels_are(const Tensor *of, size_t inputs, size_t outputs) {
    return of->rank == 3 && (size_t)of->sizes[0] == toneme_panels(outputs) && (size_t)of->sizes[1] == inputs && of->sizes[2] == PANEL;
}

static void *compute(void *kernel, void *context) {
    const Layer *l = kernel;
    const Function *table = l->table;
    Tensor t[INPUTS];
    void *wrong = toneme_inputs_of(table, context, l->paired ? INPUTS : INPUTS - 1, t);
    if (wrong) return wrong;
    if (t[X].rank != 3 || t[BIAS].rank != 1 || (size_t)t[X].sizes[1] < l->cut)
        return toneme_wrong(table, "samples that do not fit the taps");
    size_t batch = t[X].sizes[0], channels = t[X].sizes[2], columns = t[BIAS].sizes[0], inputs = 2 * l->stride * channels;
    for (size_t i = BEFORE; i <= TAIL; i++)
        if (t[i].rank != 3 || (size_t)t[i].sizes[0] != batch || (size_t)t[i].sizes[2] != channels)
            return toneme_wrong(table, "samples that do not fit the taps");
    if (!panels_are(t + MATRIX, inputs, columns) || (l->paired && !panels_are(t + BOTH, inputs / 2, columns)))
        return toneme_wrong(table, "samples that do not fit the taps");
    Piece pieces[PIECES] = {{t[BEFORE].data, t[BEFORE].sizes[1]}, {t[X].data, t[X].sizes[1] - l->cut}, {t[TAIL].data, t[TAIL].sizes[1]}};
    size_t samples = pieces[0].count + pieces[1].count + pieces[2].count, rows = samples / l->stride;
    rows = rows ? rows - 1 : 0;
    Tensor y = {.sizes = {batch, rows, columns}, .rank = 3};
    wrong = toneme_output(table, context, 0, &y);
    Job job = {.linear = {.panels = t[MATRIX].data, .bias = t[BIAS].data, .inputs = inputs, .outputs = columns}};
    job.linear.x_step = l->stride * channels, job.both = l->paired ? t[BOTH].data : NULL;
    for (size_t i = 0; i < batch && !wrong; i++) {
        job.linear.y = (float *)y.data + i * rows * columns;
        if (rows) wrong = item(table, context, pieces, channels, l->stride, job, rows);
        pieces[0].samples += pieces[0].count * channels, pieces[1].samples += t[X].sizes[1] * channels;
        pieces[2].samples += pieces[2].count * channels;
    }
    return wrong;
}

const Kind TONEME_TWO_TAPS[2] = {
    KIND("TwoTapsPanels", TYPES, GIVES, create, compute, free),
    KIND("PairedTapsPanels", PAIRED, GIVES, create, compute, free),
};
#endif
