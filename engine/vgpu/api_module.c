/* Driver API: modules, their functions and variables, occupancy. */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/api.h"
#include "engine/vgpu/launcher.h"
#include "engine/vgpu/ptx.h"
#include "engine/vgpu/regions.h"
#include "engine/vgpu/vgpu.h"

static CUmodule modules; /* all that are loaded, under vgpu_lock() */

/* ---- loading ---- */

static void destroy(CUmodule module) {
  if (module->functions != NULL) {
    for (uint32_t i = 0; i < module->ptx->function_count; ++i) launcher_discard(&module->functions[i]);
    free(module->functions);
  }
  if (module->ptx != NULL) {
    if (module->ptx->segment != NULL) regions_free(REGION_MODULE, (uint64_t)module->ptx->segment);
    ptx_free(module->ptx);
  }
  free(module);
}

static CUresult load(CUmodule *result, CUcontext context, const char *image) {
  static const char elf[] = "\177ELF", fatbin[] = "\x50\xed\x55\xba";
  if (strncmp(image, elf, 4) == 0 || strncmp(image, fatbin, 4) == 0) {
    return vgpu_fail(CUDA_ERROR_NO_BINARY_FOR_GPU,
                     "the image is machine code for a real GPU; the virtual GPU takes PTX");
  }
  CUmodule module = calloc(1, sizeof *module);
  if (module == NULL) return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory for a module");
  module->context = context;
  CUresult status = CUDA_SUCCESS;
  struct ptx_error error = {.line = 0};
  module->ptx = ptx_parse(image, strlen(image), &error);
  if (module->ptx == NULL) {
    status = vgpu_fail(CUDA_ERROR_INVALID_PTX, "PTX line %u: %s", error.line, error.reason);
    goto done;
  }
  if (module->ptx->target > (unsigned)vgpu_capability()) {
    status = vgpu_fail(CUDA_ERROR_NO_BINARY_FOR_GPU, "the PTX is for sm_%u; the virtual GPU stands for sm_%d",
                       module->ptx->target, vgpu_capability());
    goto done;
  }
  void *segment = NULL;
  if (module->ptx->segment_bytes > 0) {
    segment = regions_allocate(REGION_MODULE, module->ptx->segment_bytes, context);
    if (segment == NULL) {
      status = vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "%llu bytes for the module's variables",
                         (unsigned long long)module->ptx->segment_bytes);
      goto done;
    }
  }
  ptx_place(module->ptx, segment);
  module->functions = calloc(module->ptx->function_count + 1, sizeof *module->functions);
  if (module->functions == NULL) {
    status = vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory for a module");
    goto done;
  }
  for (uint32_t i = 0; i < module->ptx->function_count && status == CUDA_SUCCESS; ++i) {
    CUfunction function = &module->functions[i];
    function->module = module;
    function->ptx = &module->ptx->functions[i];
    int shared = vgpu_attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK) - (int)function->ptx->shared_bytes;
    function->dynamic_shared_limit = shared > 0 ? shared : 0;
    status = launcher_prepare(function);
  }

done:
  if (status != CUDA_SUCCESS) {
    destroy(module);
    return status;
  }
  vgpu_lock();
  module->next = modules;
  modules = module;
  vgpu_unlock();
  *result = module;
  return CUDA_SUCCESS;
}

static void unlink_module(CUmodule module) {
  for (CUmodule *at = &modules; *at != NULL; at = &(*at)->next) {
    if (*at == module) {
      *at = module->next;
      return;
    }
  }
}

void vgpu_modules_unload_all(CUcontext context) {
  for (;;) {
    vgpu_lock();
    CUmodule module = modules;
    while (module != NULL && module->context != context) module = module->next;
    if (module != NULL) unlink_module(module);
    vgpu_unlock();
    if (module == NULL) return;
    destroy(module);
  }
}

CUresult vgpu_cuModuleLoadData(CUmodule *module, const void *image) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (module == NULL || image == NULL)
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no image or no place for the module");
  return load(module, context, image);
}

CUresult vgpu_cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned count, CUjit_option *options,
                                 void **values) {
  /* Only the log buffers mean anything here; the other options steer code generation for real GPUs. */
  char *log = NULL;
  size_t size = 0;
  void **used = NULL, **info_used = NULL;
  for (unsigned i = 0; i < count; ++i) {
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER) log = values[i];
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) size = (size_t)(uintptr_t) * (used = &values[i]);
    if (options[i] == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES) info_used = &values[i];
  }
  CUresult result = vgpu_cuModuleLoadData(module, image);
  if (log != NULL && size > 0) snprintf(log, size, "%s", result != CUDA_SUCCESS ? vgpu_last_message() : "");
  if (used != NULL) *used = (void *)(uintptr_t)(log != NULL && size > 0 ? strlen(log) : 0);
  if (info_used != NULL) *info_used = NULL; /* nothing is ever written there */
  return result;
}

CUresult vgpu_cuModuleLoad(CUmodule *module, const char *name) {
  if (name == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no file name");
  FILE *file = fopen(name, "rb");
  if (file == NULL) return vgpu_fail(CUDA_ERROR_FILE_NOT_FOUND, "%s cannot be opened", name);
  char *text = NULL;
  size_t size = 0, capacity = 0, part;
  do {
    if (capacity - size < 65536) {
      capacity = 2 * capacity + 131072;
      char *larger = realloc(text, capacity);
      if (larger == NULL) break;
      text = larger;
    }
    part = fread(text + size, 1, capacity - size - 1, file);
    size += part;
  } while (part > 0);
  fclose(file);
  CUresult result = CUDA_ERROR_OUT_OF_MEMORY;
  if (text == NULL) {
    vgpu_fail(result, "no host memory for %s", name);
  } else {
    text[size] = '\0';
    result = size >= 4 ? vgpu_cuModuleLoadData(module, text)
                       : vgpu_fail(CUDA_ERROR_INVALID_IMAGE, "%s holds no module", name);
  }
  free(text);
  return result;
}

CUresult vgpu_cuModuleUnload(CUmodule module) {
  if (module == NULL) return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "the module is NULL");
  vgpu_lock();
  unlink_module(module);
  vgpu_unlock();
  destroy(module);
  return CUDA_SUCCESS;
}

/* ---- what is in a module ---- */

CUresult vgpu_cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  if (function == NULL || module == NULL || name == NULL) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "module, name or the place for the function is NULL");
  }
  const struct ptx_function *found = ptx_find_function(module->ptx, name);
  if (found == NULL) return vgpu_fail(CUDA_ERROR_NOT_FOUND, "the module has no kernel named %s", name);
  *function = &module->functions[found - module->ptx->functions];
  return CUDA_SUCCESS;
}

CUresult vgpu_cuModuleGetGlobal_v2(CUdeviceptr *pointer, size_t *bytes, CUmodule module, const char *name) {
  if (module == NULL || name == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "module or name is NULL");
  const struct ptx_variable *found = ptx_find_variable(module->ptx, name);
  if (found == NULL) return vgpu_fail(CUDA_ERROR_NOT_FOUND, "the module has no variable named %s", name);
  if (pointer != NULL) *pointer = (CUdeviceptr)(module->ptx->segment + found->offset);
  if (bytes != NULL) *bytes = found->size;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuFuncGetModule(CUmodule *module, CUfunction function) {
  if (module == NULL || function == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a pointer is NULL");
  *module = function->module;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuFuncGetName(const char **name, CUfunction function) {
  if (name == NULL || function == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a pointer is NULL");
  *name = function->ptx->name;
  return CUDA_SUCCESS;
}

static int most_threads(const struct ptx_function *ptx) {
  const uint32_t *bound = ptx->required_threads[0] != 0 ? ptx->required_threads : ptx->max_threads;
  unsigned long long most = 1024;
  if (bound[0] != 0) {
    unsigned long long product = 1;
    for (int i = 0; i < 3; ++i) product *= bound[i] != 0 ? bound[i] : 1;
    if (product < most) most = product;
  }
  return (int)most;
}

CUresult vgpu_cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
  if (value == NULL || function == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a pointer is NULL");
  switch ((int)attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *value = most_threads(function->ptx);
      break;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
      *value = (int)function->ptx->shared_bytes;
      break;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
      *value = (int)function->ptx->local_bytes;
      break;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
      *value = (int)function->module->ptx->target;
      break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
      *value = function->dynamic_shared_limit;
      break;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
      *value = -1;
      break;
    default:
      *value = 0; /* NUM_REGS among them: there is no register file to fill */
  }
  return CUDA_SUCCESS;
}

CUresult vgpu_cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  if (function == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the function is NULL");
  if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) return CUDA_SUCCESS; /* a hint */
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "function attribute %d cannot be set", (int)attribute);
  }
  int most = vgpu_attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN) - (int)function->ptx->shared_bytes;
  if (value < 0 || value > most) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE,
                     "kernel %s: %d bytes of dynamic shared memory; the device allows %d more", function->ptx->name,
                     value, most);
  }
  function->dynamic_shared_limit = value;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuFuncSetCacheConfig(CUfunction function, CUfunc_cache config) {
  (void)config; /* a hint */
  return function != NULL ? CUDA_SUCCESS : vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the function is NULL");
}

/* ---- occupancy: what threads and shared memory allow ---- */

CUresult vgpu_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction function, int block_size,
                                                                   size_t shared_bytes, unsigned flags) {
  (void)flags;
  if (blocks == NULL || function == NULL || block_size <= 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a pointer is NULL or the block size is not positive");
  }
  *blocks = 0;
  if (block_size > most_threads(function->ptx)) return CUDA_SUCCESS;
  const int warps = (block_size + 31) / 32;
  int most = vgpu_attribute(CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR);
  const int by_threads = vgpu_attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR) / (32 * warps);
  if (by_threads < most) most = by_threads;
  const size_t shared = shared_bytes + function->ptx->shared_bytes +
                        (size_t)vgpu_attribute(CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK);
  const size_t available = (size_t)vgpu_attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
  if (shared > 0 && available / shared < (size_t)most) most = (int)(available / shared);
  *blocks = most;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int block_size,
                                                          size_t shared_bytes) {
  return vgpu_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, block_size, shared_bytes, 0);
}
