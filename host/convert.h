/* What all converters share: tables of rows on their way into splits. */
#ifndef HOST_CONVERT_H
#define HOST_CONVERT_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/status.h"
#include "host/dataset.h"
#include "kernels/row_order.h"

/* Rows in memory that are not yet divided into splits. */
struct table {
  noprop_type type;
  int rank;
  long shape[8], width; /* width: values of one row */
  void *values;
};

enum { CONVERT_PATH_SIZE = 4096 };

/* Here, so that its callers and their checkers see that it is a failure. */
static inline noprop_status convert_no_memory(const char *path) {
  status_set(NOPROP_OUT_OF_MEMORY, "no memory is left to convert %s", path);
  return NOPROP_OUT_OF_MEMORY;
}

/* The name of a file without its folder: what may stand in a description. */
const char *convert_base_name(const char *path);

bool convert_is_folder(const char *path);

/* Copies `count` rows, those of `order` from position `first` on (NULL: in their own order), into a split. */
noprop_status convert_add_rows(noprop_dataset *dataset, const char *split, const char *name, const struct table *table,
                               const row_order *order, long first, long count);
/* The arrays "x" and "y" of a split; nothing where `count` is 0. */
noprop_status convert_add_pair(noprop_dataset *dataset, const char *split, const struct table *x, const struct table *y,
                               const row_order *order, long first, long count);

/* A fraction of the options, a tenth where none is given, and the rows it takes of `rows`: at least one if any are
 * wanted. */
double convert_fraction(double option);
long convert_part(long rows, double fraction);

/* Divides the rows of a file without splits by the options' fractions, after a shuffle by their seed; `note` says so.
 */
noprop_status convert_add_shuffled(noprop_dataset *dataset, const char *path, const struct table *x,
                                   const struct table *y, const noprop_convert_options *options, char *note,
                                   size_t note_size);

/* The converters, one for each kind of noprop_dataset_convert. */
noprop_status convert_fashion_mnist(const noprop_convert_options *options, noprop_dataset *dataset);
noprop_status convert_idx(const noprop_convert_options *options, noprop_dataset *dataset);
noprop_status convert_csv(const noprop_convert_options *options, noprop_dataset *dataset);
noprop_status convert_npz(const noprop_convert_options *options, noprop_dataset *dataset);
noprop_status convert_cifar(const noprop_convert_options *options, noprop_dataset *dataset);

#endif
