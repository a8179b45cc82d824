/* Generators of data, and those of two-dimensional points: two moons, gaussians, checkerboard.
 *
 * Every number comes from a Philox counter (row of the whole set, purpose), so that a row depends on the seed and its
 * place alone, on every machine. Training, validation and test rows follow one another in one sequence and are
 * independent. */
#include "host/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/status.h"

/* The key keeps clear of the streams of kernels/arguments.h by
 * the third word, which those fill with numbers below 2^32 - 1. */
#define GENERATOR_STREAM 0xffffffffu

static const double PI = 3.14159265358979323846;

philox_words generate_draw(uint64_t seed, unsigned long row, unsigned purpose) {
  return philox(seed, (unsigned)row, (unsigned)((uint64_t)row >> 32), GENERATOR_STREAM, purpose);
}

double generate_uniform(unsigned word) { return ((double)word + 0.5) * 0x1p-32; }

void generate_normals(philox_words words, double *first, double *second) {
  const double radius = sqrt(-2.0 * log(generate_uniform(words.word[0]))),
               angle = 2.0 * PI * generate_uniform(words.word[1]);
  *first = radius * cos(angle);
  *second = radius * sin(angle);
}

/* Half circles: outer (cos a, sin a) with label 0, inner (1 - cos a, 1/2 - sin a) with label 1, a uniform in [0, pi].
 */
static int two_moons(philox_words words, double point[2]) {
  const double angle = PI * generate_uniform(words.word[1]);
  const int label = (int)(words.word[0] & 1u);
  point[0] = label == 0 ? cos(angle) : 1.0 - cos(angle);
  point[1] = label == 0 ? sin(angle) : 0.5 - sin(angle);
  return label;
}

/* Eight centres on a circle of radius 5; the label is the centre's number, counter-clockwise from (5, 0). */
static int gaussians(philox_words words, double point[2]) {
  const int label = (int)(words.word[0] & 7u);
  point[0] = 5.0 * cos(0.25 * PI * label);
  point[1] = 5.0 * sin(0.25 * PI * label);
  return label;
}

/* The eight fields of a 4 x 4 board on [-4, 4]^2 whose column and row sum to an even number (from 0 at the lower left),
 * uniformly; the label is the row of the board. */
static int checkerboard(philox_words words, double point[2]) {
  const int field = (int)(words.word[0] & 7u), row = field / 2, column = 2 * (field % 2) + row % 2;
  point[0] = -4.0 + 2.0 * (column + generate_uniform(words.word[1]));
  point[1] = -4.0 + 2.0 * (row + generate_uniform(words.word[2]));
  return row;
}

static const struct generator {
  const char *name;
  int (*place)(philox_words words, double point[2]);
  double noise;
  const char *description;
} GENERATORS[] = {
    {"two-moons", two_moons, 0.1, "two moons: points x on two half circles with Gaussian noise, labels y 0 and 1"},
    {"gaussians", gaussians, 0.56, "eight Gaussians on a circle of radius 5: points x, labels y 0 to 7"},
    {"checkerboard", checkerboard, 0.0,
     "4 x 4 checkerboard on [-4,4]^2: points x on the dark fields, labels y the row"},
};

static noprop_status add_split(const struct generator *generator, const char *split, unsigned long first, long rows,
                               double noise, uint64_t seed, noprop_dataset *dataset) {
  float *x = malloc((size_t)rows * 2 * sizeof *x);
  int32_t *y = malloc((size_t)rows * sizeof *y);
  if (x == NULL || y == NULL) {
    free(x);
    free(y);
    return status_set(NOPROP_OUT_OF_MEMORY, "no memory is left for %ld rows", rows);
  }
  for (long i = 0; i < rows; i++) {
    const unsigned long row = first + (unsigned long)i;
    double point[2], e[2];
    y[i] = generator->place(generate_draw(seed, row, PURPOSE_PLACE), point);
    generate_normals(generate_draw(seed, row, PURPOSE_NOISE), &e[0], &e[1]);
    for (int k = 0; k < 2; k++) x[2 * i + k] = (float)(point[k] + noise * e[k]);
  }
  const long shape[2] = {rows, 2};
  noprop_status status = dataset_add_owned(dataset, split, "x", NOPROP_TYPE_FLOAT32, 2, shape, x);
  if (status != NOPROP_OK) {
    free(y);
    return status;
  }
  return dataset_add_owned(dataset, split, "y", NOPROP_TYPE_INT32, 1, shape, y);
}

noprop_status generate_check(long rows, double noise) {
  if (rows < 2 || rows > 1000000000)
    return status_set(NOPROP_INVALID_ARGUMENT, "%ld rows are not allowed; allowed: 2 to 1000000000 training rows",
                      rows);
  if (!isfinite(noise) || noise > 1000.0)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "noise %g is not allowed; allowed: a standard deviation from 0 to 1000, or below 0 for the "
                      "kind's default",
                      noise);
  return NOPROP_OK;
}

noprop_status noprop_dataset_generate(const char *kind, long rows, double noise, uint64_t seed,
                                      noprop_dataset **dataset) {
  if (kind == NULL || dataset == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_dataset_generate needs a kind and a place for the data set");
  *dataset = NULL;
  if (strcmp(kind, "lorenz") == 0) return noprop_dataset_generate_lorenz(rows, 6, 6, noise, seed, dataset);
  const struct generator *generator = NULL;
  for (size_t i = 0; i < sizeof GENERATORS / sizeof *GENERATORS; i++)
    if (strcmp(kind, GENERATORS[i].name) == 0) generator = &GENERATORS[i];
  if (generator == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "there is no generator '%.80s'; there are: two-moons, gaussians, checkerboard, lorenz", kind);
  noprop_status status = generate_check(rows, noise);
  if (status != NOPROP_OK) return status;
  if (noise < 0) noise = generator->noise;
  noprop_dataset *made;
  status = noprop_dataset_create(&made);
  if (status != NOPROP_OK) return status;
  const char *const splits[] = {"train", "validation", "test"};
  unsigned long first = 0;
  for (int i = 0; i < 3 && status == NOPROP_OK; i++) {
    const long count = i == 0 ? rows : rows / 2;
    status = add_split(generator, splits[i], first, count, noise, seed, made);
    first += (unsigned long)count;
  }
  if (status == NOPROP_OK) status = dataset_describe(made, generator->description, "generated by noprop");
  if (status != NOPROP_OK)
    noprop_dataset_destroy(made);
  else
    *dataset = made;
  return status;
}
