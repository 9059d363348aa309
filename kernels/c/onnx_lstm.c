/* "Lstm": a layer of frames [batch, frames, inputs], from hidden and cell values [1, batch, H] on; weights and the sum of both biases
   as PyTorch has them, [4 H, inputs], [4 H, H] and [4 H], gates in the order i, f, g, o. */
#include "linear.h"
#include "lstm.h"
#include "onnx.h"

#ifdef TONEME_AVX2
#include <stdlib.h>
#include <string.h>

enum { X, WEIGHTS, RECURRENT, BIAS, HIDDEN, CELL, INPUTS, GATES = 4, UNITS = 16 };

typedef struct {
    const Function *table;
    Linear enter; /* what the gates get of the input */
    float *recurrent;
    size_t width;
} Layer;

static const int TYPES[INPUTS] = {FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS}, GIVES[3] = {FLOATS, FLOATS, FLOATS};

static void destroy(void *kernel) {
    Layer *layer = kernel;
    free((void *)layer->enter.panels);
    free(layer->recurrent);
    free(layer);
}

/* [4 H, H] to panels [panels][4][H][16], the last filled up with zeros. */
static float *packed(const float *from, size_t width) {
    size_t panels = (width + UNITS - 1) / UNITS;
    float *all = calloc(panels * GATES * width * UNITS + 1, sizeof(float));
    for (size_t panel = 0; all && panel < panels; panel++)
        for (size_t gate = 0; gate < GATES; gate++) {
            float *to = all + (panel * GATES + gate) * width * UNITS;
            for (size_t unit = 0; unit < UNITS && panel * UNITS + unit < width; unit++) {
                const float *row = from + (gate * width + panel * UNITS + unit) * width;
                for (size_t k = 0; k < width; k++) to[k * UNITS + unit] = row[k];
            }
        }
    return all;
}

static int fit(const Tensor *t) {
    int matrices = t[WEIGHTS].rank == 2 && t[RECURRENT].rank == 2;
    return matrices && t[RECURRENT].sizes[0] == GATES * t[RECURRENT].sizes[1] && t[WEIGHTS].sizes[0] == t[RECURRENT].sizes[0] &&
           toneme_rows_are(t + BIAS, t[RECURRENT].sizes[0]);
}

static void *create(const Operator *o, const Function *table, const void *info, void **kernel) {
    (void)o;
    Tensor t[INPUTS];
    void *wrong = NULL;
    for (size_t i = WEIGHTS; !wrong && i <= BIAS; i++) wrong = toneme_constant(table, info, i, t + i);
    if (wrong) return wrong;
    if (!fit(t)) return toneme_wrong(table, "weights of an LSTM that do not fit each other");
    Layer *layer = calloc(1, sizeof *layer);
    if (!layer) return toneme_wrong(table, "no memory for an LSTM");
    layer->table = table, layer->width = t[RECURRENT].sizes[1];
    layer->enter = (Linear){.bias = t[BIAS].data, .inputs = t[WEIGHTS].sizes[1], .outputs = GATES * layer->width};
    void *panels = malloc(toneme_panel_bytes(&layer->enter) + 1);
    layer->enter.panels = panels, layer->recurrent = packed(t[RECURRENT].data, layer->width);
    if (!panels || !layer->recurrent) return destroy(layer), toneme_wrong(table, "no memory for an LSTM");
    toneme_pack(t[WEIGHTS].data, 1, &layer->enter, panels);
    *kernel = layer;
    return NULL;
}

static int frames_fit(const Layer *layer, const Tensor *x, const Tensor *hidden, const Tensor *cell) {
    int ranks = x->rank == 3 && hidden->rank == 3 && cell->rank == 3;
    for (int axis = 0; ranks && axis < 3; axis++)
        if (hidden->sizes[axis] != cell->sizes[axis]) return 0;
    return ranks && (size_t)x->sizes[2] == layer->enter.inputs && hidden->sizes[0] == 1 && hidden->sizes[1] == x->sizes[0] &&
           (size_t)hidden->sizes[2] == layer->width;
}

/* y [batch, frames, H], and hidden and cell values after them. */
static void *run(const Layer *layer, const float *x, const float *before, size_t batch, size_t frames, float *y, float *hidden,
                 float *cell) {
    size_t width = layer->width;
    Linear enter = layer->enter;
    enter.x = x, enter.rows = batch * frames;
    float *gates = malloc(enter.rows * enter.outputs * sizeof(float) + 1);
    if (!gates) return toneme_wrong(layer->table, "no memory for an LSTM");
    enter.y = gates;
    toneme_linear_panels(&enter, 0, toneme_panels(enter.outputs));
    toneme_lstm(layer->recurrent, gates, before, cell, y, batch, frames, width, 1);
    for (size_t item = 0; item < batch; item++) {
        const float *last = frames ? y + (item * frames + frames - 1) * width : before + item * width;
        memcpy(hidden + item * width, last, width * sizeof(float));
    }
    free(gates);
    return NULL;
}

static void *compute(void *kernel, void *context) {
    const Layer *layer = kernel;
    const Function *table = layer->table;
    Tensor x, hidden, cell;
    void *wrong;
    if ((wrong = toneme_input(table, context, X, &x)) || (wrong = toneme_input(table, context, HIDDEN, &hidden)) ||
        (wrong = toneme_input(table, context, CELL, &cell)))
        return wrong;
    if (!frames_fit(layer, &x, &hidden, &cell)) return toneme_wrong(table, "frames or states that do not fit an LSTM");
    const float *frames = x.data, *before = hidden.data, *cells = cell.data;
    x.sizes[2] = layer->width;
    if ((wrong = toneme_output(table, context, 0, &x)) || (wrong = toneme_output(table, context, 1, &hidden)) ||
        (wrong = toneme_output(table, context, 2, &cell)))
        return wrong;
    memmove(cell.data, cells, x.sizes[0] * layer->width * sizeof(float));
    return run(layer, frames, before, x.sizes[0], x.sizes[1], x.data, hidden.data, cell.data);
}

const Kind TONEME_LSTM[1] = {KIND("Lstm", TYPES, GIVES, create, compute, destroy)};
#endif
