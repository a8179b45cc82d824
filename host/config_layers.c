/* network.layers: a layer is {name: ..., type: ..., from: ..., and the keys of its type}. What can be said without the
 * data is checked here: keys, ranges, names, and that every layer is read. */
#include "host/config_layers.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/status.h"
#include "host/config_value.h"

enum {
  TYPE_DENSE = 1 << LAYER_DENSE,
  TYPE_ACTIVATION = 1 << LAYER_ACTIVATION,
  TYPE_DROPOUT = 1 << LAYER_DROPOUT,
  TYPE_SOURCE = 1 << LAYER_SOURCE,
  TYPE_BATCH_NORM = 1 << LAYER_BATCH_NORM
};

/* Which types have a key, beside type, name and from. */
static const struct {
  const char *name;
  unsigned types;
} KEYS[] = {{"width", TYPE_DENSE | TYPE_SOURCE},
            {"activation", TYPE_DENSE | TYPE_ACTIVATION},
            {"bias", TYPE_DENSE},
            {"rate", TYPE_DROPOUT},
            {"momentum", TYPE_BATCH_NORM},
            {"file", TYPE_SOURCE},
            {"text", TYPE_SOURCE},
            {"function", TYPE_SOURCE},
            {"parameters", TYPE_SOURCE},
            {"initial", TYPE_SOURCE}};
enum { KEY_COUNT = sizeof KEYS / sizeof KEYS[0] };

static const char *const INPUT_NAMES[] = {"z", "x", "t"}; /* -1 - enum layer_input */

/* One layer on its way. */
struct reading {
  const char *name; /* of the configuration's file, or NULL */
  yaml_document_t *document;
  struct layer_list *layers;
  int index;
  const yaml_node_t **place;
};

/* "network.layers[3].width: " and the sentence; `key` NULL: of the layer itself. */
__attribute__((format(printf, 4, 5))) static noprop_status refuse(const struct reading *r, const yaml_node_t *place,
                                                                  const char *key, const char *format, ...) {
  char sentence[400];
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(sentence, sizeof sentence, format, arguments);
  va_end(arguments);
  *r->place = place;
  return status_set(NOPROP_INVALID_CONFIG, "network.layers[%d]%s%s: %s", r->index, key ? "." : "", key ? key : "",
                    sentence);
}

static const yaml_node_t *node_at(const struct reading *r, int number) {
  return yaml_document_get_node(r->document, number);
}

/* A scalar's text as it may stand in a message, or what is there instead. */
static const char *text_of(const yaml_node_t *node) {
  return node->type == YAML_SCALAR_NODE     ? (const char *)node->data.scalar.value
         : node->type == YAML_SEQUENCE_NODE ? "[...]"
                                            : "{...}";
}

static const yaml_node_t *value_of(const struct reading *r, const yaml_node_t *layer, const char *key) {
  const yaml_node_pair_t *pairs = layer->data.mapping.pairs.start;
  for (; pairs < layer->data.mapping.pairs.top; ++pairs)
    if (strcmp(text_of(node_at(r, pairs->key)), key) == 0) return node_at(r, pairs->value);
  return NULL;
}

/* "name, type, from, width, ..." of one type. */
static void keys_text(int type, char *buffer, size_t size) {
  int used = snprintf(buffer, size, "type, name, from");
  for (int k = 0; k < KEY_COUNT; ++k)
    if (KEYS[k].types & 1U << type) used += snprintf(buffer + used, size - (size_t)used, ", %s", KEYS[k].name);
}

/* "dense, activation, ..." */
static void names_text(const option_name *list, char *buffer, size_t size) {
  size_t used = 0;
  for (int i = 0; list[i].name != NULL && used < size; ++i)
    used += (size_t)snprintf(buffer + used, size - used, "%s%s", i == 0 ? "" : ", ", list[i].name);
}

static noprop_status read_choice(const struct reading *r, const yaml_node_t *node, const char *key,
                                 const option_name *list, int *choice) {
  *choice = node->type == YAML_SCALAR_NODE ? option_find(list, text_of(node)) : -1;
  if (*choice >= 0) return NOPROP_OK;
  char allowed[256];
  names_text(list, allowed, sizeof allowed);
  const char *meant = config_option_suggest(list, text_of(node));
  return refuse(r, node, key, "%.60s is not allowed%s%s%s; allowed: %s", text_of(node), meant ? " (did you mean '" : "",
                meant ? meant : "", meant ? "'?)" : "", allowed);
}

/* ---- names and inputs ---- */

static noprop_status check_keys(const struct reading *r, const yaml_node_t *layer, int type) {
  const yaml_node_pair_t *pairs = layer->data.mapping.pairs.start;
  for (const yaml_node_pair_t *pair = pairs; pair < layer->data.mapping.pairs.top; ++pair) {
    const char *key = text_of(node_at(r, pair->key));
    bool known = strcmp(key, "type") == 0 || strcmp(key, "name") == 0 || strcmp(key, "from") == 0;
    for (int k = 0; k < KEY_COUNT; ++k) known = known || (strcmp(key, KEYS[k].name) == 0 && KEYS[k].types & 1U << type);
    char allowed[160];
    keys_text(type, allowed, sizeof allowed);
    if (!known)
      return refuse(r, node_at(r, pair->key), NULL, "type %s has no key '%.40s'; allowed: %s", LAYER_NAMES[type].name,
                    key, allowed);
    for (const yaml_node_pair_t *other = pairs; other < pair; ++other)
      if (strcmp(text_of(node_at(r, other->key)), key) == 0)
        return refuse(r, node_at(r, pair->key), key, "is given twice; allowed: once");
  }
  return NOPROP_OK;
}

static noprop_status read_name(const struct reading *r, const yaml_node_t *node, struct layer_settings *item) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
  if (node == NULL) {
    (void)snprintf(item->name, sizeof item->name, "%s.%d", LAYER_NAMES[item->type].name, r->index);
  } else {
    const char *name = text_of(node);
    if (node->type != YAML_SCALAR_NODE || name[0] == '\0' || strlen(name) >= LAYER_NAME ||
        strspn(name, letters) != strlen(name))
      return refuse(r, node, "name", "'%.40s' is not allowed; allowed: 1 to %d letters, digits, '_', '-' and '.'", name,
                    LAYER_NAME - 1);
    (void)snprintf(item->name, sizeof item->name, "%s", name);
  }
  for (int i = 0; i < 3; ++i)
    if (strcmp(item->name, INPUT_NAMES[i]) == 0)
      return refuse(r, node, "name", "%s is what every layer may read beside other layers; allowed: another name",
                    item->name);
  for (int i = 0; i < r->index; ++i)
    if (strcmp(item->name, r->layers->items[i].name) == 0)
      return refuse(r, node ? node : *r->place, "name",
                    "%s is the name of network.layers[%d] already; allowed: another name", item->name, i);
  return NOPROP_OK;
}

static noprop_status read_input(const struct reading *r, const yaml_node_t *node, struct layer_settings *item) {
  const char *name = text_of(node);
  if (item->input_count == LAYER_INPUTS)
    return refuse(r, node, "from", "has more than %d entries; allowed: at most so many", (int)LAYER_INPUTS);
  int *input = &item->inputs[item->input_count++];
  for (int i = 0; i < 3; ++i)
    if (strcmp(name, INPUT_NAMES[i]) == 0) return *input = -1 - i, NOPROP_OK;
  option_name earlier[LAYERS_MOST + 1] = {{NULL, NULL}};
  for (int i = 0; i < r->index; ++i) {
    earlier[i].name = r->layers->items[i].name;
    if (strcmp(name, earlier[i].name) == 0) return *input = i, NOPROP_OK;
  }
  const char *meant = config_option_suggest(earlier, name);
  return refuse(r, node, "from",
                "'%.40s' is no earlier layer%s%s%s; allowed: z, x, t and names of layers before this one", name,
                meant ? " (did you mean '" : "", meant ? meant : "", meant ? "'?)" : "");
}

static bool takes_two(int type) { return type == LAYER_ADD || type == LAYER_MULTIPLY; }

static noprop_status read_from(const struct reading *r, const yaml_node_t *layer, const yaml_node_t *node,
                               struct layer_settings *item) {
  noprop_status status = NOPROP_OK;
  if (node == NULL || (takes_two(item->type) && node->type == YAML_SCALAR_NODE)) {
    if (r->index == 0)
      return refuse(r, layer, "from",
                    "is %s, and the first layer has none before it; allowed: z, x, t or a list of them",
                    node ? "one name" : "not given");
    item->inputs[item->input_count++] = r->index - 1;
  }
  if (node != NULL && node->type == YAML_SCALAR_NODE) status = read_input(r, node, item);
  if (node != NULL && node->type == YAML_MAPPING_NODE)
    return refuse(r, node, "from", "{...} is not allowed; allowed: a name or a list of names");
  for (const yaml_node_item_t *entry = node && node->type == YAML_SEQUENCE_NODE ? node->data.sequence.items.start
                                                                                : NULL;
       entry && entry < node->data.sequence.items.top && status == NOPROP_OK; ++entry)
    status = read_input(r, node_at(r, *entry), item);
  if (status != NOPROP_OK) return status;
  const int count = item->input_count;
  const char *const type = LAYER_NAMES[item->type].name;
  const bool many = item->type == LAYER_DENSE || item->type == LAYER_CONCATENATE || item->type == LAYER_ADD ||
                    item->type == LAYER_SOURCE;
  if (item->type == LAYER_MULTIPLY ? count != 2 : takes_two(item->type) ? count < 2 : many ? count < 1 : count != 1)
    return refuse(r, node ? node : layer, "from", "type %s takes %s, and this is %d", type,
                  item->type == LAYER_MULTIPLY ? "two inputs, or one beside the layer before"
                  : item->type == LAYER_ADD    ? "two or more inputs, or one beside the layer before"
                  : many                       ? "one or more inputs"
                                               : "one input",
                  count);
  for (int i = 0; i < count && item->type == LAYER_DENSE; ++i) /* its weights would have one name */
    for (int j = 0; j < i; ++j)
      if (item->inputs[i] == item->inputs[j])
        return refuse(r, node ? node : layer, "from", "names one input twice; allowed: once");
  return NOPROP_OK;
}

/* ---- one layer ---- */

static noprop_status read_numbers(const struct reading *r, const yaml_node_t *layer, struct layer_settings *item) {
  const yaml_node_t *width = value_of(r, layer, "width"), *activation = value_of(r, layer, "activation");
  const yaml_node_t *bias = value_of(r, layer, "bias"), *rate = value_of(r, layer, "rate"),
                    *momentum = value_of(r, layer, "momentum");
  int64_t number = 0;
  if (width && (!config_integer_from_text(text_of(width), &number) || number < 1 || number > 4096))
    return refuse(r, width, "width", "%.40s is not allowed; allowed: integer from 1 to 4096", text_of(width));
  item->width = (int)number;
  if (activation) {
    const noprop_status status = read_choice(r, activation, "activation", ACTIVATION_NAMES, &item->activation);
    if (status != NOPROP_OK) return status;
  } else if (item->type == LAYER_ACTIVATION) {
    return refuse(r, layer, "activation", "is not given; type activation needs one, as in activation: swish");
  }
  item->bias = true;
  if (bias && strcmp(text_of(bias), "true") != 0 && strcmp(text_of(bias), "false") != 0)
    return refuse(r, bias, "bias", "%.40s is not allowed; allowed: true, false", text_of(bias));
  if (bias) item->bias = strcmp(text_of(bias), "true") == 0;
  if (item->type == LAYER_DROPOUT && !rate)
    return refuse(r, layer, "rate", "is not given; type dropout needs one, as in rate: 0.1");
  if (rate && (!config_real_from_text(text_of(rate), &item->rate) || item->rate < 0 || item->rate > 0.95))
    return refuse(r, rate, "rate", "%.40s is not allowed; allowed: number from 0 to 0.95", text_of(rate));
  item->momentum = item->type == LAYER_BATCH_NORM ? 0.1 : 0;
  if (momentum &&
      (!config_real_from_text(text_of(momentum), &item->momentum) || item->momentum <= 0 || item->momentum > 1))
    return refuse(r, momentum, "momentum", "%.40s is not allowed; allowed: number above 0, at most 1",
                  text_of(momentum));
  return NOPROP_OK;
}

/* ---- files of functions ---- */

/* Text that YAML can hold: no control characters but tabs and ends of lines, whole UTF-8 sequences. */
static bool is_text(const char *text, size_t length) {
  for (size_t i = 0; i < length; ++i) {
    const unsigned char c = (unsigned char)text[i];
    const size_t more = c < 0xc2 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf5 ? 3 : 0;
    if (c < 0x20 ? c != '\n' && c != '\t' : c == 0x7f || (c >= 0x80 && more == 0)) return false;
    for (size_t k = 1; k <= more; ++k)
      if (i + k >= length || ((unsigned char)text[i + k] & 0xc0) != 0x80) return false;
    i += more;
  }
  return true;
}

/* The file's text behind those that there are. */
static noprop_status load_file(const struct reading *r, const yaml_node_t *node, const char *file) {
  struct layer_list *list = r->layers;
  char path[1024];
  const char *slash = r->name && file[0] != '/' ? strrchr(r->name, '/') : NULL;
  (void)snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash + 1 - r->name) : 0, slash ? r->name : "", file);
  FILE *in = fopen(path, "rb");
  if (in == NULL) return refuse(r, node, "file", "%.300s cannot be opened: %s", path, strerror(errno));
  const size_t room = SOURCES_TEXT - (size_t)list->text_length;
  const size_t length = fread(list->text + list->text_length, 1, room, in);
  const bool failed = ferror(in) != 0;
  (void)fclose(in);
  if (failed) return refuse(r, node, "file", "%.300s cannot be read", path);
  if (length == room)
    return refuse(r, node, "file", "%.300s is too long; allowed: files of %d characters in all", path,
                  SOURCES_TEXT - 1);
  if (!is_text(list->text + list->text_length, length))
    return refuse(r, node, "file", "%.300s is no text in UTF-8", path);
  list->text[list->text_length + (int)length] = '\0';
  return NOPROP_OK;
}

static noprop_status given_text(const struct reading *r, const yaml_node_t *node) {
  struct layer_list *list = r->layers;
  const char *text = text_of(node);
  const size_t length = strlen(text), room = SOURCES_TEXT - (size_t)list->text_length;
  if (node->type != YAML_SCALAR_NODE || length != node->data.scalar.length || !is_text(text, length))
    return refuse(r, node, "text", "is no text in UTF-8");
  if (length >= room)
    return refuse(r, node, "text", "is too long; allowed: %d characters in all files", SOURCES_TEXT - 1);
  memcpy(list->text + list->text_length, text, length + 1);
  return NOPROP_OK;
}

/* A file is read once, however many layers name it; where the configuration holds its text, not at all. */
static noprop_status read_file(const struct reading *r, const yaml_node_t *layer, struct layer_settings *item) {
  struct layer_list *list = r->layers;
  const yaml_node_t *file = value_of(r, layer, "file"), *text = value_of(r, layer, "text");
  const char *const name = file ? text_of(file) : "";
  if (!file)
    return refuse(r, layer, "file",
                  "is not given; type source needs the file of its function, as in file: my_layer.cuh");
  if (file->type != YAML_SCALAR_NODE || name[0] == '\0' || strlen(name) >= SOURCE_FILE || strpbrk(name, "\"\\\n"))
    return refuse(r, file, "file",
                  "%.60s is not allowed; allowed: a file name of 1 to %d characters, without quotes and backslashes",
                  name, SOURCE_FILE - 1);
  for (item->source = 0; item->source < list->source_count; ++item->source)
    if (strcmp(list->sources[item->source].file, name) == 0 && !text) return NOPROP_OK;
  if (list->source_count == SOURCES_MOST)
    return refuse(r, file, "file", "is one more than the %d files that are allowed", (int)SOURCES_MOST);
  const noprop_status status = text ? given_text(r, text) : load_file(r, file, name);
  if (status != NOPROP_OK) return status;
  struct layer_source *source = &list->sources[list->source_count++];
  (void)snprintf(source->file, sizeof source->file, "%s", name);
  source->place = list->text_length;
  list->text_length += (int)strlen(list->text + list->text_length) + 1;
  return NOPROP_OK;
}

static noprop_status read_function(const struct reading *r, const yaml_node_t *layer, struct layer_settings *item) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
  static const char *const ends[] = {"", "_vjp", "_parameter_vjp"};
  const yaml_node_t *function = value_of(r, layer, "function"), *parameters = value_of(r, layer, "parameters");
  const yaml_node_t *initial = value_of(r, layer, "initial");
  const char *const name = function ? text_of(function) : "";
  int64_t number = 0;
  if (!function) return refuse(r, layer, "function", "is not given; type source needs the name of its function");
  if (name[0] == '\0' || strlen(name) >= LAYER_FUNCTION || strspn(name, letters) != strlen(name) ||
      (name[0] >= '0' && name[0] <= '9'))
    return refuse(r, function, "function", "%.40s is not allowed; allowed: a name of C++ of 1 to %d characters", name,
                  LAYER_FUNCTION - 1);
  (void)snprintf(item->function, sizeof item->function, "%s", name);
  if (parameters &&
      (!config_integer_from_text(text_of(parameters), &number) || number < 0 || number > LAYER_PARAMETERS_MOST))
    return refuse(r, parameters, "parameters", "%.40s is not allowed; allowed: integer from 0 to %d",
                  text_of(parameters), (int)LAYER_PARAMETERS_MOST);
  item->parameters = (int)number;
  noprop_status status = initial ? read_choice(r, initial, "initial", LAYER_INITIAL_NAMES, &item->initial) : NOPROP_OK;
  if (status == NOPROP_OK) status = read_file(r, layer, item);
  for (int i = 0; i < (item->parameters > 0 ? 3 : 2) && status == NOPROP_OK; ++i) {
    char wanted[LAYER_FUNCTION + 20];
    (void)snprintf(wanted, sizeof wanted, "%s%s", name, ends[i]);
    if (strstr(r->layers->text + r->layers->sources[item->source].place, wanted) == NULL)
      status =
          refuse(r, function, "function", "%s has no function %s; see docs/networks.md for those that a layer needs",
                 r->layers->sources[item->source].file, wanted);
  }
  return status;
}

static noprop_status read_layer(const struct reading *r, const yaml_node_t *layer) {
  struct layer_settings *item = &r->layers->items[r->index];
  if (layer->type != YAML_MAPPING_NODE)
    return refuse(r, layer, NULL, "%.40s is not allowed; allowed: keys and values, as in {type: dense, width: 64}",
                  text_of(layer));
  const yaml_node_t *type = value_of(r, layer, "type");
  if (!type) return refuse(r, layer, "type", "is not given; every layer needs one, as in type: dense");
  noprop_status status = read_choice(r, type, "type", LAYER_NAMES, &item->type);
  if (status == NOPROP_OK) status = check_keys(r, layer, item->type);
  if (status == NOPROP_OK) status = read_name(r, value_of(r, layer, "name"), item);
  if (status == NOPROP_OK) status = read_from(r, layer, value_of(r, layer, "from"), item);
  if (status == NOPROP_OK) status = read_numbers(r, layer, item);
  return status == NOPROP_OK && item->type == LAYER_SOURCE ? read_function(r, layer, item) : status;
}

/* Only the last layer may be read by nobody, and only a last dense layer has a width by itself. */
static noprop_status check_list(struct reading *r, const yaml_node_item_t *nodes) {
  const struct layer_list *layers = r->layers;
  bool read[LAYERS_MOST] = {false};
  for (int i = 0; i < layers->count; ++i)
    for (int k = 0; k < layers->items[i].input_count; ++k)
      if (layers->items[i].inputs[k] >= 0) read[layers->items[i].inputs[k]] = true;
  for (r->index = 0; r->index < layers->count - 1; ++r->index) {
    const struct layer_settings *item = &layers->items[r->index];
    const yaml_node_t *node = node_at(r, nodes[r->index]);
    if (!read[r->index])
      return refuse(r, node, NULL, "no layer reads '%s'; the last layer of the list alone makes the output",
                    item->name);
    if ((item->type == LAYER_DENSE || item->type == LAYER_SOURCE) && item->width == 0)
      return refuse(r, node, "width", "is not given; only the last layer may do without, and is as wide as the output");
  }
  return NOPROP_OK;
}

noprop_status config_layers_read(const char *name, yaml_document_t *document, const yaml_node_t *node,
                                 struct layer_list *layers, const yaml_node_t **place) {
  const yaml_node_item_t *nodes = node->data.sequence.items.start;
  struct reading r = {.name = name, .document = document, .layers = layers, .place = place};
  const long count = node->data.sequence.items.top - nodes;
  memset(layers, 0, sizeof *layers);
  *place = node;
  if (count > LAYERS_MOST)
    return status_set(NOPROP_INVALID_CONFIG, "network.layers: %ld layers are not allowed; allowed: at most %d", count,
                      (int)LAYERS_MOST);
  for (; r.index < count; ++r.index, ++layers->count) {
    *place = node_at(&r, nodes[r.index]);
    const noprop_status status = read_layer(&r, *place);
    if (status != NOPROP_OK) return status;
  }
  return check_list(&r, nodes);
}

/* ---- back ---- */

static const char *input_name(const struct layer_list *layers, int input) {
  return input < 0 ? INPUT_NAMES[-1 - input] : layers->items[input].name;
}

/* A file's text in double quotes, a line of it a line, which YAML joins where a backslash stands at the end. */
static void add_source_text(const char *text, FILE *out) {
  static const char line[] = "\\\n                ";
  (void)fprintf(out, ", text: \"%s", line);
  for (const char *c = text; *c; ++c) {
    const bool begins = c == text || c[-1] == '\n';
    if (*c == '\n')
      (void)fprintf(out, "\\n%s", line);
    else if (*c == '\t')
      (void)fputs("\\t", out);
    else
      (void)fprintf(out, "%s%c", *c == '"' || *c == '\\' || (*c == ' ' && begins) ? "\\" : "", *c);
  }
  (void)fputc('"', out);
}

static void add_function(const struct layer_list *layers, int layer, FILE *out) {
  const struct layer_settings *item = &layers->items[layer];
  char file[2 * SOURCE_FILE];
  config_string_to_text(layers->sources[item->source].file, NULL, file, sizeof file);
  (void)fprintf(out, ", function: %s", item->function);
  if (item->parameters) (void)fprintf(out, ", parameters: %d", item->parameters);
  if (item->initial) (void)fprintf(out, ", initial: %s", LAYER_INITIAL_NAMES[item->initial].name);
  (void)fprintf(out, ", file: %s", file);
  bool first = true;
  for (int i = 0; i < layer; ++i)
    first = first && (layers->items[i].type != LAYER_SOURCE || layers->items[i].source != item->source);
  if (first) add_source_text(layers->text + layers->sources[item->source].place, out);
}

void config_layers_to_text(const struct layer_list *layers, char *buffer, size_t size) {
  char text[64], standard[LAYER_NAME + 16];
  FILE *out = fmemopen(buffer, size, "w");
  buffer[0] = '\0';
  if (out == NULL) return;
  (void)fputc('[', out);
  for (int i = 0; i < layers->count; ++i) {
    const struct layer_settings *item = &layers->items[i];
    const char *const type = LAYER_NAMES[item->type].name;
    (void)fprintf(out, "%s\n              {", i ? "," : "");
    (void)snprintf(standard, sizeof standard, "%s.%d", type, i);
    if (strcmp(item->name, standard) != 0) {
      config_string_to_text(item->name, NULL, text, sizeof text);
      (void)fprintf(out, "name: %s, ", text);
    }
    (void)fprintf(out, "type: %s", type);
    if (item->input_count != 1 || item->inputs[0] != i - 1 || i == 0) {
      for (int k = 0; k < item->input_count; ++k) {
        config_string_to_text(input_name(layers, item->inputs[k]), NULL, text, sizeof text);
        (void)fprintf(out, "%s%s", k ? ", " : ", from: [", text);
      }
      (void)fputc(']', out);
    }
    if (item->width) (void)fprintf(out, ", width: %d", item->width);
    if (item->type == LAYER_ACTIVATION || item->activation != ACTIVATION_LINEAR)
      (void)fprintf(out, ", activation: %s", ACTIVATION_NAMES[item->activation].name);
    if (!item->bias) (void)fputs(", bias: false", out);
    if (item->type == LAYER_DROPOUT) {
      config_real_to_text(item->rate, text, sizeof text);
      (void)fprintf(out, ", rate: %s", text);
    }
    if (item->type == LAYER_BATCH_NORM && item->momentum != 0.1) {
      config_real_to_text(item->momentum, text, sizeof text);
      (void)fprintf(out, ", momentum: %s", text);
    }
    if (item->type == LAYER_SOURCE) add_function(layers, i, out);
    (void)fputc('}', out);
  }
  (void)fputc(']', out);
  (void)fclose(out);
  buffer[size - 1] = '\0'; /* cut if it is too small */
}
