/* Opens cuBLASLt, and describes products to it. */
#include "engine/cublaslt.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/status.h"

/* ---- finding ---- */

enum { LIBRARIES = 2 };
static const char *const NAMES[LIBRARIES] = {"libcublasLt.so.13", "libcublasLt.so.12"};
static const char NOT_INSTALLED[] = "is not installed";
static struct library {
  bool tried, is_there;
  char problem[120];
  struct cublaslt_functions functions;
} libraries[LIBRARIES];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const struct cublaslt_functions *substitutes[LIBRARIES];

/* As in driver.c: the address of a function is copied, as ISO C has no cast for it. */
bool cublaslt_load(const char *name, struct cublaslt_functions *functions, char *reason, size_t size) {
  void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL), *address;
  const char *missing = NULL;
  if (!library) {
    snprintf(reason, size, "%s", NOT_INSTALLED);
    return false;
  }
#define FILL(result, member, symbol, parameters)                                        \
  address = dlsym(library, symbol);                                                     \
  memcpy((void *)&functions->member, (const void *)&address, sizeof functions->member); \
  if (!address && !missing) missing = symbol;
  CUBLASLT_FUNCTION_LIST(FILL)
#undef FILL
  if (!missing) return true;
  snprintf(reason, size, "cannot be used, as %s has no %s", name, missing);
  dlclose(library);
  return false;
}

noprop_status cublaslt_allowed(bool is_virtual, bool *allowed, char *reason, size_t size) {
  const char *said = getenv("NOPROP_CUBLASLT");
  *allowed = false;
  if (said && strcmp(said, "off") == 0) {
    snprintf(reason, size, "is turned off by NOPROP_CUBLASLT");
    return NOPROP_OK;
  }
  if (said && said[0] && strcmp(said, "auto") != 0)
    return status_set(NOPROP_INVALID_ARGUMENT, "NOPROP_CUBLASLT must be auto or off, not '%.40s'", said);
  *allowed = !is_virtual || substitutes[0];
  if (!*allowed) snprintf(reason, size, "is for GPUs, and this one is virtual");
  return NOPROP_OK;
}

/* The functions of a library, opened when they are first asked for; NULL with a reason. */
static const struct cublaslt_functions *find(int index, char *reason, size_t size) {
  struct library *library = &libraries[index];
  if (substitutes[0]) {
    if (!substitutes[index]) snprintf(reason, size, "%s", NOT_INSTALLED);
    return substitutes[index];
  }
  pthread_mutex_lock(&mutex);
  if (!library->tried)
    library->is_there = cublaslt_load(NAMES[index], &library->functions, library->problem, sizeof library->problem);
  library->tried = true;
  pthread_mutex_unlock(&mutex);
  snprintf(reason, size, "%s", library->problem);
  return library->is_there ? &library->functions : NULL;
}

bool cublaslt_open(const struct cublaslt_functions **functions, void **handle, char *reason, size_t size) {
  snprintf(reason, size, "%s", NOT_INSTALLED);
  for (int i = 0; i < LIBRARIES; ++i) {
    char missing[120];
    *functions = find(i, missing, sizeof missing);
    const int code = *functions ? (*functions)->create(handle) : CUBLASLT_SUCCESS;
    if (*functions && code == CUBLASLT_SUCCESS) return true;
    if (*functions)
      snprintf(reason, size, "cannot be used, as cublasLtCreate of %s returns %d", NAMES[i], code);
    else if (strcmp(missing, NOT_INSTALLED) != 0)
      snprintf(reason, size, "%s", missing);
  }
  *functions = NULL;
  *handle = NULL;
  return false;
}

void cublaslt_substitute(const struct cublaslt_functions *newest, const struct cublaslt_functions *other) {
  substitutes[0] = newest;
  substitutes[1] = other;
}

/* ---- products ---- */

struct cublaslt_plan {
  const struct cublaslt_functions *call;
  void *handle, *operation, *weights, *values, *result;
  struct cublaslt_algorithm algorithm;
};

/* The first of the library's suggestions within the workspace. */
static int choose_algorithm(struct cublaslt_plan *plan) {
  const struct cublaslt_functions *call = plan->call;
  const uint64_t workspace = CUBLASLT_WORKSPACE_BYTES;
  const uint32_t alignment = CUBLASLT_POINTER_BYTES;
  struct cublaslt_heuristic found = {.state = CUBLASLT_NOT_SUPPORTED};
  void *preference = NULL;
  int count = 0, code = call->preference_create(&preference);
  if (code != CUBLASLT_SUCCESS) return code;
  code = call->preference_set(preference, CUBLASLT_WORKSPACE, &workspace, sizeof workspace);
  for (int of = CUBLASLT_ALIGNMENT_A; of <= CUBLASLT_ALIGNMENT_D && code == CUBLASLT_SUCCESS; ++of)
    code = call->preference_set(preference, of, &alignment, sizeof alignment);
  if (code == CUBLASLT_SUCCESS)
    code = call->heuristic(plan->handle, plan->operation, plan->weights, plan->values, plan->result, plan->result,
                           preference, 1, &found, &count);
  call->preference_destroy(preference);
  if (code != CUBLASLT_SUCCESS) return code;
  if (count < 1) return CUBLASLT_NOT_SUPPORTED;
  plan->algorithm = found.algorithm;
  return found.state;
}

/* The library's matrices stand by columns. A matrix by rows, [rows][columns], is one by columns that is turned, so that
 * the product is turned(result) = turned(weights) turned(values), where only turned weights are turned for it. */
static int describe(struct cublaslt_plan *plan, const struct cublaslt_product *p) {
  const struct cublaslt_functions *call = plan->call;
  const int32_t weights = p->turned ? CUBLASLT_TURNED : CUBLASLT_AS_IS, values = CUBLASLT_AS_IS;
  int code = call->operation_create(&plan->operation, p->tf32 ? CUBLASLT_TF32 : CUBLASLT_FP32, CUBLASLT_FLOAT);
  if (code == CUBLASLT_SUCCESS) code = call->operation_set(plan->operation, CUBLASLT_TURN_A, &weights, sizeof weights);
  if (code == CUBLASLT_SUCCESS) code = call->operation_set(plan->operation, CUBLASLT_TURN_B, &values, sizeof values);
  if (code == CUBLASLT_SUCCESS)
    code = call->layout_create(&plan->weights, CUBLASLT_FLOAT, p->turned ? p->depth : p->columns,
                               p->turned ? p->columns : p->depth, p->weight_stride);
  if (code == CUBLASLT_SUCCESS)
    code = call->layout_create(&plan->values, CUBLASLT_FLOAT, p->depth, p->rows, p->value_stride);
  if (code == CUBLASLT_SUCCESS)
    code = call->layout_create(&plan->result, CUBLASLT_FLOAT, p->columns, p->rows, p->result_stride);
  return code == CUBLASLT_SUCCESS ? choose_algorithm(plan) : code;
}

int cublaslt_plan_create(const struct cublaslt_functions *call, void *handle, const struct cublaslt_product *product,
                         struct cublaslt_plan **result) {
  struct cublaslt_plan *plan = calloc(1, sizeof *plan);
  *result = NULL;
  if (!plan) return CUBLASLT_NOT_SUPPORTED;
  plan->call = call;
  plan->handle = handle;
  const int code = describe(plan, product);
  if (code == CUBLASLT_SUCCESS)
    *result = plan;
  else
    cublaslt_plan_destroy(plan);
  return code;
}

int cublaslt_run(const struct cublaslt_plan *plan, const float *values, const float *weights, const float *added,
                 float *result, void *workspace, CUstream stream) {
  const float alpha = 1.0f, beta = added ? 1.0f : 0.0f;
  return plan->call->matmul(plan->handle, plan->operation, &alpha, weights, plan->weights, values, plan->values, &beta,
                            added ? added : result, plan->result, result, plan->result, &plan->algorithm, workspace,
                            CUBLASLT_WORKSPACE_BYTES, stream);
}

void cublaslt_plan_destroy(struct cublaslt_plan *plan) {
  if (!plan) return;
  if (plan->result) plan->call->layout_destroy(plan->result);
  if (plan->values) plan->call->layout_destroy(plan->values);
  if (plan->weights) plan->call->layout_destroy(plan->weights);
  if (plan->operation) plan->call->operation_destroy(plan->operation);
  free(plan);
}
