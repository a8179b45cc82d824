/* The choice between our products and cuBLASLt's, by the times of the first who measured them. */
#include "engine/layered_products.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model.h"
#include "engine/remember.h"
#include "engine/status.h"

enum {
  LEAST_SIDE = 16, /* of products that are worth a launch of their own */
  REPEATS = 6      /* of a measurement, of which the first warms up */
};
/* Of our time that the library's must stay under, so that a choice is not a matter of chance. */
static const float CLEARLY_FASTER = 0.95f;

/* What is remembered. */
enum { OURS, BY_LIBRARY, UNKNOWN };

/* ---- opening ---- */

noprop_status layered_products_open(noprop_model *model, const char *source) {
  struct layered_products *products = &model->layered.products;
  const int form = model->network->operand_form;
  bool allowed = false;
  if (products->opened) return NOPROP_OK;
  noprop_status status =
      cublaslt_allowed(model->device->properties.is_virtual, &allowed, products->reason, sizeof products->reason);
  if (status == NOPROP_OK && allowed && form >= 0 && form != OPERANDS_TF32) {
    snprintf(products->reason, sizeof products->reason, "does not have %s of float32 in memory",
             PRECISION_NAMES[model->settings.precision].name);
    allowed = false;
  }
  if (status == NOPROP_OK && allowed) status = device_enter(model->device);
  if (status != NOPROP_OK) return status;
  if (allowed) cublaslt_open(&products->library, &products->handle, products->reason, sizeof products->reason);
  if (products->library) jit_source_hash(source, products->kernels);
  products->opened = true;
  return NOPROP_OK;
}

void layered_products_close(noprop_model *model) {
  struct layered_products *products = &model->layered.products;
  for (int i = 0; i < products->count; ++i) cublaslt_plan_destroy(products->choices[i].plan);
  free(products->choices);
  if (products->library && device_enter(model->device) == NOPROP_OK) products->library->destroy(products->handle);
  *products = (struct layered_products){0};
}

/* ---- products ---- */

static struct layered_choice shape_of(const noprop_model *model, const gemm_arguments *a, const gemm_input *input,
                                      bool turned) {
  return (struct layered_choice){.product = {.rows = input->rows,
                                             .columns = turned ? a->width : a->stride,
                                             .depth = input->features,
                                             .value_stride = input->stride,
                                             .weight_stride = turned ? input->stride : a->stride,
                                             .result_stride = a->stride,
                                             .turned = turned,
                                             .tf32 = model->network->operand_form == OPERANDS_TF32},
                                 .blocks = a->rows / input->rows,
                                 .repeat = input->repeat};
}

static const struct layered_choice *choice_of(const struct layered_products *products,
                                              const struct layered_choice *shape) {
  for (int i = 0; i < products->count; ++i) {
    const struct layered_choice *choice = &products->choices[i];
    if (memcmp(&choice->product, &shape->product, sizeof shape->product) == 0 && choice->blocks == shape->blocks &&
        choice->repeat == shape->repeat)
      return choice;
  }
  return NULL;
}

/* at.sums = added + the input's product; the library's code. */
static int multiply(noprop_model *model, const struct layered_choice *choice, const gemm_input *input,
                    const float *added, struct layered_places at) {
  const size_t block = (size_t)choice->product.rows * choice->product.result_stride;
  int code = CUBLASLT_SUCCESS;
  for (unsigned b = 0; b < choice->blocks; ++b)
    for (unsigned r = 0; r < choice->repeat && code == CUBLASLT_SUCCESS; ++r) {
      float *result = at.sums + b * block;
      const float *before = r > 0 ? result : added ? added + b * block : NULL;
      code = cublaslt_run(choice->plan, input->values + (size_t)r * input->row_step * input->stride, input->weights,
                          before, result, at.workspace, model->device->stream);
      if (model->device->recording)
        ++model->device->capturing;
      else
        ++model->device->counters.launches;
    }
  return code;
}

/* Whether the launch adds up rows as the library's sums stand. */
static bool adds_by_rows(const gemm_arguments *a, bool turned) {
  return turned || !a->addend || a->addend_rows == a->rows;
}

noprop_status layered_products_apply(noprop_model *model, gemm_arguments *a, bool turned, struct layered_places at) {
  const struct layered_products *products = &model->layered.products;
  const float *sums = turned ? a->sum : a->addend;
  unsigned left = 0;
  if (!at.workspace || !adds_by_rows(a, turned)) return NOPROP_OK;
  noprop_status status = device_enter(model->device);
  for (unsigned k = 0; k < a->input_count && status == NOPROP_OK; ++k) {
    const gemm_input input = a->inputs[k];
    const struct layered_choice shape = shape_of(model, a, &input, turned);
    const struct layered_choice *choice = choice_of(products, &shape);
    if (!choice || !choice->plan) {
      a->inputs[left++] = input;
      continue;
    }
    const int code = multiply(model, choice, &input, sums, at);
    if (code != CUBLASLT_SUCCESS)
      status = status_set(NOPROP_DEVICE_ERROR,
                          "cublasLtMatmul returns %d for a product that it has computed before; NOPROP_CUBLASLT=off "
                          "does without it",
                          code);
    sums = at.sums;
  }
  a->input_count = left;
  if (sums != at.sums) return status;
  if (turned)
    a->sum = at.sums;
  else
    a->addend = at.sums, a->addend_rows = a->rows;
  return status;
}

/* ---- what is remembered ---- */

enum { CHOICE_TEXT = 800 };

/* All that a choice depends on. */
static void text_of(const noprop_model *model, const struct layered_choice *choice, char text[CHOICE_TEXT]) {
  const struct layered_products *products = &model->layered.products;
  const noprop_device_properties *gpu = &model->device->properties;
  const struct cublaslt_product *p = &choice->product;
  snprintf(text, CHOICE_TEXT,
           "product, form 1: 0 our kernel, 1 cuBLASLt\n"
           "%.200s, capability %d.%d, %d multiprocessors, driver %d\n"
           "cuBLASLt %zu, kernels %s\n"
           "%s, %s: %u times %u rows of %u, by %u columns, %u times; %u, %u and %u floats from row to row",
           gpu->name, gpu->compute_capability[0], gpu->compute_capability[1], gpu->multiprocessors, gpu->driver_version,
           products->library->version(), products->kernels, p->tf32 ? "tf32" : "fp32",
           p->turned ? "gradients of inputs" : "forward", choice->blocks, p->rows, p->depth, p->columns, choice->repeat,
           p->value_stride, p->weight_stride, p->result_stride);
}

static bool is_large(const struct cublaslt_product *p) {
  return p->rows >= LEAST_SIDE && p->columns >= LEAST_SIDE && p->depth >= LEAST_SIDE;
}

void layered_products_look(const noprop_model *model, const struct layered_product *product,
                           struct layered_outlook *outlook) {
  const struct layered_choice shape = shape_of(model, product->launch, product->input, product->turned);
  const struct layered_choice *choice = choice_of(&model->layered.products, &shape);
  int way = choice && choice->plan ? BY_LIBRARY : OURS;
  if (!choice && is_large(&shape.product)) {
    char text[CHOICE_TEXT];
    text_of(model, &shape, text);
    if (!remember_find(text, &way)) way = UNKNOWN;
  }
  ++outlook->products;
  outlook->unknown += way == UNKNOWN;
  outlook->by_library += way == BY_LIBRARY;
  outlook->launches += way == BY_LIBRARY ? (int)(shape.blocks * shape.repeat) : 0;
}

/* ---- choice ---- */

/* A launch with one product and nothing else, by which the two ways are compared. */
struct trial {
  const struct kernel *kernel;
  unsigned grid;
  bool turned;
  gemm_arguments arguments;
  struct layered_places at;
  struct layered_choice choice;
};

/* Once in our way, or with the library's product before our launch without one. */
static noprop_status run_once(noprop_model *model, const struct trial *trial, bool by_library, int *code) {
  gemm_arguments arguments = trial->arguments;
  *code = CUBLASLT_SUCCESS;
  if (by_library) {
    *code = multiply(model, &trial->choice, &arguments.inputs[0], NULL, trial->at);
    arguments.input_count = 0;
    if (trial->turned)
      arguments.sum = trial->at.sums;
    else
      arguments.addend = trial->at.sums;
  }
  if (*code != CUBLASLT_SUCCESS) return NOPROP_OK;
  return device_launch(model->device, trial->kernel, trial->grid, GEMM_THREADS, 0, &arguments, sizeof arguments);
}

/* The least milliseconds; *code is not CUBLASLT_SUCCESS where the library fails. */
static noprop_status measure(noprop_model *model, const struct trial *trial, bool by_library, float *least, int *code) {
  const struct driver *driver = model->device->driver;
  CUevent events[2] = {NULL, NULL};
  noprop_status status = device_enter(model->device);
  CUresult result = CUDA_SUCCESS;
  *code = CUBLASLT_SUCCESS;
  for (int i = 0; i < 2 && status == NOPROP_OK && result == CUDA_SUCCESS; ++i)
    result = driver->event_create(&events[i], CU_EVENT_DEFAULT);
  for (int i = 0; i < REPEATS && status == NOPROP_OK && result == CUDA_SUCCESS && *code == CUBLASLT_SUCCESS; ++i) {
    float milliseconds = 0;
    result = driver->event_record(events[0], model->device->stream);
    if (result == CUDA_SUCCESS) status = run_once(model, trial, by_library, code);
    if (status == NOPROP_OK && result == CUDA_SUCCESS) result = driver->event_record(events[1], model->device->stream);
    if (status == NOPROP_OK && result == CUDA_SUCCESS) result = driver->event_synchronize(events[1]);
    if (status == NOPROP_OK && result == CUDA_SUCCESS)
      result = driver->event_elapsed_time(&milliseconds, events[0], events[1]);
    if (i == 1 || (i > 1 && milliseconds < *least)) *least = milliseconds;
  }
  for (int i = 0; i < 2; ++i)
    if (events[i]) driver->event_destroy(events[i]);
  return status == NOPROP_OK ? driver_check(driver, result, "measuring a product") : status;
}

/* *way: which is faster. Where the library fails it is ours. */
static noprop_status compare(noprop_model *model, struct trial *trial, int *way) {
  const struct layered_products *products = &model->layered.products;
  struct layered_choice *choice = &trial->choice;
  float ours = 0, theirs = 0;
  int code = cublaslt_plan_create(products->library, products->handle, &choice->product, &choice->plan);
  noprop_status status = NOPROP_OK;
  if (code == CUBLASLT_SUCCESS) status = measure(model, trial, true, &theirs, &code);
  if (status == NOPROP_OK && code == CUBLASLT_SUCCESS) status = measure(model, trial, false, &ours, &code);
  *way = code == CUBLASLT_SUCCESS && theirs < CLEARLY_FASTER * ours ? BY_LIBRARY : OURS;
  cublaslt_plan_destroy(choice->plan);
  choice->plan = NULL;
  return status;
}

/* What is remembered of the trial's shape, or from now on will be. */
static noprop_status settle(noprop_model *model, struct trial *trial, int *way) {
  struct layered_products *products = &model->layered.products;
  char text[CHOICE_TEXT];
  text_of(model, &trial->choice, text);
  if (remember_find(text, way)) return NOPROP_OK;
  const noprop_status status = compare(model, trial, way);
  if (status == NOPROP_OK && !remember_settle(text, way, products->forgotten, sizeof products->forgotten)) *way = OURS;
  return status;
}

static noprop_status keep(struct layered_products *products, const struct layered_choice *choice) {
  struct layered_choice *choices = realloc(products->choices, ((size_t)products->count + 1) * sizeof *choices);
  if (!choices) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for the choice of a product");
  products->choices = choices;
  choices[products->count++] = *choice;
  return NOPROP_OK;
}

static noprop_status choose(noprop_model *model, struct trial *trial) {
  struct layered_products *products = &model->layered.products;
  struct layered_choice *choice = &trial->choice;
  int way = OURS;
  noprop_status status = settle(model, trial, &way);
  if (status != NOPROP_OK) return status;
  const int code = way == BY_LIBRARY
                       ? cublaslt_plan_create(products->library, products->handle, &choice->product, &choice->plan)
                       : CUBLASLT_SUCCESS;
  if (code != CUBLASLT_SUCCESS)
    return status_set(NOPROP_DEVICE_ERROR,
                      "cuBLASLt does not have a product (%d) that it has computed before on this machine; "
                      "NOPROP_CUBLASLT=off does without it",
                      code);
  status = keep(products, choice);
  if (status != NOPROP_OK) cublaslt_plan_destroy(choice->plan);
  return status;
}

noprop_status layered_products_choose(noprop_model *model, const struct layered_product *product,
                                      struct layered_places at) {
  const gemm_arguments *launch = product->launch;
  const struct layered_choice shape = shape_of(model, launch, product->input, product->turned);
  if (!is_large(&shape.product) || choice_of(&model->layered.products, &shape)) return NOPROP_OK;
  struct trial trial = {
      .kernel = product->kernel, .grid = product->grid, .turned = product->turned, .at = at, .choice = shape};
  trial.arguments = (gemm_arguments){.train = launch->train,
                                     .inputs = {*product->input},
                                     .input_count = 1,
                                     .result = at.sums,
                                     .addend_rows = launch->rows,
                                     .rows = launch->rows,
                                     .width = launch->width,
                                     .stride = launch->stride,
                                     .draw_rows = launch->draw_rows};
  trial.arguments.train.request = 1; /* no epoch of training is asked for */
  const noprop_status status = device_enter(model->device);
  return status == NOPROP_OK ? choose(model, &trial) : status;
}

/* ---- in words ---- */

void layered_products_describe(const noprop_model *model, const struct layered_outlook *outlook, char *text,
                               size_t size) {
  const struct layered_products *products = &model->layered.products;
  if (!products->library) {
    snprintf(text, size, "products: ours; cuBLASLt %s", products->reason);
    return;
  }
  const size_t version = products->library->version();
  char measured[80] = "";
  if (outlook->unknown > 0)
    snprintf(measured, sizeof measured, "; %d will be measured when a training step is prepared", outlook->unknown);
  snprintf(text, size,
           "products: cuBLASLt %zu.%zu.%zu for %d of the %d of a training step, by launches of its own, where it was "
           "clearly faster when first measured; else ours%s%s%s",
           version / 10000, version / 100 % 100, version % 100, outlook->by_library, outlook->products, measured,
           products->forgotten[0] ? "; ours as well where the outcome cannot be remembered: " : "",
           products->forgotten);
}
