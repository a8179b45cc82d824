/* Converters of other people's files to data sets. */
#ifndef HOST_CONVERT_H
#define HOST_CONVERT_H

#include <stdint.h>

#include "noprop/dataset.h"

struct convert_options {
  const char *input;  /* fashion-mnist, idx: a folder; idx: or a file of images; csv: a file. NULL: fashion-mnist only,
                         the folder of Debian's package dataset-fashion-mnist */
  const char *labels; /* idx: the file of labels that goes with a file of images */
  const char *target; /* csv: the target's column by name, or by number from 0; NULL: the last one */
  double validation, test; /* fraction of the rows of a file without splits; below 0: 0.1 */
  uint64_t seed;           /* csv, idx files: of the shuffle before the split */
};

/* `kind`:
 * "fashion-mnist", "idx" with a folder: train-images, train-labels, t10k-images (or test-images), t10k-labels, each as
 *   idx or idx.gz. The last twelfth of the training images (5,000 of 60,000) becomes the validation split.
 * "idx" with two files: shuffled, then split by the fractions.
 * "csv": fields separated by comma, semicolon or tab (as in the first line), a header row if its fields are no numbers.
 *   The target becomes y (int32 labels if all its values are integers from 0, else float32), all other columns x
 * float32 [rows][columns]. Shuffled, then split by the fractions. Images stay uint8 [rows][height][width]. The
 * description says what was done. */
NOPROP_API noprop_status convert_dataset(const char *kind, const struct convert_options *options,
                                         noprop_dataset **dataset);

#endif
