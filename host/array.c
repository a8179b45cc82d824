/* Numbers of an array as double. */
#include "host/array.h"

#include <math.h>
#include <stdint.h>

double array_value(const noprop_array *array, long row, long column) {
  const long index = row * array->width + column;
  switch (array->type) {
    case NOPROP_TYPE_FLOAT32:
      return ((const float *)array->values)[index];
    case NOPROP_TYPE_UINT8:
      return ((const uint8_t *)array->values)[index];
    case NOPROP_TYPE_INT32:
      return ((const int32_t *)array->values)[index];
    case NOPROP_TYPE_FLOAT64:
      return ((const double *)array->values)[index];
  }
  return NAN;
}
