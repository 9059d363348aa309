/* What all files here share. Every kernel is called through ctypes by one of the modules of this folder's parent, each of which
   says what its function computes, or by ONNX Runtime (onnx.c); where no compiler built them, or the processor lacks AVX2 and FMA,
   PyTorch and ONNX Runtime do the work. */
#ifndef TONEME_KERNELS_H
#define TONEME_KERNELS_H

/* Of the functions that Python calls, and of the operators of onnx.c: a library of another version is not called. A new number wherever one of them changes. */
#define TONEME_VERSION 4

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define TONEME_AVX2 1
#define KERNEL __attribute__((target("avx2,fma")))
#define INLINE KERNEL static inline __attribute__((always_inline))
#endif

#endif
