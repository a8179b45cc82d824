/* The layered tier: memory, order and arguments of its launches.
 *
 * Forward an op is one launch: the sums over all its inputs, bias, activation, dropout. In a solve the x-branch and
 * what it gives to other layers (`condition`) are computed once. Backward an op is one launch as well: the gradient of
 * its sums, from those of all ops that read it; it takes the place of the activation's derivative. One more launch
 * makes the gradients of all weights and biases. */
#include "engine/layered.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model.h"
#include "engine/program_plan.h"
#include "engine/staged.h"
#include "engine/status.h"
#include "engine/vgpu/observe.h"
#include "kernels/gemm_arguments.h"

/* Layers so wide are worth launches of their own. On the virtual GPU, which has fp32 for all but what asks otherwise,
 * tiles that spill are as fast or faster below the second width (measured: docs/tiers.md). */
enum { WIDE = 256, WIDE_VIRTUAL = 1024 };

/* ---- what it takes ---- */

const char *layered_refusal(const struct network *network, const struct settings *settings) {
  if (settings->variant == VARIANT_DT) return "has no kernels for variant dt";
  if (network->field || network->tokens.tokens > 0)
    return "has no kernels for networks that are no chain of dense layers";
  if (network->branch_count > 0) return "has no kernels for network.branch.type";
  if (network->norm_count > 0) return "has no kernels for network.batch_norm";
  if (network->mixture) return "has no kernels for latent.embedding learned";
  if (network->encoder_count + network->decoder_count + network->images.encoder_count > 0 ||
      settings->decoder.output != DECODER_OUTPUT_NONE)
    return "has no kernels for encoders and decoders";
  if (settings->schedule.learnable) return "has no gradients of a learnable schedule";
  if (settings->loss.vae > 0 || settings->loss.kl_z0 > 0) return "has no kernels for loss.vae and loss.kl_z0";
  if (settings->loss.recon.weight > 0 && settings->loss.recon.type == RECON_END_LOGITS)
    return "has no kernels for loss.recon.type end_logits";
  return NULL;
}

/* Whether the model is to be on tensor cores, as far as precision alone says. */
static bool wants_tensor_cores(const noprop_model *model) {
  const int precision = model->settings.precision;
  return precision == PRECISION_AUTO ? !model->device->properties.is_virtual : precision != PRECISION_FP32;
}

bool layered_pays(const noprop_model *model, char *reason, size_t size) {
  const struct network *network = model->network;
  const bool is_virtual = model->device->properties.is_virtual;
  const size_t shared = model->device->properties.shared_bytes;
  const int widest = network_widest(network);
  struct program program;
  struct tile_form tile;
  reason[0] = '\0';
  if (widest < WIDE || model->settings.variant == VARIANT_DT || network->field || network->tokens.tokens > 0)
    return false;
  if (wants_tensor_cores(model) && widest > WIDE) {
    snprintf(reason, size, "layers are %d wide, and tiles on tensor cores have up to %d", widest, (int)WIDE);
    return true;
  }
  if ((is_virtual && widest < WIDE_VIRTUAL) || tiles_of_requests(&tile) != NOPROP_OK) return false;
  if (program_train(network, &model->settings, &model->shape, shared, OBJECTIVE_TRAIN, &tile, &program) != NOPROP_OK)
    return false;
  const size_t bytes = program.shared_bytes + program.workspace_floats * sizeof(float);
  const bool spills = program.workspace_floats > 0;
  program_destroy(&program);
  if (spills)
    snprintf(reason, size, "layers are %d wide, and a tile's values would take %zu bytes of a block's %zu", widest,
             bytes, shared);
  return spills;
}

/* ---- memory ---- */

static unsigned pitch(int width) { return ((unsigned)width + 7) & ~7u; }
static unsigned op_rows(const struct dense_op *op, const struct staged_run *run) {
  return op->x_branch ? run->rows : run->draws * run->rows;
}
static int last_of_x(const struct network *network) {
  int last = -1;
  for (int i = 0; i < network->op_count; ++i)
    if (network->ops[i].x_branch) last = i;
  return last;
}
static bool reads_condition(const struct network *network, int i) {
  const struct dense_op *op = &network->ops[i];
  for (int k = 0; k < op->input_count; ++k)
    if (!op->x_branch && op->inputs[k].kind == INPUT_OP && network->ops[op->inputs[k].op].x_branch) return true;
  return false;
}
static int residual_reader(const struct network *network, int i) {
  for (int r = i + 1; r < network->op_count; ++r)
    if (network->ops[r].residual == i) return r;
  return -1;
}
static bool reads(const struct dense_op *op, int k, int i) {
  return op->inputs[k].kind == INPUT_OP && op->inputs[k].op == i;
}
static int readers(const struct network *network, int i) {
  int count = 0;
  for (int r = i + 1; r < network->op_count; ++r)
    for (int k = 0; k < network->ops[r].input_count; ++k) count += reads(&network->ops[r], k, i);
  return count;
}

/* Whether conditions are dropped behind this op, the last of the x-branch; and whether its results have a slope. */
static bool drops_condition(const noprop_model *model, int i) {
  return model->settings.loss.condition_dropout > 0 && i == last_of_x(model->network);
}
static bool has_slope(const noprop_model *model, int i) {
  const bool output = i == model->network->op_count - 1;
  return !output && (plan_has_slope(&model->network->ops[i]) || drops_condition(model, i));
}

/* Where an op's numbers stand; NULL: nowhere. slope: later the gradient of its sums. */
struct op_memory {
  float *post, *slope, *sum, *condition;
};

/* Places in run->memory, or with memory NULL floats alone. */
static size_t place(const struct network *network, const struct staged_run *run, struct op_memory *ops,
                    float **partial) {
  size_t used = 0, widest = 0;
  float *const memory = run->memory;
  for (int i = 0; i < network->op_count; ++i) {
    const struct dense_op *op = &network->ops[i];
    const size_t floats = (size_t)op_rows(op, run) * pitch(op->width);
    const bool output = i == network->op_count - 1;
    struct op_memory at = {NULL, NULL, NULL, NULL};
    struct {
      float **pointer;
      bool wanted;
    } arrays[] = {{&at.post, !output},
                  {&at.slope, !output && run->backward},
                  {&at.sum, residual_reader(network, i) >= 0},
                  {&at.condition, run->solve && reads_condition(network, i)}};
    for (size_t k = 0; k < sizeof arrays / sizeof *arrays; ++k) {
      if (!arrays[k].wanted) continue;
      if (memory) *arrays[k].pointer = memory + used;
      used += floats;
    }
    if (output) at.post = run->output, at.slope = run->output_gradient;
    if (ops) ops[i] = at;
    if (run->backward && readers(network, i) > GEMM_INPUTS && floats > widest) widest = floats;
  }
  if (partial && memory) *partial = memory + used;
  return used + widest;
}

/* Behind them, where a library makes some of the products: sums of one op. */
static size_t floats_of_sums(const noprop_model *model, const struct staged_run *run) {
  size_t most = 0;
  if (!model->layered.products.library || !run->backward) return 0;
  for (int i = 0; i < model->network->op_count; ++i) {
    const size_t floats = (size_t)op_rows(&model->network->ops[i], run) * pitch(model->network->ops[i].width);
    if (floats > most) most = floats;
  }
  return most;
}

static size_t floats(const noprop_model *model, const struct staged_run *run) {
  return place(model->network, run, NULL, NULL) + floats_of_sums(model, run);
}

static size_t workspace(const noprop_model *model) {
  return model->layered.products.library ? CUBLASLT_WORKSPACE_BYTES / sizeof(float) : 0;
}

/* ---- kernels ---- */

/* Columns that a thread has: as many as leave every multiprocessor a block, as rows are loaded once for all of them. */
static unsigned columns(const noprop_model *model) {
  const unsigned rows = (unsigned)(model->settings.train.batch * (long)model->settings.loss.draws);
  const unsigned widest = (unsigned)network_widest(model->network), processors = tiles_processors(model->device);
  unsigned n = 4;
  while (n > (model->network->operand_form >= 0 ? 2 : 1) &&
         (rows / GEMM_ROWS + 1) * (widest / (32 * n) + 1) < processors)
    n /= 2;
  return n;
}
static unsigned block_width(const noprop_model *model) { return 32 * columns(model); }

/* Of them those that are multiplied at a time. A GPU has registers for the sums of all; the virtual GPU's vectors hold
 * those of one, unless it stands for a GPU. The order of every sum is the same. */
static unsigned group(const noprop_model *model) {
  return model->device->properties.is_virtual && vgpu_current_mode() == VGPU_MODE_RUN ? 1 : columns(model);
}

/* Whether a network has layers of an activation, with dropout or without. Without gradients no layer has it, and what
 * the x-branch gives to other layers is linear. */
static bool uses(const struct network *network, int activation, int drop) {
  if (activation == ACTIVATION_LINEAR && !drop) return true;
  for (int i = 0; i < network->op_count; ++i)
    if ((int)network->ops[i].activation == activation && (!drop || network->ops[i].dropout)) return true;
  return false;
}

static char *source_of(const noprop_model *model) {
  /* One block on a multiprocessor will do: left to itself, ptxas aims at three and spills a few registers. */
  static const char head[] = "extern \"C\" __global__ void __launch_bounds__(GEMM_THREADS, 1) layered_";
  const int form = model->network->operand_form;
  const char *tensor = form >= 0 ? "_tensor" : "";
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (!out) return NULL;
  fprintf(out, "#define GEMM_COLUMNS %u\n#define GEMM_GROUP %u\n#define GEMM_AHEAD %d\n", columns(model), group(model),
          !model->device->properties.is_virtual);
  if (form >= 0) fprintf(out, "#define GEMM_FORM %d\n", form);
  fprintf(out, "#include \"gemm%s.cuh\"\n\n", tensor);
  for (int a = 0; a < ACTIVATION_COUNT; ++a)
    for (int drop = 0; drop < 2; ++drop)
      if (uses(model->network, a, drop))
        fprintf(out, "%sforward_%d_%d(const gemm_arguments a) {\n  gemm%s<gemm_forward_end<%d, %s>>(a);\n}\n", head, a,
                drop, tensor, a, drop ? "true" : "false");
  fprintf(out, "%sbackward(const gemm_arguments a) {\n  gemm%s<gemm_backward_end>(a);\n}\n", head, tensor);
  fprintf(out, "%sgradient(const gemm_gradient_arguments a) {\n  gemm_gradient%s(a);\n}\n", head, tensor);
  if (fclose(out) == 0) return text;
  free(text);
  return NULL;
}

static noprop_status compile(noprop_model *model) {
  const struct network *network = model->network;
  struct layered_kernels *kernels = &model->layered;
  if (kernels->ready) return NOPROP_OK;
  char *source = source_of(model);
  if (!source) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the text of a kernel");
  noprop_status status = device_compile(model->device, source, "layered_backward", &kernels->backward);
  if (status == NOPROP_OK) status = device_compile(model->device, source, "layered_gradient", &kernels->gradient);
  for (int a = 0; a < ACTIVATION_COUNT && status == NOPROP_OK; ++a)
    for (int drop = 0; drop < 2 && status == NOPROP_OK; ++drop) {
      char entry[32];
      snprintf(entry, sizeof entry, "layered_forward_%d_%d", a, drop);
      if (uses(network, a, drop)) status = device_compile(model->device, source, entry, &kernels->forward[a][drop]);
    }
  if (status == NOPROP_OK) status = layered_products_open(model, source);
  free(source);
  kernels->ready = status == NOPROP_OK;
  return status;
}

static unsigned grid_of(const noprop_model *model, const gemm_arguments *arguments) {
  const unsigned width = block_width(model), across = (arguments->stride + width - 1) / width;
  return across * ((arguments->rows + GEMM_ROWS - 1) / GEMM_ROWS);
}

static struct layered_places places_of(const noprop_model *model, const struct staged_run *run) {
  return (struct layered_places){run->memory + place(model->network, run, NULL, NULL), run->workspace};
}

/* Products that a library makes are launches before this one; `turned`: of kernels.backward. */
static noprop_status launch(noprop_model *model, const struct staged_run *run, const struct kernel *kernel,
                            const gemm_arguments *arguments, bool turned) {
  const unsigned grid = grid_of(model, arguments);
  if (!model->layered.products.library || !run->workspace)
    return device_launch(model->device, kernel, grid, GEMM_THREADS, 0, arguments, sizeof *arguments);
  gemm_arguments left = *arguments;
  const noprop_status status = layered_products_apply(model, &left, turned, places_of(model, run));
  return status == NOPROP_OK ? device_launch(model->device, kernel, grid, GEMM_THREADS, 0, &left, sizeof left) : status;
}

/* ---- forward ---- */

static const float *parameter_at(const noprop_model *model, const train_arguments *train, int index) {
  return train->parameters + model->network->parameters[index].padded_offset;
}

static gemm_input input_of(const noprop_model *model, const struct staged_run *run, const train_arguments *train,
                           const struct op_memory *ops, const struct dense_op *op, int k) {
  const struct network *network = model->network;
  const struct op_input *input = &op->inputs[k];
  const unsigned all = op_rows(op, run);
  gemm_input made = {.stride = pitch(input->width),
                     .features = (unsigned)input->width,
                     .rows = all,
                     .repeat = 1,
                     .weights = parameter_at(model, train, input->weight),
                     .fragments = train->fragments + network->parameters[input->weight].fragment_offset};
  switch (input->kind) {
    case INPUT_X:
      made.values = run->condition;
      made.rows = run->rows;
      break;
    case INPUT_Z:
      made.values = run->z;
      break;
    case INPUT_TIME:
      made.values = run->time;
      made.rows = run->solve ? 1 : all;
      break;
    default:
      made.values = ops[input->op].post;
      made.rows = op_rows(&network->ops[input->op], run);
      break;
  }
  return made;
}

/* Which inputs of an op are summed over: in a solve those of the condition stand in an array of their own. */
enum { OF_CONDITION = 1, OF_OTHERS = 2 };

static gemm_arguments arguments_of(const noprop_model *model, const struct staged_run *run,
                                   const train_arguments *train, const struct op_memory *ops, int i, int inputs) {
  const struct network *network = model->network;
  const struct dense_op *op = &network->ops[i];
  gemm_arguments arguments = {.train = *train,
                              .rows = op_rows(op, run),
                              .width = (unsigned)op->width,
                              .stride = pitch(op->width),
                              .layer = (unsigned)i,
                              .draw_rows = run->rows};
  for (int k = 0; k < op->input_count; ++k) {
    const struct op_input *input = &op->inputs[k];
    const bool condition = !op->x_branch && input->kind == INPUT_OP && network->ops[input->op].x_branch;
    if (inputs & (condition ? OF_CONDITION : OF_OTHERS))
      arguments.inputs[arguments.input_count++] = input_of(model, run, train, ops, op, k);
  }
  return arguments;
}

static noprop_status forward_op(noprop_model *model, const struct staged_run *run, const train_arguments *train,
                                const struct op_memory *ops, int i, bool conditioned, float *output) {
  const struct network *network = model->network;
  const struct dense_op *op = &network->ops[i];
  const bool dropout = op->dropout && run->backward, apart = run->solve && reads_condition(network, i);
  gemm_arguments arguments = arguments_of(model, run, train, ops, i, run->solve ? OF_OTHERS : OF_CONDITION | OF_OTHERS);
  const unsigned threshold = plan_dropout_threshold(model->settings.network.dropout);
  arguments.bias = op->bias >= 0 ? parameter_at(model, train, op->bias) : NULL;
  arguments.addend_rows = arguments.rows;
  if (op->residual >= 0) arguments.addend = ops[op->residual].sum;
  if (apart && conditioned) arguments.addend = ops[i].condition;
  arguments.sum = ops[i].sum;
  arguments.result = i == network->op_count - 1 ? output : ops[i].post;
  arguments.slope = run->backward && has_slope(model, i) ? ops[i].slope : NULL;
  arguments.keep = run->backward && drops_condition(model, i)
                       ? (unsigned)fmin(rint(model->settings.loss.condition_dropout * 0x1p32), 0xffffffffp0)
                       : 0;
  arguments.threshold = threshold;
  arguments.scale = (float)(1.0 / (1.0 - threshold / 65536.0));
  return launch(model, run, &model->layered.forward[op->activation][dropout], &arguments, false);
}

static noprop_status begin(noprop_model *model, const struct staged_run *run, const train_arguments *train) {
  const struct network *network = model->network;
  struct op_memory ops[NETWORK_MAX_OPS];
  noprop_status status = NOPROP_OK;
  place(network, run, ops, NULL);
  for (int i = 0; i < network->op_count && status == NOPROP_OK; ++i) {
    if (network->ops[i].x_branch) status = forward_op(model, run, train, ops, i, true, NULL);
    if (status != NOPROP_OK || !ops[i].condition) continue;
    gemm_arguments arguments = arguments_of(model, run, train, ops, i, OF_CONDITION);
    arguments.result = ops[i].condition;
    status = launch(model, run, &model->layered.forward[ACTIVATION_LINEAR][0], &arguments, false);
  }
  return status;
}

static noprop_status forward(noprop_model *model, const struct staged_run *run, const train_arguments *train,
                             bool conditioned, float *output) {
  const struct network *network = model->network;
  struct op_memory ops[NETWORK_MAX_OPS];
  noprop_status status = NOPROP_OK;
  place(network, run, ops, NULL);
  for (int i = 0; i < network->op_count && status == NOPROP_OK; ++i)
    if (!network->ops[i].x_branch) status = forward_op(model, run, train, ops, i, conditioned, output);
  return status;
}

/* ---- backward ---- */

/* Of the launch that makes the gradient of op i's sums; without inputs. */
static gemm_arguments backward_arguments(const noprop_model *model, const struct staged_run *run,
                                         const train_arguments *train, int i) {
  const struct dense_op *op = &model->network->ops[i];
  return (gemm_arguments){
      .train = *train, .rows = op_rows(op, run), .width = (unsigned)op->width, .stride = pitch(op->width)};
}

/* What op r, whose input k is op i, gives to it. */
static gemm_input gradient_input(const noprop_model *model, const struct staged_run *run, const train_arguments *train,
                                 const struct op_memory *ops, int i, int r, int k) {
  const struct network *network = model->network;
  const struct dense_op *op = &network->ops[i], *from = &network->ops[r];
  const int weight = from->inputs[k].weight;
  const bool folded = op->x_branch && !from->x_branch; /* all draws have one condition */
  return (gemm_input){.values = ops[r].slope,
                      .weights = parameter_at(model, train, weight),
                      .fragments = train->fragments + network->parameters[weight].transpose_offset,
                      .stride = pitch(from->width),
                      .features = (unsigned)from->width,
                      .rows = op_rows(op, run),
                      .repeat = folded ? run->draws : 1,
                      .row_step = run->rows};
}

/* The gradient of an op's sums, from those of its readers. */
static noprop_status backward_op(noprop_model *model, const struct staged_run *run, const train_arguments *train,
                                 const struct op_memory *ops, float *partial, int i) {
  const struct network *network = model->network;
  const int reader = residual_reader(network, i);
  int left = readers(network, i);
  gemm_arguments arguments = backward_arguments(model, run, train, i);
  for (int r = network->op_count - 1; r > i; --r)
    for (int k = 0; k < network->ops[r].input_count; ++k) {
      if (!reads(&network->ops[r], k, i)) continue;
      arguments.inputs[arguments.input_count++] = gradient_input(model, run, train, ops, i, r, k);
      if (--left == 0 || arguments.input_count < GEMM_INPUTS) continue;
      arguments.result = partial;
      const noprop_status status = launch(model, run, &model->layered.backward, &arguments, true);
      if (status != NOPROP_OK) return status;
      arguments.input_count = 0;
      arguments.sum = partial;
    }
  arguments.slope = has_slope(model, i) ? ops[i].slope : NULL;
  arguments.addend = reader >= 0 ? ops[reader].slope : NULL;
  arguments.result = ops[i].slope;
  return launch(model, run, &model->layered.backward, &arguments, true);
}

/* Gradients of all weights and biases, GEMM_ITEMS weights a launch. */
static noprop_status gradients(noprop_model *model, const struct staged_run *run, const train_arguments *train,
                               const struct op_memory *ops) {
  const struct network *network = model->network;
  gemm_gradient_arguments arguments = {.slots = train->slots, .slot_stride = train->slot_stride};
  const unsigned width = block_width(model);
  for (int i = network->op_count - 1; i >= 0; --i) {
    const struct dense_op *op = &network->ops[i];
    const unsigned tiles = op_rows(op, run) / 32, of_slot = (tiles + train->slot_count - 1) / train->slot_count;
    for (int k = 0; k < op->input_count; ++k) {
      const gemm_input input = input_of(model, run, train, ops, op, k);
      gemm_item *item = &arguments.items[arguments.item_count++];
      *item = (gemm_item){.in = input.values,
                          .delta = ops[i].slope,
                          .in_stride = input.stride,
                          .in_rows = input.rows,
                          .features = input.features,
                          .stride = pitch(op->width),
                          .rows = op_rows(op, run),
                          .slot_rows = 32 * of_slot,
                          .first_block = arguments.blocks,
                          .weight = network->parameters[op->inputs[k].weight].padded_offset,
                          .bias = k == 0 && op->bias >= 0 ? network->parameters[op->bias].padded_offset : -1};
      arguments.blocks += (input.features + GEMM_ROWS - 1) / GEMM_ROWS * ((pitch(op->width) + width - 1) / width);
      if (arguments.item_count < GEMM_ITEMS && !(i == 0 && k == op->input_count - 1)) continue;
      const noprop_status status =
          device_launch(model->device, &model->layered.gradient, train->slot_count * arguments.blocks, GEMM_THREADS, 0,
                        &arguments, sizeof arguments);
      if (status != NOPROP_OK) return status;
      arguments.item_count = arguments.blocks = 0;
    }
  }
  return NOPROP_OK;
}

static noprop_status backward_ops(noprop_model *model, const struct staged_run *run, const train_arguments *train) {
  const struct network *network = model->network;
  struct op_memory ops[NETWORK_MAX_OPS];
  float *partial = NULL;
  noprop_status status = NOPROP_OK;
  place(network, run, ops, &partial);
  for (int i = network->op_count - 2; i >= 0 && status == NOPROP_OK; --i)
    status = backward_op(model, run, train, ops, partial, i);
  return status;
}

static noprop_status backward(noprop_model *model, const struct staged_run *run, const train_arguments *train) {
  struct op_memory ops[NETWORK_MAX_OPS];
  const noprop_status status = backward_ops(model, run, train);
  place(model->network, run, ops, NULL);
  return status == NOPROP_OK ? gradients(model, run, train, ops) : status;
}

/* ---- choice of products ---- */

typedef noprop_status product_visitor(noprop_model *model, const struct layered_product *product, void *data);

/* Visits all products of a training step, or of a request with gradients. Nothing is computed. */
static noprop_status each_product(noprop_model *model, const struct staged_run *run, product_visitor *visit,
                                  void *data) {
  const struct network *network = model->network;
  const struct layered_kernels *kernels = &model->layered;
  const train_arguments train = model_train_arguments(model);
  struct op_memory ops[NETWORK_MAX_OPS];
  noprop_status status = NOPROP_OK;
  place(network, run, ops, NULL);
  for (int i = 0; i < network->op_count; ++i) {
    const struct dense_op *op = &network->ops[i];
    const gemm_arguments launch = arguments_of(model, run, &train, ops, i, OF_CONDITION | OF_OTHERS);
    struct layered_product product = {
        .launch = &launch, .kernel = &kernels->forward[op->activation][op->dropout], .grid = grid_of(model, &launch)};
    for (unsigned k = 0; k < launch.input_count && status == NOPROP_OK; ++k) {
      product.input = &launch.inputs[k];
      status = visit(model, &product, data);
    }
  }
  for (int i = network->op_count - 2; i >= 0; --i) {
    const gemm_arguments launch = backward_arguments(model, run, &train, i);
    struct layered_product product = {
        .launch = &launch, .turned = true, .kernel = &kernels->backward, .grid = grid_of(model, &launch)};
    for (int r = network->op_count - 1; r > i; --r)
      for (int k = 0; k < network->ops[r].input_count; ++k) {
        if (status != NOPROP_OK || !reads(&network->ops[r], k, i)) continue;
        const gemm_input input = gradient_input(model, run, &train, ops, i, r, k);
        product.input = &input;
        status = visit(model, &product, data);
      }
  }
  return status;
}

static noprop_status choose_product(noprop_model *model, const struct layered_product *product, void *data) {
  return layered_products_choose(model, product, places_of(model, data));
}

static noprop_status choose(noprop_model *model, struct staged_run *run) {
  return model->layered.products.library ? each_product(model, run, choose_product, run) : NOPROP_OK;
}

static noprop_status look_at_product(noprop_model *model, const struct layered_product *product, void *data) {
  layered_products_look(model, product, data);
  return NOPROP_OK;
}

/* Of a model whose training is not prepared yet this is what is remembered. */
static noprop_status describe(noprop_model *model, unsigned batch, char *text, size_t size, int *launches) {
  const struct staged_run run = {
      .rows = (batch + 31) / 32 * 32, .draws = (unsigned)model->settings.loss.draws, .backward = true};
  struct layered_outlook outlook = {0};
  char *source = source_of(model);
  if (!source) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the text of a kernel");
  noprop_status status = layered_products_open(model, source);
  free(source);
  if (status == NOPROP_OK && model->layered.products.library)
    status = each_product(model, &run, look_at_product, &outlook);
  layered_products_describe(model, &outlook, text, size);
  *launches = outlook.launches;
  return status;
}

/* ---- launches ---- */

static int backward_launches(const struct network *network, int i) {
  const int count = readers(network, i);
  return count > GEMM_INPUTS ? (count + GEMM_INPUTS - 1) / GEMM_INPUTS : 1;
}

static int train_launches(const noprop_model *model) {
  const struct network *network = model->network;
  int count = network->op_count, inputs = 0;
  for (int i = 0; i < network->op_count; ++i) {
    inputs += network->ops[i].input_count;
    if (i < network->op_count - 1) count += backward_launches(network, i);
  }
  return count + (inputs + GEMM_ITEMS - 1) / GEMM_ITEMS;
}

static int solve_launches(const noprop_model *model) {
  return model->network->op_count - 1 - last_of_x(model->network);
}

const struct staged_field layered_field = {.tier = "layered",
                                           .compile = compile,
                                           .floats = floats,
                                           .workspace = workspace,
                                           .choose = choose,
                                           .describe = describe,
                                           .begin = begin,
                                           .forward = forward,
                                           .backward = backward,
                                           .train_launches = train_launches,
                                           .solve_launches = solve_launches};
