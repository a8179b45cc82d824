/* Noise schedules and time grids on the host, in double precision.
 *
 * The formulas are those of kernels/schedule.h; here configurations, and the numbers of a schedule that is trained,
 * become the description that they work on.
 *
 * schedule.c             descriptions, evaluation, inverse, grids
 * schedule_parameters.c  the numbers of a schedule as parameters of a model
 * schedule_network.c     the monotone network */
#ifndef ENGINE_SCHEDULE_H
#define ENGINE_SCHEDULE_H

#include <stdbool.h>

#include "engine/settings.h"
#include "kernels/schedule.h"
#include "noprop/schedule.h"

/* 4 layers of 128 of the monotone network, each with one kink, and both ends. */
enum { SCHEDULE_MAX_LAYERS = 4, SCHEDULE_MAX_WIDTH = 128, SCHEDULE_MAX_ROWS = 4 * 128 + 2, SCHEDULE_MAX_ARRAYS = 16 };

/* A schedule ready to be evaluated. `description.table` points into the struct: do not copy it. */
struct schedule {
  schedule_description description;
  double rows[SCHEDULE_MAX_ROWS][3];
};

/* True for the linear path (fm), false for the variance-preserving one (df, ct). */
bool schedule_path_is_linear(const struct settings *settings);

/* The VP schedule. `parameters`: the numbers of its arrays one after the other (schedule_arrays; of a network
 * schedule_network_arrays), NULL: as configured, and a network as it starts. Fails only for want of memory. */
noprop_status schedule_describe(const struct settings *settings, const double *parameters, struct schedule *schedule);
noprop_schedule_values schedule_at(const struct schedule *schedule, double t);

/* The time at which gamma has the given value, in [0, 1]; clamped to the ends outside. */
double schedule_time_of_gamma(const struct schedule *schedule, double gamma);

/* Times of a solve: [steps + 1], 0 first, 1 last. grid: GRID_T or GRID_GAMMA. `parameters` as above. */
noprop_status schedule_grid(const struct settings *settings, const double *parameters, int grid, int steps,
                            double *times);

/* ---- the numbers of a schedule as parameters of a model (schedule_parameters.c) ---- */

/* One array: raw numbers, on the whole real line. An s, k, beta or scale is softplus(raw), a power 1 + softplus(raw),
 * t_mid and loc are raw. */
struct schedule_array {
  char name[32]; /* "schedule.k" */
  int rows, columns;
  double mean, deviation; /* of the initial values; deviation 0: all equal */
};
/* The arrays of this configuration, at most SCHEDULE_MAX_ARRAYS; returns their number: 0 unless the schedule is
 * learnable. `arrays` may be NULL to ask. */
int schedule_arrays(const struct settings *settings, struct schedule_array *arrays);
/* Numbers in all arrays. */
long schedule_parameter_count(const struct settings *settings);
/* Initial number `element` of array `number` of a model with this seed. */
double schedule_initial(const struct schedule_array *array, uint64_t seed, int number, long element);
/* The raw number whose softplus is `value` > 0. */
double schedule_inverse_softplus(double value);

/* ---- the monotone network (schedule_network.c) ---- */

/* Weights as trained: c, then per layer the matrix K [inputs][outputs] and the bias b [outputs]; the last layer has one
 * output. A layer is relu(h softplus(K - 1/2)/sqrt(inputs) + b), the last one without relu (survey 4.2). */
long schedule_network_numbers(const struct settings *settings);
/* The same as arrays: "schedule.mix", "schedule.0.weight", "schedule.0.bias" ... */
int schedule_network_arrays(const struct settings *settings, struct schedule_array *arrays);
/* The network's inner function g as rows (t, g, dg/dt from there on) between its kinks: [SCHEDULE_MAX_ROWS]. */
noprop_status schedule_network_rows(const struct settings *settings, const double *numbers, double (*rows)[3],
                                    int *count);

#endif
