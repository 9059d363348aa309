/* "ConvNeXt" of frames [batch, frames, 1, channels] and of those that its filters see before them: what comes out, and what is seen
   before the next ones. "...Half" of matrices in 16 bits. */
#include "convnext.h"
#include "onnx.h"

#ifdef TONEME_AVX2
#include <stdlib.h>
#include <string.h>

enum { X, STATE, FILTERS, BIAS, GAIN, SHIFT, WIDE, WIDE_BIAS, NARROW, NARROW_BIAS, SCALE, INPUTS };

typedef struct {
    const Function *table;
    ConvNeXt block;
    float *filters;
} Layer;

typedef struct {
    const ConvNeXt *block;
    const float *x, *state;
    float *y;
    size_t rows, frames; /* of all items, and of each */
    int failed;
} Job;

static const int FULL[INPUTS] = {FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS},
                 HALF[INPUTS] = {FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, HALVES, FLOATS, HALVES, FLOATS, FLOATS},
                 GIVES[2] = {FLOATS, FLOATS};

static void destroy(void *kernel) {
    Layer *layer = kernel;
    free((void *)layer->block.wide.panels);
    free((void *)layer->block.narrow.panels);
    free(layer->filters);
    free(layer);
}

static int packed(Linear *layer, const Tensor *matrix) {
    void *panels = malloc(toneme_panel_bytes(layer) + 1);
    if (panels) toneme_pack(matrix->data, 1, layer, panels);
    layer->panels = panels;
    return panels != NULL;
}

/* [channels, 1, taps, 1] to [taps, channels] */
static float *turned(const Tensor *filters, size_t channels, size_t taps) {
    float *to = malloc(channels * taps * sizeof(float) + 1);
    const float *from = filters->data;
    for (size_t c = 0; to && c < channels; c++)
        for (size_t t = 0; t < taps; t++) to[t * channels + c] = from[c * taps + t];
    return to;
}

static int fit(const Tensor *t, size_t channels, size_t hidden) {
    static const int ROWS[] = {BIAS, GAIN, SHIFT, NARROW_BIAS, SCALE};
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++)
        if (!toneme_rows_are(t + ROWS[i], channels)) return 0;
    const Tensor *wide = t + WIDE, *narrow = t + NARROW;
    int matrices = wide->rank == 2 && narrow->rank == 2 && (size_t)wide->sizes[1] == channels &&
                   (size_t)narrow->sizes[0] == channels && (size_t)narrow->sizes[1] == hidden;
    return matrices && toneme_rows_are(t + WIDE_BIAS, hidden) && t[FILTERS].sizes[1] == 1 && t[FILTERS].sizes[3] == 1;
}

static void *create(const Operator *o, const Function *table, const void *info, void **kernel) {
    Tensor t[INPUTS];
    void *wrong = NULL;
    float epsilon;
    for (size_t i = FILTERS; !wrong && i < INPUTS; i++) wrong = toneme_constant(table, info, i, t + i);
    if (!wrong) wrong = TABLE(FLOAT_ATTRIBUTE, FloatAttribute)(info, "epsilon", &epsilon);
    if (wrong) return wrong;
    if (t[FILTERS].rank != 4 || t[WIDE].rank != 2) return toneme_wrong(table, "weights of a ConvNeXt block of other axes");
    size_t channels = t[FILTERS].sizes[0], taps = t[FILTERS].sizes[2], hidden = t[WIDE].sizes[0];
    if (!fit(t, channels, hidden)) return toneme_wrong(table, "weights of a ConvNeXt block that do not fit each other");
    int half = ((const Kind *)o)->types[WIDE] == HALVES;
    Layer *layer = calloc(1, sizeof *layer);
    if (!layer) return toneme_wrong(table, "no memory for a ConvNeXt block");
    layer->table = table;
    layer->filters = turned(t + FILTERS, channels, taps);
    layer->block = (ConvNeXt){
        channels, taps, layer->filters, t[BIAS].data, t[GAIN].data, t[SHIFT].data, t[SCALE].data, epsilon,
        {.bias = t[WIDE_BIAS].data, .inputs = channels, .outputs = hidden, .half = half},
        {.bias = t[NARROW_BIAS].data, .inputs = hidden, .outputs = channels, .half = half},
    };
    int made = layer->filters && packed(&layer->block.wide, t + WIDE) && packed(&layer->block.narrow, t + NARROW);
    if (!made) return destroy(layer), toneme_wrong(table, "no memory for a ConvNeXt block");
    *kernel = layer;
    return NULL;
}

/* `count` rows of what was before and what is now, one after the other, from row `at` on. */
static void join(const Job *job, size_t item, size_t at, size_t count, float *to) {
    size_t width = job->block->channels, before = job->block->taps - 1, old = at < before ? before - at : 0;
    if (old > count) old = count;
    memcpy(to, job->state + (item * before + at) * width, old * width * sizeof(float));
    const float *now = job->x + (item * job->frames + at + old - before) * width;
    memcpy(to + old * width, now, (count - old) * width * sizeof(float));
}

/* Rows of items side by side share the reading of the weights, as those of many streams do. */
static void do_part(void *of, size_t part) {
    Job *job = of;
    const ConvNeXt *block = job->block;
    size_t from = part * CONVNEXT_ROWS, width = block->channels, before = block->taps - 1;
    size_t rows = job->rows - from < CONVNEXT_ROWS ? job->rows - from : CONVNEXT_ROWS;
    float *joined = malloc(((rows + before + rows) * width + rows * block->wide.outputs) * sizeof(float) + 1);
    if (!joined) {
        job->failed = 1;
        return;
    }
    float *mixed = joined + (rows + before) * width;
    for (size_t row = 0, count; row < rows; row += count) {
        size_t item = (from + row) / job->frames, at = (from + row) % job->frames;
        count = job->frames - at < rows - row ? job->frames - at : rows - row;
        join(job, item, at, count + before, joined);
        toneme_convnext_mix(block, joined, count, mixed + row * width);
    }
    toneme_convnext_add(block, job->x + from * width, mixed, rows, mixed + rows * width, job->y + from * width);
    free(joined);
}

static void *run(const Function *table, void *context, Job *job, size_t parts) {
    void *wrong = NULL;
    if (parts > 1) wrong = TABLE(SHARE, Share)(context, do_part, parts, 0, job);
    else if (parts) do_part(job, 0);
    return wrong || !job->failed ? wrong : toneme_wrong(table, "no memory for a ConvNeXt block");
}

static int frames_fit(const ConvNeXt *block, const Tensor *x, const Tensor *state) {
    int fits = x->rank == 4 && state->rank == 4 && x->sizes[0] == state->sizes[0] && x->sizes[2] == 1 && state->sizes[2] == 1;
    return fits && (size_t)x->sizes[3] == block->channels && (size_t)state->sizes[3] == block->channels &&
           (size_t)state->sizes[1] == block->taps - 1;
}

static void *compute(void *kernel, void *context) {
    const Layer *layer = kernel;
    const Function *table = layer->table;
    const ConvNeXt *block = &layer->block;
    Tensor x, state;
    void *wrong;
    if ((wrong = toneme_input(table, context, X, &x)) || (wrong = toneme_input(table, context, STATE, &state))) return wrong;
    if (!frames_fit(block, &x, &state)) return toneme_wrong(table, "frames that do not fit a ConvNeXt block");
    size_t batch = x.sizes[0], frames = x.sizes[1];
    Job job = {.block = block, .x = x.data, .state = state.data, .rows = batch * frames, .frames = frames};
    if ((wrong = toneme_output(table, context, 0, &x)) || (wrong = toneme_output(table, context, 1, &state))) return wrong;
    job.y = x.data;
    for (size_t item = 0; item < batch; item++)
        join(&job, item, frames, block->taps - 1, (float *)state.data + item * (block->taps - 1) * block->channels);
    return run(table, context, &job, (job.rows + CONVNEXT_ROWS - 1) / CONVNEXT_ROWS);
}

const Kind TONEME_CONVNEXT[2] = {
    KIND("ConvNeXt", FULL, GIVES, create, compute, destroy),
    KIND("ConvNeXtHalf", HALF, GIVES, create, compute, destroy),
};
#endif
