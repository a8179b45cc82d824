/* latent.embedding prototype: a class is represented by one of its rows, the one in the middle. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/dt.h"
#include "engine/status.h"

/* Rows of a class that are looked at, evenly spaced: distances are taken between all of them. */
enum { ROWS_MOST = 400 };

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static unsigned label_at(const struct model_rows *target, const void *labels, long row) {
  return target->to == NOPROP_TYPE_UINT8 ? ((const uint8_t *)labels)[row] : (unsigned)((const int32_t *)labels)[row];
}

/* One row as the network sees it, standardised. */
static void standardised_row(const noprop_model *model, const struct model_rows *condition, long row, void *raw,
                             double *values) {
  model_rows_convert(condition, row, 1, raw);
  for (long i = 0; i < condition->width; ++i) {
    const double value =
        condition->to == NOPROP_TYPE_UINT8 ? ((const uint8_t *)raw)[i] : (double)((const float *)raw)[i];
    values[i] = (value - (double)model->statistics.condition_mean[i]) / (double)model->statistics.condition_std[i];
  }
}

/* The row with the smallest median distance to the others (the first of equals); `scratch` holds `count` numbers. */
static long middle_of(const double *rows, long count, long width, double *scratch) {
  long best = 0;
  double least = INFINITY;
  for (long i = 0; i < count; ++i) {
    long others = 0;
    for (long j = 0; j < count; ++j) {
      if (j == i) continue;
      double sum = 0;
      for (long k = 0; k < width; ++k) {
        const double off = rows[i * width + k] - rows[j * width + k];
        sum += off * off;
      }
      scratch[others++] = sum;
    }
    qsort(scratch, (size_t)others, sizeof *scratch, by_value);
    const double median = others ? scratch[(others - 1) / 2] : 0;
    if (median >= least) continue;
    least = median;
    best = i;
  }
  return best;
}

noprop_status dt_set_prototypes(noprop_model *model, const struct model_rows *condition,
                                const struct model_rows *target) {
  const int classes = model->network->classes, stride = (model->latent + 7) & ~7;
  const long width = condition->width;
  if (model->settings.latent.embedding != EMBEDDING_PROTOTYPE || model->has_prototypes) return NOPROP_OK;
  const size_t bytes = (size_t)classes * (size_t)stride * sizeof(float);
  void *labels = malloc((size_t)target->rows * model_row_bytes(target)), *raw = malloc(model_row_bytes(condition));
  double *rows = calloc((size_t)ROWS_MOST * (size_t)width, sizeof *rows),
         *scratch = malloc(ROWS_MOST * sizeof *scratch);
  float *vectors = calloc(1, bytes);
  noprop_status status = NOPROP_OK;
  if (!labels || !raw || !rows || !scratch || !vectors) {
    status = status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the prototypes of %d classes", classes);
    goto done;
  }
  model_rows_convert(target, 0, target->rows, labels);
  for (int class = 0; class < classes; ++class) {
    long in_class = 0, seen = 0, taken = 0;
    for (long row = 0; row < target->rows; ++row) in_class += label_at(target, labels, row) == (unsigned)class;
    if (in_class == 0) {
      status = status_set(NOPROP_INVALID_ARGUMENT,
                          "latent.embedding prototype takes a training row for every class, and class %d has none; "
                          "orthonormal and learned need none",
                          class);
      goto done;
    }
    const long wanted = in_class < ROWS_MOST ? in_class : ROWS_MOST;
    for (long row = 0; row < target->rows; ++row) {
      if (label_at(target, labels, row) != (unsigned)class) continue;
      if (seen++ * wanted / in_class < taken) continue;
      standardised_row(model, condition, row, raw, rows + taken++ * width);
    }
    const double *middle = rows + middle_of(rows, taken, width, scratch) * width;
    for (long i = 0; i < width; ++i) vectors[class * stride + i] = (float)middle[i];
  }
  status = device_upload(model->device, model->embedding, vectors, bytes);
  if (status == NOPROP_OK) status = noprop_device_synchronize(model->device);
  model->has_prototypes = status == NOPROP_OK;
done:
  free(labels);
  free(raw);
  free(rows);
  free(scratch);
  free(vectors);
  return status;
}

noprop_status dt_check_prototypes(const noprop_model *model, const char *function) {
  if (model->settings.latent.embedding != EMBEDDING_PROTOTYPE || model->has_prototypes) return NOPROP_OK;
  return status_set(
      NOPROP_INVALID_ARGUMENT,
      "%s: labels become prototypes (latent.embedding), rows of the training data, and none are bound yet; "
      "call noprop_model_bind first",
      function);
}

/* ---- as an array of the training state: [classes][d] ---- */

noprop_status dt_move_prototypes(noprop_model *model, float *to, const float *from) {
  const size_t d = (size_t)model->latent, stride = (d + 7) & ~(size_t)7, classes = (size_t)model->network->classes;
  float *vectors = calloc(classes * stride, sizeof *vectors);
  if (!vectors) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the prototypes of %zu classes", classes);
  const size_t bytes = classes * stride * sizeof *vectors;
  noprop_status status = NOPROP_OK;
  for (size_t class = 0; from && class < classes; ++class)
    memcpy(vectors + class * stride, from + class * d, d * sizeof *vectors);
  if (from) {
    status = device_upload(model->device, model->embedding, vectors, bytes);
    if (status == NOPROP_OK) status = noprop_device_synchronize(model->device);
    model->has_prototypes = status == NOPROP_OK;
  } else {
    status = device_download(model->device, vectors, model->embedding, bytes);
    for (size_t class = 0; class < classes; ++class)
      memcpy(to + class * d, vectors + class * stride, d * sizeof *vectors);
  }
  free(vectors);
  return status;
}
