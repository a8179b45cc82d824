/* Means and standard deviations by which data are standardised. */
#include "host/statistics.h"

#include <math.h>
#include <stdlib.h>

#include "engine/status.h"
#include "host/array.h"

/* Two passes over rows, so that the sums of a column lie close together and a large mean costs no digits. */
noprop_status statistics_of_columns(const noprop_array *array, float **mean, float **std) {
  size_t width = (size_t)array->width;
  double *sums = calloc(width, sizeof *sums), *squares = calloc(width, sizeof *squares);
  *mean = calloc(width, sizeof **mean);
  *std = calloc(width, sizeof **std);
  if (!sums || !squares || !*mean || !*std) {
    free(sums);
    free(squares);
    return status_set(NOPROP_OUT_OF_MEMORY, "no memory for the statistics of %zu columns", width);
  }
  for (long row = 0; row < array->rows; row++)
    for (size_t i = 0; i < width; i++) sums[i] += array_value(array, row, (long)i);
  for (size_t i = 0; i < width; i++) sums[i] /= (double)array->rows;
  for (long row = 0; row < array->rows; row++)
    for (size_t i = 0; i < width; i++) {
      double off = array_value(array, row, (long)i) - sums[i];
      squares[i] += off * off;
    }
  noprop_status status = NOPROP_OK;
  for (size_t i = 0; i < width && status == NOPROP_OK; i++) {
    float deviation = (float)sqrt(squares[i] / (double)array->rows);
    if (!isfinite(sums[i]) || !isfinite(deviation))
      status = status_set(NOPROP_FILE_ERROR, "array %s, column %zu: a training value is infinite or not a number",
                          array->name, i);
    (*mean)[i] = (float)sums[i];
    (*std)[i] = deviation;
  }
  free(sums);
  free(squares);
  return status;
}

void statistics_pool_channels(const int sides[3], float *mean, float *std) {
  const int pixels = sides[1] * sides[2];
  for (int channel = 0; channel < sides[0]; channel++) {
    float *means = mean + (size_t)channel * (size_t)pixels, *stds = std + (size_t)channel * (size_t)pixels;
    double sum = 0, squares = 0;
    for (int i = 0; i < pixels; i++) sum += (double)means[i] / pixels;
    for (int i = 0; i < pixels; i++) {
      const double off = (double)means[i] - sum;
      squares += ((double)stds[i] * (double)stds[i] + off * off) / pixels;
    }
    for (int i = 0; i < pixels; i++) means[i] = (float)sum, stds[i] = (float)sqrt(squares);
  }
}

noprop_status statistics_of_sequences(const noprop_array *array, int numbers, bool masked, float **mean, float **std) {
  const long channels = numbers - masked, positions = array->width / numbers;
  *mean = calloc((size_t)array->width, sizeof **mean);
  *std = calloc((size_t)array->width, sizeof **std);
  if (!*mean || !*std)
    return status_set(NOPROP_OUT_OF_MEMORY, "no memory for the statistics of %ld columns", array->width);
  for (long channel = 0; channel < numbers; channel++) {
    double sum = 0, squares = 0, count = 0;
    for (int pass = 0; channel < channels && pass < 2; pass++) { /* as of columns */
      const double middle = count > 0 ? sum / count : 0;
      count = 0;
      for (long at = 0; at < array->rows * positions; at++) {
        const long row = at / positions, place = at % positions * numbers;
        if (masked && !(array_value(array, row, place + channels) > 0.5)) continue;
        const double value = array_value(array, row, place + channel);
        if (pass == 0) sum += value;
        squares += pass * (value - middle) * (value - middle);
        count++;
      }
    }
    const float centre = (float)(count > 0 ? sum / count : 0),
                deviation = (float)(count > 0 ? sqrt(squares / count) : 1);
    if (!isfinite(centre) || !isfinite(deviation))
      return status_set(NOPROP_FILE_ERROR, "array %s, channel %ld: a training value is infinite or not a number",
                        array->name, channel);
    for (long position = 0; position < positions; position++) {
      (*mean)[position * numbers + channel] = centre;
      (*std)[position * numbers + channel] = deviation;
    }
  }
  return NOPROP_OK;
}
