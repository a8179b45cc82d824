/* Noise schedules and time grids on the host, in double precision. */
#ifndef ENGINE_SCHEDULE_H
#define ENGINE_SCHEDULE_H

#include <stdbool.h>

#include "engine/settings.h"
#include "noprop/schedule.h"

/* True for the linear path (fm), false for the variance-preserving one (df, ct). */
bool schedule_path_is_linear(const struct settings *settings);

/* The VP schedule at one time. */
noprop_schedule_values schedule_values(const struct settings *settings, double t);

/* The time at which the VP schedule's gamma has the given value, in [0, 1]; clamped to the ends outside. */
double schedule_time_of_gamma(const struct settings *settings, double gamma);

/* Times of a solve: [steps + 1], 0 first, 1 last. grid: GRID_T or GRID_GAMMA. */
noprop_status schedule_grid(const struct settings *settings, int grid, int steps, double *times);

#endif
