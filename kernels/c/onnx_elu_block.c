/* "EluBlockPanels" and "EluSkipPanels": residual blocks of SEANet on rows x [batch, frames, channels] as y, and the last two rows of
   ELU(x) as `after` [batch, 2, channels], which are those before the next piece. h is ELU of a convolution of three taps of ELU(x);
   y is a product of h and x side by side or, of "EluSkip", x plus a product of h; then ELU of that if `active` is 1. Matrices lie as
   linear.h has them: of the taps [3 * channels, hidden], oldest first, and the second [hidden + channels or hidden, channels].

   As in chain.c, what passes between them stays in the cache. */
#include "elu.h"
#include "linear.h"
#include "onnx.h"
#include "product.h"

#ifdef TONEME_AVX2
#include <stdlib.h>
#include <string.h>

enum { X, BEFORE, TAPS, TAPS_BIAS, MATRIX, BIAS, INPUTS, TAP_COUNT = 3, STATE = TAP_COUNT - 1 };
enum { IN_CACHE = 1 << 14, LEAST_ROWS = 48, ROWS_OF_PART = 96, PARTS = 16 };

typedef struct {
    const Function *table;
    int skips, active;
} Layer;

typedef struct {
    const float *x, *before, *taps, *taps_bias, *matrix, *bias;
    float *y, *after;
    size_t frames, channels, hidden, parts;
    int skips, active, failed;
} Job;

static const int TYPES[INPUTS] = {FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS}, GIVES[] = {FLOATS, FLOATS};

static void *create(const Operator *o, const Function *table, const void *info, void **kernel) {
    int64_t active = 0;
    void *wrong = TABLE(INTEGER_ATTRIBUTE, IntegerAttribute)(info, "active", &active);
    if (wrong) return wrong;
    Layer *layer = malloc(sizeof *layer);
    if (!layer) return toneme_wrong(table, "no memory for a block");
    *layer = (Layer){table, !strcmp(((const Kind *)o)->name, "EluSkipPanels"), active != 0};
    *kernel = layer;
    return NULL;
}

/* `rows` rows of y from those of x, and of their ELU behind two more. */
static void block(const Job *j, const float *x, const float *bent, float *h, float *y, size_t rows) {
    size_t channels = j->channels, hidden = j->hidden;
    Product taps = {.source = {{bent, channels, TAP_COUNT * channels}}, .sources = 1, .depth = TAP_COUNT * channels};
    taps.columns = taps.active_step = hidden, taps.panels = j->taps, taps.bias = j->taps_bias, taps.active = h;
    toneme_multiply(&taps, rows);
    Product mix = {.source = {{h, hidden, hidden}, {x, channels, channels}}, .sources = j->skips ? 1 : 2};
    mix.depth = j->skips ? hidden : hidden + channels, mix.columns = channels, mix.panels = j->matrix, mix.bias = j->bias;
    mix.onto_step = mix.out_step = mix.active_step = channels, mix.onto = j->skips ? x : NULL;
    if (j->active) mix.active = y;
    else mix.out = y;
    toneme_multiply(&mix, rows);
}

static void rows_of(const Job *j, const float *x, const float *before, float *y, size_t from, size_t to, float *bent, float *h, size_t most) {
    size_t width = j->channels;
    if (from) toneme_elu(x + (from - STATE) * width, bent, 1, STATE * width, 0, 0);
    else memcpy(bent, before, STATE * width * sizeof(float));
    for (size_t row = from, rows; row < to; row += rows) {
        rows = to - row < most ? to - row : most;
        toneme_elu(x + row * width, bent + STATE * width, 1, rows * width, 0, 0);
        block(j, x + row * width, bent, h, y + row * width, rows);
        memmove(bent, bent + rows * width, STATE * width * sizeof(float));
    }
}

static void do_part(void *of, size_t part) {
    Job *j = of;
    size_t item = part / j->parts, number = part % j->parts, whole = j->frames * j->channels;
    size_t most = IN_CACHE / (TAP_COUNT * j->channels);
    most = most < LEAST_ROWS ? LEAST_ROWS : most;
    float *bent = malloc(((most + STATE) * j->channels + most * j->hidden) * sizeof(float));
    if (!bent) {
        __atomic_store_n(&j->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    rows_of(j, j->x + item * whole, j->before + item * STATE * j->channels, j->y + item * whole, j->frames * number / j->parts,
            j->frames * (number + 1) / j->parts, bent, bent + (most + STATE) * j->channels, most);
    free(bent);
}

static void leave_state(const Job *j, size_t item) {
    size_t width = j->channels, fresh = j->frames < STATE ? j->frames : STATE, kept = (STATE - fresh) * width;
    const float *x = j->x + (item * j->frames + j->frames - fresh) * width;
    float *after = j->after + item * STATE * width;
    memcpy(after, j->before + item * STATE * width + fresh * width, kept * sizeof(float));
    toneme_elu(x, after + kept, 1, fresh * width, 0, 0);
}

static int panels_are(const Tensor *of, size_t inputs, size_t outputs) {
    return of->rank == 3 && (size_t)of->sizes[0] == toneme_panels(outputs) && (size_t)of->sizes[1] == inputs && of->sizes[2] == 16;
}

static void *compute(void *kernel, void *context) {
    const Layer *l = kernel;
    const Function *table = l->table;
    Tensor t[INPUTS];
    void *wrong = toneme_inputs_of(table, context, INPUTS, t);
    if (wrong) return wrong;
    if (t[X].rank != 3 || t[BEFORE].rank != 3 || t[TAPS_BIAS].rank != 1)
        return toneme_wrong(table, "rows or a state that do not fit the block");
    size_t channels = t[X].sizes[2], hidden = t[TAPS_BIAS].sizes[0], batch = t[X].sizes[0], frames = t[X].sizes[1];
    if (!channels || !hidden || (size_t)t[BEFORE].sizes[0] != batch || t[BEFORE].sizes[1] != STATE || (size_t)t[BEFORE].sizes[2] != channels ||
        !panels_are(t + TAPS, TAP_COUNT * channels, hidden) || !panels_are(t + MATRIX, hidden + (l->skips ? 0 : channels), channels) ||
        !toneme_rows_are(t + BIAS, channels))
        return toneme_wrong(table, "rows or a state that do not fit the block");
    Tensor y = t[X], after = t[BEFORE];
    wrong = toneme_output(table, context, 0, &y);
    if (!wrong) wrong = toneme_output(table, context, 1, &after);
    if (wrong) return wrong;
    size_t parts = frames / ROWS_OF_PART < PARTS ? frames / ROWS_OF_PART + 1 : PARTS;
    Job job = {.x = t[X].data, .before = t[BEFORE].data, .taps = t[TAPS].data, .taps_bias = t[TAPS_BIAS].data,
               .matrix = t[MATRIX].data, .bias = t[BIAS].data, .y = y.data, .after = after.data, .frames = frames,
               .channels = channels, .hidden = hidden, .parts = parts, .skips = l->skips, .active = l->active};
    if (frames && batch * parts > 1) wrong = TABLE(SHARE, Share)(context, do_part, batch * parts, 0, &job);
    else if (frames && batch) do_part(&job, 0);
    if (!wrong && job.failed) wrong = toneme_wrong(table, "no memory for a block");
    for (size_t item = 0; item < batch && !wrong; item++) leave_state(&job, item);
    return wrong;
}

const Kind TONEME_ELU_BLOCK[2] = {
    KIND("EluBlockPanels", TYPES, GIVES, create, compute, free),
    KIND("EluSkipPanels", TYPES, GIVES, create, compute, free),
};
#endif
