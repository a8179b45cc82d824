/* type cnn: its layers, the text of its kernels, memory and launches.
 *
 * Per entry of network.branch.channels a 3 x 3 convolution with a border of zeros, bias and ReLU; 2 x 2 max-pool behind
 * each but the last, whose outputs are averaged over all pixels. A training step has a launch per layer forward, one
 * per layer but the first backward, and one for the gradients of all layers' weights. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/branch.h"
#include "engine/branch_images.h"
#include "engine/model.h"
#include "engine/network_field.h"
#include "engine/program_plan.h"
#include "engine/status.h"

/* ---- layers ---- */

static noprop_status plan(const struct settings *settings, const noprop_model_shape *shape, struct network *network) {
  const int *channels = settings->network.branch.channels, layer_count = settings->network.branch.channel_count;
  const int inputs = shape->condition_shape[0];
  struct branch_layer *layers = network->branch;
  const noprop_status status = branch_images_plan(settings, shape, network);
  if (status != NOPROP_OK) return status;
  int height = shape->condition_shape[1], width = shape->condition_shape[2];
  for (int i = 0; i < layer_count; ++i) {
    const bool last = i == layer_count - 1;
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

static int launches(const struct network *network) {
  const int count = network->branch_count;
  return count + (count > 1 ? count - 1 : 1) + 1;
}

/* Whether layer `i` has its products on tensor cores, and its planes as conv_blocked in kernels/conv_tensor.cuh: all
 * but the first one of a branch that has a form. */
static bool is_tensor(const struct network *network, int i) { return network->branch_form >= 0 && i > 0; }

/* Floats of an image's plane at layer `i`: conv_layer in kernels/conv.cuh or conv_blocked. */
static size_t plane_floats(const struct network *network, int i, int channels) {
  const struct branch_layer *layer = &network->branch[i];
  if (!is_tensor(network, i)) return branch_plane_pixels(layer->height, layer->width) * (size_t)channels;
  return branch_blocked_floats(layer->height, layer->width, channels, network->branch_form);
}
static size_t input_floats(const struct network *network, int i) {
  return plane_floats(network, i, network->branch[i].inputs);
}
static size_t gradient_floats(const struct network *network, int i) {
  return plane_floats(network, i, network->branch[i].outputs);
}
static size_t output_numbers(const struct branch_layer *layer) {
  const int side = layer->pool ? 2 : 1;
  return (size_t)(layer->height / side) * (size_t)(layer->width / side) * (size_t)layer->outputs;
}
/* Floats of a layer's weights as conv_turn leaves them, or conv_pack for `rows` channels of results. */
static size_t weight_floats(const struct network *network, int i, int rows, int columns) {
  return is_tensor(network, i) ? branch_packed_floats(rows, columns, network->branch_form)
                               : 9 * (size_t)rows * (size_t)columns;
}
static size_t packed_floats(const struct network *network, int i) {
  return weight_floats(network, i, network->branch[i].outputs, network->branch[i].inputs);
}
static size_t turned_floats(const struct network *network, int i) {
  return weight_floats(network, i, network->branch[i].inputs, network->branch[i].outputs);
}

/* ---- text ---- */

static long parameter_place(const struct network *network, int index) {
  return network->parameters[index].padded_offset;
}

/* Head of a kernel over images (one block on a multiprocessor will do: for more ptxas spills a few registers), down to
 * the constants `image` and `n`, its number. */
static void write_image_head(FILE *out, const char *name, int index) {
  fprintf(out,
          "extern \"C\" __global__ void __launch_bounds__(CONV_THREADS, 1) branch_%s_%d(const branch_arguments a) {\n",
          name, index);
}

static const char IMAGE[] =
    "  const conv_image image = conv_image_of(a);\n  if (!image.live) return;\n"
    "  const unsigned long long n = image.number;\n";

/* Of the first layer's launch on tensor cores: spare blocks that pack the others' weights, as many for each. */
static void write_packing(FILE *out, const struct network *network) {
  const int form = network->branch_form, others = network->branch_count - 1;
  fprintf(out,
          "  const unsigned images = a.parts * a.capacity;\n  if (blockIdx.x >= images) {\n"
          "    const unsigned spare = blockIdx.x - images, block = spare %% CONV_TURN_BLOCKS;\n"
          "    const unsigned layer = spare / CONV_TURN_BLOCKS %% %d, part = spare / CONV_TURN_BLOCKS / %d;\n",
          others, others);
  for (int i = 1; i <= others; ++i) {
    const long weight = parameter_place(network, network->branch[i].weight);
    fprintf(out,
            "    if (layer == %d) {\n      conv_pack<layer%d, %d, false>(a.packed[%d] + part * %zu, conv_parameters(a, "
            "part) + %ld, block);\n      if (a.turned[%d]) conv_pack<layer%d, %d, true>(a.turned[%d] + part * %zu, "
            "conv_parameters(a, part) + %ld, block);\n    }\n",
            i - 1, i, form, i, packed_floats(network, i), weight, i, i, form, i, turned_floats(network, i), weight);
  }
  fprintf(out, "    return;\n  }\n");
}

static void write_turning(FILE *out, const struct network *network, int i) {
  fprintf(out,
          "  const unsigned images = a.parts * a.capacity;\n  if (blockIdx.x >= images) {\n"
          "    const unsigned part = (blockIdx.x - images) / CONV_TURN_BLOCKS;\n"
          "    conv_turn<layer%d>(a.turned[%d] + part * %zu, conv_parameters(a, part) + %ld, (blockIdx.x - images) %% "
          "CONV_TURN_BLOCKS);\n    return;\n  }\n",
          i, i, turned_floats(network, i), parameter_place(network, network->branch[i].weight));
}

static void write_forward(FILE *out, const struct network *network, const noprop_model_shape *shape, int i) {
  const struct branch_layer *layer = &network->branch[i];
  const bool last = i == network->branch_count - 1, tensor = is_tensor(network, i);
  write_image_head(out, "forward", i);
  const int groups = (layer->outputs + 31) / 32, warps = CONV_THREADS / 32;
  fprintf(out, "  __shared__ float scratch[%d];\n",
          last ? (groups < warps ? warps / groups * groups : groups) * 32 : 1);
  if (network->branch_form < 0 && i > 0) write_turning(out, network, i);
  if (network->branch_form >= 0 && i == 0) write_packing(out, network);
  fputs(IMAGE, out);
  fprintf(out,
          "  const float *const P = conv_parameters(a, image.part);\n  float *const plane = a.inputs[%d] + n * %zu;\n",
          i, input_floats(network, i));
  if (i == 0) branch_images_gather(out, network, shape, "plane");
  fprintf(out, "  unsigned char *const codes = a.codes[%d] ? a.codes[%d] + n * %zu : nullptr;\n", i, i,
          output_numbers(layer));
  if (tensor)
    fprintf(out, "  conv_forward_tensor<layer%d, %d>(plane, a.packed[%d] + image.part * %zu, P + %ld, ", i,
            network->branch_form, i, packed_floats(network, i), parameter_place(network, layer->bias));
  else if (network->branch_form >= 0)
    fprintf(out, "  conv_forward<layer%d, %s, conv_blocked_store<%d>>(plane, P + %ld, P + %ld, ", i,
            last ? "true" : "false", network->branch_form, parameter_place(network, layer->weight),
            parameter_place(network, layer->bias));
  else
    fprintf(out, "  conv_forward<layer%d, %s>(plane, P + %ld, P + %ld, ", i, last ? "true" : "false",
            parameter_place(network, layer->weight), parameter_place(network, layer->bias));
  if (last)
    fprintf(out, "a.features + conv_feature_row(a, image) * %d", layer->outputs);
  else
    fprintf(out, "a.inputs[%d] + n * %zu", i + 1, input_floats(network, i + 1));
  fprintf(out, ", codes, scratch);\n}\n\n");
}

static void write_backward(FILE *out, const struct network *network, int i) {
  const struct branch_layer *layer = &network->branch[i], *before = layer - 1;
  const bool tensor = is_tensor(network, i);
  write_image_head(out, "backward", i);
  fputs(IMAGE, out);
  fprintf(out, "  float *const gradients = a.gradients[%d] + n * %zu;\n", i, gradient_floats(network, i));
  if (i == network->branch_count - 1) {
    if (tensor)
      fprintf(out, "  conv_spread_tensor<layer%d, %d>", i, network->branch_form);
    else
      fprintf(out, "  conv_spread<layer%d>", i);
    fprintf(out, "(gradients, a.codes[%d] + n * %zu, a.feature_gradients + conv_feature_row(a, image) * %d);\n", i,
            output_numbers(layer), layer->outputs);
  }
  if (i > 0) {
    fprintf(out, "  __syncthreads();\n");
    if (tensor)
      fprintf(out, "  conv_backward_tensor<layer%d, layer%d, %d, %d>", i, i - 1, network->branch_form,
              is_tensor(network, i - 1) ? network->branch_form : -1);
    else
      fprintf(out, "  conv_backward<layer%d, layer%d>", i, i - 1);
    fprintf(out, "(gradients, a.turned[%d] + image.part * %zu, a.gradients[%d] + n * %zu, a.codes[%d] + n * %zu);\n", i,
            turned_floats(network, i), i - 1, gradient_floats(network, i - 1), i - 1, output_numbers(before));
  }
  fprintf(out, "}\n\n");
}

static void write_gradients(FILE *out, const struct network *network) {
  const int count = network->branch_count;
  char items[BRANCH_LAYERS][48];
  for (int i = 0; i < count; ++i)
    snprintf(items[i], sizeof items[i], "conv_%sitems<layer%d>::COUNT", is_tensor(network, i) ? "tensor_" : "", i);
  fprintf(out,
          "extern \"C\" __global__ void __launch_bounds__(CONV_THREADS, 1) branch_gradients(const branch_arguments a) "
          "{\n  __shared__ float scratch[%s];\n  const conv_slot slot = conv_slot_of(a, ",
          is_tensor(network, count - 1) ? "CONV_TENSOR_SCRATCH" : "CONV_WARPS * 12 * 32");
  for (int i = 0; i < count; ++i) fprintf(out, "%s%s", i ? " + " : "", items[i]);
  fprintf(out,
          ");\n  int item = (int)slot.item;\n  const unsigned long long n = (unsigned long long)slot.part * "
          "a.capacity;\n");
  for (int i = 0; i < count; ++i) {
    const struct branch_layer *layer = &network->branch[i];
    fprintf(out, "  if (item < %s) {\n    conv_weight_gradient", items[i]);
    if (is_tensor(network, i))
      fprintf(out, "_tensor<layer%d, %d>", i, network->branch_form);
    else
      fprintf(out, "<layer%d>", i);
    fprintf(out,
            "(a.inputs[%d] + n * %zu, a.gradients[%d] + n * %zu, item, slot.first, slot.last, slot.gradients + %ld, "
            "slot.gradients + %ld, scratch);\n    return;\n  }\n  item -= %s;\n",
            i, input_floats(network, i), i, gradient_floats(network, i), parameter_place(network, layer->weight),
            parameter_place(network, layer->bias), items[i]);
  }
  fprintf(out, "}\n");
}

static char *source_of(const struct network *network, const noprop_model_shape *shape) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (!out) return NULL;
  branch_images_include(out, network);
  fprintf(out, "#include \"conv%s.cuh\"\n\n", network->branch_form >= 0 ? "_tensor" : "");
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
  return status;
}

/* ---- memory ---- */

static size_t forward_floats(const struct network *network) {
  size_t floats = 0;
  for (int i = 0; i < network->branch_count; ++i) floats += input_floats(network, i);
  return floats;
}

static noprop_status allocate(noprop_model *model, size_t images, unsigned parts, bool backward,
                              branch_arguments *branch) {
  const struct network *network = model->network;
  noprop_status status = NOPROP_OK;
  for (int i = 0; i < network->branch_count && status == NOPROP_OK; ++i) {
    const size_t turned = backward && i > 0 ? parts * turned_floats(network, i) : 0;
    const struct branch_array arrays[] = {
        {&branch->inputs[i], images * input_floats(network, i), "images' layers"},
        {&branch->packed[i], is_tensor(network, i) ? parts * packed_floats(network, i) : 0, "packed weights"},
        {&branch->gradients[i], backward ? images * gradient_floats(network, i) : 0, "gradients of layers"},
        {&branch->turned[i], turned, "turned weights"}};
    status = branch_allocate_arrays(model, arrays, sizeof arrays / sizeof arrays[0]);
    if (!backward || status != NOPROP_OK) continue;
    CUdeviceptr memory = 0;
    status = pool_alloc(model->pool, images * output_numbers(&network->branch[i]), "what passed layers", &memory);
    branch->codes[i] = DEVICE_POINTER(unsigned char, memory);
  }
  return status;
}

/* ---- launches ---- */

static noprop_status forward(noprop_model *model, branch_arguments *arguments) {
  const struct network *network = model->network;
  noprop_status status = NOPROP_OK;
  for (int i = 0; i < network->branch_count && status == NOPROP_OK; ++i) {
    const int layers = network->branch_form < 0 ? arguments->turned[i] != NULL : i == 0 ? network->branch_count - 1 : 0;
    const unsigned turns = arguments->parts * CONV_TURN_BLOCKS * (unsigned)layers;
    status = device_launch(model->device, &model->branch.forward[i], arguments->parts * arguments->capacity + turns,
                           CONV_THREADS, 0, arguments, sizeof *arguments);
  }
  return status;
}

/* Blocks of threads that make a layer's gradients in one slot: conv_items in kernels/conv.cuh or conv_tensor_items. */
static unsigned gradient_items(const struct network *network, int i) {
  const struct branch_layer *layer = &network->branch[i];
  const unsigned groups = (unsigned)(layer->outputs + 31) / 32;
  const unsigned of_weights = is_tensor(network, i) ? branch_tensor_weight_items(layer) : branch_weight_items(layer);
  return of_weights + groups;
}

static noprop_status backward(noprop_model *model, branch_arguments *arguments) {
  const struct network *network = model->network;
  const int count = network->branch_count;
  noprop_status status = NOPROP_OK;
  unsigned items = 0;
  for (int i = 0; i < count; ++i) items += gradient_items(network, i);
  for (int i = count - 1; i >= (count > 1) && status == NOPROP_OK; --i)
    status = device_launch(model->device, &model->branch.backward[i], arguments->parts * arguments->capacity,
                           CONV_THREADS, 0, arguments, sizeof *arguments);
  if (status != NOPROP_OK) return status;
  return device_launch(model->device, &model->branch.gradients, arguments->parts * arguments->rows.slot_count * items,
                       CONV_THREADS, 0, arguments, sizeof *arguments);
}

const struct branch_kind branch_cnn = {.plan = plan,
                                       .add = add,
                                       .products = branch_images_products,
                                       .launches = launches,
                                       .describe = describe,
                                       .compile = compile,
                                       .forward_floats = forward_floats,
                                       .allocate = allocate,
                                       .forward = forward,
                                       .backward = backward};
