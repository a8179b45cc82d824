/* Pictures made of images: sheets, one image beside another; examples, samples, samples by class. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/status.h"
#include "host/array.h"
#include "host/report_parts.h"

struct image_shape report_image_of(const noprop_array *array) {
  struct image_shape none = {0};
  if (array->rank == 3 && array->shape[1] >= 4 && array->shape[2] >= 4)
    return (struct image_shape){1, array->shape[1], array->shape[2]};
  if (array->rank == 4 && array->shape[1] <= 4)
    return (struct image_shape){array->shape[1], array->shape[2], array->shape[3]};
  long side = lround(sqrt((double)array->width));
  if (array->type == NOPROP_TYPE_UINT8 && side >= 8 && side * side == array->width)
    return (struct image_shape){1, side, side};
  return none;
}

noprop_status sheet_create(struct sheet *sheet, struct image_shape image, long across, long down) {
  sheet->image = image;
  sheet->across = across;
  sheet->down = down;
  sheet->columns = across * (image.width + 1) - 1;
  sheet->rows = down * (image.height + 1) - 1;
  size_t count = (size_t)(sheet->columns * sheet->rows);
  sheet->cells = calloc(count + 1, sizeof *sheet->cells);
  if (!sheet->cells) return report_no_memory();
  for (size_t i = 0; i < count; i++) sheet->cells[i] = NAN;
  return NOPROP_OK;
}

void sheet_put(struct sheet *sheet, long column, long row, const noprop_array *array, long array_row) {
  const struct image_shape *image = &sheet->image;
  for (long y = 0; y < image->height; y++)
    for (long x = 0; x < image->width; x++) {
      double sum = 0;
      for (long c = 0; c < image->channels; c++)
        sum += array_value(array, array_row, (c * image->height + y) * image->width + x);
      sheet->cells[(row * (image->height + 1) + y) * sheet->columns + column * (image->width + 1) + x] =
          sum / (double)image->channels;
    }
}

noprop_status sheet_write(struct sheet *sheet, const struct report *report, const char *name) {
  struct text text = {0};
  for (long y = 0; y < sheet->rows; y++)
    for (long x = 0; x < sheet->columns; x++) {
      double value = sheet->cells[y * sheet->columns + x];
      if (isnan(value))
        text_add(&text, "nan%c", x + 1 < sheet->columns ? ',' : '\n');
      else
        text_add(&text, "%.4g%c", value, x + 1 < sheet->columns ? ',' : '\n');
    }
  free(sheet->cells);
  sheet->cells = NULL;
  return text_write(&text, report->folder, name);
}

noprop_status sheet_script(const struct report *report, const struct sheet *sheet, const char *name, const char *data,
                           const char *title, const char *labels) {
  struct text script = {0};
  /* What is generated may leave the range of bytes, and would take contrast from the rest. */
  const bool of_bytes =
      (report->shape.target_is_label ? report->shape.condition_type : report->shape.target_type) == NOPROP_TYPE_UINT8;
  int width = (int)(sheet->columns * 3 < 760 ? 760 : sheet->columns * 3 > 1100 ? 1100 : sheet->columns * 3);
  int height = (int)((double)(width - 60) * (double)sheet->rows / (double)sheet->columns) + 100;
  report_script_begin(&script, name, width, height);
  text_add(
      &script,
      "set title '%s' font ',14'\nunset border\nunset tics\nunset grid\nunset colorbox\nset palette gray negative\n"
      "set size ratio -1\nset yrange [] reverse\n%s%splot '%s' matrix with image\n",
      title, of_bytes ? "set cbrange [0:255]\n" : "", labels, data);
  char file[64];
  snprintf(file, sizeof file, "%s.gp", name);
  return text_write(&script, report->folder, file);
}

noprop_status report_example_images(const struct report *report, const noprop_array *images, struct image_shape image,
                                    const char *title) {
  struct sheet sheet = {0};
  char words[160];
  bool by_class = report->shape.target_is_label && report->shape.target_width <= 2 * GRID_IMAGES;
  long across = by_class ? report->shape.target_width : GRID_IMAGES;
  noprop_status status = sheet_create(&sheet, image, across, GRID_IMAGES);
  if (status != NOPROP_OK) return status;
  if (by_class) {
    long filled[2 * GRID_IMAGES] = {0};
    for (long row = 0; row < images->rows; row++) {
      long label = (long)array_value(&report->train_target, row, 0);
      if (label >= 0 && label < across && filled[label] < GRID_IMAGES)
        sheet_put(&sheet, label, filled[label]++, images, row);
    }
    snprintf(words, sizeof words, "%s, a column for each class", title);
  } else {
    for (long row = 0; row < images->rows && row < GRID_IMAGES * GRID_IMAGES; row++)
      sheet_put(&sheet, row % GRID_IMAGES, row / GRID_IMAGES, images, row);
    snprintf(words, sizeof words, "%s", title);
  }
  struct text labels = {0};
  for (long i = 0; by_class && i < across; i++)
    text_add(&labels, "set label '%ld' at %g,%g center offset 0,-0.6\n", i,
             (double)(i * (image.width + 1)) + (double)(image.width - 1) / 2, (double)sheet.rows);
  text_add(&labels, "%s", "");
  status = labels.failed ? report_no_memory() : sheet_script(report, &sheet, "data", "data.csv", words, labels.data);
  free(labels.data);
  if (status == NOPROP_OK) return sheet_write(&sheet, report, "data.csv");
  free(sheet.cells);
  return status;
}

noprop_status report_sample_images(const struct report *report, const noprop_array *samples, struct image_shape image) {
  struct sheet sheet = {0};
  noprop_status status = sheet_create(&sheet, image, GRID_IMAGES, GRID_IMAGES);
  if (status != NOPROP_OK) return status;
  for (long row = 0; row < report_at_most(samples->rows, GRID_IMAGES * GRID_IMAGES); row++)
    sheet_put(&sheet, row % GRID_IMAGES, row / GRID_IMAGES, samples, row);
  status = sheet_script(report, &sheet, "samples", "samples.csv", "Generated images", "");
  if (status == NOPROP_OK) return sheet_write(&sheet, report, "samples.csv");
  free(sheet.cells);
  return status;
}

noprop_status report_images_by_class(const struct report *report, struct image_shape image) {
  const long classes = report->shape.condition_width, rows = classes * GRID_IMAGES;
  struct sheet sheet = {0};
  struct text labels = {0};
  char title[160];
  float *output = NULL;
  int32_t *given = malloc((size_t)rows * sizeof *given);
  if (!given) return report_no_memory();
  noprop_status status = sheet_create(&sheet, image, classes, GRID_IMAGES + 1);
  for (long i = 0; status == NOPROP_OK && i < rows; i++) given[i] = (int32_t)(i % classes);
  const noprop_array condition = {.name = report->roles.condition,
                                  .type = NOPROP_TYPE_INT32,
                                  .rows = rows,
                                  .width = 1,
                                  .rank = 1,
                                  .shape = {rows},
                                  .values = given};
  if (status == NOPROP_OK) status = report_predict(report, &condition, rows, &output);
  if (status != NOPROP_OK) goto done;
  const noprop_array samples = {
      .type = NOPROP_TYPE_FLOAT32, .rows = rows, .width = report->shape.target_width, .values = output};
  for (long row = 0; row < rows; row++) sheet_put(&sheet, row % classes, 1 + row / classes, &samples, row);
  for (long row = report->target.rows; row-- > 0;) { /* the first one of a class is put last */
    const long label = (long)array_value(&report->condition, row, 0);
    if (label >= 0 && label < classes) sheet_put(&sheet, label, 0, &report->target, row);
  }
  for (long i = 0; i < classes; i++)
    text_add(&labels, "set label '%ld' at %g,%g center offset 0,-0.6\n", i,
             (double)(i * (image.width + 1)) + (double)(image.width - 1) / 2, (double)sheet.rows);
  snprintf(title, sizeof title, "A real image of each class of %s, and below it images generated given the class",
           report->roles.condition);
  status =
      labels.failed ? report_no_memory() : sheet_script(report, &sheet, "samples", "samples.csv", title, labels.data);
  if (status == NOPROP_OK) status = sheet_write(&sheet, report, "samples.csv");
done:
  free(labels.data);
  free(sheet.cells);
  free(output);
  free(given);
  return status;
}
