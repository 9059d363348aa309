/* Of matrices in 16 bits: "AffineHalf" of x [rows, inputs] with a matrix and a bias, "ProductHalf" of x [..., inputs] with a matrix
   alone. Matrices are [inputs, outputs], or those of "AffineHalf" [outputs, inputs] where the attribute `turned` is 1. */
#include "linear.h"
#include "onnx.h"

#ifdef TONEME_AVX2
#include <stdlib.h>

enum { X, MATRIX, BIAS, ALONE = 1 << 20 }; /* products that one thread has done sooner than several share them */

typedef struct {
    const Function *table;
    Linear linear; /* without rows */
    int biased;
} Layer;

typedef struct {
    Linear linear;
    size_t panels, parts;
} Job;

static const int AFFINE[] = {FLOATS, HALVES, FLOATS}, PRODUCT[] = {FLOATS, HALVES}, GIVES[1] = {FLOATS};

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

static void do_part(void *job, size_t part) {
    const Job *j = job;
    toneme_linear_panels(&j->linear, j->panels * part / j->parts, j->panels * (part + 1) / j->parts);
}

static void *compute(void *kernel, void *context) {
    const Layer *layer = kernel;
    const Function *table = layer->table;
    Linear linear = layer->linear;
    Tensor x, bias = {0};
    void *wrong = toneme_input(table, context, X, &x);
    if (!wrong && layer->biased) wrong = toneme_input(table, context, BIAS, &bias);
    if (wrong) return wrong;
    if (!x.rank || (size_t)x.sizes[x.rank - 1] != linear.inputs || (layer->biased && !toneme_rows_are(&bias, linear.outputs)))
        return toneme_wrong(table, "rows or a bias that do not fit the matrix");
    linear.x = x.data, linear.bias = bias.data;
    x.sizes[x.rank - 1] = 1;
    linear.rows = toneme_elements(&x);
    x.sizes[x.rank - 1] = linear.outputs;
    if ((wrong = toneme_output(table, context, 0, &x))) return wrong;
    linear.y = x.data;
    size_t panels = toneme_panels(linear.outputs);
    Job job = {linear, panels, linear.rows * linear.inputs * linear.outputs < ALONE ? 1 : panels};
    if (job.parts > 1) return TABLE(SHARE, Share)(context, do_part, job.parts, 0, &job);
    do_part(&job, 0);
    return NULL;
}

const Kind TONEME_LINEAR[2] = {
    KIND("AffineHalf", AFFINE, GIVES, create, compute, destroy),
    KIND("ProductHalf", PRODUCT, GIVES, create, compute, destroy),
};
#endif
