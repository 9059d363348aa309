/* Convolutions and activations one after the other over tiles of time, so short that what passes between them stays in the cache. */
#include <string.h>

#include "product.h"

#ifdef TONEME_AVX2

/* One product of every tile. `kernels/chain.py` has these structs too.

   What lies outside the tile's memory goes on by so many numbers a unit of time: `source_moves` and so on, 0 for what is in it.
   In front of the rows of `active` lie `kept` numbers of what went before; of the first tile of all, where `mirrored` is not 0,
   rows of so many numbers that mirror its own. */
typedef struct {
    Product product;
    size_t rows; /* a unit */
    size_t source_moves[SOURCES], onto_moves, out_moves;
    size_t kept, mirrored;
} Step;

static void mirror(const Step *step) {
    float *start = step->product.active;
    size_t width = step->mirrored;
    for (size_t at = width; at <= step->kept; at += width) memcpy(start - at, start + at, width * sizeof(float));
}

static void take(const Step *step, size_t done, size_t units) {
    Product p = step->product;
    for (size_t s = 0; s < p.sources; s++) p.source[s].rows += done * step->source_moves[s];
    if (p.onto) p.onto += done * step->onto_moves;
    if (p.out) p.out += done * step->out_moves;
    toneme_multiply(&p, units * step->rows);
    if (done == 0 && step->mirrored) mirror(step);
}

static void keep(const Step *step, size_t units) {
    float *start = step->product.active;
    size_t written = units * step->rows * step->product.active_step;
    if (step->kept) memmove(start - step->kept, start + written - step->kept, step->kept * sizeof(float));
}

/* All steps of each tile of at most so many units. */
void toneme_chain(const Step *steps, size_t count, size_t units, size_t tile) {
    for (size_t done = 0; done < units; done += tile) {
        size_t now = units - done < tile ? units - done : tile;
        for (size_t s = 0; s < count; s++) take(steps + s, done, now);
        for (size_t s = 0; s < count; s++) keep(steps + s, now);
    }
}
#endif
