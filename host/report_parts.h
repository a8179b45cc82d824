/* What the pictures of a run share: the run, and how rows, points and sheets of images get into files. */
#ifndef HOST_REPORT_PARTS_H
#define HOST_REPORT_PARTS_H

#include "engine/settings.h"
#include "host/dataset.h"
#include "host/report.h"

enum {
  POINTS_MOST = 2000, /* in a scatter plot: more only hides itself */
  GRID_IMAGES = 10,   /* images per side */
  CLASSES_DRAWN = 30  /* a confusion matrix of more classes has no readable numbers */
};

struct image_shape {
  long channels, height, width; /* height 0: no image */
};

struct report {
  noprop_model *model;
  noprop_dataset *dataset;
  const char *folder;
  noprop_log_function log;
  void *user;
  struct settings settings;
  noprop_data_roles roles;
  noprop_model_shape shape;
  const char *split; /* held-out rows */
  bool has_condition;
  noprop_array train_condition, train_target, condition, target;
};

static inline long report_at_most(long value, long limit) { return value < limit ? value : limit; }
noprop_status report_no_memory(void);
noprop_sampler_options report_solve_options(const struct report *report, bool trajectory);
/* Decoded predictions [rows][width] of conditions; free with free(), also on failure. */
noprop_status report_predict(const struct report *report, const noprop_array *condition, long rows, float **output);

/* Data and script of a picture each. */
noprop_status report_data(const struct report *report);
noprop_status report_trajectories(const struct report *report);
noprop_status report_predictions(const struct report *report);
noprop_status report_samples(const struct report *report);

/* ---- points ---- */

/* Writes columns a and b of the rows and a third with the class (0 without classes). */
noprop_status report_write_points(const struct report *report, const char *name, const noprop_array *a, long a_column,
                                  const noprop_array *b, long b_column, const noprop_array *labels);
/* Key entries of the classes, with points large enough to tell their colours. Continues a plot command. */
void report_add_class_keys(struct text *script, long classes);
/* Points of a file with columns a, b, class, each class in its colour. Continues a plot command. */
void report_add_class_points(struct text *script, const char *file, long classes, double size);
/* Height of a picture whose plot has equal units on both axes, so that no empty bands are left. */
int report_plane_height(int width, const noprop_array *a, long a_column, const noprop_array *b, long b_column);
double report_point_size(long rows);

/* ---- images ---- */

/* [rows][h][w], [rows][c][h][w], or flat bytes that make a square of at least 8 x 8. */
struct image_shape report_image_of(const noprop_array *array);

/* A sheet of images with one cell of space between them, as a matrix of grey values; empty cells are NaN. */
struct sheet {
  struct image_shape image;
  long across, down, columns, rows; /* images; cells */
  double *cells;
};

noprop_status sheet_create(struct sheet *sheet, struct image_shape image, long across, long down);
/* Channels are averaged. */
void sheet_put(struct sheet *sheet, long column, long row, const noprop_array *array, long array_row);
/* Writes the cells and frees them, also on failure. */
noprop_status sheet_write(struct sheet *sheet, const struct report *report, const char *name);
/* A script that shows a sheet. `labels` is added before the plot command. */
noprop_status sheet_script(const struct report *report, const struct sheet *sheet, const char *name, const char *data,
                           const char *title, const char *labels);

noprop_status report_example_images(const struct report *report, const noprop_array *images, struct image_shape image,
                                    const char *title);
noprop_status report_sample_images(const struct report *report, const noprop_array *samples, struct image_shape image);
/* A column for each class: a held-out image of it above what was generated given the class. */
noprop_status report_images_by_class(const struct report *report, struct image_shape image);

#endif
