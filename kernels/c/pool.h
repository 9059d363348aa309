/* PyTorch's threads, for calls too short for Python's. */
#ifndef TONEME_POOL_H
#define TONEME_POOL_H

/* Does part `part` of `parts`; no two calls at once have the same `worker`, which is below the number of threads. */
typedef void (*Work)(const void *job, int part, int parts, int worker);

/* Do all parts, in as many threads as PyTorch has of so many; one after another where it has none of GNU's OpenMP. */
void toneme_share(Work work, const void *job, int parts, int threads);

#endif
