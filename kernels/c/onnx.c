/* Exported graphs have the operators of the domain "toneme" as functions of common ones, in whose place ONNX Runtime calls these
   where a session is told of this library. */
#include "onnx.h"

#ifdef TONEME_AVX2
#include <cpuid.h>

enum { INVALID = 2, HALVES_WIDENED = 1 << 29 };

int toneme_processor(void);

const char *toneme_name(const Operator *o) { return ((const Kind *)o)->name; }
const char *toneme_provider(const Operator *o) { return (void)o, NULL; } /* the processor */
int toneme_input_type(const Operator *o, size_t index) { return ((const Kind *)o)->types[index]; }
size_t toneme_inputs(const Operator *o) { return ((const Kind *)o)->inputs; }
int toneme_output_type(const Operator *o, size_t index) { return ((const Kind *)o)->gives[index]; }
size_t toneme_outputs(const Operator *o) { return ((const Kind *)o)->outputs; }
int toneme_plain(const Operator *o, size_t index) { return (void)o, (void)index, 0; }
int toneme_first_version(const Operator *o) { return (void)o, 1; }
int toneme_last_version(const Operator *o) { return (void)o, INT32_MAX; }

void *toneme_bare(const Operator *o, const Function *table, const void *info, void **kernel) {
    (void)o, (void)info;
    *kernel = (void *)table;
    return NULL;
}

void toneme_nothing(void *kernel) { (void)kernel; }

void *toneme_wrong(const Function *table, const char *message) { return TABLE(CREATE_STATUS, CreateStatus)(INVALID, message); }

size_t toneme_elements(const Tensor *of) {
    size_t count = 1;
    for (size_t i = 0; i < of->rank; i++) count *= of->sizes[i];
    return count;
}

int toneme_rows_are(const Tensor *of, size_t count) { return of->rank == 1 && (size_t)of->sizes[0] == count; }

static void *read_tensor(const Function *table, void *value, Tensor *to) {
    void *shape, *wrong = TABLE(TENSOR_SHAPE, TensorShape)(value, &shape);
    if (wrong) return wrong;
    wrong = TABLE(DIMENSIONS, Dimensions)(shape, &to->rank);
    if (!wrong && to->rank > RANK) wrong = toneme_wrong(table, "a tensor of more axes than operators of toneme take");
    if (!wrong) wrong = TABLE(SIZES, Sizes)(shape, to->sizes, to->rank);
    TABLE(RELEASE, Release)(shape);
    return wrong ? wrong : TABLE(TENSOR_DATA, TensorData)(value, &to->data);
}

void *toneme_constant(const Function *table, const void *info, size_t index, Tensor *to) {
    void *value, *wrong;
    int constant = 0;
    if ((wrong = TABLE(CONSTANT, Constant)(info, index, &constant, &value))) return wrong;
    return constant ? read_tensor(table, value, to) : toneme_wrong(table, "weights of an operator of toneme must be constants");
}

void *toneme_input(const Function *table, const void *context, size_t index, Tensor *to) {
    void *value, *wrong = TABLE(INPUT, Input)(context, index, &value);
    return wrong ? wrong : read_tensor(table, value, to);
}

void *toneme_inputs_of(const Function *table, const void *context, size_t count, Tensor *to) {
    void *wrong = NULL;
    for (size_t i = 0; i < count && !wrong; i++) wrong = toneme_input(table, context, i, to + i);
    return wrong;
}

void *toneme_output(const Function *table, void *context, size_t index, Tensor *of) {
    void *value, *wrong = TABLE(OUTPUT, Output)(context, index, of->sizes, of->rank, &value);
    return wrong ? wrong : TABLE(TENSOR_DATA, TensorData)(value, &of->data);
}

static int widens_halves(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & HALVES_WIDENED);
}

#define ALL_OF(kinds) {kinds, sizeof kinds / sizeof *kinds}

static const struct {
    const Kind *kinds;
    size_t count;
} GROUPS[] = {ALL_OF(TONEME_LINEAR), ALL_OF(TONEME_CONVNEXT), ALL_OF(TONEME_ELU), ALL_OF(TONEME_LSTM), ALL_OF(TONEME_NEAREST),
              ALL_OF(TONEME_SNAKE), ALL_OF(TONEME_DELAYED), ALL_OF(TONEME_TOOM_COOK), ALL_OF(TONEME_BLOCKS), ALL_OF(TONEME_ELU_BLOCK), ALL_OF(TONEME_TWO_TAPS)};

/* What ONNX Runtime calls of a library of operators. Graphs keep their functions where it is older than the table or the
   processor lacks what is needed. */
void *RegisterCustomOps(void *options, const Base *base) {
    const Function *table = base->table(API);
    void *domain, *wrong;
    if (!table || !toneme_processor() || !widens_halves()) return NULL;
    if ((wrong = TABLE(CREATE_DOMAIN, CreateDomain)("toneme", &domain))) return wrong;
    for (size_t g = 0; g < sizeof GROUPS / sizeof *GROUPS; g++)
        for (size_t i = 0; i < GROUPS[g].count; i++)
            if ((wrong = TABLE(ADD_OPERATOR, AddOperator)(domain, &GROUPS[g].kinds[i].operator))) return wrong;
    return TABLE(ADD_DOMAIN, AddDomain)(options, domain);
}
#endif
