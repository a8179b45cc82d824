/* The numbers of a schedule as arrays of a model's parameters: names, shapes, initial values. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/schedule.h"
#include "kernels/arguments.h"
#include "kernels/philox.h"

double schedule_inverse_softplus(double value) { return value + log(-expm1(-value)); }

static void add(struct schedule_array *arrays, int *count, const char *name, int rows, int columns, double mean,
                double deviation) {
  if (arrays) {
    struct schedule_array *array = &arrays[*count];
    *array = (struct schedule_array){.rows = rows, .columns = columns, .mean = mean, .deviation = deviation};
    (void)snprintf(array->name, sizeof array->name, "schedule.%s", name);
  }
  ++*count;
}

/* K ~ N(0, .01^2), b ~ N(0, 1) - 1/2, c = 0: survey 4.2. */
int schedule_network_arrays(const struct settings *settings, struct schedule_array *arrays) {
  const int layers = settings->schedule.hidden_count;
  int inputs = 1, count = 0;
  add(arrays, &count, "mix", 1, 1, 0, 0);
  for (int k = 0; k <= layers; ++k) {
    const int outputs = k < layers ? settings->schedule.hidden[k] : 1;
    char name[24];
    (void)snprintf(name, sizeof name, "%d.weight", k);
    add(arrays, &count, name, inputs, outputs, 0, 0.01);
    (void)snprintf(name, sizeof name, "%d.bias", k);
    add(arrays, &count, name, 1, outputs, -0.5, 1);
    inputs = outputs;
  }
  return count;
}

static double logit(double alpha_bar) { return log(alpha_bar) - log1p(-alpha_bar); }

/* gamma(0), and what makes gamma(1) larger: they cannot cross. */
static void add_ends(const struct settings *settings, struct schedule_array *arrays, int *count) {
  const double first = logit(settings->schedule.alpha_bar[0]), last = logit(settings->schedule.alpha_bar[1]);
  add(arrays, count, "gamma_first", 1, 1, first, 0);
  add(arrays, count, "gamma_span", 1, 1, schedule_inverse_softplus(last - first), 0);
}

int schedule_arrays(const struct settings *settings, struct schedule_array *arrays) {
  int count = 0;
  if (settings->variant == VARIANT_FM || !settings->schedule.learnable) return 0;
  switch (settings->schedule.type) {
    case SCHEDULE_COSINE:
      add(arrays, &count, "s", 1, 1, schedule_inverse_softplus(settings->schedule.s), 0);
      break;
    case SCHEDULE_SIGMOID:
      add(arrays, &count, "k", 1, 1, schedule_inverse_softplus(settings->schedule.k), 0);
      add(arrays, &count, "t_mid", 1, 1, settings->schedule.t_mid, 0);
      break;
    case SCHEDULE_EXPONENTIAL:
      add(arrays, &count, "beta", 1, 1, schedule_inverse_softplus(settings->schedule.beta), 0);
      break;
    case SCHEDULE_CAUCHY:
    case SCHEDULE_LAPLACE:
      add(arrays, &count, "loc", 1, 1, settings->schedule.loc, 0);
      add(arrays, &count, "scale", 1, 1, schedule_inverse_softplus(settings->schedule.scale), 0);
      break;
    case SCHEDULE_POLYNOMIAL:
      add(arrays, &count, "power", 1, 1, schedule_inverse_softplus(settings->schedule.power - 1), 0);
      break;
    case SCHEDULE_NETWORK:
      count = schedule_network_arrays(settings, arrays);
      break;
    default:
      break;
  }
  if (settings->schedule.learn_endpoints) add_ends(settings, arrays, &count);
  return count;
}

long schedule_parameter_count(const struct settings *settings) {
  struct schedule_array arrays[SCHEDULE_MAX_ARRAYS];
  const int count = schedule_arrays(settings, arrays);
  long numbers = 0;
  for (int i = 0; i < count; ++i) numbers += (long)arrays[i].rows * arrays[i].columns;
  return numbers;
}

/* Counter-based normals of the stream of initial values; parameter arrays of networks count from 0, these from 2^20. */
double schedule_initial(const struct schedule_array *array, uint64_t seed, int number, long element) {
  const double pi = 3.14159265358979323846;
  if (array->deviation == 0) return array->mean;
  const philox_words words =
      philox(seed, (unsigned)element, (1u << 20) + (unsigned)number, philox_stream(STREAM_INITIALISE, 0, 0), 0);
  const double radius = sqrt(-2.0 * log((double)philox_uniform(words.word[0])));
  return array->mean + array->deviation * radius * cos(2.0 * pi * (double)philox_uniform(words.word[1]));
}
