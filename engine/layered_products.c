/* The choice between our products and cuBLASLt's, by their times. */
#include "engine/layered_products.h"

#include <stdio.h>
#include <string.h>

#include "engine/model.h"
#include "engine/status.h"

enum {
  LEAST_SIDE = 16, /* of products that are worth a launch of their own */
  REPEATS = 6      /* of a measurement, of which the first warms up */
};
/* Of our time that the library's must stay under, so that a choice is not a matter of chance. */
static const float CLEARLY_FASTER = 0.95f;

/* ---- opening ---- */

static noprop_status find(const noprop_model *model, const struct cublaslt_functions **library, char *reason,
                          size_t size) {
  const int form = model->network->operand_form;
  const noprop_status status = cublaslt_find(model->device->properties.is_virtual, library, reason, size);
  if (status == NOPROP_OK && *library && form >= 0 && form != OPERANDS_TF32) {
    *library = NULL;
    snprintf(reason, size, "does not have %s of float32 in memory", PRECISION_NAMES[model->settings.precision].name);
  }
  return status;
}

noprop_status layered_products_open(noprop_model *model) {
  struct layered_products *products = &model->layered.products;
  if (products->handle) return NOPROP_OK;
  noprop_status status = find(model, &products->library, products->reason, sizeof products->reason);
  if (status != NOPROP_OK || !products->library) return status;
  status = device_enter(model->device);
  const int code = status == NOPROP_OK ? products->library->create(&products->handle) : CUBLASLT_NOT_SUPPORTED;
  if (code == CUBLASLT_SUCCESS) return NOPROP_OK;
  snprintf(products->reason, sizeof products->reason, "cannot be used, as cublasLtCreate returns %d", code);
  products->library = NULL;
  products->handle = NULL;
  return status;
}

void layered_products_close(noprop_model *model) {
  struct layered_products *products = &model->layered.products;
  for (int i = 0; i < products->count; ++i) cublaslt_plan_destroy(products->choices[i].plan);
  if (products->handle && device_enter(model->device) == NOPROP_OK) products->library->destroy(products->handle);
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
  if (products->taken == 0 || !at.workspace || !adds_by_rows(a, turned)) return NOPROP_OK;
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

static noprop_status choose_one(noprop_model *model, struct trial *trial) {
  struct layered_products *products = &model->layered.products;
  float ours = 0, theirs = 0;
  struct layered_choice *choice = &trial->choice;
  int code = cublaslt_plan_create(products->library, products->handle, &choice->product, &choice->plan);
  noprop_status status = NOPROP_OK;
  if (code == CUBLASLT_SUCCESS) status = measure(model, trial, true, &theirs, &code);
  if (status == NOPROP_OK && code == CUBLASLT_SUCCESS) status = measure(model, trial, false, &ours, &code);
  if (choice->plan && (status != NOPROP_OK || code != CUBLASLT_SUCCESS || theirs >= CLEARLY_FASTER * ours)) {
    cublaslt_plan_destroy(choice->plan);
    choice->plan = NULL;
  }
  if (status != NOPROP_OK) return status;
  products->choices[products->count++] = *choice;
  products->taken += choice->plan != NULL;
  return NOPROP_OK;
}

noprop_status layered_products_choose(noprop_model *model, const struct kernel *kernel, unsigned grid,
                                      const gemm_arguments *arguments, bool turned, struct layered_places at) {
  struct layered_products *products = &model->layered.products;
  noprop_status status = device_enter(model->device);
  for (unsigned k = 0; k < arguments->input_count && status == NOPROP_OK; ++k) {
    const gemm_input *input = &arguments->inputs[k];
    const struct layered_choice shape = shape_of(model, arguments, input, turned);
    const bool large =
        shape.product.rows >= LEAST_SIDE && shape.product.columns >= LEAST_SIDE && shape.product.depth >= LEAST_SIDE;
    if (!large || products->count == LAYERED_CHOICES || choice_of(products, &shape)) continue;
    struct trial trial = {.kernel = kernel, .grid = grid, .turned = turned, .at = at, .choice = shape};
    trial.arguments = (gemm_arguments){.train = arguments->train,
                                       .inputs = {*input},
                                       .input_count = 1,
                                       .result = at.sums,
                                       .addend_rows = arguments->rows,
                                       .rows = arguments->rows,
                                       .width = arguments->width,
                                       .stride = arguments->stride,
                                       .draw_rows = arguments->draw_rows};
    trial.arguments.train.request = 1; /* no epoch of training is asked for */
    status = choose_one(model, &trial);
  }
  return status;
}

void layered_products_describe(const noprop_model *model, char *text, size_t size) {
  const struct layered_products *products = &model->layered.products;
  const struct cublaslt_functions *library = products->library;
  char reason[sizeof products->reason];
  snprintf(reason, sizeof reason, "%s", products->reason);
  if (!library && !reason[0] && find(model, &library, reason, sizeof reason) != NOPROP_OK)
    snprintf(reason, sizeof reason, "cannot be used: %.150s", noprop_last_error());
  if (!library)
    snprintf(text, size, "products: ours; cuBLASLt %s", reason);
  else if (products->count == 0)
    snprintf(text, size, "products: ours, and cuBLASLt for those of training steps that it makes faster");
  else
    snprintf(
        text, size,
        "products: cuBLASLt for %d of %d shapes in training steps, where it is faster, by launches of its own; else "
        "ours",
        products->taken, products->count);
}
