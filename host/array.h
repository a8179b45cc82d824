/* Numbers of an array, whatever their type. */
#ifndef HOST_ARRAY_H
#define HOST_ARRAY_H

#include "noprop/dataset.h"

/* Element `column` of a row as double. */
double array_value(const noprop_array *array, long row, long column);

#endif
