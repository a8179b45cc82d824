/* type cnn: its layers, the text of its kernels, memory and launches.
 *
 * Per entry of network.branch.channels a 3 x 3 convolution with a border of zeros, bias and ReLU; 2 x 2 max-pool behind
 * each but the last, whose outputs are averaged over all pixels. A training step has a launch per layer forward, one
 * per layer but the first backward, and one for the gradients of all layers' weights. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/branch.h"
#include "engine/model.h"
#include "engine/network_field.h"
#include "engine/program_plan.h"
#include "engine/status.h"

/* Without a backward pass images go through the layers in groups whose planes take so much memory at most. */
static const size_t FORWARD_BYTES = (size_t)64 << 20;

/* ---- layers ---- */

static noprop_status plan(const struct settings *settings, const noprop_model_shape *shape, struct network *network) {
  const int *channels = settings->network.branch.channels, layer_count = settings->network.branch.channel_count;
  const int inputs = shape->condition_shape[0];
  struct branch_layer *layers = network->branch;
  if (inputs == 0)
    return status_set(NOPROP_INVALID_CONFIG,
                      "network.branch.type: cnn needs images as condition, [rows][channels][height][width] or "
                      "[rows][height][width]; this condition is %s of width %d",
                      shape->condition_is_label ? "a label" : "a vector", shape->condition_width);
  if (inputs > 3 && inputs % 4 != 0)
    return status_set(
        NOPROP_UNSUPPORTED,
        "network.branch.type: cnn takes images of 1, 2 or 3 channels or a multiple of four; these have %d", inputs);
  int height = shape->condition_shape[1], width = shape->condition_shape[2];
  for (int i = 0; i < layer_count; ++i) {
    const bool last = i == layer_count - 1;
    if (channels[i] % 8 != 0)
      return status_set(NOPROP_UNSUPPORTED, "network.branch.channels: %d is not a multiple of 8, which layers need",
                        channels[i]);
    if (!last && (height < 2 || width < 2))
      return status_set(NOPROP_INVALID_CONFIG,
                        "network.branch.channels: %d layers, but images of %d x %d pixels can be halved %d times only; "
                        "at most %d layers are allowed",
                        layer_count, shape->condition_shape[1], shape->condition_shape[2], i, i + 1);
    layers[i] = (struct branch_layer){.height = height,
                                      .width = width,
                                      .inputs = i == 0 ? inputs : channels[i - 1],
                                      .outputs = channels[i],
                                      .pool = !last};
    if (!last) height /= 2, width /= 2;
  }
  network->branch_count = layer_count;
  return NOPROP_OK;
}

static void add(struct network *network) {
  for (int i = 0; i < network->branch_count; ++i) {
    struct branch_layer *layer = &network->branch[i];
    char name[48];
    snprintf(name, sizeof name, "branch.%d.weight", i);
    layer->weight = network_add_parameter(network, name, 9 * layer->inputs, layer->outputs, INITIALISE_HE);
    snprintf(name, sizeof name, "branch.%d.bias", i);
    layer->bias = network_add_parameter(network, name, 1, layer->outputs, INITIALISE_ZERO);
    network->x_width = layer->outputs;
  }
}

static void describe(const struct network *network, int i, char *line, size_t size) {
  const struct branch_layer *layer = &network->branch[i];
  snprintf(line, size, "%d x %d x %d -> 3 x 3 convolution, %d channels, relu, %s", layer->inputs, layer->height,
           layer->width, layer->outputs,
           layer->pool ? "2 x 2 max-pool" : "mean over all pixels (features: the condition below)");
}

static double products(const struct network *network) {
  double products = 0;
  for (int i = 0; i < network->branch_count; ++i) {
    const struct branch_layer *layer = &network->branch[i];
    products += 9.0 * layer->height * layer->width * layer->inputs * layer->outputs;
  }
  return products;
}

static int launches(const struct network *network) {
  const int count = network->branch_count;
  return count + (count > 1 ? count - 1 : 1) + 1;
}

/* Sizes as conv_layer in kernels/conv.cuh has them. */
static size_t plane_pixels(const struct branch_layer *layer) {
  return (size_t)(layer->height + 2) * (size_t)(layer->width + 1) + 1;
}
static size_t input_floats(const struct branch_layer *layer) { return plane_pixels(layer) * (size_t)layer->inputs; }
static size_t gradient_floats(const struct branch_layer *layer) { return plane_pixels(layer) * (size_t)layer->outputs; }
static size_t output_numbers(const struct branch_layer *layer) {
  const int side = layer->pool ? 2 : 1;
  return (size_t)(layer->height / side) * (size_t)(layer->width / side) * (size_t)layer->outputs;
}
static size_t weight_count(const struct branch_layer *layer) {
  return 9 * (size_t)layer->inputs * (size_t)layer->outputs;
}

/* ---- text ---- */

static long parameter_place(const struct network *network, int index) {
  return network->parameters[index].padded_offset;
}

/* Head of a kernel over images, down to the constants `image` and `n`, its number. */
static void write_image_head(FILE *out, const char *name, int index) {
  fprintf(out,
          "extern \"C\" __global__ void __launch_bounds__(CONV_THREADS) branch_%s_%d(const branch_arguments a) {\n",
          name, index);
}

static const char IMAGE[] =
    "  const conv_image image = conv_image_of(a);\n  if (!image.live) return;\n"
    "  const unsigned long long n = image.number;\n";

static void write_forward(FILE *out, const struct network *network, const noprop_model_shape *shape, int i) {
  const struct branch_layer *layer = &network->branch[i];
  const bool last = i == network->branch_count - 1;
  write_image_head(out, "forward", i);
  const int groups = (layer->outputs + 31) / 32, warps = CONV_THREADS / 32;
  fprintf(out, "  __shared__ float scratch[%d];\n",
          last ? (groups < warps ? warps / groups * groups : groups) * 32 : 1);
  if (i > 0)
    fprintf(
        out,
        "  const unsigned images = a.parts * a.capacity;\n  if (blockIdx.x >= images) {\n"
        "    const unsigned part = (blockIdx.x - images) / CONV_TURN_BLOCKS;\n"
        "    conv_turn<layer%d>(a.turned[%d] + part * %zu, conv_parameters(a, part) + %ld, (blockIdx.x - images) %% "
        "CONV_TURN_BLOCKS);\n    return;\n  }\n",
        i, i, weight_count(layer), parameter_place(network, layer->weight));
  fputs(IMAGE, out);
  fprintf(out,
          "  const float *const P = conv_parameters(a, image.part);\n  float *const plane = a.inputs[%d] + n * %zu;\n",
          i, input_floats(layer));
  if (i == 0)
    fprintf(out, "  conv_gather<layer0, %d>(plane, a.rows, image.row);\n  __syncthreads();\n",
            plan_row_kind(shape->condition_type, false));
  fprintf(out, "  unsigned char *const codes = a.codes[%d] ? a.codes[%d] + n * %zu : nullptr;\n", i, i,
          output_numbers(layer));
  fprintf(out, "  conv_forward<layer%d, %s>(plane, P + %ld, P + %ld, ", i, last ? "true" : "false",
          parameter_place(network, layer->weight), parameter_place(network, layer->bias));
  if (last)
    fprintf(out, "a.features + conv_feature_row(a, image) * %d", layer->outputs);
  else
    fprintf(out, "a.inputs[%d] + n * %zu", i + 1, input_floats(layer + 1));
  fprintf(out, ", codes, scratch);\n}\n\n");
}

static void write_backward(FILE *out, const struct network *network, int i) {
  const struct branch_layer *layer = &network->branch[i], *before = layer - 1;
  write_image_head(out, "backward", i);
  fputs(IMAGE, out);
  fprintf(out, "  float *const gradients = a.gradients[%d] + n * %zu;\n", i, gradient_floats(layer));
  if (i == network->branch_count - 1)
    fprintf(out,
            "  conv_spread<layer%d>(gradients, a.codes[%d] + n * %zu, a.feature_gradients + conv_feature_row(a, image) "
            "* %d);\n",
            i, i, output_numbers(layer), layer->outputs);
  if (i > 0)
    fprintf(out,
            "  __syncthreads();\n  conv_backward<layer%d, layer%d>(gradients, a.turned[%d] + image.part * %zu, "
            "a.gradients[%d] + n * %zu, a.codes[%d] + n * %zu);\n",
            i, i - 1, i, weight_count(layer), i - 1, gradient_floats(before), i - 1, output_numbers(before));
  fprintf(out, "}\n\n");
}

static void write_gradients(FILE *out, const struct network *network) {
  const int count = network->branch_count;
  fprintf(out,
          "extern \"C\" __global__ void __launch_bounds__(CONV_THREADS) branch_gradients(const branch_arguments a) "
          "{\n  __shared__ float scratch[CONV_WARPS * 12 * 32];\n  const conv_slot slot = conv_slot_of(a, ");
  for (int i = 0; i < count; ++i) fprintf(out, "%sconv_items<layer%d>::COUNT", i ? " + " : "", i);
  fprintf(out,
          ");\n  int item = (int)slot.item;\n  const unsigned long long n = (unsigned long long)slot.part * "
          "a.capacity;\n");
  for (int i = 0; i < count; ++i) {
    const struct branch_layer *layer = &network->branch[i];
    fprintf(out,
            "  if (item < conv_items<layer%d>::COUNT) {\n    conv_weight_gradient<layer%d>(a.inputs[%d] + n * %zu, "
            "a.gradients[%d] + n * %zu, item, slot.first, slot.last, slot.gradients + %ld, slot.gradients + %ld, "
            "scratch);\n    return;\n  }\n  item -= conv_items<layer%d>::COUNT;\n",
            i, i, i, input_floats(layer), i, gradient_floats(layer), parameter_place(network, layer->weight),
            parameter_place(network, layer->bias), i);
  }
  fprintf(out, "}\n");
}

static char *source_of(const struct network *network, const noprop_model_shape *shape) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (!out) return NULL;
  fprintf(out, "#include \"conv.cuh\"\n\n");
  for (int i = 0; i < network->branch_count; ++i) {
    const struct branch_layer *layer = &network->branch[i];
    fprintf(out, "using layer%d = conv_layer<%d, %d, %d, %d, %s>;\n", i, layer->height, layer->width, layer->inputs,
            layer->outputs, layer->pool ? "true" : "false");
  }
  fprintf(out, "\n");
  for (int i = 0; i < network->branch_count; ++i) write_forward(out, network, shape, i);
  for (int i = network->branch_count - 1; i >= (network->branch_count > 1); --i) write_backward(out, network, i);
  write_gradients(out, network);
  if (fclose(out) == 0) return text;
  free(text);
  return NULL;
}

static noprop_status compile(noprop_model *model) {
  const struct network *network = model->network;
  struct branch_kernels *kernels = &model->branch;
  if (kernels->ready) return NOPROP_OK;
  char *source = source_of(network, &model->shape);
  if (!source) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the text of a kernel");
  noprop_status status = device_compile(model->device, source, "branch_gradients", &kernels->gradients);
  for (int i = 0; i < network->branch_count && status == NOPROP_OK; ++i) {
    char entry[32];
    snprintf(entry, sizeof entry, "branch_forward_%d", i);
    status = device_compile(model->device, source, entry, &kernels->forward[i]);
    if (status != NOPROP_OK || (i == 0 && network->branch_count > 1)) continue;
    snprintf(entry, sizeof entry, "branch_backward_%d", i);
    status = device_compile(model->device, source, entry, &kernels->backward[i]);
  }
  free(source);
  kernels->ready = status == NOPROP_OK;
  return status;
}

/* ---- memory ---- */

/* Bytes of an image's planes, forward. */
static size_t image_bytes(const struct network *network) {
  size_t floats = 0;
  for (int i = 0; i < network->branch_count; ++i) floats += input_floats(&network->branch[i]);
  return floats * sizeof(float);
}

static noprop_status allocate(noprop_model *model, const struct model_kernel *kernel, unsigned parts, bool backward,
                              train_arguments *train, branch_arguments *branch) {
  const struct network *network = model->network;
  noprop_status status = compile(model);
  if (status != NOPROP_OK) return status;
  size_t capacity = train->batch;
  while (!backward && capacity > 1 && capacity * parts * image_bytes(network) > FORWARD_BYTES)
    capacity = (capacity + 1) / 2;
  if (capacity < 1) capacity = 1;
  branch->capacity = (unsigned)capacity;
  branch->feature_rows = train->batch;
  branch->slot_images = train->tiles_per_slot * kernel->block_rows;
  branch->part_floats = (unsigned long long)network->block_floats;
  const size_t images = capacity * parts, features = (size_t)parts * train->batch * (size_t)network->x_width;
  CUdeviceptr memory = 0;
  status = pool_alloc(model->pool, features * sizeof(float), "features of images", &memory);
  branch->features = DEVICE_POINTER(float, memory);
  if (status == NOPROP_OK && backward)
    status = pool_alloc(model->pool, features * sizeof(float), "gradients of features", &memory);
  branch->feature_gradients = backward ? DEVICE_POINTER(float, memory) : NULL;
  for (int i = 0; i < network->branch_count && status == NOPROP_OK; ++i) {
    const struct branch_layer *layer = &network->branch[i];
    status = pool_alloc(model->pool, images * input_floats(layer) * sizeof(float), "images' layers", &memory);
    branch->inputs[i] = DEVICE_POINTER(float, memory);
    if (!backward || status != NOPROP_OK) continue;
    status = pool_alloc(model->pool, images * gradient_floats(layer) * sizeof(float), "gradients of layers", &memory);
    branch->gradients[i] = DEVICE_POINTER(float, memory);
    if (status == NOPROP_OK)
      status = pool_alloc(model->pool, images * output_numbers(layer), "what passed layers", &memory);
    branch->codes[i] = DEVICE_POINTER(unsigned char, memory);
    if (status == NOPROP_OK && i > 0)
      status = pool_alloc(model->pool, parts * weight_count(layer) * sizeof(float), "turned weights", &memory);
    branch->turned[i] = i > 0 ? DEVICE_POINTER(float, memory) : NULL;
  }
  train->features = branch->features;
  train->feature_gradients = branch->feature_gradients;
  return status;
}

/* ---- launches ---- */

static noprop_status forward(noprop_model *model, const branch_arguments *branch, const train_arguments *train,
                             unsigned first_part, unsigned parts) {
  const struct network *network = model->network;
  const unsigned rows = train->request ? train->rows : train->batch;
  noprop_status status = NOPROP_OK;
  branch_arguments arguments = *branch;
  arguments.rows = *train;
  arguments.first_part = first_part;
  arguments.parts = parts;
  for (unsigned first = 0; first < rows && status == NOPROP_OK; first += branch->capacity) {
    arguments.first = first;
    for (int i = 0; i < network->branch_count && status == NOPROP_OK; ++i) {
      const unsigned turns = branch->turned[i] ? parts * CONV_TURN_BLOCKS : 0;
      status = device_launch(model->device, &model->branch.forward[i], parts * branch->capacity + turns, CONV_THREADS,
                             0, &arguments, sizeof arguments);
    }
  }
  return status;
}

/* Blocks of threads that make a layer's gradients in one slot: conv_items in kernels/conv.cuh. */
static unsigned gradient_items(const struct branch_layer *layer) {
  const int takes = layer->inputs % 4 ? 3 * layer->inputs : 12, groups = (layer->outputs + 31) / 32;
  return (unsigned)((9 * layer->inputs / takes + 1) * groups);
}

static noprop_status backward(noprop_model *model, const branch_arguments *branch, const train_arguments *train,
                              unsigned first_part, unsigned parts) {
  const struct network *network = model->network;
  const int count = network->branch_count;
  noprop_status status = NOPROP_OK;
  branch_arguments arguments = *branch;
  arguments.rows = *train;
  arguments.first_part = first_part;
  arguments.parts = parts;
  unsigned items = 0;
  for (int i = 0; i < count; ++i) items += gradient_items(&network->branch[i]);
  for (int i = count - 1; i >= (count > 1) && status == NOPROP_OK; --i)
    status = device_launch(model->device, &model->branch.backward[i], parts * branch->capacity, CONV_THREADS, 0,
                           &arguments, sizeof arguments);
  if (status != NOPROP_OK) return status;
  return device_launch(model->device, &model->branch.gradients, parts * train->slot_count * items, CONV_THREADS, 0,
                       &arguments, sizeof arguments);
}

const struct branch_kind branch_cnn = {.plan = plan,
                                       .add = add,
                                       .products = products,
                                       .launches = launches,
                                       .describe = describe,
                                       .source = source_of,
                                       .allocate = allocate,
                                       .forward = forward,
                                       .backward = backward};
