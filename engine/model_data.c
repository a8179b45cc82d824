/* Callers' arrays on their way to the device: checked against the model's shape, converted to the type that its kernels
 * read (float64 becomes float32; uint8 images and integer labels stay as they are), uploaded in pieces. */
#include <stdlib.h>
#include <string.h>

#include "engine/model.h"
#include "engine/status.h"

enum { UPLOAD_PIECE = 16 << 20 }; /* bytes of host memory for conversion */

static const char *const side_names[] = {"condition", "target"};

static const char *type_name(noprop_type type) {
  static const char *const names[] = {"float32", "uint8", "int32", "float64"};
  return (int)type >= 0 && (int)type < 4 ? names[type] : "unknown";
}

static size_t type_bytes(noprop_type type) {
  return type == NOPROP_TYPE_UINT8 ? 1 : type == NOPROP_TYPE_FLOAT64 ? 8 : 4;
}

static bool convertible(noprop_type from, noprop_type to) {
  if (from == to) return true;
  if (to == NOPROP_TYPE_FLOAT32) return true; /* from uint8, int32, float64 */
  /* Labels; that they fit is checked with their range. */
  return from != NOPROP_TYPE_FLOAT64 && from != NOPROP_TYPE_FLOAT32;
}

static noprop_status check_labels(const char *name, const noprop_array *array, int classes) {
  for (long row = 0; row < array->rows; ++row) {
    const long label = array->type == NOPROP_TYPE_UINT8 ? ((const uint8_t *)array->values)[row]
                                                        : ((const int32_t *)array->values)[row];
    if (label < 0 || label >= classes)
      return status_set(NOPROP_INVALID_ARGUMENT, "the %s's label in row %ld is %ld; this model has the classes 0 to %d",
                        name, row, label, classes - 1);
  }
  return NOPROP_OK;
}

noprop_status model_rows_check(const noprop_model *model, enum model_side side, const noprop_array *array, long rows,
                               struct model_rows *checked) {
  const bool condition = side == MODEL_CONDITION;
  const int width = condition ? model->shape.condition_width : model->shape.target_width;
  const bool label = condition ? model->shape.condition_is_label : model->shape.target_is_label;
  const noprop_type to = condition ? model->shape.condition_type : model->shape.target_type;
  const char *name = side_names[side];
  memset(checked, 0, sizeof *checked);
  if (width == 0) {
    if (array) return status_set(NOPROP_INVALID_ARGUMENT, "a condition was given, but this model was made without one");
    return NOPROP_OK;
  }
  if (!array || !array->values)
    return status_set(NOPROP_INVALID_ARGUMENT, "the %s is missing; this model needs one (%s, %d %s)", name,
                      type_name(to), width, label ? "classes" : "values a row");
  if (rows >= 0 && array->rows != rows)
    return status_set(NOPROP_INVALID_ARGUMENT, "the %s has %ld rows; %ld are needed", name, array->rows, rows);
  if (array->rows < 1)
    return status_set(NOPROP_INVALID_ARGUMENT, "the %s has %ld rows; at least 1 is needed", name, array->rows);
  if (array->rows > 0x7fffffffL)
    return status_set(NOPROP_INVALID_ARGUMENT, "the %s has %ld rows; at most %ld are allowed", name, array->rows,
                      0x7fffffffL);
  if (array->width != (label ? 1 : width))
    return status_set(NOPROP_INVALID_ARGUMENT, "the %s has %ld values a row; this model needs %d", name, array->width,
                      label ? 1 : width);
  if ((int)array->type < 0 || (int)array->type > 3 || !convertible(array->type, to))
    return status_set(NOPROP_INVALID_ARGUMENT, "the %s's type is %s, which cannot become this model's %s%s", name,
                      type_name(array->type), type_name(to), label ? " labels" : "");
  *checked = (struct model_rows){array->values, array->type, to, array->rows, label ? 1 : width};
  return label ? check_labels(name, array, width) : NOPROP_OK;
}

size_t model_row_bytes(const struct model_rows *rows) {
  return rows->values ? (size_t)rows->width * type_bytes(rows->to) : 0;
}

void model_rows_convert(const struct model_rows *rows, long first, long count, void *to) {
  const size_t begin = (size_t)first * (size_t)rows->width, values = (size_t)count * (size_t)rows->width;
  if (rows->from == rows->to) {
    memcpy(to, (const char *)rows->values + begin * type_bytes(rows->from), values * type_bytes(rows->from));
    return;
  }
  for (size_t i = 0; i < values; ++i) {
    double value;
    switch (rows->from) {
      case NOPROP_TYPE_UINT8:
        value = ((const uint8_t *)rows->values)[begin + i];
        break;
      case NOPROP_TYPE_INT32:
        value = ((const int32_t *)rows->values)[begin + i];
        break;
      case NOPROP_TYPE_FLOAT32:
        value = ((const float *)rows->values)[begin + i];
        break;
      default:
        value = ((const double *)rows->values)[begin + i];
        break;
    }
    switch (rows->to) {
      case NOPROP_TYPE_UINT8:
        ((uint8_t *)to)[i] = (uint8_t)value;
        break;
      case NOPROP_TYPE_INT32:
        ((int32_t *)to)[i] = (int32_t)value;
        break;
      default:
        ((float *)to)[i] = (float)value;
        break;
    }
  }
}

noprop_status model_rows_upload(noprop_model *model, const struct model_rows *rows, long first, long count,
                                CUdeviceptr to) {
  const size_t row_bytes = model_row_bytes(rows);
  if (row_bytes == 0) return NOPROP_OK;
  if (rows->from == rows->to)
    return device_upload(model->device, to, (const char *)rows->values + (size_t)first * row_bytes,
                         (size_t)count * row_bytes);
  long piece = (long)(UPLOAD_PIECE / row_bytes);
  if (piece < 1) piece = 1;
  if (piece > count) piece = count;
  void *converted = malloc((size_t)piece * row_bytes);
  if (!converted) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory to convert %ld rows", piece);
  noprop_status status = NOPROP_OK;
  for (long done = 0; done < count && status == NOPROP_OK; done += piece) {
    const long rows_now = count - done < piece ? count - done : piece;
    model_rows_convert(rows, first + done, rows_now, converted);
    status = device_upload(model->device, to + (size_t)done * row_bytes, converted, (size_t)rows_now * row_bytes);
    if (status == NOPROP_OK) status = noprop_device_synchronize(model->device);
  }
  free(converted);
  return status;
}
