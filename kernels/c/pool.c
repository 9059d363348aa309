#define _GNU_SOURCE
#include "pool.h"
#include "kernels.h"

#ifdef TONEME_AVX2
#include <dlfcn.h>
#include <stdatomic.h>
#include <unistd.h>

typedef void (*Parallel)(void (*)(void *), void *, unsigned, unsigned);

typedef struct {
    Work work;
    const void *job;
    int parts;
    atomic_int next, entered;
} Call;

static void take_parts(void *given) {
    Call *call = given;
    int worker = atomic_fetch_add(&call->entered, 1);
    for (int part; (part = atomic_fetch_add(&call->next, 1)) < call->parts;) call->work(call->job, part, call->parts, worker);
}

/* The entry of the OpenMP that PyTorch has loaded: its threads wait for work without rest, and others of our own would have to
   share processors with them. A forked process has none of the threads, and would wait for them for ever. */
static Parallel of_pytorch(void) {
    static _Atomic(Parallel) found;
    static atomic_int owner;
    int here = getpid(), none = 0;
    if (!atomic_compare_exchange_strong(&owner, &none, here) && none != here) return NULL;
    Parallel parallel = atomic_load(&found);
    if (!parallel) atomic_store(&found, parallel = (Parallel)dlsym(RTLD_DEFAULT, "GOMP_parallel"));
    return parallel;
}

void toneme_share(Work work, const void *job, int parts, int threads) {
    Call call = {work, job, parts, 0, 0};
    int wanted = parts < threads ? parts : threads;
    Parallel parallel = wanted > 1 ? of_pytorch() : NULL;
    if (parallel) parallel(take_parts, &call, (unsigned)wanted, 0);
    else take_parts(&call);
}
#endif
