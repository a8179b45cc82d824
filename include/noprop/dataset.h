/* Data: splits of named arrays with rows first, read from HDF5 or taken from the caller's memory. */
#ifndef NOPROP_DATASET_H
#define NOPROP_DATASET_H

#include <noprop/status.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct noprop_dataset noprop_dataset;

typedef enum {
  NOPROP_TYPE_FLOAT32 = 0,
  NOPROP_TYPE_UINT8 = 1,
  NOPROP_TYPE_INT32 = 2,
  NOPROP_TYPE_FLOAT64 = 3
} noprop_type;

/* One array of one split. `values` is [rows][width] row-major; rank-1 arrays have width 1.
 * uint8 of rank 2 or more stays uint8; other integers become int32 (labels when rank is 1, uint8 among them); float64
 * stays float64 in files and becomes float32 on the device. */
typedef struct {
  const char *name; /* "x", "y" */
  noprop_type type;
  long rows;
  long width;         /* product of the dimensions after the first */
  int rank;           /* number of dimensions in the file, 1 or more */
  long shape[8];      /* shape[0] == rows */
  const void *values; /* owned by the data set (or by the caller, see below) */
} noprop_array;

/* Opens an HDF5 file: groups train, validation, test, each with one data set per array. Arrays are read when asked for.
 */
NOPROP_API noprop_status noprop_dataset_open(const char *path, noprop_dataset **dataset);

/* An empty data set for the caller's own arrays; noprop_dataset_add copies nothing: memory must outlive the data set.
 */
NOPROP_API noprop_status noprop_dataset_create(noprop_dataset **dataset);
NOPROP_API noprop_status noprop_dataset_add(noprop_dataset *dataset, const char *split, const noprop_array *array);

/* The array `name` of `split`; NOPROP_FILE_ERROR names what is there if it is missing, and the row of a value that is
 * not finite. Valid until the data set is destroyed. */
NOPROP_API noprop_status noprop_dataset_get(noprop_dataset *dataset, const char *split, const char *name,
                                            noprop_array *array);

/* Writes all splits to an HDF5 file (written beside and renamed: an existing file is never damaged).
 * `description` and `source` become attributes; NULL leaves what the data set brought along, "" leaves them out.
 * Same data, same bytes. */
NOPROP_API noprop_status noprop_dataset_save(const noprop_dataset *dataset, const char *path, const char *description,
                                             const char *source);

/* What is there: names of splits, and of the arrays of a split, by number (0-based); NULL past the end. Owned by the
 * data set. noprop_dataset_peek describes an array without reading it (values is NULL unless it was read before). */
NOPROP_API const char *noprop_dataset_split_at(const noprop_dataset *dataset, int index);
NOPROP_API const char *noprop_dataset_array_at(const noprop_dataset *dataset, const char *split, int index);
NOPROP_API noprop_status noprop_dataset_peek(const noprop_dataset *dataset, const char *split, const char *name,
                                             noprop_array *array);
/* The file's attributes; "" if there are none. Owned by the data set. */
NOPROP_API const char *noprop_dataset_description(const noprop_dataset *dataset);
NOPROP_API const char *noprop_dataset_source(const noprop_dataset *dataset);

/* True (1) if the split exists. */
NOPROP_API int noprop_dataset_has_split(const noprop_dataset *dataset, const char *split);

NOPROP_API void noprop_dataset_destroy(noprop_dataset *dataset);

/* Generators. `kind`: "two-moons" (noise 0.1), "gaussians" (8 on a circle of radius 5, std 0.56), "checkerboard"
 * (4 x 4 on [-4,4]^2), "lorenz" (noprop_dataset_generate_lorenz with 6 points each). Draws `rows` training rows and
 * independently rows/2 validation and rows/2 test rows: x float32 [rows][2], y int32 labels [rows]. noise < 0 takes the
 * kind's default. */
NOPROP_API noprop_status noprop_dataset_generate(const char *kind, long rows, double noise, uint64_t seed,
                                                 noprop_dataset **dataset);

/* The Lorenz system (10, 28, 8/3), points 100/1023 time units apart: x float32 [rows][prefix][3], the first points of a
 * window, y float32 [rows][horizon][3], those that follow; 1 to 256 points each. Windows begin one point apart in
 * trajectories of 1024 points (classical Runge-Kutta, four steps between points, starts uniform in [-20,20]^2 x
 * [0,50]); a trajectory belongs to one split. `noise`: standard deviation of the observation of every point, in the
 * system's units; below 0: none. */
NOPROP_API noprop_status noprop_dataset_generate_lorenz(long rows, int prefix, int horizon, double noise, uint64_t seed,
                                                        noprop_dataset **dataset);

/* How to convert other people's files. Start from {.validation = -1, .test = -1}. */
typedef struct {
  const char *input;       /* fashion-mnist, idx: a folder; idx: or a file of images; csv, npz: a file; cifar: a folder.
                              NULL: fashion-mnist only, the folder of Debian's package dataset-fashion-mnist */
  const char *labels;      /* idx: the file of labels that goes with a file of images */
  const char *target;      /* csv: the target's column by name, or by number from 0; NULL: the last one */
  double validation, test; /* fractions of the rows of a file without splits; below 0: 0.1. npz with splits, cifar: the
                              fraction of the training rows, the last ones, that validate */
  uint64_t seed;           /* of the shuffle before such a file is split */
} noprop_convert_options;

/* Converters. `kind`:
 * "fashion-mnist", "idx" with a folder: train-images, train-labels, t10k-images (or test-images), t10k-labels, each as
 *   idx or idx.gz. The last twelfth of the training images (5,000 of 60,000) becomes the validation split.
 * "idx" with two files: shuffled, then split by the fractions.
 * "csv": fields separated by comma, semicolon or tab (as in the first line), a header row if its fields are no numbers.
 *   The target becomes y (int32 labels if all its values are integers from 0, else float32), all other columns x
 * float32 [rows][columns]. Shuffled, then split by the fractions.
 * "npz": NumPy's archives, compressed or not, with arrays x and y (shuffled, then split by the fractions), or x_train,
 *   y_train, x_test, y_test and, if you have them, x_validation, y_validation (Keras' names; train_x and x_val are
 *   understood too). Floats stay what they are, bytes of rank 2 or more too; other integers become int32.
 * "cifar": a folder of the binary version of CIFAR-10 (data_batch_1 to 5, test_batch) or CIFAR-100 (train, test):
 *   x uint8 [rows][3][32][32], labels y, and y_coarse for CIFAR-100.
 * Images stay uint8 [rows][height][width]. The data
 * set's description says what was done. */
NOPROP_API noprop_status noprop_dataset_convert(const char *kind, const noprop_convert_options *options,
                                                noprop_dataset **dataset);

#ifdef __cplusplus
}
#endif
#endif
