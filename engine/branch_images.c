/* What the branches of images have in common. */
#include "engine/branch_images.h"

#include "engine/program_plan.h"
#include "engine/status.h"

noprop_status branch_images_plan(const struct settings *settings, const noprop_model_shape *shape,
                                 struct network *network) {
  const char *type = BRANCH_NAMES[settings->network.branch.type].name;
  const int inputs = shape->condition_shape[0];
  if (inputs == 0)
    return status_set(NOPROP_INVALID_CONFIG,
                      "network.branch.type: %s needs images as condition, [rows][channels][height][width] or "
                      "[rows][height][width]; this condition is %s of width %d",
                      type, shape->condition_is_label ? "a label" : "a vector", shape->condition_width);
  if (inputs > 3 && inputs % 4 != 0)
    return status_set(NOPROP_UNSUPPORTED,
                      "network.branch.type: %s takes images of 1, 2 or 3 channels or a multiple of four; these have %d",
                      type, inputs);
  for (int i = 0; i < settings->network.branch.channel_count; ++i)
    if (settings->network.branch.channels[i] % 8 != 0)
      return status_set(NOPROP_UNSUPPORTED, "network.branch.channels: %d is not a multiple of 8, which layers need",
                        settings->network.branch.channels[i]);
  network->augment_shift = settings->data.augment.shift;
  network->augment_flip = settings->data.augment.flip;
  return NOPROP_OK;
}

double branch_images_products(const struct network *network) {
  double products = 0;
  for (int i = 0; i < network->branch_count; ++i) {
    const struct branch_layer *layer = &network->branch[i];
    const int side = layer->strided ? 2 : 1, taps = layer->projection ? 1 : 9;
    const int height = (layer->height + side - 1) / side, width = (layer->width + side - 1) / side;
    products += (double)taps * height * width * layer->inputs * layer->outputs;
  }
  return products;
}

static bool augments(const struct network *network) { return network->augment_shift > 0 || network->augment_flip; }

void branch_images_include(FILE *out, const struct network *network) {
  if (augments(network)) fprintf(out, "#include \"augment.cuh\"\n");
}

void branch_images_gather(FILE *out, const struct network *network, const noprop_model_shape *shape,
                          const char *plane) {
  const int kind = plan_row_kind(shape->condition_type, false);
  if (augments(network))
    fprintf(out, "  augment_gather<layer0, %d, %d, %s>(%s, a.rows, image.row);\n", kind, network->augment_shift,
            network->augment_flip ? "true" : "false", plane);
  else
    fprintf(out,
            "  conv_gather<layer0, %d>(%s, a.rows.condition, image.row.data, a.rows.condition_scale, "
            "a.rows.condition_shift);\n",
            kind, plane);
  fprintf(out, "  __syncthreads();\n");
}

size_t branch_plane_pixels(int height, int width) { return (size_t)(height + 2) * (size_t)(width + 1) + 1; }

unsigned branch_weight_items(const struct branch_layer *layer) {
  const int takes = layer->inputs % 4 ? 3 * layer->inputs : 12, groups = (layer->outputs + 31) / 32;
  return (unsigned)(9 * layer->inputs / takes * groups);
}

size_t branch_blocked_floats(int height, int width, int channels, int form) {
  return (branch_plane_pixels(height, width) + 40) * (size_t)((channels + 15) / 16 * 16) /
         (form == OPERANDS_BF16 ? 2 : 1);
}

size_t branch_packed_floats(int rows, int columns, int form) {
  return (size_t)((rows + 31) / 32 * 32) * 9 * (size_t)((columns + 15) / 16 * 16) / (form == OPERANDS_BF16 ? 2 : 1);
}

unsigned branch_tensor_weight_items(const struct branch_layer *layer) {
  return 3 * ((unsigned)(layer->inputs + 31) / 32) * ((unsigned)(layer->outputs + 31) / 32);
}
