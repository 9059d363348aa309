/* Operators of the domain "toneme" for ONNX Runtime.

   What of ONNX Runtime's interface for operators of others is needed here. Its functions are called by their place in a table that
   only ever grows at its end, so that a library built once works with every version from 1.20 on, and needs none to be built.

   Source: onnxruntime_c_api.h of ONNX Runtime 1.20, OrtApi and OrtCustomOp. */
#ifndef TONEME_ONNX_H
#define TONEME_ONNX_H

#include "kernels.h"

#ifdef TONEME_AVX2
enum { API = 20 }; /* 1.20 */
enum { FLOATS = 1, INTEGERS = 7, BOOLEANS = 9, HALVES = 10 }; /* types of tensors */

/* Functions of the table; what they return is null, or says what went wrong. */
typedef void (*Function)(void);
typedef void *(*CreateStatus)(int code, const char *message);
typedef void *(*CreateDomain)(const char *name, void **domain);
typedef void *(*AddOperator)(void *domain, const void *operator);
typedef void *(*AddDomain)(void *options, void *domain);
typedef void *(*TensorData)(void *tensor, void **data);
typedef void *(*Dimensions)(const void *shape, size_t *count);
typedef void *(*Sizes)(const void *shape, int64_t *sizes, size_t count);
typedef void *(*TensorShape)(const void *tensor, void **shape);
typedef void *(*FloatAttribute)(const void *info, const char *name, float *value);
typedef void *(*IntegerAttribute)(const void *info, const char *name, int64_t *value);
typedef void *(*Constant)(const void *info, size_t index, int *constant, void **tensor);
typedef void *(*Input)(const void *context, size_t index, void **tensor);
typedef void *(*Output)(void *context, size_t index, const int64_t *sizes, size_t count, void **tensor);
typedef void (*Release)(void *shape);
typedef void *(*Share)(const void *context, void (*work)(void *job, size_t part), size_t parts, size_t batches, void *job);

enum { /* their places */
    CREATE_STATUS = 0,
    CREATE_DOMAIN = 26,
    ADD_OPERATOR = 27,
    ADD_DOMAIN = 28,
    TENSOR_DATA = 51,
    DIMENSIONS = 61,
    SIZES = 62,
    TENSOR_SHAPE = 65,
    FLOAT_ATTRIBUTE = 85,
    INTEGER_ATTRIBUTE = 86,
    INPUT = 90,
    OUTPUT = 91,
    RELEASE = 99,
    CONSTANT = 249,
    SHARE = 274,
};

typedef struct {
    const Function *(*table)(uint32_t api);
    const char *(*version)(void);
} Base;

typedef struct Operator Operator;
struct Operator {
    uint32_t api;
    void *(*create)(const Operator *, const Function *table, const void *info);
    const char *(*name)(const Operator *);
    const char *(*provider)(const Operator *);
    int (*input_type)(const Operator *, size_t);
    size_t (*inputs)(const Operator *);
    int (*output_type)(const Operator *, size_t);
    size_t (*outputs)(const Operator *);
    void (*compute)(void *kernel, void *context);
    void (*destroy)(void *kernel);
    int (*input_kind)(const Operator *, size_t);
    int (*output_kind)(const Operator *, size_t);
    int (*input_memory)(const Operator *, size_t);
    int (*variadic[4])(const Operator *);
    void *(*create_or_fail)(const Operator *, const Function *table, const void *info, void **kernel);
    void *(*compute_or_fail)(void *kernel, void *context);
    void *(*infer)(const Operator *, void *);
    int (*first_version)(const Operator *);
    int (*last_version)(const Operator *);
    void *reuse[4];
};

/* An operator of ours. Its functions take the struct that they are the beginning of. */
typedef struct {
    Operator operator;
    const char *name;
    const int *types, *gives; /* of the inputs, and of the outputs */
    size_t inputs, outputs;
} Kind;

enum { RANK = 8 };

typedef struct {
    void *data;
    int64_t sizes[RANK];
    size_t rank;
} Tensor;

#define TABLE(place, type) ((type)table[place])

/* Each returns null or what went wrong. */
void *toneme_wrong(const Function *table, const char *message);
void *toneme_constant(const Function *table, const void *info, size_t index, Tensor *to);
void *toneme_input(const Function *table, const void *context, size_t index, Tensor *to);
void *toneme_inputs_of(const Function *table, const void *context, size_t count, Tensor *to); /* the first so many */
void *toneme_output(const Function *table, void *context, size_t index, Tensor *of); /* its sizes are given */

/* Make and end the kernel of an operator without weights: the table is all that it needs. */
void *toneme_bare(const Operator *, const Function *table, const void *info, void **kernel);
void toneme_nothing(void *kernel);

size_t toneme_elements(const Tensor *of);

int toneme_rows_are(const Tensor *of, size_t count); /* numbers, all in one row */

#define KIND(title, inputs_of, outputs_of, make, run, end)                                                                        \
    {{.api = API, .name = toneme_name, .provider = toneme_provider, .input_type = toneme_input_type, .inputs = toneme_inputs,     \
      .output_type = toneme_output_type, .outputs = toneme_outputs, .destroy = end, .input_kind = toneme_plain,                   \
      .output_kind = toneme_plain, .input_memory = toneme_plain, .create_or_fail = make, .compute_or_fail = run,                  \
      .first_version = toneme_first_version, .last_version = toneme_last_version},                                                \
     title, inputs_of, outputs_of, sizeof inputs_of / sizeof *inputs_of, sizeof outputs_of / sizeof *outputs_of}

const char *toneme_name(const Operator *), *toneme_provider(const Operator *);
int toneme_input_type(const Operator *, size_t), toneme_output_type(const Operator *, size_t), toneme_plain(const Operator *, size_t);
size_t toneme_inputs(const Operator *), toneme_outputs(const Operator *);
int toneme_first_version(const Operator *), toneme_last_version(const Operator *);

extern const Kind TONEME_LINEAR[4], TONEME_CONVNEXT[2], TONEME_ELU[1], TONEME_LSTM[1], TONEME_NEAREST[2],
    TONEME_SNAKE[2], TONEME_DELAYED[1], TONEME_TOOM_COOK[1], TONEME_BLOCKS[2],
    TONEME_ELU_BLOCK[2], TONEME_TWO_TAPS[2];
#endif
#endif
