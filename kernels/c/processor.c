#include "kernels.h"

int toneme_version(void) { return TONEME_VERSION; }

/* 0: none of the kernels may be called; 1: all may; 2: all may, and PyTorch's own products take wider vectors than these. */
int toneme_processor(void) {
#ifdef TONEME_AVX2
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
    return __builtin_cpu_supports("avx512f") ? 2 : 1;
#else
    return 0;
#endif
}
