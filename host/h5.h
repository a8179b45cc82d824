/* HDF5 as this library uses it: silent, one thread at a time, files made in memory and put in place at once.
 *
 * A file is built as an image in memory and written by run_file_write: a full disk is then an ordinary write error,
 * never a half-open HDF5 file. Object times are off and all types are little-endian: same content, same bytes. */
#ifndef HOST_H5_H
#define HOST_H5_H

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "noprop/status.h"

/* Between begin and end HDF5 prints nothing and no other thread of this library calls it. */
struct h5_scope {
  H5E_auto2_t report;
  void *report_data;
};
void h5_begin(struct h5_scope *scope);
void h5_end(const struct h5_scope *scope);

/* HDF5's own words on the last failure in this thread, into `buffer`; "" if it has none. Returns `buffer`. */
const char *h5_problem(char *buffer, size_t size);

/* Opens a file for reading; the sentence of a failure says whether it is missing, cut short or no HDF5 file at all. */
noprop_status h5_open(const char *path, hid_t *file);

/* A new file in memory; `expected` bytes are reserved at a time. Negative on failure. */
hid_t h5_image_create(size_t expected);
/* Writes the image beside `path` and renames it. The file stays open. */
noprop_status h5_image_write(hid_t file, const char *path);

/* Writers: false on failure. Paths may lie in groups that do not exist yet. */
bool h5_put_array(hid_t parent, const char *path, hid_t file_type, hid_t memory_type, int rank, const hsize_t *shape,
                  const void *values);
bool h5_put_text(hid_t object, const char *name, const char *text);
bool h5_put_integer(hid_t object, const char *name, uint64_t value);

/* Text of any length as a data set (an attribute holds at most 64 KiB). */
bool h5_put_long_text(hid_t parent, const char *path, const char *text);
bool h5_get_long_text(hid_t parent, const char *path, char **text);

/* Readers of attributes: false if it is missing or of another kind. Text is freed with free(). */
bool h5_get_text(hid_t object, const char *name, char **text);
bool h5_get_integer(hid_t object, const char *name, uint64_t *value);

/* Names of the links of a group, sorted; free each and the list with h5_names_free. */
bool h5_names(hid_t group, char ***names, int *count);
void h5_names_free(char **names, int count);

#endif
