/* Means and standard deviations by which data are standardised. */
#ifndef HOST_STATISTICS_H
#define HOST_STATISTICS_H

#include <stdbool.h>

#include "noprop/dataset.h"
#include "noprop/model.h"

/* *mean and *std are allocated, [array->width]: free both with free, also after an error. NOPROP_FILE_ERROR names what
 * has a value that is not finite. */

/* Of every column over all rows. */
noprop_status statistics_of_columns(const noprop_array *array, float **mean, float **std);

/* Of images: every pixel gets its channel's mean and standard deviation, so that neighbours stay comparable. */
void statistics_pool_channels(const int sides[3], float *mean, float *std);

/* Of sequences [rows][length][numbers]: every position gets its channel's, over all rows and positions. masked:
 * positions whose last number is not above 1/2 do not count, and that number keeps mean 0 and deviation 1. */
noprop_status statistics_of_sequences(const noprop_array *array, int numbers, bool masked, float **mean, float **std);

#endif
