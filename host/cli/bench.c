/* noprop bench: how fast a training step and a solve are, with the counts that the times are to be judged by.
 *
 * Cases take turns in short rounds until the time is used up, so that a machine that slows down slows all of them; the
 * median says what to expect, the minimum what the machine can do. bench/peers runs the same cases in other systems. */
#include "host/cli/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TRAINING_ROWS = 8000, CASES_MOST = 32, TIMES_MOST = 4096 };
static const double ROUND_SECONDS =
    0.05; /* of one case, at least: long against the clock's and the scheduler's grain */

/* mlp: 12,834 parameters; resnet: 28,386; field: 9,666; cnn: data/fashion_mnist_small.yaml; residual:
 * data/fashion_mnist.yaml; transformer: an image's rows are its tokens, all else as network.branch has it; sequence:
 * six points of the Lorenz system to the six that follow, all else as network.transformer has
 * it (network.hidden says nothing there, and has to be the default). */
static const struct bench_network NETWORKS[] = {
    {"mlp", "mlp", "32,32,32,32,32,32", "classify", 32, false, NULL, NULL},
    {"resnet", "resnet", "32,32,32,32,32,32", "classify", 32, false, NULL, NULL},
    {"field", "mlp", "64,64,64", "generate", 16, true, NULL, NULL},
    {"cnn", "mlp", "128,128", "classify", 32, false, "cnn", "32,64,128"},
    {"residual", "mlp", "128,128", "classify", 32, false, "resnet", "32,64,128"},
    {"transformer", "mlp", "128,128", "classify", 32, false, "transformer", NULL},
    {"sequence", "transformer", "64,64,64", "regress", 32, false, NULL, NULL},
};
enum {
  IMAGE_SIDE = 28,
  IMAGE_CLASSES = 10,
  TOKENS = IMAGE_SIDE + 1 /* and the one that is read in the end */,
  POINTS = 6
};
enum { NETWORK_COUNT = sizeof NETWORKS / sizeof NETWORKS[0] };

static const struct bench_case CASES[] = {
    {.bench = "train-step", .network = "mlp", .batch = 256},
    {.bench = "train-step", .network = "mlp", .batch = 256, .dropout = 0.1},
    {.bench = "train-step", .network = "mlp", .batch = 4096},
    {.bench = "train-step", .network = "mlp", .batch = 4096, .dropout = 0.1},
    {.bench = "train-step", .network = "resnet", .batch = 256},
    {.bench = "train-step", .network = "resnet", .batch = 256, .dropout = 0.1},
    {.bench = "train-step", .network = "resnet", .batch = 4096},
    {.bench = "train-step", .network = "resnet", .batch = 4096, .dropout = 0.1},
    {.bench = "train-step", .network = "field", .batch = 256},
    {.bench = "train-step", .network = "field", .batch = 4096},
    {.bench = "sample", .network = "mlp", .rows = 4096, .steps = 20, .method = "euler"},
    {.bench = "sample", .network = "mlp", .rows = 4096, .steps = 100, .method = "euler"},
    {.bench = "sample", .network = "resnet", .rows = 4096, .steps = 20, .method = "euler"},
    {.bench = "sample", .network = "resnet", .rows = 4096, .steps = 100, .method = "euler"},
    {.bench = "sample", .network = "field", .rows = 4096, .steps = 100, .method = "euler"},
    {.bench = "train-step", .network = "cnn", .batch = 128, .variant = "supervised"},
    {.bench = "sample", .network = "cnn", .rows = 128, .steps = 10, .method = "euler"}};

static const struct bench_network *find_network(const char *name) {
  for (int i = 0; i < NETWORK_COUNT; i++)
    if (strcmp(NETWORKS[i].name, name) == 0) return &NETWORKS[i];
  return NULL;
}

const char *bench_hidden(const struct bench_case *what) {
  return what->hidden ? what->hidden : find_network(what->network)->hidden;
}

static bool is_sequence(const struct bench_network *network) { return strcmp(network->type, "transformer") == 0; }

static double now_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Of all threads of the process: what tells on a machine that others use, too. */
static double processor_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- counts ------------------------------------------------------------------------------------------------------ */

static bool ends_with(const char *text, const char *end) {
  size_t length = strlen(text), tail = strlen(end);
  return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* How often a parameter of the branch takes part, per row. */
static double uses_of_weight(const struct bench_network *network, int layer) {
  if (!network->channels) return TOKENS;
  /* A pool behind each convolution, or behind the first of three. */
  const int side = IMAGE_SIDE >> (strcmp(network->branch, "cnn") == 0 ? layer : (layer + 2) / 3);
  return (double)side * side;
}

/* Floating-point operations of the matrix products, two per multiply-add: every system has to do these. A training step
 * does each product forward and twice backward (but none for the gradient of its inputs: the first layer of x and what
 * meets z or t); a solve does the x-branch once per row and the time branch once per step. Products of tokens with
 * tokens in attention are not among them. */
static double count_flops(const noprop_model *model, const struct bench_case *what) {
  double once = 0, per_step = 0, time = 0, no_input_gradient = 0, all = 0;
  for (int i = 0; i < noprop_model_parameter_count(model); i++) {
    noprop_parameter p = noprop_model_parameter(model, i);
    if (p.rank != 2) continue;
    double flops = 2.0 * (double)p.shape[0] * (double)p.shape[1];
    int layer = 0;
    const bool in_branch = strncmp(p.name, "branch.", 7) == 0;
    if (in_branch) {
      const bool first = sscanf(p.name, "branch.%d.weight", &layer) == 1 ? layer == 0 : i == 0;
      flops *= uses_of_weight(find_network(what->network), layer);
      if (first) no_input_gradient += flops;
    }
    const bool of_sequence = is_sequence(find_network(what->network));
    const bool encoder = of_sequence && (strncmp(p.name, "condition.", 10) == 0 || ends_with(p.name, ".cross.keys"));
    if (of_sequence && strcmp(p.name, "time.weight") != 0) flops *= POINTS;
    if (of_sequence && ends_with(p.name, "embed")) no_input_gradient += flops;
    all += flops;
    if (in_branch || encoder) {
      once += flops;
      continue;
    }
    bool of_time = ends_with(p.name, ".t.weight") || strcmp(p.name, "time.weight") == 0;
    if (of_time)
      time += flops;
    else if (strncmp(p.name, "x.", 2) == 0 || ends_with(p.name, ".x.weight"))
      once += flops;
    else
      per_step += flops;
    if (of_time || ends_with(p.name, ".z.weight") || strcmp(p.name, "x.0.weight") == 0) no_input_gradient += flops;
  }
  if (what->batch > 0) return what->batch * (3 * all - no_input_gradient);
  return (double)what->rows * (once + what->steps * per_step) + what->steps * time;
}

/* ---- one case ---------------------------------------------------------------------------------------------------- */

static noprop_status set_keys(noprop_config *config, const struct bench_case *what) {
  const struct bench_network *network = find_network(what->network);
  char batch[32], dropout[32], hidden[160], time[32];
  snprintf(hidden, sizeof hidden, "[%s]", bench_hidden(what));
  snprintf(time, sizeof time, "%d", network->time);
  snprintf(batch, sizeof batch, "%d", what->batch > 0 ? what->batch : 256);
  snprintf(dropout, sizeof dropout, "%.17g", what->dropout);
  const char *keys[][2] = {{"variant", what->variant ? what->variant : "fm"},
                           {"task", network->task},
                           {"network.type", network->type},
                           {"network.hidden", hidden},
                           {"network.squash_activation", network->squash ? "true" : "false"},
                           {"network.time_embedding.size", time},
                           {"network.dropout", dropout},
                           {"loss.t_sampling", "uniform"},
                           {"optimizer.type", "adam"},
                           {"optimizer.weight_decay", "0"},
                           {"optimizer.clip", "0"},
                           {"train.batch", batch},
                           {"precision", what->precision ? what->precision : "fp32"}};
  noprop_status status = NOPROP_OK;
  for (size_t i = 0; i < sizeof keys / sizeof keys[0] && status == NOPROP_OK; i++)
    status = noprop_config_set(config, keys[i][0], keys[i][1]);
  /* Two moons have points x and labels y; what is generated is the points. */
  if (network->branch) {
    char channels[64];
    snprintf(channels, sizeof channels, "[%s]", network->channels ? network->channels : "");
    const char *branch[][2] = {{"network.branch.type", network->branch},
                               {"network.activation", "relu"},
                               {"loss.error", "squared"},
                               {"network.branch.channels", channels}};
    const size_t count = sizeof branch / sizeof branch[0] - (network->channels ? 0 : 1);
    for (size_t i = 0; i < count && status == NOPROP_OK; i++)
      status = noprop_config_set(config, branch[i][0], branch[i][1]);
  }
  if (status == NOPROP_OK && strcmp(network->task, "generate") == 0) {
    status = noprop_config_set(config, "data.condition", "null");
    if (status == NOPROP_OK) status = noprop_config_set(config, "data.target", "x");
  }
  return status;
}

/* Grey images of bytes that say nothing about their labels: the work is the same. */
static noprop_status make_images(struct subject *subject, long rows, noprop_model_shape *shape) {
  const long pixels = (long)IMAGE_SIDE * IMAGE_SIDE;
  uint8_t *images = malloc((size_t)(rows * pixels));
  int32_t *labels = malloc((size_t)rows * sizeof *labels);
  subject->images = images, subject->labels = labels;
  if (!images || !labels) return NOPROP_OUT_OF_MEMORY;
  uint32_t state = 1;
  for (long i = 0; i < rows * pixels; i++) images[i] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
  for (long i = 0; i < rows; i++) labels[i] = (int32_t)(i % IMAGE_CLASSES);
  subject->condition_rows = (noprop_array){.name = "x",
                                           .type = NOPROP_TYPE_UINT8,
                                           .rows = rows,
                                           .width = pixels,
                                           .rank = 3,
                                           .shape = {rows, IMAGE_SIDE, IMAGE_SIDE},
                                           .values = images};
  subject->target = (noprop_array){
      .name = "y", .type = NOPROP_TYPE_INT32, .rows = rows, .width = 1, .rank = 1, .shape = {rows}, .values = labels};
  subject->condition = &subject->condition_rows;
  *shape = (noprop_model_shape){.condition_type = NOPROP_TYPE_UINT8,
                                .condition_width = (int)pixels,
                                .target_type = NOPROP_TYPE_INT32,
                                .target_width = IMAGE_CLASSES,
                                .target_is_label = true,
                                .condition_shape = {1, IMAGE_SIDE, IMAGE_SIDE}};
  return NOPROP_OK;
}

/* Two moons, or for sequences the Lorenz system. */
static noprop_status make_points(struct subject *subject, long rows, noprop_config *config, noprop_model_shape *shape) {
  const struct bench_network *network = find_network(subject->what.network);
  const char *kind = is_sequence(network) ? "lorenz" : "two-moons";
  noprop_status status = noprop_dataset_generate(kind, rows, -1, 0, &subject->dataset);
  const bool conditional = strcmp(network->task, "generate") != 0;
  if (status == NOPROP_OK && conditional)
    status = noprop_dataset_get(subject->dataset, "train", "x", &subject->condition_rows);
  if (status == NOPROP_OK)
    status = noprop_dataset_get(subject->dataset, "train", conditional ? "y" : "x", &subject->target);
  subject->condition = conditional ? &subject->condition_rows : NULL;
  return status == NOPROP_OK ? noprop_model_shape_from_data(config, subject->dataset, shape) : status;
}

static noprop_status prepare(noprop_device *device, struct subject *subject) {
  const struct bench_case *what = &subject->what;
  noprop_config *config = NULL;
  noprop_model_shape shape;
  noprop_status status = noprop_config_create(&config);
  if (status == NOPROP_OK) status = set_keys(config, what);
  long rows = what->rows > 0 ? what->rows : what->batch > TRAINING_ROWS ? what->batch : TRAINING_ROWS;
  if (status == NOPROP_OK)
    status = find_network(what->network)->branch ? make_images(subject, rows, &shape)
                                                 : make_points(subject, rows, config, &shape);
  if (status == NOPROP_OK) status = noprop_model_create(device, config, &shape, &subject->model);
  if (status == NOPROP_OK && what->batch > 0)
    status = noprop_model_bind(subject->model, subject->condition, &subject->target, what->batch);
  noprop_config_destroy(config);
  if (status != NOPROP_OK) return status;
  if (what->batch == 0) {
    subject->options = noprop_sampler_options_default(subject->model);
    snprintf(subject->options.method, sizeof subject->options.method, "%s", what->method);
    snprintf(subject->options.init, sizeof subject->options.init, "normal");
    subject->options.steps = what->steps;
    subject->options.final_denoise = 0;
    subject->output = malloc((size_t)rows * (size_t)shape.target_width * sizeof *subject->output);
  }
  subject->times = malloc(TIMES_MOST * sizeof *subject->times);
  subject->processor_times = malloc(TIMES_MOST * sizeof *subject->processor_times);
  subject->parameters = noprop_model_parameter_values(subject->model);
  subject->flops = count_flops(subject->model, what);
  subject->work = 1;
  return NOPROP_OK;
}

noprop_status bench_work(noprop_device *device, struct subject *subject) {
  noprop_status status = NOPROP_OK;
  if (subject->what.batch > 0)
    status = noprop_model_train_step(subject->model, subject->work);
  else
    for (long i = 0; i < subject->work && status == NOPROP_OK; i++)
      status = noprop_sample(subject->model, &subject->options, subject->condition, subject->what.rows, NULL,
                             subject->output);
  return status == NOPROP_OK ? noprop_device_synchronize(device) : status;
}

/* Compiles, finds how much work fills a round, and goes on until a round shows the settled state: on the virtual GPU a
 * kernel is interpreted until its machine code is there. */
static noprop_status warm_up(noprop_device *device, struct subject *subject) {
  noprop_device_counters before, after;
  noprop_status status = bench_work(device, subject);
  for (;;) {
    double start = now_seconds();
    noprop_device_get_counters(device, &before);
    if (status == NOPROP_OK) status = bench_work(device, subject);
    noprop_device_get_counters(device, &after);
    if (status != NOPROP_OK) return status;
    if (now_seconds() - start < ROUND_SECONDS)
      subject->work *= 2;
    else if (after.interim_launches == before.interim_launches)
      return status;
  }
}

static noprop_status measure(noprop_device *device, struct subject *subject) {
  noprop_device_counters before, after;
  noprop_device_get_counters(device, &before);
  double start = now_seconds(), processor_start = processor_seconds();
  noprop_status status = bench_work(device, subject);
  double seconds = now_seconds() - start, processor = processor_seconds() - processor_start;
  noprop_device_get_counters(device, &after);
  subject->launches = (double)(after.launches - before.launches) / (double)subject->work;
  subject->interim += (long)(after.interim_launches - before.interim_launches);
  if (subject->count == TIMES_MOST) return status;
  subject->processor_times[subject->count] = processor * 1e3 / (double)subject->work;
  subject->times[subject->count++] = seconds * 1e3 / (double)subject->work;
  return status;
}

static void release(struct subject *subject) {
  noprop_model_destroy(subject->model);
  noprop_dataset_destroy(subject->dataset);
  free(subject->images);
  free(subject->labels);
  free(subject->output);
  free(subject->times);
  free(subject->processor_times);
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

static int compare_times(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double sorted_median(double *times, int count) {
  qsort(times, (size_t)count, sizeof *times, compare_times);
  const int middle = count / 2;
  return count % 2 ? times[middle] : (times[middle - 1] + times[middle]) / 2;
}

static void print_case(struct cli *cli, struct table *table, struct subject *subject) {
  const struct bench_case *what = &subject->what;
  double median = sorted_median(subject->times, subject->count), least = subject->times[0];
  double processor = sorted_median(subject->processor_times, subject->count);
  bool training = what->batch > 0;
  double steps_per_second = 1e3 / median * (training ? 1 : what->steps);
  double rows_per_second = 1e3 / median * (training ? what->batch : (double)what->rows);
  double gflops = subject->flops / (median * 1e-3) * 1e-9;
  if (!cli->json) {
    table_cell(table, "%s", what->bench);
    table_cell(table, "%s", what->network);
    if (training)
      table_cell(table, "batch %d, dropout %g", what->batch, what->dropout);
    else
      table_cell(table, "%ld rows, %d %s steps", what->rows, what->steps, what->method);
    table_cell(table, "%.3f", median);
    table_cell(table, "%.3f", least);
    table_cell(table, "%.3f", processor);
    table_cell(table, "%.0f", steps_per_second);
    table_cell(table, "%.3g M", rows_per_second * 1e-6);
    table_cell(table, "%.3g M", subject->flops * 1e-6);
    table_cell(table, "%.1f", gflops);
    table_cell(table, "%.2f", subject->launches);
    return;
  }
  struct json json = {0};
  json_text(&json, "bench", what->bench);
  json_text(&json, "network", what->network);
  json_text(&json, "hidden", bench_hidden(what));
  if (what->variant) json_text(&json, "variant", what->variant);
  json_text(&json, "precision", noprop_model_precision(subject->model, NULL));
  if (training) {
    json_integer(&json, "batch", what->batch);
    json_number(&json, "dropout", what->dropout);
  } else {
    json_integer(&json, "rows", what->rows);
    json_integer(&json, "steps", what->steps);
    json_text(&json, "method", what->method);
  }
  json_integer(&json, "parameters", subject->parameters);
  json_number(&json, "milliseconds", median);
  json_number(&json, "milliseconds_min", least);
  json_number(&json, "processor_milliseconds", processor);
  json_number(&json, "processor_milliseconds_min", subject->processor_times[0]);
  json_integer(&json, "repeats", subject->count);
  json_number(&json, "steps_per_second", steps_per_second);
  json_number(&json, "rows_per_second", rows_per_second);
  json_number(&json, "flops", subject->flops);
  json_number(&json, "gflops", gflops);
  json_number(&json, "launches", subject->launches);
  json_integer(&json, "interim_launches", subject->interim);
  json_end(&json);
}

/* ---- which cases ------------------------------------------------------------------------------------------------- */

static bool name_is_wanted(const struct cli *cli, const char *bench) {
  int count = argument_count(cli, "NAME");
  for (int i = 0; i < count; i++)
    if (strcmp(argument_text(cli, "NAME", i), bench) == 0) return true;
  return count == 0;
}

/* Options replace what a case has; the cases that then are equal count once. */
static int choose_cases(struct cli *cli, struct subject *subjects) {
  int count = 0;
  for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
    struct bench_case what = CASES[i];
    if (!name_is_wanted(cli, what.bench)) continue;
    const char *network = argument_text(cli, "--network", 0), *method = argument_text(cli, "--method", 0);
    /* What is done with images is not what is done with points. */
    const bool images = find_network(what.network)->branch;
    if (network && images != (find_network(network)->branch != NULL)) continue;
    if (network && is_sequence(find_network(network)) && what.dropout > 0) continue; /* it has none */
    if (network) what.network = network;
    what.hidden = argument_text(cli, "--hidden", 0);
    const char *variant = argument_text(cli, "--variant", 0);
    if (variant) what.variant = variant;
    what.precision = argument_text(cli, "--precision", 0);
    if (what.batch > 0) {
      what.batch = (int)argument_integer(cli, "--batch", what.batch);
      what.dropout = argument_number(cli, "--dropout", what.dropout);
    } else {
      what.rows = argument_integer(cli, "--rows", what.rows);
      what.steps = (int)argument_integer(cli, "--steps", what.steps);
      if (method) what.method = method;
    }
    bool known = false;
    for (int k = 0; k < count && !known; k++) {
      const struct bench_case *other = &subjects[k].what;
      known = strcmp(other->bench, what.bench) == 0 && strcmp(other->network, what.network) == 0 &&
              other->batch == what.batch && other->dropout == what.dropout && other->rows == what.rows &&
              other->steps == what.steps;
    }
    if (!known) subjects[count++].what = what;
  }
  return count;
}

static int check_names(struct cli *cli) {
  const char *network = argument_text(cli, "--network", 0);
  if (network && !find_network(network)) {
    const char *names[NETWORK_COUNT];
    for (int i = 0; i < NETWORK_COUNT; i++) names[i] = NETWORKS[i].name;
    const char *near = nearest_name(network, names, NETWORK_COUNT);
    return fail(cli, EXIT_USAGE, "--network: there is no \"%s\"%s%s%s", network, near ? "; did you mean \"" : "",
                near ? near : "",
                near ? "\"?" : "; there are mlp, resnet, field, cnn, residual, transformer and sequence");
  }
  static const char *const known[] = {"train-step", "sample"};
  for (int i = 0; i < argument_count(cli, "NAME"); i++) {
    const char *name = argument_text(cli, "NAME", i);
    if (strcmp(name, known[0]) == 0 || strcmp(name, known[1]) == 0) continue;
    const char *near = nearest_name(name, known, 2);
    return fail(cli, EXIT_USAGE, "there is no benchmark \"%s\"%s%s%s", name, near ? "; did you mean \"" : "",
                near ? near : "", near ? "\"?" : "; there are train-step and sample");
  }
  return EXIT_DONE;
}

/* noprop bench --counts */
static noprop_status count_subjects(struct cli *cli, noprop_device *device, struct subject *subjects, int count) {
  noprop_status status = NOPROP_OK;
  for (int i = 0; i < count && status == NOPROP_OK; i++) {
    progress_line(cli, "counting %d of %d", i + 1, count);
    status = prepare(device, &subjects[i]);
    if (status == NOPROP_OK) status = counts_print(cli, device, &subjects[i]);
  }
  return status;
}

static int run(struct cli *cli) {
  if (argument_given(cli, "--gpus")) {
    gpus_print(cli);
    return EXIT_DONE;
  }
  noprop_device *device = NULL;
  struct subject *subjects = calloc(CASES_MOST, sizeof *subjects);
  if (!subjects) return fail(cli, EXIT_FAILED, "no memory");
  int count = 0;
  int code = check_names(cli);
  const bool counts = argument_given(cli, "--counts");
  if (code == EXIT_DONE && argument_given(cli, "--gpu") && !counts)
    code = fail(cli, EXIT_USAGE, "--gpu NAME is for --counts");
  if (code == EXIT_DONE && counts) code = counts_begin(cli);
  if (code == EXIT_DONE) code = open_device(cli, &device);
  if (code == EXIT_DONE) count = choose_cases(cli, subjects);
  if (code == EXIT_DONE) say(cli, "%s", noprop_device_reason(device));
  noprop_status status = NOPROP_OK;
  if (counts && code == EXIT_DONE) {
    code = fail_status(cli, count_subjects(cli, device, subjects, count));
    goto done;
  }
  for (int i = 0; i < count && status == NOPROP_OK; i++) {
    const char *reason;
    progress_line(cli, "preparing %d of %d", i + 1, count);
    status = prepare(device, &subjects[i]);
    if (status == NOPROP_OK && i == 0 && argument_given(cli, "--precision")) {
      const char *precision = noprop_model_precision(subjects[i].model, &reason);
      say(cli, "precision %s: %s", precision, reason);
    }
    if (status == NOPROP_OK) status = warm_up(device, &subjects[i]);
  }
  double seconds = argument_number(cli, "--seconds", 1) * count, start = now_seconds(), used = 0;
  for (int round = 0; code == EXIT_DONE && status == NOPROP_OK && (round < 3 || used < seconds); round++) {
    for (int i = 0; i < count && status == NOPROP_OK; i++) status = measure(device, &subjects[i]);
    used = now_seconds() - start;
    progress_line(cli, "round %d, %.0f of %.0f s", round + 1, used, seconds);
  }
  progress_clear(cli);
  if (code == EXIT_DONE) code = fail_status(cli, status);
  if (code == EXIT_DONE) {
    const char *headings[] = {"benchmark", "network", "case", "ms",      "ms min",  "CPU ms",
                              "steps/s",   "rows/s",  "FLOP", "GFLOP/s", "launches"};
    struct table *table = cli->json ? NULL : table_create(11);
    for (int i = 0; table && i < 11; i++) table_cell(table, "%s", headings[i]);
    for (int i = 0; i < count; i++) print_case(cli, table, &subjects[i]);
    table_print(table);
  }
done:
  for (int i = 0; i < count; i++) release(&subjects[i]);
  free(subjects);
  noprop_device_close(device);
  return code;
}

static const struct argument ARGUMENTS[] = {
    {ARGUMENT_OPERAND, "NAME", 0, NULL, "train-step, sample (default: both)", 0, 0},
    {ARGUMENT_NUMBER, "--seconds", 0, "N", "measuring time per case (default 1)", 0.01, 3600},
    {ARGUMENT_TEXT, "--network", 0, "TYPE",
     "only this network: mlp, resnet, field, cnn, residual, transformer or sequence", 0, 0},
    {ARGUMENT_TEXT, "--variant", 0, "V", "fm (default), df, ct or supervised", 0, 0},
    {ARGUMENT_TEXT, "--precision", 0, "P", "fp32 (default), auto, or on tensor cores tf32x3, tf32 or bf16", 0, 0},
    {ARGUMENT_TEXT, "--hidden", 0, "W,W,...", "widths of the hidden layers instead of the network's own", 0, 0},
    {ARGUMENT_INTEGER, "--batch", 0, "B", "train-step: only this batch", 1, 1e6},
    {ARGUMENT_NUMBER, "--dropout", 0, "P", "train-step: only this dropout", 0, 0.99},
    {ARGUMENT_INTEGER, "--rows", 0, "R", "sample: only so many rows", 1, 1e7},
    {ARGUMENT_INTEGER, "--steps", 0, "N", "sample: only so many steps", 1, 1e6},
    {ARGUMENT_TEXT, "--method", 0, "M", "sample: this method instead of euler", 0, 0},
    {ARGUMENT_FLAG, "--counts", 0, NULL, "counts what the kernels do instead of measuring: on the virtual GPU, exactly",
     0, 0},
    {ARGUMENT_TEXT, "--gpu", 0, "NAME",
     "with --counts: the least time that this GPU can need, by its published figures", 0, 0},
    {ARGUMENT_FLAG, "--gpus", 0, NULL, "lists the GPUs that --gpu knows, with the sources of their figures", 0, 0},
    {0}};

const struct command COMMAND_BENCH = {
    "bench",
    "measures training steps and solves",
    ARGUMENTS,
    "Two moons; mlp and resnet classify, hidden 6 x 32 (12,834 parameters as mlp); field generates the points, hidden\n"
    "64-64-64; cnn classifies grey images of 28 x 28 behind convolutions of 32, 64 and 128 channels (supervised in\n"
    "train-step), residual behind residual ones, transformer behind attention over an image's rows; sequence goes "
    "from\n"
    "six points of the Lorenz system to the next six by a transformer. train-step: flow matching with Adam on 8,000\n"
    "resident rows (or one batch, if that is more).\n"
    "sample: one solve from a normal start. Times are the median and the fastest of interleaved repeats, CPU ms the\n"
    "median time of all threads together; FLOP counts "
    "the matrix\n"
    "products of one step or solve, GFLOP/s is that over the median; launches are kernel launches per step or solve.\n"
    "--counts: warp instructions by class, memory sectors, bank conflicts, divergence, per kernel of one step or "
    "solve; "
    "with --gpu\n"
    "DRAM traffic behind its L2, occupancy, and lower bounds of time, which are never measurements.",
    "noprop bench\nnoprop bench train-step --network mlp --seconds 5\nnoprop bench sample --json\nnoprop bench "
    "train-step --network mlp --batch 256 --counts --gpu h100-sxm",
    run,
    true};
