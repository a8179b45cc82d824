/* Windows of trajectories of the Lorenz system: a prefix x and its continuation y.
 *
 *   x' = 10 (y - x),  y' = x (28 - z) - y,  z' = x y - 8/3 z
 *
 * by the classical Runge-Kutta method, four steps between two points, points 100/1023 apart, 1,024 to a trajectory,
 * from starts uniform in [-20,20]^2 x [0,50]. Rows are the windows of one trajectory after another, one point apart. A
 * trajectory belongs to one split: no window of training overlaps one of validation or test. */
#include <math.h>
#include <stdlib.h>

#include "engine/status.h"
#include "host/generate.h"

enum { POINTS = 1024, SUBSTEPS = 4, FEATURES = 3 };

static void derivative(const double s[FEATURES], double d[FEATURES]) {
  d[0] = 10.0 * (s[1] - s[0]);
  d[1] = s[0] * (28.0 - s[2]) - s[1];
  d[2] = s[0] * s[1] - 8.0 / 3.0 * s[2];
}

static void advance(double s[FEATURES], double step) {
  double k[4][FEATURES], at[FEATURES];
  derivative(s, k[0]);
  for (int stage = 1; stage < 4; stage++) {
    const double share = stage == 3 ? step : 0.5 * step;
    for (int i = 0; i < FEATURES; i++) at[i] = s[i] + share * k[stage - 1][i];
    derivative(at, k[stage]);
  }
  for (int i = 0; i < FEATURES; i++) s[i] += step / 6.0 * (k[0][i] + 2.0 * k[1][i] + 2.0 * k[2][i] + k[3][i]);
}

/* Trajectory `number` of the seed, observed with Gaussian noise. */
static void trajectory(uint64_t seed, unsigned long number, double noise, float (*points)[FEATURES]) {
  const philox_words start = generate_draw(seed, number, PURPOSE_PLACE);
  double s[FEATURES] = {-20.0 + 40.0 * generate_uniform(start.word[0]), -20.0 + 40.0 * generate_uniform(start.word[1]),
                        50.0 * generate_uniform(start.word[2])};
  for (unsigned long t = 0; t < POINTS; t++) {
    double e[4] = {0, 0, 0, 0};
    if (noise > 0) {
      /* Two pairs of normals for three features: a counter for each point and pair. */
      const unsigned long point = number * POINTS + t;
      generate_normals(generate_draw(seed, 2 * point, PURPOSE_NOISE), &e[0], &e[1]);
      generate_normals(generate_draw(seed, 2 * point + 1, PURPOSE_NOISE), &e[2], &e[3]);
    }
    for (int i = 0; i < FEATURES; i++) points[t][i] = (float)(s[i] + noise * e[i]);
    for (int i = 0; i < SUBSTEPS; i++) advance(s, 100.0 / (POINTS - 1) / SUBSTEPS);
  }
}

/* A split of `rows` windows from trajectory `first` on; says how many trajectories it took. */
static noprop_status add_split(const char *split, unsigned long first, long rows, int prefix, int horizon, double noise,
                               uint64_t seed, noprop_dataset *dataset, unsigned long *taken) {
  const long windows = POINTS - prefix - horizon + 1;
  float *x = malloc((size_t)rows * (size_t)prefix * sizeof(float[FEATURES]));
  float *y = malloc((size_t)rows * (size_t)horizon * sizeof(float[FEATURES]));
  float(*points)[FEATURES] = malloc(POINTS * sizeof *points);
  if (x == NULL || y == NULL || points == NULL) {
    free(x), free(y), free(points);
    return status_set(NOPROP_OUT_OF_MEMORY, "no memory is left for %ld rows", rows);
  }
  *taken = 0;
  float *to_x = x, *to_y = y;
  for (long row = 0; row < rows; row++) {
    const long start = row % windows;
    if (start == 0) trajectory(seed, first + (*taken)++, noise, points);
    for (long t = start; t < start + prefix; t++)
      for (int i = 0; i < FEATURES; i++) *to_x++ = points[t][i];
    for (long t = start + prefix; t < start + prefix + horizon; t++)
      for (int i = 0; i < FEATURES; i++) *to_y++ = points[t][i];
  }
  free(points);
  noprop_status status =
      dataset_add_owned(dataset, split, "x", NOPROP_TYPE_FLOAT32, 3, (const long[]){rows, prefix, FEATURES}, x);
  if (status != NOPROP_OK) {
    free(y);
    return status;
  }
  return dataset_add_owned(dataset, split, "y", NOPROP_TYPE_FLOAT32, 3, (const long[]){rows, horizon, FEATURES}, y);
}

noprop_status noprop_dataset_generate_lorenz(long rows, int prefix, int horizon, double noise, uint64_t seed,
                                             noprop_dataset **dataset) {
  if (dataset == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_dataset_generate_lorenz needs a place for the data set");
  *dataset = NULL;
  if (prefix < 1 || horizon < 1 || prefix > POINTS / 4 || horizon > POINTS / 4)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "a prefix of %d and a horizon of %d points are not allowed; allowed: 1 to %d points each", prefix,
                      horizon, POINTS / 4);
  noprop_status status = generate_check(rows, noise);
  if (status != NOPROP_OK) return status;
  if (noise < 0) noise = 0;
  noprop_dataset *made;
  status = noprop_dataset_create(&made);
  if (status != NOPROP_OK) return status;
  static const char *const splits[] = {"train", "validation", "test"};
  unsigned long first = 0, taken = 0;
  for (int i = 0; i < 3 && status == NOPROP_OK; i++, first += taken)
    status = add_split(splits[i], first, i == 0 ? rows : rows / 2, prefix, horizon, noise, seed, made, &taken);
  if (status == NOPROP_OK)
    status = dataset_describe(made,
                              "Lorenz system (10, 28, 8/3): windows of trajectories of 1024 points 0.0978 time units "
                              "apart; x the first points [point][coordinate], y those that follow; a trajectory "
                              "belongs to one split",
                              "generated by noprop");
  if (status != NOPROP_OK)
    noprop_dataset_destroy(made);
  else
    *dataset = made;
  return status;
}
