/* Layers, the text of the kernels, memory and launches of convolutional encoders and decoders. */
#include "engine/image_coder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/branch_images.h"
#include "engine/model.h"
#include "engine/network_field.h"
#include "engine/program_plan.h"
#include "engine/status.h"

enum { LAUNCHES = 4, SOLVE_ROWS = 1 << 14 };

/* ---- layers ---- */

bool image_coder_is(const struct network *network) { return network->images.encoder_count > 0; }

static noprop_status check_channels(const char *key, const struct coder_settings *coder) {
  if (coder->hidden_count > BRANCH_LAYERS)
    return status_set(NOPROP_UNSUPPORTED, "%s: %d convolutions; with type conv at most %d are allowed", key,
                      coder->hidden_count, (int)BRANCH_LAYERS);
  for (int i = 0; i < coder->hidden_count; ++i)
    if (coder->hidden[i] % 8 != 0)
      return status_set(NOPROP_UNSUPPORTED, "%s: %d is not a multiple of 8, which channels of type conv need", key,
                        coder->hidden[i]);
  return NOPROP_OK;
}

static noprop_status check_sides(const struct settings *settings, const noprop_model_shape *shape) {
  const int *sides = shape->target_shape, encoded = settings->encoder.hidden_count;
  const int side = sides[1] < sides[2] ? sides[1] : sides[2];
  if (sides[0] == 0)
    return status_set(NOPROP_INVALID_CONFIG,
                      "encoder.type: conv needs images as target, [rows][channels][height][width] or "
                      "[rows][height][width]; this target is %s of width %d",
                      shape->target_is_label ? "a label" : "a vector", shape->target_width);
  if (sides[0] > 3 && sides[0] % 4 != 0)
    return status_set(NOPROP_UNSUPPORTED,
                      "encoder.type: conv takes images of 1, 2 or 3 channels or a multiple of four; these have %d",
                      sides[0]);
  if (encoded > BRANCH_LAYERS || side >> encoded < 1)
    return status_set(
        NOPROP_INVALID_CONFIG,
        "encoder.hidden: %d layers halve the image so often, and it has %d x %d pixels; fewer are allowed", encoded,
        sides[1], sides[2]);
  const int whole = 1 << settings->decoder.hidden_count;
  if (sides[1] % whole != 0 || sides[2] % whole != 0)
    return status_set(
        NOPROP_INVALID_CONFIG,
        "decoder.hidden: %d layers double the pixels so often, and %d x %d pixels are not multiples of %d; "
        "fewer are allowed",
        settings->decoder.hidden_count, sides[1], sides[2], whole);
  return NOPROP_OK;
}

noprop_status image_coder_plan(const struct settings *settings, const noprop_model_shape *shape,
                               struct network *network) {
  struct image_coder *images = &network->images;
  const int encoded = settings->encoder.hidden_count, decoded = settings->decoder.hidden_count;
  *images = (struct image_coder){0};
  if (settings->encoder.type != CODER_CONV) return NOPROP_OK;
  noprop_status status = check_channels("encoder.hidden", &settings->encoder);
  if (status == NOPROP_OK) status = check_channels("decoder.hidden", &settings->decoder);
  if (status == NOPROP_OK) status = check_sides(settings, shape);
  if (status != NOPROP_OK) return status;
  if (network->latent % 8 != 0)
    return status_set(NOPROP_UNSUPPORTED,
                      "latent.size: %d is not a multiple of 8, which latents of encoder.type conv are",
                      network->latent);
  const int *sides = shape->target_shape;
  for (int i = 0; i < encoded; ++i)
    images->layers[i] = (struct branch_layer){.height = sides[1] >> i,
                                              .width = sides[2] >> i,
                                              .inputs = i == 0 ? sides[0] : settings->encoder.hidden[i - 1],
                                              .outputs = settings->encoder.hidden[i],
                                              .pool = true};
  for (int i = 0; i < decoded; ++i)
    images->layers[encoded + i] =
        (struct branch_layer){.height = sides[1] >> (decoded - i),
                              .width = sides[2] >> (decoded - i),
                              .inputs = settings->decoder.hidden[i],
                              .outputs = 4 * (i + 1 < decoded ? settings->decoder.hidden[i + 1] : sides[0])};
  images->encoder_count = encoded;
  images->decoder_count = decoded;
  return NOPROP_OK;
}

/* Numbers of what the encoder's convolutions give, and of what the decoder's are given. */
static int bottom_numbers(const struct network *network) {
  const struct branch_layer *last = &network->images.layers[network->images.encoder_count - 1];
  return last->height / 2 * (last->width / 2) * last->outputs;
}
static int start_numbers(const struct network *network) {
  const struct branch_layer *first = &network->images.layers[network->images.encoder_count];
  return first->height * first->width * first->inputs;
}

static void add_convolutions(struct network *network, const char *coder, struct branch_layer *layers, int count) {
  for (int i = 0; i < count; ++i) {
    char name[48];
    snprintf(name, sizeof name, "%s.%d.weight", coder, i);
    layers[i].weight = network_add_parameter(network, name, 9 * layers[i].inputs, layers[i].outputs, INITIALISE_HE);
    snprintf(name, sizeof name, "%s.%d.bias", coder, i);
    layers[i].bias = network_add_parameter(network, name, 1, layers[i].outputs, INITIALISE_ZERO);
  }
}

void image_coder_add(struct network *network) {
  struct image_coder *images = &network->images;
  if (!image_coder_is(network)) return;
  add_convolutions(network, "encoder", images->layers, images->encoder_count);
  images->to_weight = network_add_parameter(network, "encoder.output.weight", bottom_numbers(network), network->latent,
                                            INITIALISE_LECUN);
  images->to_bias = network_add_parameter(network, "encoder.output.bias", 1, network->latent, INITIALISE_ZERO);
  images->from_weight =
      network_add_parameter(network, "decoder.input.weight", network->latent, start_numbers(network), INITIALISE_HE);
  images->from_bias = network_add_parameter(network, "decoder.input.bias", 1, start_numbers(network), INITIALISE_ZERO);
  add_convolutions(network, "decoder", images->layers + images->encoder_count, images->decoder_count);
}

double image_coder_products(const struct network *network) {
  const int count = network->images.encoder_count + network->images.decoder_count;
  if (count == 0) return 0;
  double products = (double)network->latent * (bottom_numbers(network) + start_numbers(network));
  for (int i = 0; i < count; ++i) {
    const struct branch_layer *layer = &network->images.layers[i];
    products += 9.0 * layer->height * layer->width * layer->inputs * layer->outputs;
  }
  return products;
}

int image_coder_launches(const struct network *network) { return image_coder_is(network) ? LAUNCHES : 0; }

bool image_coder_describe(const struct network *network, int index, char *line, size_t size) {
  const struct image_coder *images = &network->images;
  const int encoded = images->encoder_count, i = index - (index > encoded) - (index > encoded + 1);
  if (!image_coder_is(network) || index >= encoded + images->decoder_count + 2) return false;
  const struct branch_layer *layer = &images->layers[i < encoded + images->decoder_count ? i : 0];
  if (index == encoded)
    snprintf(line, size, "encoder: %d numbers -> %d, brought to length sqrt(%d)", bottom_numbers(network),
             network->latent, network->latent);
  else if (index == encoded + 1)
    snprintf(line, size, "decoder: latent of length sqrt(%d) -> %d numbers, relu", network->latent,
             start_numbers(network));
  else if (index < encoded)
    snprintf(line, size, "encoder: %d x %d x %d -> 3 x 3 convolution, %d channels, relu, 2 x 2 max-pool", layer->inputs,
             layer->height, layer->width, layer->outputs);
  else
    snprintf(line, size, "decoder: %d x %d x %d -> 3 x 3 convolution, %d channels at twice the pixels each way, %s",
             layer->inputs, layer->height, layer->width, layer->outputs / 4,
             index + 1 == encoded + images->decoder_count + 2 ? "the image" : "relu");
  return true;
}

/* ---- sizes: floats of an image ---- */

static size_t plane_floats(const struct branch_layer *layer, int channels) {
  return branch_plane_pixels(layer->height, layer->width) * (size_t)channels;
}
static size_t bottom_floats(const struct network *network) {
  const struct branch_layer *last = &network->images.layers[network->images.encoder_count - 1];
  return branch_plane_pixels(last->height / 2, last->width / 2) * (size_t)last->outputs;
}
static size_t start_floats(const struct network *network) {
  const struct branch_layer *first = &network->images.layers[network->images.encoder_count];
  return plane_floats(first, first->inputs);
}
static size_t code_bytes(const struct branch_layer *layer) {
  return (size_t)(layer->height / 2) * (size_t)(layer->width / 2) * (size_t)layer->outputs;
}

static unsigned outer_items(int rows, int columns) {
  return (unsigned)(((rows + 63) / 64 + 1) * ((columns + 31) / 32)); /* coder_items in kernels/image_coder.cuh */
}

static unsigned gradient_items(const struct network *network) {
  const struct image_coder *images = &network->images;
  unsigned items =
      outer_items(bottom_numbers(network), network->latent) + outer_items(network->latent, start_numbers(network));
  for (int i = 0; i < images->encoder_count + images->decoder_count; ++i)
    items += branch_weight_items(&images->layers[i]) + (unsigned)((images->layers[i].outputs + 31) / 32);
  return items;
}

/* ---- text ---- */

static long place(const struct network *network, int parameter) { return network->parameters[parameter].padded_offset; }

static void write_head(FILE *out, const char *name) {
  fprintf(out, "extern \"C\" __global__ void __launch_bounds__(CONV_THREADS, 1) %s(const image_coder_arguments a) {\n",
          name);
}

static void write_layers(FILE *out, const struct network *network) {
  const struct image_coder *images = &network->images;
  const struct branch_layer *last = &images->layers[images->encoder_count - 1];
  const struct branch_layer *first = &images->layers[images->encoder_count];
  for (int i = 0; i < images->encoder_count + images->decoder_count; ++i) {
    const struct branch_layer *layer = &images->layers[i];
    fprintf(out, "using layer%d = conv_layer<%d, %d, %d, %d, %s>;\n", i, layer->height, layer->width, layer->inputs,
            layer->outputs, layer->pool ? "true" : "false");
  }
  fprintf(
      out, "enum { D = %d, BOTTOM_H = %d, BOTTOM_W = %d, BOTTOM_C = %d, START_H = %d, START_W = %d, START_C = %d };\n",
      network->latent, last->height / 2, last->width / 2, last->outputs, first->height, first->width, first->inputs);
  fprintf(out, "enum { BOTTOM = BOTTOM_H * BOTTOM_W * BOTTOM_C, START = START_H * START_W * START_C };\n\n");
}

static const char IMAGE[] =
    "  const coder_image image = coder_image_of(a);\n  if (!image.live) return;\n"
    "  const unsigned long long n = image.number;\n";

static void write_encode(FILE *out, const struct network *network, const noprop_model_shape *shape) {
  const struct image_coder *images = &network->images;
  const int encoded = images->encoder_count, all = encoded + images->decoder_count;
  write_head(out, "coder_encode");
  fprintf(out,
          "  __shared__ float scratch[CODER_SCRATCH], code[D];\n  const float *const P = a.rows.parameters;\n"
          "  if (blockIdx.x >= a.capacity) {\n    const unsigned block = blockIdx.x - a.capacity;\n"
          "    coder_turn<BOTTOM, D, BOTTOM>(a.to_latent, P + %ld, block);\n"
          "    coder_turn<D, START, D>(a.from_latent, P + %ld, block);\n",
          place(network, images->to_weight), place(network, images->from_weight));
  for (int i = 1; i < all; ++i)
    fprintf(out, "    conv_turn<layer%d>(a.turned[%d], P + %ld, block);\n", i, i,
            place(network, images->layers[i].weight));
  fprintf(out, "    return;\n  }\n%s", IMAGE);
  for (int i = 0; i < encoded; ++i)
    fprintf(out, "  float *const plane%d = a.inputs[%d] + n * %zu;\n", i, i,
            plane_floats(&images->layers[i], images->layers[i].inputs));
  fprintf(out, "  float *const plane%d = a.bottom + n * %zu;\n", encoded, bottom_floats(network));
  fprintf(
      out,
      "  conv_gather<layer0, %d>(plane0, a.rows.target, image.row.data, a.rows.target_scale, a.rows.target_shift);\n"
      "  __syncthreads();\n",
      plan_row_kind(shape->target_type, false));
  for (int i = 0; i < encoded; ++i)
    fprintf(out,
            "  conv_forward<layer%d, false>(plane%d, P + %ld, P + %ld, plane%d, a.codes[%d] ? a.codes[%d] + n * %zu : "
            "nullptr, nullptr);\n  __syncthreads();\n",
            i, i, place(network, images->layers[i].weight), place(network, images->layers[i].bias), i + 1, i, i,
            code_bytes(&images->layers[i]));
  fprintf(out,
          "  coder_gather<BOTTOM_H, BOTTOM_W, BOTTOM_C, D>(code, plane%d, P + %ld, P + %ld, scratch);\n"
          "  const float scale = coder_to_sphere<D>(code);\n"
          "  if (threadIdx.x == 0) a.scales[2 * n] = scale;\n"
          "  for (int i = threadIdx.x; i < D; i += CONV_THREADS)\n"
          "    a.latents[(unsigned long long)image.row.local * D + i] = code[i];\n}\n\n",
          encoded, place(network, images->to_weight), place(network, images->to_bias));
}

/* From `code` in shared memory, on the sphere, up to the last layer's input. */
static void write_decoder(FILE *out, const struct network *network) {
  const struct image_coder *images = &network->images;
  const int encoded = images->encoder_count, all = encoded + images->decoder_count;
  for (int i = encoded; i < all; ++i)
    fprintf(out, "  float *const plane%d = a.inputs[%d] + n * %zu;\n", i, i,
            plane_floats(&images->layers[i], images->layers[i].inputs));
  fprintf(out,
          "  coder_spread<START_H, START_W, START_C, D>(code, P + %ld, [&](int y, int x, int channel, float sum) {\n"
          "    const float bias = load_parameter(P + %ld + (y * START_W + x) * START_C + channel);\n"
          "    plane%d[plane_pixel<START_W + 1>(y, x) * START_C + channel] = fmaxf(sum + bias, 0.0f);\n  });\n"
          "  __syncthreads();\n",
          place(network, images->from_weight), place(network, images->from_bias), encoded);
  for (int i = encoded; i + 1 < all; ++i)
    fprintf(out, "  coder_widen<layer%d>(plane%d, plane%d, P + %ld, P + %ld);\n", i, i + 1, i,
            place(network, images->layers[i].weight), place(network, images->layers[i].bias));
}

static void write_decode(FILE *out, const struct network *network) {
  const struct image_coder *images = &network->images;
  const int last = images->encoder_count + images->decoder_count - 1;
  const struct branch_layer *layer = &images->layers[last];
  write_head(out, "coder_decode");
  fprintf(out,
          "  __shared__ float scratch[CONV_WARPS], code[D];\n  const float *const P = a.rows.parameters;\n%s"
          "  for (int i = threadIdx.x; i < D; i += CONV_THREADS)\n"
          "    code[i] = a.latents[(unsigned long long)image.row.local * D + i];\n  __syncthreads();\n"
          "  coder_add_noise<D>(code, a.rows, image, a.noise);\n"
          "  const float scale = coder_to_sphere<D>(code);\n"
          "  if (threadIdx.x == 0) a.scales[2 * n + 1] = scale;\n"
          "  for (int i = threadIdx.x; i < D; i += CONV_THREADS) a.shown[n * D + i] = code[i];\n",
          IMAGE);
  write_decoder(out, network);
  fprintf(
      out,
      "  const float error = coder_error<layer%d>(a.gradients[%d] ? a.gradients[%d] + n * %zu : nullptr, plane%d, P "
      "+ %ld, P + %ld, a.inputs[0] + n * %zu, a.weight / ((float)image.total * %d), scratch);\n"
      "  if (threadIdx.x == 0) a.losses[image.row.local] = error / %d;\n}\n\n",
      last, last, last, plane_floats(layer, layer->outputs), last, place(network, layer->weight),
      place(network, layer->bias), plane_floats(&images->layers[0], images->layers[0].inputs), network->target_width,
      network->target_width);
}

static void write_show(FILE *out, const struct network *network) {
  const struct image_coder *images = &network->images;
  const int last = images->encoder_count + images->decoder_count - 1;
  write_head(out, "coder_show");
  fprintf(out,
          "  __shared__ float code[D];\n  const float *const P = a.rows.parameters;\n"
          "  const unsigned long long n = blockIdx.x, row = a.first + n;\n  if (row >= a.count) return;\n"
          "  for (int i = threadIdx.x; i < D; i += CONV_THREADS) code[i] = a.latents[row * D + i];\n"
          "  __syncthreads();\n  coder_to_sphere<D>(code);\n");
  write_decoder(out, network);
  fprintf(
      out,
      "  coder_show<layer%d>(a.output + row * %d, plane%d, P + %ld, P + %ld, a.output_scale, a.output_shift);\n}\n\n",
      last, network->target_width, last, place(network, images->layers[last].weight),
      place(network, images->layers[last].bias));
}

static void write_backward(FILE *out, const struct network *network) {
  const struct image_coder *images = &network->images;
  const int encoded = images->encoder_count, all = encoded + images->decoder_count;
  write_head(out, "coder_backward");
  fprintf(out, "  __shared__ float scratch[CODER_SCRATCH], code[D], gradient[D];\n%s", IMAGE);
  for (int i = 0; i < all; ++i)
    fprintf(out, "  float *const gradients%d = a.gradients[%d] + n * %zu;\n", i, i,
            plane_floats(&images->layers[i], images->layers[i].outputs));
  fprintf(out, "  float *const start = a.start_gradients + n * %zu;\n", start_floats(network));
  for (int i = all - 1; i >= encoded; --i) {
    char before[32];
    snprintf(before, sizeof before, i > encoded ? "gradients%d" : "start", i - 1);
    fprintf(out, "  coder_narrow<layer%d, %s>(%s, gradients%d, a.turned[%d], a.inputs[%d] + n * %zu);\n", i,
            i > encoded ? "false" : "true", before, i, i, i,
            plane_floats(&images->layers[i], images->layers[i].inputs));
  }
  fprintf(out,
          "  for (int i = threadIdx.x; i < D; i += CONV_THREADS) code[i] = a.shown[n * D + i];\n"
          "  coder_gather<START_H, START_W, START_C, D>(gradient, start, a.from_latent, nullptr, scratch);\n"
          "  coder_from_sphere<D>(gradient, code, a.scales[2 * n + 1]);\n"
          "  for (int i = threadIdx.x; i < D; i += CONV_THREADS)\n"
          "    code[i] = a.latents[(unsigned long long)image.row.local * D + i];\n  __syncthreads();\n"
          "  coder_from_sphere<D>(gradient, code, a.scales[2 * n]);\n"
          "  for (int i = threadIdx.x; i < D; i += CONV_THREADS) a.code_gradients[n * D + i] = gradient[i];\n"
          "  const unsigned char *const codes = a.codes[%d] + n * %zu;\n"
          "  coder_spread<BOTTOM_H, BOTTOM_W, BOTTOM_C, D>(gradient, a.to_latent, [&](int y, int x, int channel, float "
          "sum) {\n    conv_pass_back<layer%d>(gradients%d, y, x, channel, codes[(y * BOTTOM_W + x) * BOTTOM_C + "
          "channel], sum);\n  });\n",
          encoded - 1, code_bytes(&images->layers[encoded - 1]), encoded - 1, encoded - 1);
  for (int i = encoded - 1; i > 0; --i)
    fprintf(out,
            "  __syncthreads();\n  conv_backward<layer%d, layer%d>(gradients%d, a.turned[%d], gradients%d, a.codes[%d] "
            "+ n * %zu);\n",
            i, i - 1, i, i, i - 1, i - 1, code_bytes(&images->layers[i - 1]));
  fprintf(out, "}\n\n");
}

static void write_gradients(FILE *out, const struct network *network) {
  const struct image_coder *images = &network->images;
  const int all = images->encoder_count + images->decoder_count;
  write_head(out, "coder_gradients");
  fprintf(out,
          "  __shared__ float scratch[CONV_WARPS * 12 * 32];\n  using to = coder_items<BOTTOM, D>;\n"
          "  using from = coder_items<D, START>;\n  const coder_slot slot = coder_slot_of(a, to::COUNT + from::COUNT");
  for (int i = 0; i < all; ++i) fprintf(out, " + conv_items<layer%d>::COUNT", i);
  fprintf(out, ");\n  float *const G = slot.gradients;\n  int item = (int)slot.item;\n");
  for (int i = 0; i < all; ++i)
    fprintf(out,
            "  if (item < conv_items<layer%d>::COUNT) {\n    conv_weight_gradient<layer%d>(a.inputs[%d], "
            "a.gradients[%d], item, slot.first, slot.last, G + %ld, G + %ld, scratch);\n    return;\n  }\n"
            "  item -= conv_items<layer%d>::COUNT;\n",
            i, i, i, i, place(network, images->layers[i].weight), place(network, images->layers[i].bias), i);
  fprintf(out,
          "  if (item < to::COUNT) {\n    coder_outer<BOTTOM, D>(G + %ld, G + %ld, item, slot.first, slot.last,\n"
          "        [&](unsigned n, int i) { return a.bottom[(unsigned long long)n * %zu + coder_plane_at<BOTTOM_W, "
          "BOTTOM_C>(i)]; },\n        [&](unsigned n, int i) { return a.code_gradients[(unsigned long long)n * D + i]; "
          "});\n"
          "    return;\n  }\n",
          place(network, images->to_weight), place(network, images->to_bias), bottom_floats(network));
  fprintf(
      out,
      "  coder_outer<D, START>(G + %ld, G + %ld, item - to::COUNT, slot.first, slot.last,\n"
      "      [&](unsigned n, int i) { return a.shown[(unsigned long long)n * D + i]; },\n"
      "      [&](unsigned n, int i) { return a.start_gradients[(unsigned long long)n * %zu + coder_plane_at<START_W, "
      "START_C>(i)]; });\n}\n",
      place(network, images->from_weight), place(network, images->from_bias), start_floats(network));
}

static char *source_of(const struct network *network, const noprop_model_shape *shape) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (!out) return NULL;
  fprintf(out, "#include \"image_coder.cuh\"\n\n");
  write_layers(out, network);
  write_encode(out, network, shape);
  write_decode(out, network);
  write_show(out, network);
  write_backward(out, network);
  write_gradients(out, network);
  if (fclose(out) == 0) return text;
  free(text);
  return NULL;
}

static noprop_status compile(noprop_model *model) {
  struct image_coder_kernels *kernels = &model->images;
  if (kernels->ready) return NOPROP_OK;
  char *source = source_of(model->network, &model->shape);
  if (!source) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the text of a kernel");
  const struct {
    const char *entry;
    struct kernel *kernel;
  } wanted[] = {{"coder_encode", &kernels->encode},
                {"coder_decode", &kernels->decode},
                {"coder_show", &kernels->show},
                {"coder_backward", &kernels->backward},
                {"coder_gradients", &kernels->gradients}};
  noprop_status status = NOPROP_OK;
  for (size_t i = 0; i < sizeof wanted / sizeof wanted[0] && status == NOPROP_OK; ++i)
    status = device_compile(model->device, source, wanted[i].entry, wanted[i].kernel);
  free(source);
  kernels->ready = status == NOPROP_OK;
  return status;
}

/* ---- memory ---- */

static noprop_status allocate_planes(noprop_model *model, size_t images, bool encodes, bool backward,
                                     image_coder_arguments *coder) {
  const struct network *network = model->network;
  const struct image_coder *layers = &network->images;
  const int encoded = layers->encoder_count, all = encoded + layers->decoder_count;
  const size_t d = (size_t)network->latent;
  noprop_status status = NOPROP_OK;
  for (int i = encodes ? 0 : encoded; i < all && status == NOPROP_OK; ++i) {
    const struct branch_layer *layer = &layers->layers[i];
    const struct branch_array arrays[] = {
        {&coder->inputs[i], images * plane_floats(layer, layer->inputs), "images' layers"},
        {&coder->gradients[i], backward ? images * plane_floats(layer, layer->outputs) : 0, "gradients of layers"},
        {&coder->turned[i], backward && i > 0 ? 9 * (size_t)layer->inputs * (size_t)layer->outputs : 0,
         "turned weights"}};
    status = branch_allocate_arrays(model, arrays, sizeof arrays / sizeof arrays[0]);
    if (!backward || i >= encoded || status != NOPROP_OK) continue;
    CUdeviceptr memory = 0;
    status = pool_alloc(model->pool, images * code_bytes(layer), "what passed layers", &memory);
    coder->codes[i] = DEVICE_POINTER(unsigned char, memory);
  }
  const struct branch_array others[] = {
      {&coder->bottom, encodes ? images * bottom_floats(network) : 0, "images' layers"},
      {&coder->scales, encodes ? images * 2 : 0, "lengths of latents"},
      {&coder->shown, encodes ? images * d : 0, "noisy latents"},
      {&coder->start_gradients, backward ? images * start_floats(network) : 0, "gradients of layers"},
      {&coder->code_gradients, backward ? images * d : 0, "gradients of latents"},
      {&coder->to_latent, backward ? d * (size_t)bottom_numbers(network) : 0, "turned weights"},
      {&coder->from_latent, backward ? d * (size_t)start_numbers(network) : 0, "turned weights"}};
  return status == NOPROP_OK ? branch_allocate_arrays(model, others, sizeof others / sizeof others[0]) : status;
}

static size_t forward_floats(const struct network *network) {
  const struct image_coder *layers = &network->images;
  size_t floats = bottom_floats(network);
  for (int i = 0; i < layers->encoder_count + layers->decoder_count; ++i)
    floats += plane_floats(&layers->layers[i], layers->layers[i].inputs);
  return floats;
}

/* Images of a group. */
static size_t group_of(const struct network *network, size_t rows) {
  const size_t most = FORWARD_BYTES / sizeof(float) / forward_floats(network) + 1;
  return rows < most ? rows : most;
}

noprop_status image_coder_allocate(noprop_model *model, const struct model_kernel *kernel, bool backward,
                                   train_arguments *train, image_coder_arguments *coder) {
  memset(coder, 0, sizeof *coder);
  if (!image_coder_is(model->network)) return NOPROP_OK;
  const size_t rows = train->batch;
  noprop_status status = compile(model);
  if (status != NOPROP_OK) return status;
  coder->capacity = (unsigned)(backward ? rows : group_of(model->network, rows));
  coder->noise = (float)model->settings.latent.noise;
  coder->weight = (float)model->settings.loss.vae;
  coder->slot_images = train->tiles_per_slot * kernel->block_rows;
  const struct branch_array arrays[] = {{&coder->latents, rows * (size_t)model->latent, "clean latents"},
                                        {&coder->losses, rows, "errors of decoded images"}};
  status = branch_allocate_arrays(model, arrays, 2);
  if (status == NOPROP_OK) status = allocate_planes(model, coder->capacity, true, backward, coder);
  train->image_latents = coder->latents;
  train->image_losses = coder->losses;
  return status;
}

noprop_status image_coder_allocate_show(noprop_model *model, CUdeviceptr parameters, size_t rows,
                                        image_coder_arguments *coder) {
  memset(coder, 0, sizeof *coder);
  if (!image_coder_is(model->network)) return NOPROP_OK;
  const noprop_status status = compile(model);
  if (status != NOPROP_OK) return status;
  coder->capacity = (unsigned)group_of(model->network, rows < SOLVE_ROWS ? rows : SOLVE_ROWS);
  coder->rows = model_train_arguments(model);
  coder->rows.parameters = DEVICE_POINTER(const float, parameters);
  coder->output_scale = DEVICE_POINTER(const float, model->output_scale);
  coder->output_shift = DEVICE_POINTER(const float, model->output_shift);
  return allocate_planes(model, coder->capacity, false, false, coder);
}

/* ---- launches ---- */

static noprop_status launch(noprop_model *model, const struct kernel *kernel, unsigned blocks,
                            const image_coder_arguments *coder) {
  return device_launch(model->device, kernel, blocks, CONV_THREADS, 0, coder, sizeof *coder);
}

noprop_status image_coder_forward(noprop_model *model, const image_coder_arguments *coder,
                                  const train_arguments *train) {
  if (!image_coder_is(model->network)) return NOPROP_OK;
  image_coder_arguments arguments = *coder;
  const unsigned rows = train->request ? train->rows : train->batch, turns = coder->to_latent ? CONV_TURN_BLOCKS : 0;
  noprop_status status = NOPROP_OK;
  arguments.rows = *train;
  for (unsigned first = 0; first < rows && status == NOPROP_OK; first += coder->capacity) {
    arguments.first = first;
    status = launch(model, &model->images.encode, coder->capacity + turns, &arguments);
    if (status == NOPROP_OK) status = launch(model, &model->images.decode, coder->capacity, &arguments);
  }
  return status;
}

noprop_status image_coder_backward(noprop_model *model, const image_coder_arguments *coder,
                                   const train_arguments *train) {
  if (!image_coder_is(model->network)) return NOPROP_OK;
  image_coder_arguments arguments = *coder;
  arguments.rows = *train;
  const noprop_status status = launch(model, &model->images.backward, coder->capacity, &arguments);
  if (status != NOPROP_OK) return status;
  return launch(model, &model->images.gradients, train->slot_count * gradient_items(model->network), &arguments);
}

noprop_status image_coder_show(noprop_model *model, const image_coder_arguments *coder, CUdeviceptr latents,
                               CUdeviceptr output, size_t count) {
  image_coder_arguments arguments = *coder;
  noprop_status status = NOPROP_OK;
  if (!image_coder_is(model->network)) return status;
  arguments.latents = DEVICE_POINTER(float, latents);
  arguments.output = DEVICE_POINTER(float, output);
  arguments.count = (unsigned)count;
  for (size_t first = 0; first < count && status == NOPROP_OK; first += coder->capacity) {
    arguments.first = (unsigned)first;
    status = launch(model, &model->images.show, coder->capacity, &arguments);
  }
  return status;
}
