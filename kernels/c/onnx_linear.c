/* "Affine" of x [..., inputs] with a matrix and a bias, "Product" of x with a matrix alone. Matrices in 16 bits, of "AffineHalf" and
   "ProductHalf", are [inputs, outputs], or those of "AffineHalf" [outputs, inputs] where the attribute `turned` is 1. Those in 32
   bits, of "AffinePanels" and "ProductPanels", lie as linear.h has them, [panels, inputs, 16], with `columns` as an attribute; their
   bias may be [rows, outputs], too. */
#include "onnx_linear.h"

#ifdef TONEME_AVX2
#include <stdlib.h>

enum { X, MATRIX, BIAS, ALONE = 1 << 20 }; /* products that one thread has done sooner than several share them */
enum { PARTS = 16, ROWS_OF_PART = 48 };    /* at most, and rows for which reading the matrix once more is little */

typedef struct {
    const Function *table;
    Linear linear; /* without rows */
    int biased;
} Layer;

typedef struct {
    Linear linear;
    size_t parts;
    int by_rows;
} Job;

static const int AFFINE[] = {FLOATS, HALVES, FLOATS}, PRODUCT[] = {FLOATS, HALVES}, GIVES[1] = {FLOATS};
static const int AFFINE_PANELS[] = {FLOATS, FLOATS, FLOATS}, PRODUCT_PANELS[] = {FLOATS, FLOATS};

static void destroy(void *layer) {
    free((void *)((Layer *)layer)->linear.panels);
    free(layer);
}

static void *create(const Operator *o, const Function *table, const void *info, void **kernel) {
    const Kind *kind = (const Kind *)o;
    Tensor matrix;
    int64_t turned = 0;
    void *wrong = toneme_constant(table, info, MATRIX, &matrix);
    if (!wrong && kind->inputs > BIAS) wrong = TABLE(INTEGER_ATTRIBUTE, IntegerAttribute)(info, "turned", &turned);
    if (wrong) return wrong;
    if (matrix.rank != 2) return toneme_wrong(table, "a matrix of toneme's products has two axes");
    size_t inputs = matrix.sizes[turned ? 1 : 0], outputs = matrix.sizes[turned ? 0 : 1];
    Linear linear = {.inputs = inputs, .outputs = outputs, .half = 1};
    void *panels = malloc(toneme_panel_bytes(&linear) + 1);
    Layer *layer = malloc(sizeof *layer);
    if (!panels || !layer) return free(panels), free(layer), toneme_wrong(table, "no memory for a matrix");
    toneme_pack(matrix.data, turned != 0, &linear, panels);
    linear.panels = panels;
    *layer = (Layer){table, linear, kind->inputs > BIAS};
    *kernel = layer;
    return NULL;
}

/* Panels are read where they lie. */
static void *create_panels(const Operator *o, const Function *table, const void *info, void **kernel) {
    int64_t outputs = 0;
    void *wrong = TABLE(INTEGER_ATTRIBUTE, IntegerAttribute)(info, "columns", &outputs);
    if (wrong) return wrong;
    if (outputs < 1) return toneme_wrong(table, "a product needs columns");
    Layer *layer = malloc(sizeof *layer);
    if (!layer) return toneme_wrong(table, "no memory for a product");
    *layer = (Layer){table, {.outputs = outputs}, ((const Kind *)o)->inputs > BIAS};
    *kernel = layer;
    return NULL;
}

static void *find_panels(const Layer *layer, const void *context, Linear *linear) {
    Tensor panels;
    void *wrong = toneme_input(layer->table, context, MATRIX, &panels);
    if (wrong) return wrong;
    if (panels.rank != 3 || (size_t)panels.sizes[0] != toneme_panels(linear->outputs) || panels.sizes[2] != 16)
        return toneme_wrong(layer->table, "panels that are not those of so many outputs");
    linear->panels = panels.data, linear->inputs = panels.sizes[1];
    return NULL;
}

static void do_part(void *job, size_t part) {
    const Job *j = job;
    size_t count = j->by_rows ? j->linear.rows : toneme_panels(j->linear.outputs);
    size_t from = count * part / j->parts, to = count * (part + 1) / j->parts;
    if (j->by_rows) toneme_linear_rows(&j->linear, from, to);
    else toneme_linear_panels(&j->linear, from, to);
}

void *toneme_share_linear(const Function *table, void *context, const Linear *linear) {
    size_t panels = toneme_panels(linear->outputs), rows = linear->rows / ROWS_OF_PART, most = rows > panels ? rows : panels;
    if (linear->rows * linear->inputs * linear->outputs < ALONE) most = 1;
    Job job = {*linear, most < PARTS ? most : PARTS, rows > panels};
    if (job.parts > 1) return TABLE(SHARE, Share)(context, do_part, job.parts, 0, &job);
    toneme_linear_panels(linear, 0, panels);
    return NULL;
}

static void *compute(void *kernel, void *context) {
    const Layer *layer = kernel;
    const Function *table = layer->table;
    Linear linear = layer->linear;
    Tensor x, bias = {0};
    void *wrong = toneme_input(table, context, X, &x);
    if (!wrong && layer->biased) wrong = toneme_input(table, context, BIAS, &bias);
    if (!wrong && !linear.half) wrong = find_panels(layer, context, &linear);
    if (wrong) return wrong;
    if (!x.rank || (size_t)x.sizes[x.rank - 1] != linear.inputs)
        return toneme_wrong(table, "rows that do not fit the matrix");
    x.sizes[x.rank - 1] = 1;
    linear.x = x.data, linear.rows = toneme_elements(&x);
    x.sizes[x.rank - 1] = linear.outputs;
    if (layer->biased && toneme_rows_are(&bias, linear.outputs)) linear.bias = bias.data;
    else if (layer->biased && !linear.half && bias.rank == 2 && toneme_elements(&bias) == toneme_elements(&x)) linear.onto = bias.data;
    else if (layer->biased) return toneme_wrong(table, "a bias that does not fit the matrix");
    if ((wrong = toneme_output(table, context, 0, &x))) return wrong;
    linear.y = x.data;
    return toneme_share_linear(table, context, &linear);
}

const Kind TONEME_LINEAR[4] = {
    KIND("AffineHalf", AFFINE, GIVES, create, compute, destroy),
    KIND("ProductHalf", PRODUCT, GIVES, create, compute, destroy),
    KIND("AffinePanels", AFFINE_PANELS, GIVES, create_panels, compute, free),
    KIND("ProductPanels", PRODUCT_PANELS, GIVES, create_panels, compute, free),
};
#endif
