/* Model files: parameters, optimizer state, statistics, configuration and position in one HDF5 file. */
#include "host/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model.h"
#include "engine/status.h"
#include "host/dataset.h"
#include "host/h5.h"

static const char FORMAT[] = "noprop model";

static noprop_status no_memory(void) {
  status_set(NOPROP_OUT_OF_MEMORY, "no memory is left for a model file");
  return NOPROP_OUT_OF_MEMORY;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* Shapes of condition and target, where they are images. */
static const char *const CONDITION_SIDES[] = {"condition_channels", "condition_height", "condition_pixels_across"};
static const char *const TARGET_SIDES[] = {"target_channels", "target_height", "target_pixels_across"};

static bool put_image(hid_t file, const char *const *names, const int sides[3]) {
  for (int i = 0; i < 3 && sides[0] > 0; i++)
    if (!h5_put_integer(file, names[i], (uint64_t)sides[i])) return false;
  return true;
}

static bool put_description(hid_t file, const noprop_model *model, const char *config, const char *note) {
  const noprop_model_shape *shape = noprop_model_get_shape(model);
  return h5_put_text(file, "format", FORMAT) && h5_put_integer(file, "format_version", CHECKPOINT_VERSION) &&
         h5_put_text(file, "library_version", noprop_version()) && h5_put_text(file, "config", config) &&
         h5_put_integer(file, "step", noprop_model_step(model)) && h5_put_integer(file, "seed", model->settings.seed) &&
         h5_put_text(file, "condition_type", dataset_type_name(shape->condition_type)) &&
         h5_put_integer(file, "condition_width", (uint64_t)shape->condition_width) &&
         h5_put_integer(file, "condition_is_label", shape->condition_is_label) &&
         put_image(file, CONDITION_SIDES, shape->condition_shape) &&
         h5_put_text(file, "target_type", dataset_type_name(shape->target_type)) &&
         h5_put_integer(file, "target_width", (uint64_t)shape->target_width) &&
         h5_put_integer(file, "target_is_label", shape->target_is_label) &&
         put_image(file, TARGET_SIDES, shape->target_shape) && (note == NULL || h5_put_long_text(file, "note", note));
}

static bool put_state(hid_t file, const struct model_state *state, const void *values) {
  const hsize_t shape[2] = {(hsize_t)state->shape[0], (hsize_t)state->shape[1]};
  if (state->type == NOPROP_TYPE_FLOAT64)
    return h5_put_array(file, state->name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, state->rank, shape, values);
  return h5_put_array(file, state->name, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, state->rank, shape, values);
}

noprop_status checkpoint_save(noprop_model *model, const char *note, const char *path) {
  if (model == NULL || path == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT, "saving a model needs a model and a file name");
  char why[200];
  char *config = NULL;
  noprop_status status = noprop_config_text(noprop_model_config(model), &config);
  if (status != NOPROP_OK) return status;
  const int count = model_state_count(model);
  size_t bytes = 65536, largest = 1;
  for (int i = 0; i < count; i++) {
    const struct model_state state = model_state_at(model, i);
    const size_t size = (size_t)state.values * dataset_type_size(state.type);
    bytes += size + 1024;
    if (size > largest) largest = size;
  }
  void *values = malloc(largest);
  if (values == NULL) status = no_memory();

  struct h5_scope scope;
  h5_begin(&scope);
  const hid_t file = status == NOPROP_OK ? h5_image_create(bytes) : -1;
  bool good = file >= 0 && put_description(file, model, config, note);
  for (int i = 0; i < count && good && status == NOPROP_OK; i++) {
    const struct model_state state = model_state_at(model, i);
    status = model_state_get(model, i, values);
    if (status == NOPROP_OK) good = put_state(file, &state, values);
  }
  if (status == NOPROP_OK && !good)
    status = status_set(NOPROP_FILE_ERROR, "%s could not be built (HDF5: %s)", path, h5_problem(why, sizeof why));
  if (status == NOPROP_OK) status = h5_image_write(file, path);
  if (file >= 0) (void)H5Fclose(file);
  h5_end(&scope);
  free(values);
  noprop_free(config);
  return status;
}

noprop_status noprop_model_save(noprop_model *model, const char *path) { return checkpoint_save(model, NULL, path); }

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static noprop_status missing_attribute(const char *path, const char *name) {
  status_set(NOPROP_FILE_ERROR, "%s: the model file lacks its attribute '%s', or it is damaged", path, name);
  return NOPROP_FILE_ERROR;
}

/* Opens a model file and checks that this library can read it. */
static noprop_status open_model(const char *path, hid_t *file) {
  char *format = NULL, *library = NULL;
  uint64_t version = 0;
  noprop_status status = h5_open(path, file);
  if (status != NOPROP_OK) return status;
  if (!h5_get_text(*file, "format", &format) || strcmp(format, FORMAT) != 0) {
    status = status_set(NOPROP_FILE_ERROR, "%s is an HDF5 file, but not a model", path);
  } else if (!h5_get_integer(*file, "format_version", &version)) {
    status = missing_attribute(path, "format_version");
  } else if (version != CHECKPOINT_VERSION) {
    const bool known = h5_get_text(*file, "library_version", &library);
    status = status_set(
        NOPROP_FILE_ERROR, "%s has format version %llu, written by noprop %s; this library (%s) reads version %d", path,
        (unsigned long long)version, known ? library : "of unknown version", noprop_version(), CHECKPOINT_VERSION);
  }
  free(format);
  free(library);
  if (status == NOPROP_OK) return NOPROP_OK;
  (void)H5Fclose(*file);
  *file = -1;
  return status;
}

static bool type_from_text(const char *text, noprop_type *type) {
  for (int i = 0; i <= NOPROP_TYPE_FLOAT64; i++) {
    if (strcmp(text, dataset_type_name((noprop_type)i)) != 0) continue;
    *type = (noprop_type)i;
    return true;
  }
  return false;
}

static noprop_status read_side(const char *path, hid_t file, const char *side, noprop_type *type, int *width,
                               bool *is_label) {
  char name[40];
  char *text = NULL;
  uint64_t number = 0;
  (void)snprintf(name, sizeof name, "%s_type", side);
  const bool known = h5_get_text(file, name, &text) && type_from_text(text, type);
  free(text);
  if (!known) return missing_attribute(path, name);
  (void)snprintf(name, sizeof name, "%s_width", side);
  if (!h5_get_integer(file, name, &number) || number > 1u << 30) return missing_attribute(path, name);
  *width = (int)number;
  (void)snprintf(name, sizeof name, "%s_is_label", side);
  if (!h5_get_integer(file, name, &number) || number > 1) return missing_attribute(path, name);
  *is_label = number == 1;
  return NOPROP_OK;
}

/* Sides whose product is not `width` are no image's. */
static noprop_status read_image(const char *path, hid_t file, const char *const *names, int width, int sides[3]) {
  uint64_t product = 1;
  memset(sides, 0, 3 * sizeof *sides);
  if (H5Aexists(file, names[0]) <= 0) return NOPROP_OK;
  for (int i = 0; i < 3; i++) {
    uint64_t number = 0;
    if (!h5_get_integer(file, names[i], &number) || number < 1 || number > 1u << 24)
      return missing_attribute(path, names[i]);
    sides[i] = (int)number;
    product *= number;
    if (product > (uint64_t)width) return missing_attribute(path, names[i]);
  }
  return product == (uint64_t)width ? NOPROP_OK : missing_attribute(path, names[0]);
}

static noprop_status read_shape(const char *path, hid_t file, noprop_model_shape *shape) {
  noprop_status status =
      read_side(path, file, "condition", &shape->condition_type, &shape->condition_width, &shape->condition_is_label);
  if (status == NOPROP_OK)
    status = read_side(path, file, "target", &shape->target_type, &shape->target_width, &shape->target_is_label);
  if (status == NOPROP_OK)
    status = read_image(path, file, CONDITION_SIDES, shape->condition_width, shape->condition_shape);
  return status == NOPROP_OK ? read_image(path, file, TARGET_SIDES, shape->target_width, shape->target_shape) : status;
}

static noprop_status read_config(const char *path, hid_t file, noprop_config **config) {
  char *text = NULL;
  if (!h5_get_text(file, "config", &text)) return missing_attribute(path, "config");
  noprop_status status = noprop_config_create(config);
  if (status == NOPROP_OK) status = noprop_config_parse(*config, text, path);
  free(text);
  if (status != NOPROP_OK) {
    noprop_config_destroy(*config);
    *config = NULL;
  }
  return status;
}

/* "[64][32]" */
static void shape_text(int rank, const hsize_t *shape, char *buffer, size_t size) {
  size_t used = 0;
  buffer[0] = '\0';
  for (int i = 0; i < rank && used + 24 < size; i++)
    used += (size_t)snprintf(buffer + used, size - used, "[%llu]", (unsigned long long)shape[i]);
}

static noprop_status read_state(const char *path, hid_t file, const struct model_state *state, void *values) {
  char why[200], group[80];
  (void)snprintf(group, sizeof group, "%.*s", (int)strcspn(state->name, "/"), state->name);
  if (H5Lexists(file, group, H5P_DEFAULT) <= 0 || H5Lexists(file, state->name, H5P_DEFAULT) <= 0)
    return status_set(NOPROP_FILE_ERROR, "%s: the array '%s' is missing", path, state->name);
  noprop_status status = NOPROP_OK;
  const hid_t set = H5Dopen2(file, state->name, H5P_DEFAULT);
  const hid_t space = set < 0 ? -1 : H5Dget_space(set), type = set < 0 ? -1 : H5Dget_type(set);
  hsize_t shape[H5S_MAX_RANK] = {0};
  const int rank = space < 0 ? -1 : H5Sget_simple_extent_dims(space, shape, NULL);
  if (rank < 0 || type < 0) {
    status = status_set(NOPROP_FILE_ERROR, "%s: the array '%s' is damaged (HDF5: %s)", path, state->name,
                        h5_problem(why, sizeof why));
  } else if (H5Tget_class(type) != H5T_FLOAT || H5Tget_size(type) != dataset_type_size(state->type)) {
    status = status_set(NOPROP_FILE_ERROR, "%s: the array '%s' is not of type %s", path, state->name,
                        dataset_type_name(state->type));
  } else if (rank != state->rank || shape[0] != (hsize_t)state->shape[0] ||
             (rank == 2 && shape[1] != (hsize_t)state->shape[1])) {
    char found[120], needed[120];
    const hsize_t want[2] = {(hsize_t)state->shape[0], (hsize_t)state->shape[1]};
    shape_text(rank, shape, found, sizeof found);
    shape_text(state->rank, want, needed, sizeof needed);
    status = status_set(NOPROP_FILE_ERROR, "%s: the array '%s' has shape %s, but the configuration's network needs %s",
                        path, state->name, found, needed);
  } else if (H5Dread(set, state->type == NOPROP_TYPE_FLOAT64 ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL,
                     H5P_DEFAULT, values) < 0) {
    status = status_set(NOPROP_FILE_ERROR, "%s: the array '%s' cannot be read (HDF5: %s)", path, state->name,
                        h5_problem(why, sizeof why));
  }
  if (type >= 0) (void)H5Tclose(type);
  if (space >= 0) (void)H5Sclose(space);
  if (set >= 0) (void)H5Dclose(set);
  return status;
}

static noprop_status read_states(const char *path, hid_t file, noprop_model *model) {
  noprop_status status = NOPROP_OK;
  for (int i = 0; i < model_state_count(model) && status == NOPROP_OK; i++) {
    const struct model_state state = model_state_at(model, i);
    void *values = malloc((size_t)state.values * dataset_type_size(state.type));
    if (values == NULL) return no_memory();
    status = read_state(path, file, &state, values);
    if (status == NOPROP_OK) {
      status = model_state_set(model, i, values);
      if (status != NOPROP_OK) status = status_prefix(status, "%s", path);
    }
    free(values);
  }
  return status;
}

noprop_status checkpoint_load(noprop_device *device, const char *path, const noprop_config *config,
                              noprop_model **model, char **note) {
  if (model != NULL) *model = NULL;
  if (note != NULL) *note = NULL;
  if (device == NULL || path == NULL || model == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT, "loading a model needs a device, a file name and a place for the model");
  noprop_config *own = NULL;
  noprop_model *made = NULL;
  noprop_model_shape shape;
  hid_t file = -1;
  struct h5_scope scope;
  h5_begin(&scope);
  noprop_status status = open_model(path, &file);
  if (status == NOPROP_OK) status = read_shape(path, file, &shape);
  if (status == NOPROP_OK && config == NULL) status = read_config(path, file, &own);
  h5_end(&scope); /* making a model takes a while */
  if (status == NOPROP_OK) status = noprop_model_create(device, config == NULL ? own : config, &shape, &made);
  h5_begin(&scope);
  if (status == NOPROP_OK) status = read_states(path, file, made);
  if (status == NOPROP_OK && note != NULL) (void)h5_get_long_text(file, "note", note);
  if (file >= 0) (void)H5Fclose(file);
  h5_end(&scope);
  noprop_config_destroy(own);
  if (status != NOPROP_OK)
    noprop_model_destroy(made);
  else
    *model = made;
  return status;
}

noprop_status noprop_model_load(noprop_device *device, const char *path, noprop_model **model) {
  return checkpoint_load(device, path, NULL, model, NULL);
}

/* ---- description ------------------------------------------------------------------------------------------------- */

int checkpoint_is_model(const char *path) {
  char *format = NULL;
  hid_t file = -1;
  struct h5_scope scope;
  h5_begin(&scope);
  const bool is_model =
      h5_open(path, &file) == NOPROP_OK && h5_get_text(file, "format", &format) && strcmp(format, FORMAT) == 0;
  if (file >= 0) (void)H5Fclose(file);
  h5_end(&scope);
  free(format);
  return is_model;
}

static void describe_side(FILE *out, const char *name, noprop_type type, int width, bool is_label) {
  if (width == 0)
    (void)fprintf(out, "%s: none\n", name);
  else
    (void)fprintf(out, "%s: %s, %s %d\n", name, dataset_type_name(type), is_label ? "classes" : "width", width);
}

/* The arrays of one group, and how many numbers are in it. */
/* Number of the block that an array of variant dt belongs to, or 0. */
static int block_of(const char *name) {
  int block = 0;
  return sscanf(name, "block.%d.", &block) == 1 ? block : 0;
}

/* Blocks of variant dt that a configuration has, or 0. */
static int blocks_in(const char *text) {
  noprop_config *config = NULL;
  char variant[16] = "", blocks[16] = "0";
  if (noprop_config_create(&config) == NOPROP_OK && noprop_config_parse(config, text, NULL) == NOPROP_OK &&
      noprop_config_get(config, "variant", variant, sizeof variant) == NOPROP_OK)
    (void)noprop_config_get(config, "dt.blocks", blocks, sizeof blocks);
  noprop_config_destroy(config);
  return strcmp(variant, "dt") == 0 ? (int)strtol(blocks, NULL, 10) : 0;
}

/* Blocks of one shape are listed once. */
static void describe_group(FILE *out, hid_t file, const char *name, int blocks) {
  char **names = NULL;
  int count = 0;
  long long values = 0, in_block = 0;
  const hid_t group = H5Gopen2(file, name, H5P_DEFAULT);
  if (group < 0 || !h5_names(group, &names, &count)) {
    if (group >= 0) (void)H5Gclose(group);
    return;
  }
  (void)fprintf(out, "%s:\n", name);
  for (int i = 0; i < count; i++) {
    hsize_t shape[H5S_MAX_RANK] = {0};
    const hid_t set = H5Dopen2(group, names[i], H5P_DEFAULT);
    const hid_t space = set < 0 ? -1 : H5Dget_space(set);
    const int rank = space < 0 ? -1 : H5Sget_simple_extent_dims(space, shape, NULL);
    char text[120];
    shape_text(rank, shape, text, sizeof text);
    const long long points = rank < 0 ? 0 : (long long)H5Sget_simple_extent_npoints(space);
    const int block = blocks > 0 ? block_of(names[i]) : 0;
    values += points;
    if (block == 1) in_block += points;
    if (block <= 1 || rank < 0) (void)fprintf(out, "  %s %s\n", names[i], rank < 0 ? "(damaged)" : text);
    if (space >= 0) (void)H5Sclose(space);
    if (set >= 0) (void)H5Dclose(set);
  }
  if (in_block > 0) (void)fprintf(out, "  so in each of %d blocks: %lld values\n", blocks, in_block);
  (void)fprintf(out, "  %lld values in %d arrays\n", values, count);
  h5_names_free(names, count);
  (void)H5Gclose(group);
}

noprop_status checkpoint_describe(const char *path, char **text) {
  if (path == NULL || text == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT, "describing a model file needs its name and a place for the text");
  *text = NULL;
  size_t length;
  char **groups = NULL;
  int group_count = 0;
  char *config = NULL, *library = NULL;
  uint64_t step = 0;
  noprop_model_shape shape;
  hid_t file = -1;
  FILE *out = open_memstream(text, &length);
  if (out == NULL) return no_memory();
  struct h5_scope scope;
  h5_begin(&scope);
  noprop_status status = open_model(path, &file);
  if (status == NOPROP_OK) status = read_shape(path, file, &shape);
  if (status == NOPROP_OK && !h5_get_text(file, "config", &config)) status = missing_attribute(path, "config");
  if (status == NOPROP_OK && !h5_get_integer(file, "step", &step)) status = missing_attribute(path, "step");
  if (status == NOPROP_OK && !h5_get_text(file, "library_version", &library))
    status = missing_attribute(path, "library_version");
  if (status == NOPROP_OK && !h5_names(file, &groups, &group_count))
    status = status_set(NOPROP_FILE_ERROR, "%s is damaged: its groups cannot be listed", path);
  if (status == NOPROP_OK) {
    (void)fprintf(out, "model after %llu steps, format %d, written by noprop %s\n", (unsigned long long)step,
                  CHECKPOINT_VERSION, library);
    describe_side(out, "condition", shape.condition_type, shape.condition_width, shape.condition_is_label);
    describe_side(out, "target", shape.target_type, shape.target_width, shape.target_is_label);
    for (int i = 0; i < group_count; i++) describe_group(out, file, groups[i], blocks_in(config));
    (void)fprintf(out, "configuration:\n%s", config);
  }
  h5_names_free(groups, group_count);
  if (file >= 0) (void)H5Fclose(file);
  h5_end(&scope);
  free(config);
  free(library);
  if (fclose(out) != 0 && status == NOPROP_OK) status = no_memory();
  if (status != NOPROP_OK) {
    free(*text);
    *text = NULL;
  }
  return status;
}
