/* Driver API: launches of kernels and host functions. */
#define _GNU_SOURCE 1
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/api.h"
#include "engine/vgpu/ir.h"
#include "engine/vgpu/launcher.h"

/* ---- parameters ---- */

static CUresult check_function(CUfunction function) {
  if (handle_is(function, HANDLE_FUNCTION)) return CUDA_SUCCESS;
  return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "%p is no function; its module may have been unloaded", (void *)function);
}

static CUresult copy_buffer(unsigned char *bytes, const struct ptx_function *ptx, void **extra) {
  const void *buffer = NULL;
  size_t size = 0;
  for (void **at = extra; *at != CU_LAUNCH_PARAM_END; at += 2) {
    if (*at == CU_LAUNCH_PARAM_BUFFER_POINTER) {
      buffer = at[1];
    } else if (*at == CU_LAUNCH_PARAM_BUFFER_SIZE && at[1] != NULL) {
      size = *(const size_t *)at[1];
    } else {
      return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "kernel %s: `extra` holds something unknown", ptx->name);
    }
  }
  if (buffer == NULL || size < ptx->parameter_bytes) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "kernel %s: %zu bytes of parameters given, %u needed", ptx->name, size,
                     ptx->parameter_bytes);
  }
  memcpy(bytes, buffer, ptx->parameter_bytes);
  return CUDA_SUCCESS;
}

static CUresult copy_parameters(unsigned char *bytes, const struct ptx_function *ptx, void **parameters, void **extra) {
  if (parameters != NULL && extra != NULL) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "kernel %s: parameters in both forms", ptx->name);
  }
  if (extra != NULL) return copy_buffer(bytes, ptx, extra);
  if (parameters == NULL && ptx->parameter_count > 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "kernel %s: %u parameters are missing", ptx->name, ptx->parameter_count);
  }
  for (uint32_t i = 0; i < ptx->parameter_count; ++i) {
    if (parameters[i] == NULL) {
      return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "kernel %s: parameter %u is a NULL pointer", ptx->name, i);
    }
    memcpy(bytes + ptx->parameters[i].offset, parameters[i], ptx->parameters[i].size);
  }
  return CUDA_SUCCESS;
}

CUresult vgpu_launch_operation(struct operation *operation, unsigned char *bytes, CUfunction function,
                               const unsigned grid[3], const unsigned block[3], unsigned shared_bytes, bool cooperative,
                               void **parameters, void **extra) {
  CUresult result = check_function(function);
  if (result != CUDA_SUCCESS) return result;
  const struct ptx_function *ptx = function->ptx;
  if (ptx->parameter_bytes > VGPU_MOST_PARAMETERS) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "kernel %s: %u bytes of parameters", ptx->name, ptx->parameter_bytes);
  }
  *operation = (struct operation){.kind = OPERATION_KERNEL,
                                  .kernel = {.function = function,
                                             .grid = {grid[0], grid[1], grid[2]},
                                             .block = {block[0], block[1], block[2]},
                                             .shared_bytes = shared_bytes,
                                             .cooperative = cooperative,
                                             .parameters = bytes}};
  result = launcher_check(operation);
  return result == CUDA_SUCCESS ? copy_parameters(bytes, ptx, parameters, extra) : result;
}

/* ---- launches ---- */

static pthread_once_t blocking_once = PTHREAD_ONCE_INIT;
static bool blocking;

static void read_blocking(void) {
  const char *setting = getenv("CUDA_LAUNCH_BLOCKING"); /* NVIDIA's driver knows it, too */
  blocking = setting != NULL && atoi(setting) != 0;
}

static CUresult launch(CUfunction function, const unsigned grid[3], const unsigned block[3], unsigned shared_bytes,
                       bool cooperative, CUstream stream, void **parameters, void **extra) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  struct operation operation;
  _Alignas(16) unsigned char bytes[VGPU_MOST_PARAMETERS];
  result =
      vgpu_launch_operation(&operation, bytes, function, grid, block, shared_bytes, cooperative, parameters, extra);
  pthread_once(&blocking_once, read_blocking);
  return result == CUDA_SUCCESS ? vgpu_submit(stream, &operation, blocking) : result;
}

CUresult vgpu_cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                             unsigned block_y, unsigned block_z, unsigned shared_bytes, CUstream stream,
                             void **parameters, void **extra) {
  return launch(function, (const unsigned[]){grid_x, grid_y, grid_z}, (const unsigned[]){block_x, block_y, block_z},
                shared_bytes, false, stream, parameters, extra);
}

CUresult vgpu_cuLaunchCooperativeKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                                        CUstream stream, void **parameters) {
  return launch(function, (const unsigned[]){grid_x, grid_y, grid_z}, (const unsigned[]){block_x, block_y, block_z},
                shared_bytes, true, stream, parameters, NULL);
}

/* Whether a launch without the attribute does what one with it is promised. */
static bool is_neutral(const CUlaunchAttribute *attribute) {
  switch ((int)attribute->id) {
    case CU_LAUNCH_ATTRIBUTE_IGNORE:
    case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW: /* hints */
    case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
    case CU_LAUNCH_ATTRIBUTE_PRIORITY:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION:
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION: /* it only allows overlap with the kernel before */
      return true;
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
      return attribute->value.clusterDim.x <= 1 && attribute->value.clusterDim.y <= 1 &&
             attribute->value.clusterDim.z <= 1;
    default:
      return false;
  }
}

CUresult vgpu_cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **parameters, void **extra) {
  if (config == NULL || (config->numAttrs > 0 && config->attrs == NULL)) return vgpu_null();
  bool cooperative = false;
  CUevent event = NULL; /* to be recorded when the kernel is done: a later time than it may be, which is allowed */
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const CUlaunchAttribute *attribute = &config->attrs[i];
    if (attribute->id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE) {
      cooperative = attribute->value.cooperative != 0;
    } else if (attribute->id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT) {
      event = attribute->value.programmaticEvent.event;
    } else if (attribute->id == CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT) {
      event = attribute->value.launchCompletionEvent.event;
    } else if (!is_neutral(attribute)) {
      return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "launch attribute %d", (int)attribute->id);
    }
  }
  CUresult result = launch(function, (const unsigned[]){config->gridDimX, config->gridDimY, config->gridDimZ},
                           (const unsigned[]){config->blockDimX, config->blockDimY, config->blockDimZ},
                           config->sharedMemBytes, cooperative, config->hStream, parameters, extra);
  return result == CUDA_SUCCESS && event != NULL ? vgpu_cuEventRecord(event, config->hStream) : result;
}

/* ---- host functions ---- */

CUresult vgpu_cuLaunchHostFunc(CUstream stream, CUhostFn function, void *argument) {
  if (function == NULL) return vgpu_null();
  return vgpu_submit(
      stream, &(struct operation){.kind = OPERATION_HOST, .host = {.function = function, .argument = argument}}, false);
}

CUresult vgpu_cuStreamAddCallback(CUstream handle, CUstreamCallback function, void *argument, unsigned flags) {
  CUstream stream;
  if (function == NULL) return vgpu_null();
  if (flags != 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "cuStreamAddCallback takes no flags");
  CUresult result = vgpu_stream(handle, &stream);
  if (result == CUDA_SUCCESS) result = vgpu_capture_forbids(stream);
  if (result != CUDA_SUCCESS) return result;
  return vgpu_submit(handle,
                     &(struct operation){.kind = OPERATION_CALLBACK,
                                         .callback = {.function = function, .stream = handle, .argument = argument}},
                     false);
}

/* ---- launches as before CUDA 4: block and parameters are set one by one ---- */

CUresult vgpu_cuFuncSetBlockShape(CUfunction function, int x, int y, int z) {
  CUresult result = check_function(function);
  if (result != CUDA_SUCCESS) return result;
  if (x <= 0 || y <= 0 || z <= 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a dimension is not positive");
  function->block[0] = x;
  function->block[1] = y;
  function->block[2] = z;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuFuncSetSharedSize(CUfunction function, unsigned bytes) {
  CUresult result = check_function(function);
  if (result == CUDA_SUCCESS) function->shared_bytes = bytes;
  return result;
}

CUresult vgpu_cuParamSetSize(CUfunction function, unsigned bytes) {
  CUresult result = check_function(function);
  if (result != CUDA_SUCCESS || bytes <= VGPU_MOST_PARAMETERS) return result;
  return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%u bytes of parameters", bytes);
}

CUresult vgpu_cuParamSetv(CUfunction function, int offset, void *value, unsigned bytes) {
  CUresult result = check_function(function);
  if (result != CUDA_SUCCESS) return result;
  if (value == NULL || offset < 0 || bytes > VGPU_MOST_PARAMETERS || (unsigned)offset > VGPU_MOST_PARAMETERS - bytes) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no value, or one outside the parameters");
  }
  if (function->arguments == NULL) function->arguments = calloc(1, VGPU_MOST_PARAMETERS);
  if (function->arguments == NULL) return vgpu_no_memory();
  memcpy(function->arguments + offset, value, bytes);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuParamSeti(CUfunction function, int offset, unsigned value) {
  return vgpu_cuParamSetv(function, offset, &value, sizeof value);
}

CUresult vgpu_cuParamSetf(CUfunction function, int offset, float value) {
  return vgpu_cuParamSetv(function, offset, &value, sizeof value);
}

CUresult vgpu_cuLaunchGridAsync(CUfunction function, int width, int height, CUstream stream) {
  CUresult result = check_function(function);
  if (result != CUDA_SUCCESS) return result;
  static const unsigned char none[1];
  size_t bytes = function->ptx->parameter_bytes;
  void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, (void *)none, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                   CU_LAUNCH_PARAM_END};
  if (function->arguments != NULL) {
    extra[1] = function->arguments;
  } else if (bytes > 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "kernel %s: no parameter was set", function->ptx->name);
  }
  return launch(
      function, (const unsigned[]){(unsigned)width, (unsigned)height, 1},
      (const unsigned[]){(unsigned)function->block[0], (unsigned)function->block[1], (unsigned)function->block[2]},
      function->shared_bytes, false, stream, NULL, extra);
}

CUresult vgpu_cuLaunchGrid(CUfunction function, int width, int height) {
  return vgpu_cuLaunchGridAsync(function, width, height, NULL);
}

CUresult vgpu_cuLaunch(CUfunction function) { return vgpu_cuLaunchGridAsync(function, 1, 1, NULL); }
