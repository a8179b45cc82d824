/* What a data set is inside: splits of arrays, each in memory or still in the file. */
#ifndef HOST_DATASET_H
#define HOST_DATASET_H

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>

#include "noprop/dataset.h"

struct dataset_array {
  char *name;
  noprop_array view; /* values NULL until the array is read */
  void *owned;       /* memory of values, or NULL if it is the caller's */
  bool checked;      /* found free of NaN and infinity */
  char problem[200]; /* why the array in the file cannot be used; "" if it can */
};

struct dataset_split {
  char *name;
  struct dataset_array *arrays;
  int count;
};

struct noprop_dataset {
  char *path;                 /* "" if it was not read from a file */
  hid_t file;                 /* negative if there is none */
  char *description, *source; /* or NULL */
  struct dataset_split *splits;
  int count;
};

const char *dataset_type_name(noprop_type type);
size_t dataset_type_size(noprop_type type);

/* The split or array, or NULL. */
struct dataset_split *dataset_find_split(const noprop_dataset *dataset, const char *split);
struct dataset_array *dataset_find_array(const struct dataset_split *split, const char *name);

/* "float32 [100][2]" into `buffer`; returns `buffer`. */
const char *dataset_shape_text(const noprop_array *array, char *buffer, size_t size);

/* Adds an array whose memory (from malloc) the data set takes over, also when it fails. */
noprop_status dataset_add_owned(noprop_dataset *dataset, const char *split, const char *name, noprop_type type,
                                int rank, const long *shape, void *values);

/* Remembers what noprop_dataset_save writes when it is given no description or source of its own. */
noprop_status dataset_describe(noprop_dataset *dataset, const char *description, const char *source);

#endif
