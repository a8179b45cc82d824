/* Vector-Jacobian products of layers of type source against central differences of their functions.
 *
 * One launch evaluates every case in a block of 32 rows: case 0 is the point itself, the others have one feature or
 * one parameter moved by STEP up or down. A difference then errs by STEP^2/6 of a third derivative and by 2^-24/STEP
 * of the value, together far below the 2 % that are allowed. Rows where a function bends may differ, so that a few of
 * the 32 are let through. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/field_graph.h"
#include "engine/model.h"
#include "engine/program_source.h"
#include "engine/status.h"
#include "kernels/philox.h"

enum { ROWS = 32, COORDINATES_MOST = 64 /* of each kind that are moved */, ROWS_LET_THROUGH = 3 };
static const float STEP = 0x1p-7F;
static const double SHARE = 0.02;

typedef struct {
  const float *input, *parameters, *adjoint; /* [cases][inputs][ROWS], [cases][parameters], [outputs][ROWS] */
  float *output;                             /* [cases][outputs][ROWS] */
  float *products;                           /* [inputs + parameters][ROWS], of case 0 */
} check_arguments;

struct check {
  const struct layer_settings *layer;
  int inputs, outputs, parameters, cases;
  int moved[2 * COORDINATES_MOST], moved_count; /* number of a feature, or inputs + number of a parameter */
  float *input, *point, *adjoint, *output, *products;
};

static char *kernel_text(const struct check *c, const struct layer_list *layers) {
  char *text = NULL, input[64], adjoint[64];
  size_t size;
  FILE *out = open_memstream(&text, &size);
  if (!out) return NULL;
  snprintf(input, sizeof input, "layer_input{input, %d}", c->inputs);
  snprintf(adjoint, sizeof adjoint, "layer_input{adjoint, %d}", c->outputs);
  fprintf(out, "#include \"layer_source.cuh\"\n");
  source_emit_files(out, layers);
  fprintf(out,
          "struct check_arguments {\n  const float *input, *parameters, *adjoint;\n  float *output, *products;\n};\n"
          "extern \"C\" __global__ void check_layer(const check_arguments args) {\n"
          "  const float *const input = args.input + blockIdx.x * %d * TILE_ROWS + threadIdx.x;\n"
          "  const float *const parameters = args.parameters + blockIdx.x * %d;\n"
          "  const float *const adjoint = args.adjoint + threadIdx.x;\n"
          "  for (int j = 0; j < %d; ++j) args.output[(blockIdx.x * %d + j) * TILE_ROWS + threadIdx.x] = ",
          c->inputs, c->parameters, c->outputs, c->outputs);
  source_emit_call(out, c->layer, 0, "j", input, "parameters", adjoint);
  fprintf(out,
          ";\n  if (blockIdx.x) return;\n"
          "  for (int i = 0; i < %d; ++i) args.products[i * TILE_ROWS + threadIdx.x] = ",
          c->inputs);
  source_emit_call(out, c->layer, 1, "i", input, "parameters", adjoint);
  if (c->parameters > 0) {
    fprintf(out,
            ";\n  for (int k = 0; k < %d; ++k) args.products[(%d + k) * TILE_ROWS + threadIdx.x] = ", c->parameters,
            c->inputs);
    source_emit_call(out, c->layer, 2, "k", input, "parameters", adjoint);
  }
  fprintf(out, ";\n}\n");
  if (fclose(out) == 0) return text;
  free(text);
  return NULL;
}

/* A uniform number between -1.5 and 1.5. */
static float drawn(unsigned kind, unsigned number) {
  return 3.0F * philox_uniform(philox(1, number, kind, 0, 0).word[0]) - 1.5F;
}

/* Up to COORDINATES_MOST numbers of 0 .. count - 1, evenly. */
static void choose(struct check *c, int first, int count) {
  const int taken = count < COORDINATES_MOST ? count : COORDINATES_MOST;
  for (int i = 0; i < taken; ++i) c->moved[c->moved_count++] = first + (int)((long)i * count / taken);
}

static void fill(struct check *c, const float *parameters) {
  for (int k = 0; k < c->cases; ++k) {
    float *input = c->input + (size_t)k * c->inputs * ROWS, *point = c->point + (size_t)k * c->parameters;
    for (int i = 0; i < c->inputs * ROWS; ++i) input[i] = drawn(0, (unsigned)i);
    /* Away from initial values, where all may be equal. */
    for (int i = 0; i < c->parameters; ++i) point[i] = parameters[i] + 0.3F * drawn(1, (unsigned)i);
    if (k == 0) continue;
    const int moved = c->moved[(k - 1) / 2];
    const float step = k % 2 ? STEP : -STEP;
    for (int row = 0; row < ROWS && moved < c->inputs; ++row) input[moved * ROWS + row] += step;
    if (moved >= c->inputs) point[moved - c->inputs] += step;
  }
  for (int i = 0; i < c->outputs * ROWS; ++i) c->adjoint[i] = drawn(2, (unsigned)i);
}

static noprop_status evaluate(noprop_model *model, const struct check *c, const char *source) {
  noprop_device *device = model->device;
  struct kernel kernel;
  const size_t cases = (size_t)c->cases;
  const size_t bytes[5] = {cases * c->inputs * ROWS * sizeof(float), (cases * c->parameters + 1) * sizeof(float),
                           (size_t)c->outputs * ROWS * sizeof(float), cases * c->outputs * ROWS * sizeof(float),
                           (size_t)(c->inputs + c->parameters) * ROWS * sizeof(float)};
  CUdeviceptr memory[5] = {0};
  const size_t mark = pool_mark(model->pool);
  noprop_status status = device_enter(device);
  if (status == NOPROP_OK) status = device_compile(device, source, "check_layer", &kernel);
  for (int i = 0; i < 5 && status == NOPROP_OK; ++i)
    status = pool_alloc(model->pool, bytes[i], "the check of a layer", &memory[i]);
  const float *const given[3] = {c->input, c->point, c->adjoint};
  for (int i = 0; i < 3 && status == NOPROP_OK; ++i) status = device_upload(device, memory[i], given[i], bytes[i]);
  const check_arguments arguments = {
      .input = DEVICE_POINTER(const float, memory[0]),
      .parameters = DEVICE_POINTER(const float, memory[1]),
      .adjoint = DEVICE_POINTER(const float, memory[2]),
      .output = DEVICE_POINTER(float, memory[3]),
      .products = DEVICE_POINTER(float, memory[4]),
  };
  if (status == NOPROP_OK)
    status = device_launch(device, &kernel, (unsigned)c->cases, ROWS, 0, &arguments, sizeof arguments);
  if (status == NOPROP_OK) status = device_download(device, c->output, memory[3], bytes[3]);
  if (status == NOPROP_OK) status = device_download(device, c->products, memory[4], bytes[4]);
  pool_release(model->pool, mark);
  return status;
}

/* The sum over outputs of adjoint times output of a case. */
static double value_of(const struct check *c, int number, int row) {
  double sum = 0;
  for (int j = 0; j < c->outputs; ++j)
    sum += (double)c->adjoint[j * ROWS + row] * (double)c->output[((size_t)number * c->outputs + j) * ROWS + row];
  return sum;
}

/* The largest error as a part of the largest derivative; fails where more rows than a few err by more than SHARE. */
static noprop_status compare(const struct check *c, double *worst) {
  double largest = 0;
  *worst = 0;
  for (int pass = 0; pass < 2; ++pass)
    for (int m = 0; m < c->moved_count; ++m) {
      int wrong = 0, row_of_worst = 0;
      double error_of_worst = 0;
      for (int row = 0; row < ROWS; ++row) {
        const double difference = (value_of(c, 2 * m + 1, row) - value_of(c, 2 * m + 2, row)) / (2 * (double)STEP);
        const double product = (double)c->products[c->moved[m] * ROWS + row], error = fabs(difference - product);
        if (pass == 0) {
          if (fabs(difference) > largest) largest = fabs(difference);
          if (fabs(product) > largest) largest = fabs(product);
          continue;
        }
        if (!(error <= SHARE * (fabs(difference) + 0.05 * largest))) ++wrong;
        if (!(error <= error_of_worst)) error_of_worst = error, row_of_worst = row;
      }
      if (pass == 0) continue;
      if (wrong <= ROWS_LET_THROUGH) {
        if (largest > 0 && error_of_worst / largest > *worst) *worst = error_of_worst / largest;
        continue;
      }
      const bool feature = c->moved[m] < c->inputs;
      return status_set(
          NOPROP_INVALID_CONFIG,
          "network.layers: the layer '%s' has a wrong derivative: %s_%s(%d) is %.4g where differences of %s "
          "give %.4g, and differs in %d of %d rows",
          c->layer->name, c->layer->function, feature ? "vjp" : "parameter_vjp",
          feature ? c->moved[m] : c->moved[m] - c->inputs, (double)c->products[c->moved[m] * ROWS + row_of_worst],
          c->layer->function,
          (value_of(c, 2 * m + 1, row_of_worst) - value_of(c, 2 * m + 2, row_of_worst)) / (2 * (double)STEP), wrong,
          (int)ROWS);
    }
  return NOPROP_OK;
}

static noprop_status check_layer(noprop_model *model, const struct field_node *node, const float *all, double *worst) {
  const struct layer_list *layers = &model->settings.network.layers;
  struct check c = {.layer = &layers->items[node->form],
                    .inputs = model->network->field->nodes[node->a].width,
                    .outputs = node->width,
                    .parameters = node->columns};
  choose(&c, 0, c.inputs);
  choose(&c, c.inputs, c.parameters);
  c.cases = 1 + 2 * c.moved_count;
  const size_t cases = (size_t)c.cases;
  char *const source = kernel_text(&c, layers);
  c.input = malloc(cases * c.inputs * ROWS * sizeof *c.input);
  c.point = calloc(cases * c.parameters + 1, sizeof *c.point);
  c.adjoint = malloc((size_t)c.outputs * ROWS * sizeof *c.adjoint);
  c.output = malloc(cases * c.outputs * ROWS * sizeof *c.output);
  c.products = malloc((size_t)(c.inputs + c.parameters) * ROWS * sizeof *c.products);
  noprop_status status = NOPROP_OK;
  if (!source || !c.input || !c.point || !c.adjoint || !c.output || !c.products) {
    status = status_set(NOPROP_OUT_OF_MEMORY, "no host memory to check a layer");
  } else {
    fill(&c, node->parameter < 0 ? all : all + model->network->parameters[node->parameter].offset);
    status = evaluate(model, &c, source);
  }
  if (status == NOPROP_OK) status = compare(&c, worst);
  free(source);
  free(c.input);
  free(c.point);
  free(c.adjoint);
  free(c.output);
  free(c.products);
  return status;
}

noprop_status noprop_model_check_layers(noprop_model *model, int *layers, double *worst) {
  if (!model) return status_set(NOPROP_INVALID_ARGUMENT, "noprop_model_check_layers: model must not be NULL");
  const struct field_graph *graph = model->network->field;
  int count = 0;
  double largest = 0;
  for (int n = 0; graph && n < graph->count; ++n) count += graph->nodes[n].kind == NODE_SOURCE;
  float *const all = count > 0 ? malloc((size_t)model->network->values * sizeof *all) : NULL;
  noprop_status status = NOPROP_OK;
  if (count > 0 && !all) status = status_set(NOPROP_OUT_OF_MEMORY, "no host memory to check layers");
  if (all) status = noprop_model_get_parameters(model, 0, all);
  for (int n = 0; all && n < graph->count && status == NOPROP_OK; ++n) {
    double part = 0;
    if (graph->nodes[n].kind == NODE_SOURCE) status = check_layer(model, &graph->nodes[n], all, &part);
    if (part > largest) largest = part;
  }
  free(all);
  if (layers) *layers = count;
  if (worst) *worst = largest;
  return status;
}
