/* HDF5 as this library uses it: silent, one thread at a time, files made in memory and put in place at once. */
#include "host/h5.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/status.h"
#include "host/run_files.h"

/* HDF5 may be built without thread safety. */
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

void h5_begin(struct h5_scope *scope) {
  (void)pthread_mutex_lock(&one_at_a_time);
  scope->report = NULL;
  scope->report_data = NULL;
  (void)H5Eget_auto2(H5E_DEFAULT, &scope->report, &scope->report_data);
  (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

void h5_end(const struct h5_scope *scope) {
  (void)H5Eset_auto2(H5E_DEFAULT, scope->report, scope->report_data);
  (void)pthread_mutex_unlock(&one_at_a_time);
}

struct problem {
  char *buffer;
  size_t size;
};

/* The first entry from the bottom of the stack is where it went wrong. */
static herr_t take_problem(unsigned depth, const H5E_error2_t *entry, void *user) {
  (void)depth;
  const struct problem *problem = user;
  if (problem->buffer[0] == '\0' && entry->desc != NULL)
    (void)snprintf(problem->buffer, problem->size, "%.160s", entry->desc);
  return 0;
}

const char *h5_problem(char *buffer, size_t size) {
  struct problem problem = {buffer, size};
  buffer[0] = '\0';
  (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_problem, &problem);
  return buffer;
}

noprop_status h5_open(const char *path, hid_t *file) {
  char why[200];
  *file = -1;
  FILE *plain = fopen(path, "rb");
  char first[16];
  if (plain == NULL) return status_set(NOPROP_FILE_ERROR, "%s could not be opened: %s", path, strerror(errno));
  errno = 0;
  const size_t got = fread(first, 1, sizeof first, plain);
  const int error = ferror(plain) ? errno : 0;
  (void)fclose(plain);
  if (error != 0) return status_set(NOPROP_FILE_ERROR, "%s could not be read: %s", path, strerror(error));
  if (got == 0) return status_set(NOPROP_FILE_ERROR, "%s is empty; an HDF5 file is needed", path);
  if (H5Fis_hdf5(path) <= 0)
    return status_set(NOPROP_FILE_ERROR, "%s is not an HDF5 file, or its beginning is damaged", path);
  *file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  if (*file >= 0) return NOPROP_OK;
  return status_set(NOPROP_FILE_ERROR, "%s is damaged or cut short (HDF5: %s)", path, h5_problem(why, sizeof why));
}

hid_t h5_image_create(size_t expected) {
  hid_t file = -1;
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  if (access >= 0 && H5Pset_fapl_core(access, expected < 65536 ? 65536 : expected, false) >= 0)
    file = H5Fcreate("image", H5F_ACC_TRUNC, H5P_DEFAULT, access);
  if (access >= 0) (void)H5Pclose(access);
  return file;
}

noprop_status h5_image_write(hid_t file, const char *path) {
  char why[200];
  noprop_status status = NOPROP_OK;
  const ssize_t size = H5Fflush(file, H5F_SCOPE_GLOBAL) < 0 ? -1 : H5Fget_file_image(file, NULL, 0);
  char *image = size > 0 ? malloc((size_t)size) : NULL;
  if (size <= 0)
    status = status_set(NOPROP_FILE_ERROR, "%s could not be built (HDF5: %s)", path, h5_problem(why, sizeof why));
  else if (image == NULL)
    status = status_set(NOPROP_OUT_OF_MEMORY, "no memory is left to write the %zd bytes of %s", size, path);
  else if (H5Fget_file_image(file, image, (size_t)size) != size)
    status = status_set(NOPROP_FILE_ERROR, "%s could not be built (HDF5: %s)", path, h5_problem(why, sizeof why));
  else
    status = run_file_write(path, image, (size_t)size);
  free(image);
  return status;
}

/* Makes the groups on the way; object times off. */
static bool put_set(hid_t parent, const char *path, hid_t file_type, hid_t memory_type, hid_t space,
                    const void *values) {
  const hid_t link = H5Pcreate(H5P_LINK_CREATE), create = H5Pcreate(H5P_DATASET_CREATE);
  bool good = space >= 0 && link >= 0 && create >= 0 && H5Pset_create_intermediate_group(link, 1) >= 0 &&
              H5Pset_obj_track_times(create, false) >= 0 && H5Pset_fill_time(create, H5D_FILL_TIME_NEVER) >= 0;
  if (good) {
    const hid_t array = H5Dcreate2(parent, path, file_type, space, link, create, H5P_DEFAULT);
    good = array >= 0 && H5Dwrite(array, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    if (array >= 0) good = H5Dclose(array) >= 0 && good;
  }
  if (create >= 0) (void)H5Pclose(create);
  if (link >= 0) (void)H5Pclose(link);
  return good;
}

bool h5_put_array(hid_t parent, const char *path, hid_t file_type, hid_t memory_type, int rank, const hsize_t *shape,
                  const void *values) {
  const hid_t space = H5Screate_simple(rank, shape, NULL);
  const bool good = put_set(parent, path, file_type, memory_type, space, values);
  if (space >= 0) (void)H5Sclose(space);
  return good;
}

/* UTF-8, fixed length with its terminating zero. */
static hid_t text_type(size_t size) {
  const hid_t type = H5Tcopy(H5T_C_S1);
  if (type >= 0 && H5Tset_size(type, size) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0) return type;
  if (type >= 0) (void)H5Tclose(type);
  return -1;
}

bool h5_put_long_text(hid_t parent, const char *path, const char *text) {
  const hid_t type = text_type(strlen(text) + 1), space = H5Screate(H5S_SCALAR);
  const bool good = type >= 0 && put_set(parent, path, type, type, space, text);
  if (space >= 0) (void)H5Sclose(space);
  if (type >= 0) (void)H5Tclose(type);
  return good;
}

bool h5_get_long_text(hid_t parent, const char *path, char **text) {
  *text = NULL;
  if (H5Lexists(parent, path, H5P_DEFAULT) <= 0) return false;
  const hid_t set = H5Dopen2(parent, path, H5P_DEFAULT);
  const hid_t type = set < 0 ? -1 : H5Dget_type(set), space = set < 0 ? -1 : H5Dget_space(set);
  if (type >= 0 && space >= 0 && H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0 &&
      H5Sget_simple_extent_npoints(space) == 1) {
    *text = calloc(H5Tget_size(type) + 1, 1);
    if (*text != NULL && H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, *text) < 0) {
      free(*text);
      *text = NULL;
    }
  }
  if (space >= 0) (void)H5Sclose(space);
  if (type >= 0) (void)H5Tclose(type);
  if (set >= 0) (void)H5Dclose(set);
  return *text != NULL;
}

bool h5_put_text(hid_t object, const char *name, const char *text) {
  const hid_t type = text_type(strlen(text) + 1), space = H5Screate(H5S_SCALAR);
  bool good = type >= 0 && space >= 0;
  if (good) {
    const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    good = attribute >= 0 && H5Awrite(attribute, type, text) >= 0;
    if (attribute >= 0) good = H5Aclose(attribute) >= 0 && good;
  }
  if (space >= 0) (void)H5Sclose(space);
  if (type >= 0) (void)H5Tclose(type);
  return good;
}

bool h5_put_integer(hid_t object, const char *name, uint64_t value) {
  const hid_t space = H5Screate(H5S_SCALAR);
  const hid_t attribute = space < 0 ? -1 : H5Acreate2(object, name, H5T_STD_U64LE, space, H5P_DEFAULT, H5P_DEFAULT);
  bool good = attribute >= 0 && H5Awrite(attribute, H5T_NATIVE_UINT64, &value) >= 0;
  if (attribute >= 0) good = H5Aclose(attribute) >= 0 && good;
  if (space >= 0) (void)H5Sclose(space);
  return good;
}

/* Number of elements of an attribute; -1 if that cannot be told. */
static hssize_t attribute_elements(hid_t attribute) {
  const hid_t space = H5Aget_space(attribute);
  if (space < 0) return -1;
  const hssize_t count = H5Sget_simple_extent_npoints(space);
  (void)H5Sclose(space);
  return count;
}

bool h5_get_text(hid_t object, const char *name, char **text) {
  *text = NULL;
  if (H5Aexists(object, name) <= 0) return false;
  const hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
  if (attribute < 0) return false;
  const hid_t type = H5Aget_type(attribute);
  if (type >= 0 && H5Tget_class(type) == H5T_STRING && attribute_elements(attribute) == 1) {
    if (H5Tis_variable_str(type) > 0) {
      char *value = NULL;
      const hid_t memory = H5Tcopy(type);
      if (memory >= 0 && H5Aread(attribute, memory, &value) >= 0 && value != NULL) {
        *text = strdup(value);
        (void)H5free_memory(value);
      }
      if (memory >= 0) (void)H5Tclose(memory);
    } else {
      const size_t size = H5Tget_size(type);
      *text = calloc(size + 1, 1);
      if (*text != NULL && H5Aread(attribute, type, *text) < 0) {
        free(*text);
        *text = NULL;
      }
    }
  }
  if (type >= 0) (void)H5Tclose(type);
  (void)H5Aclose(attribute);
  return *text != NULL;
}

bool h5_get_integer(hid_t object, const char *name, uint64_t *value) {
  if (H5Aexists(object, name) <= 0) return false;
  const hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
  if (attribute < 0) return false;
  const hid_t type = H5Aget_type(attribute);
  const bool good = type >= 0 && H5Tget_class(type) == H5T_INTEGER && attribute_elements(attribute) == 1 &&
                    H5Aread(attribute, H5T_NATIVE_UINT64, value) >= 0;
  if (type >= 0) (void)H5Tclose(type);
  (void)H5Aclose(attribute);
  return good;
}

void h5_names_free(char **names, int count) {
  for (int i = 0; names != NULL && i < count; i++) free(names[i]);
  free(names);
}

bool h5_names(hid_t group, char ***names, int *count) {
  H5G_info_t info;
  *names = NULL;
  *count = 0;
  if (H5Gget_info(group, &info) < 0) return false;
  char **list = calloc((size_t)info.nlinks + 1, sizeof *list);
  if (list == NULL) return false;
  for (hsize_t i = 0; i < info.nlinks; i++) {
    const ssize_t length = H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, i, NULL, 0, H5P_DEFAULT);
    list[i] = length < 0 ? NULL : malloc((size_t)length + 1);
    if (list[i] == NULL ||
        H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, i, list[i], (size_t)length + 1, H5P_DEFAULT) < 0) {
      h5_names_free(list, (int)i + 1);
      return false;
    }
  }
  *names = list;
  *count = (int)info.nlinks;
  return true;
}
