/* Data sets: HDF5 files and the caller's memory behind one interface.
 *
 * Opening a file reads names, types and shapes; values are read, converted and searched for NaN and infinity when an
 * array is first asked for. Arrays that were read, or given by dataset_add_owned, belong to the data set. */
#include "host/dataset.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/status.h"
#include "host/h5.h"

enum { MAX_RANK = 8, MAX_NAME = 200 };

static const char *const TYPE_NAMES[] = {"float32", "uint8", "int32", "float64"};
static const size_t TYPE_SIZES[] = {4, 1, 4, 8};

const char *dataset_type_name(noprop_type type) { return TYPE_NAMES[type]; }
size_t dataset_type_size(noprop_type type) { return TYPE_SIZES[type]; }

/* ---- the table of splits and arrays ------------------------------------------------------------------------------ */

struct dataset_split *dataset_find_split(const noprop_dataset *dataset, const char *split) {
  for (int i = 0; i < dataset->count; i++)
    if (strcmp(dataset->splits[i].name, split) == 0) return &dataset->splits[i];
  return NULL;
}

struct dataset_array *dataset_find_array(const struct dataset_split *split, const char *name) {
  for (int i = 0; i < split->count; i++)
    if (strcmp(split->arrays[i].name, name) == 0) return &split->arrays[i];
  return NULL;
}

const char *dataset_shape_text(const noprop_array *array, char *buffer, size_t size) {
  size_t used = (size_t)snprintf(buffer, size, "%s ", TYPE_NAMES[array->type]);
  for (int i = 0; i < array->rank && used + 24 < size; i++)
    used += (size_t)snprintf(buffer + used, size - used, "[%ld]", array->shape[i]);
  return buffer;
}

static noprop_status no_memory(void) {
  status_set(NOPROP_OUT_OF_MEMORY, "no memory is left for a data set");
  return NOPROP_OUT_OF_MEMORY;
}

static struct dataset_split *new_split(noprop_dataset *dataset, const char *name) {
  struct dataset_split *splits = realloc(dataset->splits, (size_t)(dataset->count + 1) * sizeof *splits);
  if (splits == NULL) return NULL;
  dataset->splits = splits;
  struct dataset_split *split = &splits[dataset->count];
  *split = (struct dataset_split){.name = strdup(name)};
  if (split->name == NULL) return NULL;
  dataset->count++;
  return split;
}

static struct dataset_array *new_array(struct dataset_split *split, const char *name) {
  struct dataset_array *arrays = realloc(split->arrays, (size_t)(split->count + 1) * sizeof *arrays);
  if (arrays == NULL) return NULL;
  split->arrays = arrays;
  struct dataset_array *array = &arrays[split->count];
  *array = (struct dataset_array){.name = strdup(name)};
  if (array->name == NULL) return NULL;
  array->view.name = array->name;
  split->count++;
  return array;
}

/* "train, validation" */
static const char *list_splits(const noprop_dataset *dataset, char *buffer, size_t size) {
  size_t used = 0;
  (void)snprintf(buffer, size, "no splits");
  for (int i = 0; i < dataset->count && used + 4 < size; i++)
    used += (size_t)snprintf(buffer + used, size - used, "%s%s", i == 0 ? "" : ", ", dataset->splits[i].name);
  return buffer;
}

/* "x float32 [100][2], y int32 [100]" */
static const char *list_arrays(const struct dataset_split *split, char *buffer, size_t size) {
  size_t used = 0;
  (void)snprintf(buffer, size, "no arrays");
  for (int i = 0; i < split->count && used + 4 < size; i++) {
    char shape[160];
    const struct dataset_array *array = &split->arrays[i];
    used += (size_t)snprintf(
        buffer + used, size - used, "%s%s %s", i == 0 ? "" : ", ", array->name,
        array->problem[0] != '\0' ? "(unusable)" : dataset_shape_text(&array->view, shape, sizeof shape));
  }
  return buffer;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Type, rank and shape of one data set of the file. */
static void describe_array(hid_t group, struct dataset_array *array) {
  noprop_array *view = &array->view;
  H5O_info_t info;
  if (H5Oget_info_by_name(group, array->name, &info, H5P_DEFAULT) < 0) {
    (void)snprintf(array->problem, sizeof array->problem, "is a link to nothing, or damaged");
    return;
  }
  if (info.type != H5O_TYPE_DATASET) {
    (void)snprintf(array->problem, sizeof array->problem, "is a group, and an array is needed");
    return;
  }
  const hid_t set = H5Dopen2(group, array->name, H5P_DEFAULT);
  const hid_t type = set < 0 ? -1 : H5Dget_type(set), space = set < 0 ? -1 : H5Dget_space(set);
  if (type < 0 || space < 0) {
    (void)snprintf(array->problem, sizeof array->problem, "is damaged");
    goto done;
  }
  hsize_t shape[H5S_MAX_RANK] = {0};
  view->rank = H5Sget_simple_extent_dims(space, shape, NULL);
  if (view->rank < 1 || view->rank > MAX_RANK) {
    (void)snprintf(array->problem, sizeof array->problem, "has %d dimensions; 1 to %d are allowed, rows first",
                   view->rank < 0 ? 0 : view->rank, MAX_RANK);
    goto done;
  }
  double values = 1;
  view->width = 1;
  for (int i = 0; i < view->rank; i++) {
    values *= (double)shape[i];
    view->shape[i] = (long)shape[i];
    if (i > 0 && values < 9e18) view->width *= (long)shape[i];
  }
  view->rows = view->shape[0];
  if (values < 1 || values > 9e17) {
    (void)snprintf(array->problem, sizeof array->problem, values < 1 ? "holds no values" : "is too large");
    goto done;
  }
  const size_t bytes = H5Tget_size(type);
  switch (H5Tget_class(type)) {
    case H5T_FLOAT:
      view->type = bytes <= 4 ? NOPROP_TYPE_FLOAT32 : NOPROP_TYPE_FLOAT64;
      break;
    case H5T_INTEGER:
      view->type =
          bytes == 1 && H5Tget_sign(type) == H5T_SGN_NONE && view->rank > 1 ? NOPROP_TYPE_UINT8 : NOPROP_TYPE_INT32;
      break;
    default:
      (void)snprintf(array->problem, sizeof array->problem,
                     "holds neither floating-point numbers nor integers, and only these are allowed");
  }
done:
  if (space >= 0) (void)H5Sclose(space);
  if (type >= 0) (void)H5Tclose(type);
  if (set >= 0) (void)H5Dclose(set);
}

static noprop_status list_group(noprop_dataset *dataset, const char *name) {
  noprop_status status = NOPROP_OK;
  H5O_info_t info;
  if (H5Oget_info_by_name(dataset->file, name, &info, H5P_DEFAULT) < 0 || info.type != H5O_TYPE_GROUP) return NOPROP_OK;
  char **names = NULL;
  int count = 0;
  const hid_t group = H5Gopen2(dataset->file, name, H5P_DEFAULT);
  if (group < 0 || !h5_names(group, &names, &count)) {
    status = status_set(NOPROP_FILE_ERROR, "%s: the group '%s' is damaged", dataset->path, name);
    goto done;
  }
  struct dataset_split *split = new_split(dataset, name);
  if (split == NULL) status = no_memory();
  for (int i = 0; i < count && status == NOPROP_OK; i++) {
    struct dataset_array *array = new_array(split, names[i]);
    if (array == NULL)
      status = no_memory();
    else
      describe_array(group, array);
  }
done:
  h5_names_free(names, count);
  if (group >= 0) (void)H5Gclose(group);
  return status;
}

noprop_status noprop_dataset_open(const char *path, noprop_dataset **dataset) {
  if (path == NULL || dataset == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_dataset_open needs a file name and a place for the data set");
  noprop_dataset *made;
  noprop_status status = noprop_dataset_create(&made);
  *dataset = NULL;
  if (status != NOPROP_OK) return status;
  char **names = NULL;
  int count = 0;
  struct h5_scope scope;
  h5_begin(&scope);
  free(made->path);
  made->path = strdup(path);
  status = made->path == NULL ? no_memory() : h5_open(path, &made->file);
  if (status == NOPROP_OK && !h5_names(made->file, &names, &count))
    status = status_set(NOPROP_FILE_ERROR, "%s is damaged: its groups cannot be listed", path);
  for (int i = 0; i < count && status == NOPROP_OK; i++) status = list_group(made, names[i]);
  if (status == NOPROP_OK && made->count == 0)
    status = status_set(NOPROP_FILE_ERROR,
                        "%s has no splits: a data file has groups train, validation, test, each with its arrays", path);
  if (status == NOPROP_OK) {
    (void)h5_get_text(made->file, "description", &made->description);
    (void)h5_get_text(made->file, "source", &made->source);
  }
  h5_names_free(names, count);
  h5_end(&scope);
  if (status != NOPROP_OK)
    noprop_dataset_destroy(made);
  else
    *dataset = made;
  return status;
}

/* "FILE: split 'train', array 'x'" */
static const char *place_of(const noprop_dataset *dataset, const struct dataset_split *split, const char *name,
                            char *buffer, size_t size) {
  (void)snprintf(buffer, size, "%s%ssplit '%s', array '%s'", dataset->path, dataset->path[0] == '\0' ? "" : ": ",
                 split->name, name);
  return buffer;
}

/* Integers of any width to int32, refused where they do not fit. */
static noprop_status read_wide_integers(const char *place, hid_t set, const noprop_array *view, int32_t *values) {
  char why[200];
  const size_t count = (size_t)view->rows * (size_t)view->width;
  noprop_status status = NOPROP_FILE_ERROR;
  /* 64-bit unsigned values above the largest signed one are clipped to it by HDF5, and do not fit either way. */
  int64_t *wide = malloc(count * sizeof *wide);
  if (wide == NULL) return no_memory();
  if (H5Dread(set, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, wide) < 0) {
    status_set(status, "%s cannot be read (HDF5: %s)", place, h5_problem(why, sizeof why));
    goto done;
  }
  for (size_t i = 0; i < count; i++) {
    if (wide[i] < INT32_MIN || wide[i] > INT32_MAX) {
      status_set(status, "%s: %lld in row %zu does not fit; integers from %d to %d are allowed", place,
                 (long long)wide[i], i / (size_t)view->width, INT32_MIN, INT32_MAX);
      goto done;
    }
    values[i] = (int32_t)wide[i];
  }
  status = NOPROP_OK;
done:
  free(wide);
  return status;
}

static hid_t memory_type(noprop_type type) {
  switch (type) {
    case NOPROP_TYPE_FLOAT32:
      return H5T_NATIVE_FLOAT;
    case NOPROP_TYPE_FLOAT64:
      return H5T_NATIVE_DOUBLE;
    case NOPROP_TYPE_UINT8:
      return H5T_NATIVE_UINT8;
    default:
      return H5T_NATIVE_INT32;
  }
}

static noprop_status read_values(const noprop_dataset *dataset, const struct dataset_split *split,
                                 struct dataset_array *array) {
  char place[600], path[600], why[200];
  noprop_array *view = &array->view;
  (void)place_of(dataset, split, array->name, place, sizeof place);
  (void)snprintf(path, sizeof path, "%s/%s", split->name, array->name);
  const size_t count = (size_t)view->rows * (size_t)view->width;
  void *values = malloc(count * TYPE_SIZES[view->type]);
  if (values == NULL) {
    status_set(NOPROP_OUT_OF_MEMORY, "%s: no memory is left for its %zu values", place, count);
    return NOPROP_OUT_OF_MEMORY;
  }
  noprop_status status = NOPROP_FILE_ERROR;
  const hid_t set = H5Dopen2(dataset->file, path, H5P_DEFAULT);
  const hid_t type = set < 0 ? -1 : H5Dget_type(set);
  const bool wide = type >= 0 && view->type == NOPROP_TYPE_INT32 &&
                    (H5Tget_size(type) > 4 || (H5Tget_size(type) == 4 && H5Tget_sign(type) == H5T_SGN_NONE));
  if (wide)
    status = read_wide_integers(place, set, view, values);
  else if (type >= 0 && H5Dread(set, memory_type(view->type), H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0)
    status = NOPROP_OK;
  else
    status_set(status, "%s cannot be read (HDF5: %s)", place, h5_problem(why, sizeof why));
  if (type >= 0) (void)H5Tclose(type);
  if (set >= 0) (void)H5Dclose(set);
  if (status != NOPROP_OK) {
    free(values);
    return status;
  }
  array->owned = values;
  view->values = values;
  return NOPROP_OK;
}

/* NaN and infinity would spread through every parameter at the first step. */
static noprop_status check_finite(const noprop_dataset *dataset, const struct dataset_split *split,
                                  struct dataset_array *array) {
  if (array->checked) return NOPROP_OK;
  char place[600];
  const noprop_array *view = &array->view;
  const size_t count = (size_t)view->rows * (size_t)view->width;
  for (size_t i = 0; i < count && (view->type == NOPROP_TYPE_FLOAT32 || view->type == NOPROP_TYPE_FLOAT64); i++) {
    const double value = view->type == NOPROP_TYPE_FLOAT32 ? (double)((const float *)view->values)[i]
                                                           : ((const double *)view->values)[i];
    if (isfinite(value) && isfinite((float)value)) continue;
    (void)place_of(dataset, split, array->name, place, sizeof place);
    return status_set(NOPROP_FILE_ERROR, "%s: row %zu, column %zu holds %s; only finite numbers are allowed%s", place,
                      i / (size_t)view->width, i % (size_t)view->width,
                      isnan(value)  ? "NaN"
                      : value > 0.0 ? "a positive infinity or a number beyond float32"
                                    : "a negative infinity or a number beyond float32",
                      isfinite(value) ? " (float64 becomes float32 on the device)" : "");
  }
  array->checked = true;
  return NOPROP_OK;
}

static noprop_status make_ready(const noprop_dataset *dataset, const struct dataset_split *split,
                                struct dataset_array *array) {
  char place[600];
  if (array->problem[0] != '\0')
    return status_set(NOPROP_FILE_ERROR, "%s %s", place_of(dataset, split, array->name, place, sizeof place),
                      array->problem);
  if (array->view.values == NULL) {
    struct h5_scope scope;
    h5_begin(&scope);
    const noprop_status status = read_values(dataset, split, array);
    h5_end(&scope);
    if (status != NOPROP_OK) return status;
  }
  return check_finite(dataset, split, array);
}

/* The split and array of these names, or a sentence that lists what is there. */
static noprop_status find(const noprop_dataset *dataset, const char *split_name, const char *name,
                          struct dataset_split **split, struct dataset_array **array) {
  char list[700];
  const char *path = dataset->path, *colon = path[0] == '\0' ? "" : ": ";
  *split = dataset_find_split(dataset, split_name);
  if (*split == NULL) {
    status_set(NOPROP_FILE_ERROR, "%s%sthere is no split '%.*s'; there are: %s", path, colon, MAX_NAME, split_name,
               list_splits(dataset, list, sizeof list));
    return NOPROP_FILE_ERROR;
  }
  *array = dataset_find_array(*split, name);
  if (*array == NULL) {
    status_set(NOPROP_FILE_ERROR, "%s%sthe split '%s' has no array '%.*s'; it holds: %s", path, colon, (*split)->name,
               MAX_NAME, name, list_arrays(*split, list, sizeof list));
    return NOPROP_FILE_ERROR;
  }
  return NOPROP_OK;
}

noprop_status noprop_dataset_get(noprop_dataset *dataset, const char *split_name, const char *name,
                                 noprop_array *array) {
  if (dataset == NULL || split_name == NULL || name == NULL || array == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_dataset_get needs a data set, a split, a name and a place");
  struct dataset_split *split;
  struct dataset_array *found;
  noprop_status status = find(dataset, split_name, name, &split, &found);
  if (status == NOPROP_OK) status = make_ready(dataset, split, found);
  if (status == NOPROP_OK) *array = found->view;
  return status;
}

noprop_status noprop_dataset_peek(const noprop_dataset *dataset, const char *split_name, const char *name,
                                  noprop_array *array) {
  if (dataset == NULL || split_name == NULL || name == NULL || array == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_dataset_peek needs a data set, a split, a name and a place");
  struct dataset_split *split;
  struct dataset_array *found;
  char place[600];
  const noprop_status status = find(dataset, split_name, name, &split, &found);
  if (status != NOPROP_OK) return status;
  if (found->problem[0] != '\0')
    return status_set(NOPROP_FILE_ERROR, "%s %s", place_of(dataset, split, name, place, sizeof place), found->problem);
  *array = found->view;
  return NOPROP_OK;
}

const char *noprop_dataset_split_at(const noprop_dataset *dataset, int index) {
  return dataset == NULL || index < 0 || index >= dataset->count ? NULL : dataset->splits[index].name;
}

const char *noprop_dataset_array_at(const noprop_dataset *dataset, const char *split_name, int index) {
  const struct dataset_split *split =
      dataset == NULL || split_name == NULL ? NULL : dataset_find_split(dataset, split_name);
  return split == NULL || index < 0 || index >= split->count ? NULL : split->arrays[index].name;
}

const char *noprop_dataset_description(const noprop_dataset *dataset) {
  return dataset == NULL || dataset->description == NULL ? "" : dataset->description;
}

const char *noprop_dataset_source(const noprop_dataset *dataset) {
  return dataset == NULL || dataset->source == NULL ? "" : dataset->source;
}

int noprop_dataset_has_split(const noprop_dataset *dataset, const char *split) {
  return dataset != NULL && split != NULL && dataset_find_split(dataset, split) != NULL;
}

/* ---- arrays from memory ------------------------------------------------------------------------------------------ */

noprop_status noprop_dataset_create(noprop_dataset **dataset) {
  if (dataset == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_dataset_create needs a place for the data set");
  *dataset = calloc(1, sizeof **dataset);
  if (*dataset == NULL) return no_memory();
  (*dataset)->file = -1;
  (*dataset)->path = strdup("");
  if ((*dataset)->path != NULL) return NOPROP_OK;
  free(*dataset);
  *dataset = NULL;
  return no_memory();
}

/* HDF5 takes '/' for a step into a group and "." for the group itself. */
static bool is_good_name(const char *name) {
  return name != NULL && name[0] != '\0' && strlen(name) <= MAX_NAME && strchr(name, '/') == NULL &&
         strcmp(name, ".") != 0;
}

noprop_status noprop_dataset_add(noprop_dataset *dataset, const char *split_name, const noprop_array *array) {
  if (dataset == NULL || array == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_dataset_add needs a data set and an array");
  if (!is_good_name(split_name) || !is_good_name(array->name))
    return status_set(NOPROP_INVALID_ARGUMENT, "names of splits and arrays have 1 to %d bytes without '/'", MAX_NAME);
  if (array->values == NULL) return status_set(NOPROP_INVALID_ARGUMENT, "the array '%s' has no values", array->name);
  if ((int)array->type < 0 || (int)array->type > NOPROP_TYPE_FLOAT64)
    return status_set(NOPROP_INVALID_ARGUMENT, "the array '%s' has type %d; 0 to %d are allowed", array->name,
                      (int)array->type, (int)NOPROP_TYPE_FLOAT64);
  if (array->rank < 1 || array->rank > MAX_RANK)
    return status_set(NOPROP_INVALID_ARGUMENT, "the array '%s' has %d dimensions; 1 to %d are allowed", array->name,
                      array->rank, MAX_RANK);
  double width = 1;
  for (int i = 0; i < array->rank; i++) {
    if (array->shape[i] < 1)
      return status_set(NOPROP_INVALID_ARGUMENT, "the array '%s' has size %ld in dimension %d; at least 1 is needed",
                        array->name, array->shape[i], i);
    if (i > 0) width *= (double)array->shape[i];
  }
  if (array->rows != array->shape[0] || (double)array->width != width)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "the array '%s' says %ld rows of width %ld, but its shape makes %ld rows of width %.0f",
                      array->name, array->rows, array->width, array->shape[0], width);
  struct dataset_split *split = dataset_find_split(dataset, split_name);
  if (split == NULL) split = new_split(dataset, split_name);
  if (split == NULL) return no_memory();
  if (dataset_find_array(split, array->name) != NULL)
    return status_set(NOPROP_INVALID_ARGUMENT, "the split '%s' has an array '%s' already", split_name, array->name);
  struct dataset_array *added = new_array(split, array->name);
  if (added == NULL) return no_memory();
  const char *name = added->name;
  added->view = *array;
  added->view.name = name;
  return NOPROP_OK;
}

noprop_status dataset_add_owned(noprop_dataset *dataset, const char *split, const char *name, noprop_type type,
                                int rank, const long *shape, void *values) {
  noprop_array array = {.name = name, .type = type, .rows = shape[0], .width = 1, .rank = rank, .values = values};
  for (int i = 0; i < rank; i++) {
    array.shape[i] = shape[i];
    if (i > 0) array.width *= shape[i];
  }
  const noprop_status status = noprop_dataset_add(dataset, split, &array);
  if (status != NOPROP_OK)
    free(values);
  else
    dataset_find_array(dataset_find_split(dataset, split), name)->owned = values;
  return status;
}

noprop_status dataset_describe(noprop_dataset *dataset, const char *description, const char *source) {
  free(dataset->description);
  free(dataset->source);
  dataset->description = strdup(description);
  dataset->source = strdup(source);
  return dataset->description == NULL || dataset->source == NULL ? no_memory() : NOPROP_OK;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static bool put_array(hid_t file, const char *split, const noprop_array *array) {
  char path[2 * MAX_NAME + 2];
  hsize_t shape[MAX_RANK];
  for (int i = 0; i < array->rank; i++) shape[i] = (hsize_t)array->shape[i];
  (void)snprintf(path, sizeof path, "%s/%s", split, array->name);
  const hid_t file_type = array->type == NOPROP_TYPE_FLOAT32   ? H5T_IEEE_F32LE
                          : array->type == NOPROP_TYPE_FLOAT64 ? H5T_IEEE_F64LE
                          : array->type == NOPROP_TYPE_UINT8   ? H5T_STD_U8LE
                                                               : H5T_STD_I32LE;
  return h5_put_array(file, path, file_type, memory_type(array->type), array->rank, shape, array->values);
}

/* Every array of the data set in the order of names, so that the order of adding leaves no trace. */
struct position {
  const struct dataset_split *split;
  struct dataset_array *array;
};

static int by_name(const void *a, const void *b) {
  const struct position *first = a, *second = b;
  const int order = strcmp(first->split->name, second->split->name);
  return order != 0 ? order : strcmp(first->array->name, second->array->name);
}

noprop_status noprop_dataset_save(const noprop_dataset *dataset, const char *path, const char *description,
                                  const char *source) {
  if (dataset == NULL || path == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_dataset_save needs a data set and a file name");
  char why[200];
  size_t count = 0, bytes = 65536;
  for (int i = 0; i < dataset->count; i++) count += (size_t)dataset->splits[i].count;
  if (count == 0) return status_set(NOPROP_INVALID_ARGUMENT, "a data set without arrays cannot be saved");
  struct position *positions = malloc(count * sizeof *positions);
  if (positions == NULL) return no_memory();
  noprop_status status = NOPROP_OK;
  size_t filled = 0;
  for (int i = 0; i < dataset->count && status == NOPROP_OK; i++) {
    const struct dataset_split *split = &dataset->splits[i];
    for (int j = 0; j < split->count && status == NOPROP_OK; j++) {
      struct dataset_array *array = &split->arrays[j];
      status = make_ready(dataset, split, array);
      bytes += (size_t)array->view.rows * (size_t)array->view.width * TYPE_SIZES[array->view.type] + 4096;
      positions[filled++] = (struct position){split, array};
    }
  }
  if (status == NOPROP_OK) {
    qsort(positions, count, sizeof *positions, by_name);
    if (description == NULL) description = noprop_dataset_description(dataset);
    if (source == NULL) source = noprop_dataset_source(dataset);
    struct h5_scope scope;
    h5_begin(&scope);
    const hid_t file = h5_image_create(bytes);
    bool good = file >= 0;
    for (size_t i = 0; i < count && good; i++)
      good = put_array(file, positions[i].split->name, &positions[i].array->view);
    if (good && description[0] != '\0') good = h5_put_text(file, "description", description);
    if (good && source[0] != '\0') good = h5_put_text(file, "source", source);
    if (!good)
      status = status_set(NOPROP_FILE_ERROR, "%s could not be built (HDF5: %s)", path, h5_problem(why, sizeof why));
    else
      status = h5_image_write(file, path);
    if (file >= 0) (void)H5Fclose(file);
    h5_end(&scope);
  }
  free(positions);
  return status;
}

void noprop_dataset_destroy(noprop_dataset *dataset) {
  if (dataset == NULL) return;
  for (int i = 0; i < dataset->count; i++) {
    for (int j = 0; j < dataset->splits[i].count; j++) {
      free(dataset->splits[i].arrays[j].owned);
      free(dataset->splits[i].arrays[j].name);
    }
    free(dataset->splits[i].arrays);
    free(dataset->splits[i].name);
  }
  if (dataset->file >= 0) {
    struct h5_scope scope;
    h5_begin(&scope);
    (void)H5Fclose(dataset->file);
    h5_end(&scope);
  }
  free(dataset->splits);
  free(dataset->description);
  free(dataset->source);
  free(dataset->path);
  free(dataset);
}
