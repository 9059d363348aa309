/* PyTorch's threads, for calls too short for Python's. */
#ifndef TONEME_POOL_H
#define TONEME_POOL_H

/* Does part `part` of `parts`. */
typedef void (*Work)(const void *job, int part, int parts);

/* Do all parts, as many at once as there are threads; one after another where PyTorch has none of GNU's OpenMP. */
void toneme_share(Work work, const void *job, int parts);

#endif
