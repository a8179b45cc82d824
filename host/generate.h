/* What the generators of data share: random numbers by counters, and the limits of their arguments. */
#ifndef HOST_GENERATE_H
#define HOST_GENERATE_H

#include "host/dataset.h"
#include "kernels/philox.h"

/* Fourth counter word: what the numbers of a row are for. */
enum { PURPOSE_PLACE = 0, PURPOSE_NOISE = 1 };

/* Random numbers of one row. */
philox_words generate_draw(uint64_t seed, unsigned long row, unsigned purpose);
/* In (0, 1), 32 bits fine. */
double generate_uniform(unsigned word);
/* Two independent standard normals (Box-Muller). */
void generate_normals(philox_words words, double *first, double *second);

/* Refuses numbers of training rows and noise that no generator takes; noise below 0 stands for the default. */
noprop_status generate_check(long rows, double noise);

#endif
