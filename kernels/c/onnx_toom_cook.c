/* "ToomCookPanels": a dilated convolution of seven taps (toom_cook.c) of what a block of time sees, x [1, length + 7 dilations,
   inputs], as y [length, columns], with matrices as linear.h has them [13, panels, inputs, 16] and a bias. */
#include "linear.h"
#include "onnx.h"
#include "toom_cook.h"

#ifdef TONEME_AVX2
#include <stdlib.h>

enum { X, PANELS, BIAS, INPUTS, TILE = 4, POINTS = 7, MATRICES = 2 * POINTS - 1, PARTS = 4, ALONE = 1 << 18 };

typedef struct {
    const Function *table;
    size_t dilation, columns;
} Layer;

typedef struct {
    const float *x, *panels, *bias;
    float *y, *values, *products;
    size_t tiles, dilation, inputs, columns, parts;
} Job;

static const int TYPES[] = {FLOATS, FLOATS, FLOATS}, GIVES[] = {FLOATS};

static void *create(const Operator *o, const Function *table, const void *info, void **kernel) {
    (void)o;
    int64_t dilation = 0, columns = 0;
    void *wrong = TABLE(INTEGER_ATTRIBUTE, IntegerAttribute)(info, "dilation", &dilation);
    if (!wrong) wrong = TABLE(INTEGER_ATTRIBUTE, IntegerAttribute)(info, "columns", &columns);
    if (wrong) return wrong;
    if (dilation < 1 || columns < 1) return toneme_wrong(table, "a convolution needs columns, and a dilation");
    Layer *layer = malloc(sizeof *layer);
    if (!layer) return toneme_wrong(table, "no memory for a convolution");
    *layer = (Layer){table, dilation, columns};
    *kernel = layer;
    return NULL;
}

/* The values of a tile more than there are, for the last taps meet the tile after. */
static void enter(void *of, size_t part) {
    const Job *j = of;
    size_t tiles = j->tiles + 1;
    toneme_toom_cook_enter_tiles(j->x, tiles * part / j->parts, tiles * (part + 1) / j->parts, tiles, j->dilation * j->inputs, j->values);
}

/* The products at one point, of some of the rows. */
static void multiply(void *of, size_t part) {
    const Job *j = of;
    size_t point = part / j->parts, number = part % j->parts, rows = j->tiles * j->dilation;
    size_t from = rows * number / j->parts, to = rows * (number + 1) / j->parts;
    size_t matrix = toneme_panels(j->columns) * 16 * j->inputs;
    const float *values = j->values + point * (rows + j->dilation) * j->inputs;
    float *products = j->products + point * rows * j->columns;
    Linear near = {.x = values, .panels = j->panels + point * matrix, .y = products, .rows = rows};
    near.inputs = j->inputs, near.outputs = j->columns;
    toneme_linear_rows(&near, from, to);
    if (point == POINTS - 1) return;
    Linear far = near;
    far.x = values + j->dilation * j->inputs, far.panels = j->panels + (POINTS + point) * matrix, far.onto = products;
    toneme_linear_rows(&far, from, to);
}

static void leave(void *of, size_t part) {
    const Job *j = of;
    size_t from = j->tiles * part / j->parts, to = j->tiles * (part + 1) / j->parts;
    toneme_toom_cook_leave_tiles(j->products, from, to, j->tiles, j->dilation, j->columns, j->bias, NULL, NULL,
                                 j->tiles * TILE * j->dilation, j->y);
}

static void *convolve(const Function *table, void *context, Job *job) {
    size_t rows = job->tiles * job->dilation;
    job->parts = rows * job->inputs * job->columns < ALONE ? 1 : PARTS;
    job->values = malloc(POINTS * ((rows + job->dilation) * job->inputs + rows * job->columns) * sizeof(float));
    if (!job->values) return toneme_wrong(table, "no memory for what a convolution multiplies");
    job->products = job->values + POINTS * (rows + job->dilation) * job->inputs;
    void *wrong = TABLE(SHARE, Share)(context, enter, job->parts, 0, job);
    if (!wrong) wrong = TABLE(SHARE, Share)(context, multiply, POINTS * job->parts, 0, job);
    if (!wrong) wrong = TABLE(SHARE, Share)(context, leave, job->parts, 0, job);
    free(job->values);
    return wrong;
}

static void *compute(void *kernel, void *context) {
    const Layer *l = kernel;
    const Function *table = l->table;
    Tensor t[INPUTS];
    void *wrong = toneme_inputs_of(table, context, INPUTS, t);
    if (wrong) return wrong;
    Tensor x = t[X], panels = t[PANELS], bias = t[BIAS];
    if (panels.rank != 4 || panels.sizes[0] != MATRICES || (size_t)panels.sizes[1] != toneme_panels(l->columns) || panels.sizes[3] != 16)
        return toneme_wrong(table, "panels that are not those of so many columns");
    size_t inputs = panels.sizes[2], rows = x.rank == 3 && x.sizes[0] == 1 ? x.sizes[1] / l->dilation : 0;
    if (rows < POINTS || rows * l->dilation != (size_t)x.sizes[1] || rows % TILE != POINTS % TILE || (size_t)x.sizes[2] != inputs ||
        !toneme_rows_are(&bias, l->columns))
        return toneme_wrong(table, "rows or a bias that do not fit the taps");
    Job job = {.x = x.data, .panels = panels.data, .bias = bias.data, .tiles = (rows - POINTS) / TILE, .dilation = l->dilation};
    job.inputs = inputs, job.columns = l->columns;
    Tensor y = {.sizes = {job.tiles * TILE * l->dilation, l->columns}, .rank = 2};
    if ((wrong = toneme_output(table, context, 0, &y)) || !job.tiles) return wrong;
    job.y = y.data;
    return convolve(table, context, &job);
}

const Kind TONEME_TOOM_COOK[1] = {KIND("ToomCookPanels", TYPES, GIVES, create, compute, free)};
#endif
