/* type resnet: its layers, the text of its kernels (kernels/branch_residual.cuh), memory and launches.
 *
 * Per entry of network.branch.channels a 3 x 3 convolution, GroupNorm, ReLU and a 2 x 2 max-pool, then so many residual
 * blocks as network.branch.blocks says: h becomes relu(h + norm(conv(relu(norm(conv(h)))))). With
 * network.branch.downsample stride one convolution without a pool in front of all, and the first block of every entry
 * but the first halves the image (kernels/branch_strided.cuh). The last outputs are averaged over all pixels. A block
 * of threads has an image to itself, so that the whole branch is one launch forward and one backward; with the
 * gradients of weights a training step has three launches beside those of others. On tensor cores, which do all
 * convolutions but the first, one more packs weights before. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/branch.h"
#include "engine/branch_images.h"
#include "engine/model.h"
#include "engine/network_field.h"
#include "engine/status.h"

/* Of `forward` among the kernels. */
enum { KERNEL_LAYERS, KERNEL_PACK };

/* ---- layers ---- */

/* Images at a layer's sums, and behind its pool. */
static int halved(int pixels, bool strided) { return strided ? (pixels + 1) / 2 : pixels; }
static int sum_height(const struct branch_layer *layer) { return halved(layer->height, layer->strided); }
static int sum_width(const struct branch_layer *layer) { return halved(layer->width, layer->strided); }
static int out_height(const struct branch_layer *layer) { return sum_height(layer) / (layer->pool ? 2 : 1); }
static int out_width(const struct branch_layer *layer) { return sum_width(layer) / (layer->pool ? 2 : 1); }

static int blocks_of(const struct settings *settings, int stage) {
  return settings->network.branch.blocks[settings->network.branch.block_count == 1 ? 0 : stage];
}

/* The layers of entry `stage` of network.branch.channels, behind those there are. */
static void plan_stage(const struct settings *settings, const noprop_model_shape *shape, struct network *network,
                       int stage) {
  const bool stride = settings->network.branch.downsample == DOWNSAMPLE_STRIDE;
  const int outputs = settings->network.branch.channels[stage], layers = 2 * blocks_of(settings, stage);
  struct branch_layer *layer = network->branch + network->branch_count;
  struct branch_layer next = {.height = shape->condition_shape[1],
                              .width = shape->condition_shape[2],
                              .inputs = shape->condition_shape[0],
                              .outputs = outputs};
  int done = 0;
  if (stage > 0) {
    next.height = out_height(layer - 1), next.width = out_width(layer - 1), next.inputs = layer[-1].outputs;
  }
  if (stage == 0 || !stride) {
    *layer = next;
    layer->pool = !stride;
  } else {
    *layer = next;
    layer->strided = true;
    *++layer = next;
    layer->strided = layer->projection = true;
    done = 1;
  }
  next = (struct branch_layer){
      .height = out_height(layer), .width = out_width(layer), .inputs = outputs, .outputs = outputs};
  for (; done < layers; ++done) {
    *++layer = next;
    layer->ends = done % 2 == 1;
  }
  network->branch_count = (int)(layer + 1 - network->branch);
}

static noprop_status plan(const struct settings *settings, const noprop_model_shape *shape, struct network *network) {
  const bool stride = settings->network.branch.downsample == DOWNSAMPLE_STRIDE;
  int height = shape->condition_shape[1], width = shape->condition_shape[2];
  const noprop_status status = branch_images_plan(settings, shape, network);
  if (status != NOPROP_OK) return status;
  for (int i = 0; i < settings->network.branch.channel_count; ++i) {
    if (!stride && (height < 2 || width < 2))
      return status_set(NOPROP_INVALID_CONFIG,
                        "network.branch.channels: %d entries, but images of %d x %d pixels can be halved %d times "
                        "only; at most %d entries are allowed",
                        settings->network.branch.channel_count, shape->condition_shape[1], shape->condition_shape[2], i,
                        i);
    if (network->branch_count + 1 + 2 * blocks_of(settings, i) > BRANCH_CONVOLUTIONS)
      return status_set(NOPROP_INVALID_CONFIG,
                        "network.branch.blocks: the branch has more than %d convolutions with entry %d of "
                        "network.branch.channels; so many are allowed, two for a block and one for an entry",
                        (int)BRANCH_CONVOLUTIONS, i + 1);
    plan_stage(settings, shape, network, i);
    height /= 2, width /= 2;
  }
  network->branch_groups = settings->network.branch.groups;
  return NOPROP_OK;
}

static int taps_of(const struct branch_layer *layer) { return layer->projection ? 1 : 9; }

/* Scales begin at 1, those that end a block at 0: every block begins as its skip (Goyal et al., "Accurate, large
 * minibatch SGD", 2017). */
static void add(struct network *network) {
  for (int i = 0; i < network->branch_count; ++i) {
    struct branch_layer *layer = &network->branch[i];
    char name[48];
    snprintf(name, sizeof name, "branch.%d.weight", i);
    layer->weight = network_add_parameter(network, name, taps_of(layer) * layer->inputs, layer->outputs, INITIALISE_HE);
    snprintf(name, sizeof name, "branch.%d.scale", i);
    layer->scale =
        network_add_parameter(network, name, 1, layer->outputs, layer->ends ? INITIALISE_ZERO : INITIALISE_ONE);
    snprintf(name, sizeof name, "branch.%d.shift", i);
    layer->shift = network_add_parameter(network, name, 1, layer->outputs, INITIALISE_ZERO);
    network->x_width = layer->outputs;
  }
}

static void describe(const struct network *network, int i, char *line, size_t size) {
  const struct branch_layer *layer = &network->branch[i];
  const char *skip = i > 0 && layer[-1].projection ? " + the layer above" : " + input of the layer above";
  if (layer->projection)
    snprintf(line, size,
             "%d x %d x %d, input of the layer above -> 1 x 1 convolution of stride 2, %d channels, "
             "GroupNorm of %d",
             layer->inputs, layer->height, layer->width, layer->outputs, network->branch_groups);
  else
    snprintf(line, size, "%d x %d x %d -> 3 x 3 convolution%s, %d channels, GroupNorm of %d%s, relu%s%s", layer->inputs,
             layer->height, layer->width, layer->strided ? " of stride 2" : "", layer->outputs, network->branch_groups,
             layer->ends ? skip : "", layer->pool ? ", 2 x 2 max-pool" : "",
             i == network->branch_count - 1 ? ", mean over all pixels (features: the condition below)" : "");
}

static int launches(const struct network *network) { return network->branch_form >= 0 ? 4 : 3; }

/* ---- where things stand: floats of one image (turned weights: of one part), as residual_layers of the kernels ---- */

static size_t round_up8(size_t n) { return (n + 7) / 8 * 8; }

struct places {
  size_t inputs, sums, statistics, turned;
  size_t input_factors, sum_factors, packed; /* on tensor cores, of the layers behind the first */
};

/* Of weights for `rows` channels of results from `columns` others, packed or turned. */
static size_t weight_floats(const struct network *network, const struct branch_layer *layer, int rows, int columns) {
  const size_t taps = (size_t)taps_of(layer);
  return network->branch_form >= 0 ? branch_packed_floats(rows, columns, network->branch_form) / 9 * taps
                                   : taps * (size_t)rows * (size_t)columns;
}

/* Factors of a layer's input: with stride 2 four planes, of which the projection takes one. */
static size_t input_factors(const struct network *network, const struct branch_layer *layer) {
  return layer->projection ? 0
                           : (layer->strided ? 4 : 1) * branch_blocked_floats(sum_height(layer), sum_width(layer),
                                                                              layer->inputs, network->branch_form);
}

/* Where those of layer i begin; i = count: how many there are, beside what the last layer gives. A projection's input
 * is that of the layer before it; what stands in its place is what it gives. */
static struct places places_of(const struct network *network, int i) {
  struct places places = {0};
  for (int k = 0; k < i; ++k) {
    const struct branch_layer *layer = &network->branch[k];
    const int height = sum_height(layer), width = sum_width(layer);
    const size_t pixels = branch_plane_pixels(height, width), outputs = (size_t)layer->outputs;
    places.inputs +=
        round_up8(layer->projection ? pixels * outputs
                                    : branch_plane_pixels(layer->height, layer->width) * (size_t)layer->inputs);
    places.sums += pixels * outputs;
    places.statistics += 2 * outputs;
    if (k == 0) continue;
    places.turned += weight_floats(network, layer, layer->inputs, layer->outputs);
    if (network->branch_form < 0) continue;
    places.input_factors += input_factors(network, layer);
    places.sum_factors += branch_blocked_floats(height, width, layer->outputs, network->branch_form);
    places.packed += weight_floats(network, layer, layer->outputs, layer->inputs);
  }
  return places;
}

static size_t all_inputs(const struct network *network) {
  const struct branch_layer *last = &network->branch[network->branch_count - 1];
  return places_of(network, network->branch_count).inputs +
         branch_plane_pixels(out_height(last), out_width(last)) * (size_t)last->outputs;
}

/* Factors of all inputs and of the last outputs, which enter no product. */
static size_t all_input_factors(const struct network *network) {
  const struct branch_layer *last = &network->branch[network->branch_count - 1];
  if (network->branch_form < 0) return 0;
  return places_of(network, network->branch_count).input_factors +
         branch_blocked_floats(out_height(last), out_width(last), last->outputs, network->branch_form);
}

static size_t forward_floats(const struct network *network) {
  return all_inputs(network) + all_input_factors(network) + places_of(network, network->branch_count).sums;
}

static unsigned gradient_items(const struct network *network) {
  unsigned items = 0;
  for (int i = 0; i < network->branch_count; ++i) {
    const struct branch_layer *layer = &network->branch[i];
    const unsigned parts = layer->projection ? 3 : 1; /* that the items below would be too many */
    if (network->branch_form >= 0 && i > 0)
      items += 1 + branch_tensor_weight_items(layer) / parts;
    else if (layer->projection)
      items += 1 + (unsigned)(layer->inputs / 8 * ((layer->outputs + 31) / 32)); /* strided_items of the kernels */
    else
      items += 1 + branch_weight_items(layer);
  }
  return items;
}

/* ---- text: kernels ask for one block on a multiprocessor; for more ptxas spills a few registers ---- */

/* Numbers of the layers that begin a group: of equal ones, or of stride 2 with the projection; `first` has room for
 * all. */
static int group_starts(const struct network *network, int *first) {
  int groups = 0;
  for (int i = 0; i < network->branch_count; ++i) {
    const struct branch_layer *layer = &network->branch[i];
    if (i < 2 || layer->pool || layer[-1].pool || (layer->strided && !layer->projection) || layer[-1].projection)
      first[groups++] = i;
  }
  return groups;
}

/* What functions on a group are called: kernels/branch_strided.cuh has those of a transition. */
static const char *prefix_of(const struct network *network, int first) {
  return network->branch[first].strided ? "transition" : "residual";
}

static void write_transition(FILE *out, const struct network *network, int group, int first) {
  const struct branch_layer *layer = &network->branch[first];
  const struct places at = places_of(network, first), after = places_of(network, first + 2);
  fprintf(out, "using group%d = residual_transition<%d, %d, %d, %d, %d, %zu, %zu, %zu, %zu, %zu, %zu, %ld", group,
          layer->height, layer->width, layer->inputs, layer->outputs, layer->outputs / network->branch_groups,
          at.inputs, places_of(network, first + 1).inputs, after.inputs, at.sums, at.statistics, at.turned,
          network->parameters[layer->weight].padded_offset);
  if (network->branch_form >= 0)
    fprintf(out, ", %d, %zu, %zu, %zu, %zu", network->branch_form, at.input_factors, after.input_factors,
            at.sum_factors, at.packed);
  fprintf(out, ">;\n");
}

static void write_groups(FILE *out, const struct network *network, const int *first, int groups) {
  const bool tensor = network->branch_form >= 0;
  for (int g = 0; g < groups; ++g) {
    const struct branch_layer *layer = &network->branch[first[g]];
    const struct places at = places_of(network, first[g]);
    const int next = g + 1 < groups ? first[g + 1] : network->branch_count;
    if (layer->strided) {
      write_transition(out, network, g, first[g]);
      continue;
    }
    fprintf(out, "using layer%d = conv_layer<%d, %d, %d, %d, %s>;\n", g, layer->height, layer->width, layer->inputs,
            layer->outputs, layer->pool ? "true" : "false");
    fprintf(out, "using group%d = residual_layers<layer%d, %d, %d, %zu, %zu, %zu, %zu, %ld", g, g, next - first[g],
            layer->outputs / network->branch_groups, at.inputs, at.sums, at.statistics, at.turned,
            network->parameters[layer->weight].padded_offset);
    const bool alone = g == 0 && !layer->pool, rest = g > 0 && layer[-1].projection;
    const bool unread = next < network->branch_count && network->branch[next].strided;
    if (tensor)
      fprintf(out, ", %d, %d, %zu, %zu, %zu, %zu", g == 0 ? -1 : network->branch_form, network->branch_form,
              at.input_factors, places_of(network, first[g] + 1).input_factors, at.sum_factors, at.packed);
    else if (alone || rest)
      fprintf(out, ", -1, -1, 0, 0, 0, 0");
    if (alone || rest || (tensor && unread))
      fprintf(out, ", RESIDUAL_%s, %s", alone ? "ALONE" : rest ? "REST" : "BLOCKS", unread ? "false" : "true");
    fprintf(out, ">;\n");
  }
}

static void write_packing(FILE *out, const struct network *network, const int *first, int groups) {
  const struct places all = places_of(network, network->branch_count);
  fprintf(out,
          "\nextern \"C\" __global__ void __launch_bounds__(CONV_THREADS, 1) branch_pack(const branch_arguments a) {\n"
          "  const unsigned block = blockIdx.x %% CONV_TURN_BLOCKS, part = blockIdx.x / CONV_TURN_BLOCKS;\n"
          "  float *const packed = a.packed[0] + part * %zuull;\n"
          "  float *const turned = a.turned[0] ? a.turned[0] + part * %zuull : nullptr;\n",
          all.packed, all.turned);
  for (int g = 1; g < groups; ++g)
    fprintf(out, "  %s_pack_layers<group%d>(a, packed, turned, part, block);\n", prefix_of(network, first[g]), g);
  fprintf(out, "}\n");
}

/* Spare blocks of the forward launch that turn weights. */
static void write_turning(FILE *out, const struct network *network, const int *first, int groups) {
  fprintf(out,
          "  const unsigned images = a.parts * a.capacity;\n"
          "  if (blockIdx.x >= images) {\n    const unsigned block = blockIdx.x - images, part = block / "
          "CONV_TURN_BLOCKS;\n    float *const turned = a.turned[0] + part * %zuull;\n",
          places_of(network, network->branch_count).turned);
  for (int g = 1; g < groups; ++g)
    fprintf(out, "    %s_turn_layers<group%d>(a, turned, part, block %% CONV_TURN_BLOCKS);\n",
            prefix_of(network, first[g]), g);
  fprintf(out, "    return;\n  }\n");
}

static void write_kernels(FILE *out, const struct network *network, const noprop_model_shape *shape) {
  const bool tensor = network->branch_form >= 0;
  int first[BRANCH_CONVOLUTIONS];
  const int groups = group_starts(network, first), features = network->branch[network->branch_count - 1].outputs;
  const size_t turned = places_of(network, network->branch_count).turned;
  branch_images_include(out, network);
  bool strided = false;
  for (int g = 0; g < groups; ++g) strided = strided || network->branch[first[g]].strided;
  fprintf(out, "#include \"branch_%s.cuh\"\n\n", strided ? "strided" : "residual");
  write_groups(out, network, first, groups);
  if (tensor) write_packing(out, network, first, groups);
  fprintf(out,
          "\nextern \"C\" __global__ void __launch_bounds__(CONV_THREADS, 1) branch_forward(const branch_arguments a) "
          "{\n  __shared__ residual_memory memory;\n");
  if (!tensor) write_turning(out, network, first, groups);
  fprintf(out, "  const conv_image image = conv_image_of(a);\n  if (!image.live) return;\n");
  branch_images_gather(out, network, shape, "group0::input(a, 0, image.number)");
  if (tensor)
    fprintf(out, "  const float *const packed = a.packed[0] + image.part * %zuull;\n",
            places_of(network, network->branch_count).packed);
  for (int g = 0; g < groups; ++g)
    fprintf(out, "  %s_forward_layers<group%d>(a, image, memory%s);\n", prefix_of(network, first[g]), g,
            tensor ? ", packed" : "");
  fprintf(out,
          "  residual_means<layer%d>(a.features + conv_feature_row(a, image) * %d, group%d::output(a, "
          "group%d::COUNT - 1, image.number), memory);\n}\n\n",
          groups - 1, features, groups - 1, groups - 1);
  fprintf(out,
          "extern \"C\" __global__ void __launch_bounds__(CONV_THREADS, 1) branch_backward(const branch_arguments a) "
          "{\n  __shared__ residual_memory memory;\n  const conv_image image = conv_image_of(a);\n"
          "  if (!image.live) return;\n  const float *const turned = a.turned[0] + image.part * %zuull;\n"
          "  float *const passing = a.passing + image.number * (2 * a.passing_outputs);\n"
          "  residual_spread<layer%d>(passing, a.feature_gradients + conv_feature_row(a, image) * %d);\n",
          turned, groups - 1, features);
  for (int g = groups - 1; g >= 0; --g)
    fprintf(out, "  %s_backward_layers<group%d, %s>(a, image, turned, passing, memory);\n",
            prefix_of(network, first[g]), g, g == 0 ? "true" : "false");
  fprintf(out,
          "}\n\nextern \"C\" __global__ void __launch_bounds__(CONV_THREADS, 1) branch_gradients(const "
          "branch_arguments a) {\n  __shared__ float scratch[%s];\n"
          "  const conv_slot slot = conv_slot_of(a, ",
          tensor ? "CONV_TENSOR_SCRATCH" : "CONV_WARPS * 12 * 32");
  for (int g = 0; g < groups; ++g)
    fprintf(out, "%s%s_items<group%d>()", g ? " + " : "", prefix_of(network, first[g]), g);
  fprintf(out, ");\n  int item = (int)slot.item;\n");
  for (int g = 0; g < groups; ++g) {
    const char *prefix = prefix_of(network, first[g]);
    fprintf(out,
            "  if (item < %s_items<group%d>()) return %s_gradient<group%d>(a, slot, item, scratch);\n"
            "  item -= %s_items<group%d>();\n",
            prefix, g, prefix, g, prefix, g);
  }
  fprintf(out, "}\n");
}

static char *source_of(const struct network *network, const noprop_model_shape *shape) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (!out) return NULL;
  write_kernels(out, network, shape);
  if (fclose(out) == 0) return text;
  free(text);
  return NULL;
}

static noprop_status compile(noprop_model *model) {
  struct branch_kernels *kernels = &model->branch;
  char *source = source_of(model->network, &model->shape);
  if (!source) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the text of a kernel");
  noprop_status status = device_compile(model->device, source, "branch_forward", &kernels->forward[KERNEL_LAYERS]);
  if (status == NOPROP_OK && model->network->branch_form >= 0)
    status = device_compile(model->device, source, "branch_pack", &kernels->forward[KERNEL_PACK]);
  if (status == NOPROP_OK) status = device_compile(model->device, source, "branch_backward", &kernels->backward[0]);
  if (status == NOPROP_OK) status = device_compile(model->device, source, "branch_gradients", &kernels->gradients);
  free(source);
  return status;
}

/* ---- memory ---- */

static noprop_status allocate(noprop_model *model, size_t images, unsigned parts, bool backward,
                              branch_arguments *branch) {
  const struct network *network = model->network;
  const struct places all = places_of(network, network->branch_count);
  size_t most = 0;
  for (int i = 0; i < network->branch_count; ++i) {
    const struct branch_layer *layer = &network->branch[i];
    const size_t outputs = (size_t)out_height(layer) * (size_t)out_width(layer) * (size_t)layer->outputs;
    if (outputs > most) most = outputs;
  }
  branch->passing_outputs = most;
  const struct branch_array arrays[] = {
      {&branch->inputs[0], images * all_inputs(network), "images' layers"},
      {&branch->gradients[0], images * all.sums, "sums of layers"},
      {&branch->statistics, backward ? images * all.statistics : 0, "statistics of layers"},
      {&branch->affine_gradients, backward ? images * all.statistics : 0, "gradients of scales and shifts"},
      {&branch->passing, backward ? images * 2 * most : 0, "gradients of layers"},
      {&branch->turned[0], backward ? parts * all.turned : 0, "turned weights"},
      {&branch->inputs[1], images * all_input_factors(network), "factors of images' layers"},
      {&branch->gradients[1], backward ? images * all.sum_factors : 0, "factors of gradients"},
      {&branch->packed[0], parts * all.packed, "packed weights"},
  };
  return branch_allocate_arrays(model, arrays, sizeof arrays / sizeof arrays[0]);
}

/* ---- launches ---- */

static noprop_status forward(noprop_model *model, branch_arguments *arguments) {
  const bool tensor = model->network->branch_form >= 0;
  const unsigned turns = arguments->parts * CONV_TURN_BLOCKS, images = arguments->parts * arguments->capacity;
  if (tensor) {
    const noprop_status status = device_launch(model->device, &model->branch.forward[KERNEL_PACK], turns, CONV_THREADS,
                                               0, arguments, sizeof *arguments);
    if (status != NOPROP_OK) return status;
  }
  return device_launch(model->device, &model->branch.forward[KERNEL_LAYERS],
                       images + (arguments->turned[0] && !tensor ? turns : 0), CONV_THREADS, 0, arguments,
                       sizeof *arguments);
}

static noprop_status backward(noprop_model *model, branch_arguments *arguments) {
  const noprop_status status =
      device_launch(model->device, &model->branch.backward[0], arguments->parts * arguments->capacity, CONV_THREADS, 0,
                    arguments, sizeof *arguments);
  if (status != NOPROP_OK) return status;
  return device_launch(model->device, &model->branch.gradients,
                       arguments->parts * arguments->rows.slot_count * gradient_items(model->network), CONV_THREADS, 0,
                       arguments, sizeof *arguments);
}

const struct branch_kind branch_resnet = {.plan = plan,
                                          .add = add,
                                          .products = branch_images_products,
                                          .launches = launches,
                                          .describe = describe,
                                          .compile = compile,
                                          .forward_floats = forward_floats,
                                          .allocate = allocate,
                                          .forward = forward,
                                          .backward = backward};
