/* cuBLASLt, opened at run time: products of matrices in float32 by NVIDIA's library, where it is installed.
 *
 * Nothing of it is needed to build: the functions that are called, and the values of its enumerations, stand here
 * (cublasLt.h 12 and 13; tests/engine/cublaslt_test.cpp compares them with the header where there is one).
 *
 * No part of this has run on a GPU yet. Calls, layouts and choice are tested against functions that multiply on the
 * host. */
#ifndef ENGINE_CUBLASLT_H
#define ENGINE_CUBLASLT_H

#include <cuda.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "noprop/status.h"

/* ---- of cublasLt.h, cublas_api.h and library_types.h ---- */

enum cublaslt_value {
  CUBLASLT_SUCCESS = 0,        /* CUBLAS_STATUS_SUCCESS */
  CUBLASLT_NOT_SUPPORTED = 15, /* CUBLAS_STATUS_NOT_SUPPORTED */
  CUBLASLT_FLOAT = 0,          /* CUDA_R_32F */
  CUBLASLT_FP32 = 68,          /* CUBLAS_COMPUTE_32F */
  CUBLASLT_TF32 = 77,          /* CUBLAS_COMPUTE_32F_FAST_TF32 */
  CUBLASLT_AS_IS = 0,          /* CUBLAS_OP_N */
  CUBLASLT_TURNED = 1,         /* CUBLAS_OP_T */
  CUBLASLT_TURN_A = 3,         /* CUBLASLT_MATMUL_DESC_TRANSA */
  CUBLASLT_TURN_B = 4,         /* CUBLASLT_MATMUL_DESC_TRANSB */
  CUBLASLT_WORKSPACE = 1,      /* CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES */
  CUBLASLT_ALIGNMENT_A = 5,    /* CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES; of B, C and D: those that follow */
  CUBLASLT_ALIGNMENT_D = 8
};

/* cublasLtMatmulAlgo_t */
struct cublaslt_algorithm {
  uint64_t data[8];
};
/* cublasLtMatmulHeuristicResult_t */
struct cublaslt_heuristic {
  struct cublaslt_algorithm algorithm;
  size_t workspace_bytes;
  int state;
  float waves;
  int reserved[4];
};

/* X(result, member, symbol, (parameters)); handles and descriptors are pointers to what only the library knows. */
#define CUBLASLT_FUNCTION_LIST(X)                                                                                    \
  X(size_t, version, "cublasLtGetVersion", (void))                                                                   \
  X(int, create, "cublasLtCreate", (void **handle))                                                                  \
  X(int, destroy, "cublasLtDestroy", (void *handle))                                                                 \
  X(int, operation_create, "cublasLtMatmulDescCreate", (void **operation, int compute, int scale))                   \
  X(int, operation_destroy, "cublasLtMatmulDescDestroy", (void *operation))                                          \
  X(int, operation_set, "cublasLtMatmulDescSetAttribute",                                                            \
    (void *operation, int attribute, const void *value, size_t bytes))                                               \
  X(int, layout_create, "cublasLtMatrixLayoutCreate",                                                                \
    (void **layout, int type, uint64_t rows, uint64_t columns, int64_t leading))                                     \
  X(int, layout_destroy, "cublasLtMatrixLayoutDestroy", (void *layout))                                              \
  X(int, preference_create, "cublasLtMatmulPreferenceCreate", (void **preference))                                   \
  X(int, preference_destroy, "cublasLtMatmulPreferenceDestroy", (void *preference))                                  \
  X(int, preference_set, "cublasLtMatmulPreferenceSetAttribute",                                                     \
    (void *preference, int attribute, const void *value, size_t bytes))                                              \
  X(int, heuristic, "cublasLtMatmulAlgoGetHeuristic",                                                                \
    (void *handle, void *operation, void *a, void *b, void *c, void *d, void *preference, int wanted,                \
     struct cublaslt_heuristic *results, int *count))                                                                \
  X(int, matmul, "cublasLtMatmul",                                                                                   \
    (void *handle, void *operation, const void *alpha, const void *a, void *a_layout, const void *b, void *b_layout, \
     const void *beta, const void *c, void *c_layout, void *d, void *d_layout,                                       \
     const struct cublaslt_algorithm *algorithm, void *workspace, size_t workspace_bytes, CUstream stream))

struct cublaslt_functions {
#define CUBLASLT_MEMBER(result, member, symbol, parameters) result(*member) parameters;
  CUBLASLT_FUNCTION_LIST(CUBLASLT_MEMBER)
#undef CUBLASLT_MEMBER
};

/* ---- finding ---- */

/* Fills the table from a library, and leaves it open. False, with the rest of a sentence in `reason`, where it cannot
 * be opened or lacks a function. */
bool cublaslt_load(const char *name, struct cublaslt_functions *functions, char *reason, size_t size);
/* Whether it may be used, else the rest of a sentence in `reason`: not on the virtual GPU, nor where the environment
 * variable NOPROP_CUBLASLT is "off". Allowed are off and auto; NOPROP_INVALID_ARGUMENT for anything else. */
noprop_status cublaslt_allowed(bool is_virtual, bool *allowed, char *reason, size_t size);
/* The newest of the libraries that gives a handle for the calling thread's context (one that is newer than the driver
 * gives none); libraries stay open. False, with the rest of a sentence in `reason`: none does. */
bool cublaslt_open(const struct cublaslt_functions **functions, void **handle, char *reason, size_t size);
/* For tests: these instead of libcublasLt.so.13 and .12, also on the virtual GPU; a second NULL: only one is there.
 * NULL, NULL ends it. */
void cublaslt_substitute(const struct cublaslt_functions *newest, const struct cublaslt_functions *other);

/* ---- products ---- */

enum { CUBLASLT_WORKSPACE_BYTES = 16 << 20, CUBLASLT_POINTER_BYTES = 16 /* what all matrices are aligned to */ };

/* result [rows][columns] = values [rows][depth] times weights [depth][columns], or turned [columns][depth]; strides are
 * floats from row to row. */
struct cublaslt_product {
  unsigned rows, columns, depth;
  unsigned value_stride, weight_stride, result_stride;
  unsigned turned; /* 1: weights are [columns][depth] */
  unsigned tf32;   /* 1: factors are rounded to tf32 */
};

struct cublaslt_plan;

/* Both return CUBLASLT_SUCCESS or the library's code. With a code there is no plan. */
int cublaslt_plan_create(const struct cublaslt_functions *call, void *handle, const struct cublaslt_product *product,
                         struct cublaslt_plan **plan);
/* `added` [rows][columns] in the result's stride, or NULL; may be the result. workspace: CUBLASLT_WORKSPACE_BYTES. */
int cublaslt_run(const struct cublaslt_plan *plan, const float *values, const float *weights, const float *added,
                 float *result, void *workspace, CUstream stream);
void cublaslt_plan_destroy(struct cublaslt_plan *plan);

#endif
