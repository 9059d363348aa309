/* A product that ONNX Runtime's threads share. */
#ifndef TONEME_ONNX_LINEAR_H
#define TONEME_ONNX_LINEAR_H

#include "linear.h"
#include "onnx.h"

#ifdef TONEME_AVX2
/* All rows and columns, by rows where there are many and by panels where there are few; null or what went wrong. */
void *toneme_share_linear(const Function *table, void *context, const Linear *linear);
#endif
#endif
