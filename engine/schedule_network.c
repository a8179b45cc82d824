/* The monotone network of a schedule as what it is in its only input: a piecewise linear function.
 *
 * All weights are positive, so every unit increases with t and has at most one kink in (0, 1), where its sum crosses 0.
 * Layer by layer the kinks are added to the rows; between two rows every unit is linear in t. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/schedule.h"
#include "engine/status.h"

long schedule_network_numbers(const struct settings *settings) {
  long numbers = 1, inputs = 1;
  for (int k = 0; k <= settings->schedule.hidden_count; ++k) {
    const long outputs = k < settings->schedule.hidden_count ? settings->schedule.hidden[k] : 1;
    numbers += (inputs + 1) * outputs;
    inputs = outputs;
  }
  return numbers;
}

/* The weights in use, softplus(K - 1/2)/sqrt(inputs), in the places of K. */
static void make_positive(const struct settings *settings, double *numbers) {
  int inputs = 1;
  ++numbers; /* c */
  for (int k = 0; k <= settings->schedule.hidden_count; ++k) {
    const int outputs = k < settings->schedule.hidden_count ? settings->schedule.hidden[k] : 1;
    for (long i = 0; i < (long)inputs * outputs; ++i) numbers[i] = schedule_softplus(numbers[i] - 0.5) / sqrt(inputs);
    numbers += (long)(inputs + 1) * outputs;
    inputs = outputs;
  }
}

/* Sums and their derivatives at time t of layer `layer` (the last one: g), from positive weights: [SCHEDULE_MAX_WIDTH],
 * which the layers before it pass through as well. */
static void evaluate(const struct settings *settings, const double *numbers, int layer, double t, double *sums,
                     double *slopes) {
  double value[SCHEDULE_MAX_WIDTH] = {t}, slope[SCHEDULE_MAX_WIDTH] = {1};
  int inputs = 1;
  ++numbers; /* c */
  for (int k = 0;; ++k) {
    const int outputs = k < settings->schedule.hidden_count ? settings->schedule.hidden[k] : 1;
    const double *bias = numbers + (long)inputs * outputs;
    for (int j = 0; j < outputs; ++j) {
      sums[j] = bias[j];
      slopes[j] = 0;
      for (int i = 0; i < inputs; ++i) {
        const double weight = numbers[(long)i * outputs + j];
        sums[j] += weight * value[i];
        slopes[j] += weight * slope[i];
      }
    }
    if (k == layer) return;
    for (int j = 0; j < outputs; ++j) {
      value[j] = fmax(sums[j], 0);
      slope[j] = sums[j] > 0 ? slopes[j] : 0;
    }
    numbers = bias + outputs;
    inputs = outputs;
  }
}

static int by_time(const void *a, const void *b) {
  const double *p = a, *q = b;
  return (*p > *q) - (*p < *q);
}

noprop_status schedule_network_rows(const struct settings *settings, const double *trained, double (*rows)[3],
                                    int *result) {
  const int layers = settings->schedule.hidden_count;
  const size_t bytes = (size_t)schedule_network_numbers(settings) * sizeof *trained;
  double *numbers = malloc(bytes);
  if (!numbers) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the network of a schedule");
  memcpy(numbers, trained, bytes);
  make_positive(settings, numbers);
  double left[SCHEDULE_MAX_WIDTH], right[SCHEDULE_MAX_WIDTH], slopes[SCHEDULE_MAX_WIDTH];
  int count = 2;
  rows[0][0] = 0;
  rows[1][0] = 1;
  for (int k = 0; k < layers; ++k) {
    const int known = count;
    for (int i = 0; i + 1 < known; ++i) {
      const double from = rows[i][0], to = rows[i + 1][0];
      evaluate(settings, numbers, k, from, left, slopes);
      evaluate(settings, numbers, k, to, right, slopes);
      for (int j = 0; j < settings->schedule.hidden[k]; ++j) {
        if (!(left[j] < 0 && right[j] > 0)) continue;
        const double kink = from + (to - from) * (left[j] / (left[j] - right[j]));
        if (kink > from && kink < to && count < SCHEDULE_MAX_ROWS) rows[count++][0] = kink;
      }
    }
    qsort(rows, (size_t)count, sizeof *rows, by_time);
    /* Units with the same kink. */
    int kept = 1;
    for (int i = 1; i < count; ++i)
      if (rows[i][0] > rows[kept - 1][0]) rows[kept++][0] = rows[i][0];
    count = kept;
  }
  for (int i = 0; i < count; ++i) {
    evaluate(settings, numbers, layers, rows[i][0], left, slopes);
    rows[i][1] = left[0];
    if (i + 1 < count) evaluate(settings, numbers, layers, 0.5 * (rows[i][0] + rows[i + 1][0]), left, slopes);
    rows[i][2] = slopes[0];
  }
  free(numbers);
  *result = count;
  return NOPROP_OK;
}
