/* Driver API: modules and libraries, their functions and variables, occupancy.
 *
 * A library is a module that belongs to no context, and a kernel of a library is a function: the handles are the same
 * objects, so that either can be launched. */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/api.h"
#include "engine/vgpu/count.h"
#include "engine/vgpu/fatbin.h"
#include "engine/vgpu/launcher.h"
#include "engine/vgpu/observe.h"
#include "engine/vgpu/ptx.h"
#include "engine/vgpu/regions.h"
#include "engine/vgpu/registers.h"
#include "engine/vgpu/stream_queue.h"
#include "engine/vgpu/vgpu.h"

static CUmodule modules; /* all that are loaded, under vgpu_lock() */

/* What the kernel's own arrays take of shared memory; red zones between them do not count. */
static uint32_t static_shared(const struct ptx_function *ptx) { return ptx->shared_bytes - ptx->shared_padding; }

/* ---- loading ---- */

static void destroy(CUmodule module) {
  handle_remove(module);
  if (module->functions != NULL) {
    for (uint32_t i = 0; i < module->ptx->function_count; ++i) {
      handle_remove(&module->functions[i]);
      launcher_discard(&module->functions[i]);
      free(module->functions[i].arguments);
    }
    free(module->functions);
  }
  if (module->ptx != NULL) {
    if (module->ptx->segment != NULL) regions_free(REGION_MODULE, (uint64_t)module->ptx->segment);
    ptx_free(module->ptx);
  }
  free(module);
}

CUresult vgpu_image_text(const void *image, size_t size, const char **text, char **unpacked) {
  *unpacked = NULL;
  *text = image;
  if (strncmp(image, "\177ELF", 4) == 0) {
    return vgpu_fail(CUDA_ERROR_NO_BINARY_FOR_GPU,
                     "the image is machine code for a real GPU; the virtual GPU takes PTX");
  }
  if (!fatbin_is(image)) return CUDA_SUCCESS;
  char reason[300];
  *text = *unpacked = fatbin_ptx(image, size, (unsigned)vgpu_capability(), reason, sizeof reason);
  if (*text != NULL) return CUDA_SUCCESS;
  return vgpu_fail(CUDA_ERROR_NO_BINARY_FOR_GPU, "the image is a fatbin: %s", reason);
}

/* `size`: bytes of the image, or 0 if not known. */
static CUresult load(CUmodule *result, CUcontext context, const void *image, size_t size) {
  const char *text;
  char *unpacked;
  CUresult status = vgpu_image_text(image, size, &text, &unpacked);
  if (status != CUDA_SUCCESS) return status;
  CUmodule module = calloc(1, sizeof *module);
  if (module == NULL) {
    free(unpacked);
    return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory for a module");
  }
  module->context = context;
  struct ptx_error error = {.line = 0};
  module->ptx = ptx_parse_spaced(text, strlen(text), observe_red_zone(), &error);
  if (module->ptx != NULL && vgpu_current_mode() == VGPU_MODE_COUNT) count_module(module->ptx, text);
  free(unpacked);
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
    int shared = vgpu_attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK) - (int)static_shared(function->ptx);
    function->dynamic_shared_limit = shared > 0 ? shared : 0;
    function->carveout = -1;
    status = launcher_prepare(function);
    if (status == CUDA_SUCCESS && !handle_add(function, HANDLE_FUNCTION)) status = vgpu_no_memory();
  }
  if (status == CUDA_SUCCESS && !handle_add(module, HANDLE_MODULE)) status = vgpu_no_memory();

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

static CUresult load_current(CUmodule *module, const void *image, size_t size) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (module == NULL || image == NULL)
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no image or no place for the module");
  return load(module, context, image, size);
}

CUresult vgpu_cuModuleLoadData(CUmodule *module, const void *image) { return load_current(module, image, 0); }

CUresult vgpu_cuModuleLoadFatBinary(CUmodule *module, const void *image) {
  if (image != NULL && !fatbin_is(image)) return vgpu_fail(CUDA_ERROR_INVALID_IMAGE, "the image is no fatbin");
  return load_current(module, image, 0);
}

/* Only the log buffers mean anything here; the other options steer code generation for real GPUs. */
void vgpu_jit_log(CUresult result, unsigned count, const CUjit_option *options, void **values) {
  char *log = NULL;
  size_t size = 0;
  void **used = NULL, **info_used = NULL;
  for (unsigned i = 0; i < count; ++i) {
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER) log = values[i];
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) size = (size_t)(uintptr_t) * (used = &values[i]);
    if (options[i] == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES) info_used = &values[i];
  }
  if (log != NULL && size > 0) snprintf(log, size, "%s", result != CUDA_SUCCESS ? vgpu_last_message() : "");
  if (used != NULL) *used = (void *)(uintptr_t)(log != NULL && size > 0 ? strlen(log) : 0);
  if (info_used != NULL) *info_used = NULL; /* nothing is ever written there */
}

CUresult vgpu_cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned count, CUjit_option *options,
                                 void **values) {
  CUresult result = vgpu_cuModuleLoadData(module, image);
  vgpu_jit_log(result, count, options, values);
  return result;
}

CUresult vgpu_read_file(const char *name, char **content, size_t *content_bytes) {
  *content = NULL;
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
  if (text == NULL) return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory for %s", name);
  text[size] = '\0';
  if (size < 4) {
    free(text);
    return vgpu_fail(CUDA_ERROR_INVALID_IMAGE, "%s holds no module", name);
  }
  *content = text;
  *content_bytes = size;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuModuleLoad(CUmodule *module, const char *name) {
  char *content;
  size_t size;
  CUresult result = vgpu_read_file(name, &content, &size);
  if (result != CUDA_SUCCESS) return result;
  result = load_current(module, content, size);
  free(content);
  return result;
}

static CUresult check_module(CUmodule module) {
  CUresult result = vgpu_check_device(0);
  if (result != CUDA_SUCCESS || handle_is(module, HANDLE_MODULE)) return result;
  return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "%p is no module; it may have been unloaded", (void *)module);
}

static CUresult check_function(CUfunction function) {
  CUresult result = vgpu_check_device(0);
  if (result != CUDA_SUCCESS || handle_is(function, HANDLE_FUNCTION)) return result;
  return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "%p is no function; its module may have been unloaded", (void *)function);
}

CUresult vgpu_cuModuleUnload(CUmodule module) {
  CUresult result = check_module(module);
  if (result != CUDA_SUCCESS) return result;
  queues_wait(NULL); /* its kernels may be about to run */
  vgpu_lock();
  unlink_module(module);
  vgpu_unlock();
  destroy(module);
  return CUDA_SUCCESS;
}

/* ---- what is in a module ---- */

CUresult vgpu_cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  CUresult checked = check_module(module);
  if (checked != CUDA_SUCCESS) return checked;
  if (function == NULL || module == NULL || name == NULL) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "module, name or the place for the function is NULL");
  }
  const struct ptx_function *found = ptx_find_function(module->ptx, name);
  if (found == NULL) return vgpu_fail(CUDA_ERROR_NOT_FOUND, "the module has no kernel named %s", name);
  *function = &module->functions[found - module->ptx->functions];
  return CUDA_SUCCESS;
}

CUresult vgpu_cuModuleGetGlobal_v2(CUdeviceptr *pointer, size_t *bytes, CUmodule module, const char *name) {
  CUresult checked = check_module(module);
  if (checked != CUDA_SUCCESS) return checked;
  if (module == NULL || name == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "module or name is NULL");
  const struct ptx_variable *found = ptx_find_variable(module->ptx, name);
  if (found == NULL) return vgpu_fail(CUDA_ERROR_NOT_FOUND, "the module has no variable named %s", name);
  if (pointer != NULL) *pointer = (CUdeviceptr)(module->ptx->segment + found->offset);
  if (bytes != NULL) *bytes = found->size;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuFuncGetModule(CUmodule *module, CUfunction function) {
  CUresult checked = check_function(function);
  if (checked != CUDA_SUCCESS) return checked;
  if (module == NULL || function == NULL) return vgpu_null();
  *module = function->module;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuFuncGetName(const char **name, CUfunction function) {
  CUresult checked = check_function(function);
  if (checked != CUDA_SUCCESS) return checked;
  if (name == NULL || function == NULL) return vgpu_null();
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

/* An estimate: there is no register file to fill, so nothing depends on it. */
static int count_registers(const struct ptx_function *ptx) {
  const unsigned alive = registers_alive(ptx), most = ptx->max_registers != 0 ? ptx->max_registers : 255;
  return (int)(alive < most ? alive : most);
}

static uint64_t constant_bytes(const struct ptx_module *ptx) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < ptx->variable_count; ++i) {
    if (ptx->variables[i].space == PTX_CONST) bytes += ptx->variables[i].size;
  }
  return bytes;
}

CUresult vgpu_cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
  CUresult checked = check_function(function);
  if (checked != CUDA_SUCCESS) return checked;
  if (value == NULL || function == NULL) return vgpu_null();
  switch ((int)attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *value = most_threads(function->ptx);
      break;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
      *value = (int)static_shared(function->ptx);
      break;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
      *value = (int)function->ptx->local_bytes;
      break;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
      *value = (int)constant_bytes(function->module->ptx);
      break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
      *value = count_registers(function->ptx);
      break;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
      *value = (int)function->module->ptx->target;
      break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
      *value = function->dynamic_shared_limit;
      break;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
      *value = function->carveout;
      break;
    default:
      if (attribute < 0 || attribute >= CU_FUNC_ATTRIBUTE_MAX) {
        return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%d is no attribute of a function", (int)attribute);
      }
      *value = 0; /* of clusters, of which there are none */
  }
  return CUDA_SUCCESS;
}

CUresult vgpu_cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  CUresult checked = check_function(function);
  if (checked != CUDA_SUCCESS) return checked;
  if (function == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the function is NULL");
  if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) { /* a hint, in percent */
    if (value < -1 || value > 100) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%d percent", value);
    function->carveout = value;
    return CUDA_SUCCESS;
  }
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "function attribute %d cannot be set", (int)attribute);
  }
  int most = vgpu_attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN) - (int)static_shared(function->ptx);
  if (value < 0 || value > most) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE,
                     "kernel %s: %d bytes of dynamic shared memory; the device allows %d more", function->ptx->name,
                     value, most);
  }
  function->dynamic_shared_limit = value;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuFuncSetCacheConfig(CUfunction function, CUfunc_cache config) {
  CUresult checked = check_function(function);
  if (checked != CUDA_SUCCESS) return checked;
  (void)config; /* a hint */
  return function != NULL ? CUDA_SUCCESS : vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the function is NULL");
}

CUresult vgpu_cuModuleGetFunctionCount(unsigned *count, CUmodule module) {
  CUresult checked = check_module(module);
  if (checked != CUDA_SUCCESS) return checked;
  if (count == NULL || module == NULL) return vgpu_null();
  *count = module->ptx->function_count;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuModuleEnumerateFunctions(CUfunction *functions, unsigned count, CUmodule module) {
  CUresult checked = check_module(module);
  if (checked != CUDA_SUCCESS) return checked;
  if (functions == NULL || module == NULL) return vgpu_null();
  for (unsigned i = 0; i < count && i < module->ptx->function_count; ++i) functions[i] = &module->functions[i];
  return CUDA_SUCCESS;
}

CUresult vgpu_cuModuleGetLoadingMode(CUmoduleLoadingMode *mode) {
  if (mode == NULL) return vgpu_null();
  *mode = CU_MODULE_EAGER_LOADING;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuFuncIsLoaded(CUfunctionLoadingState *state, CUfunction function) {
  CUresult checked = check_function(function);
  if (checked != CUDA_SUCCESS) return checked;
  if (state == NULL || function == NULL) return vgpu_null();
  *state = CU_FUNCTION_LOADING_STATE_LOADED;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuFuncLoad(CUfunction function) {
  CUresult checked = check_function(function);
  if (checked != CUDA_SUCCESS) return checked;
  return function != NULL ? CUDA_SUCCESS : vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the function is NULL");
}

CUresult vgpu_cuFuncGetParamInfo(CUfunction function, size_t index, size_t *offset, size_t *size) {
  CUresult checked = check_function(function);
  if (checked != CUDA_SUCCESS) return checked;
  if (function == NULL || offset == NULL) return vgpu_null();
  if (index >= function->ptx->parameter_count) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "kernel %s: it has %u parameters", function->ptx->name,
                     function->ptx->parameter_count);
  }
  *offset = function->ptx->parameters[index].offset;
  if (size != NULL) *size = function->ptx->parameters[index].size;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuFuncSetSharedMemConfig(CUfunction function, CUsharedconfig config) {
  CUresult checked = check_function(function);
  if (checked != CUDA_SUCCESS) return checked;
  (void)config; /* the width of banks has not been selectable since compute capability 5.0 */
  return function != NULL ? CUDA_SUCCESS : vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the function is NULL");
}

/* ---- libraries ---- */

static CUmodule of_library(CUlibrary library) { return (CUmodule)(void *)library; }
static CUfunction of_kernel(CUkernel kernel) { return (CUfunction)(void *)kernel; }

CUresult vgpu_cuLibraryLoadData(CUlibrary *library, const void *image, CUjit_option *options, void **values,
                                unsigned option_count, CUlibraryOption *library_options, void **library_values,
                                unsigned library_option_count) {
  (void)library_options; /* CU_LIBRARY_BINARY_IS_PRESERVED and such: nothing of the image is kept */
  (void)library_values;
  (void)library_option_count;
  if (library == NULL || image == NULL) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no image or no place for the library");
  }
  CUmodule module = NULL;
  CUresult result = load(&module, NULL, image, 0);
  vgpu_jit_log(result, option_count, options, values);
  if (result == CUDA_SUCCESS) *library = (CUlibrary)(void *)module;
  return result;
}

CUresult vgpu_cuLibraryLoadFromFile(CUlibrary *library, const char *name, CUjit_option *options, void **values,
                                    unsigned option_count, CUlibraryOption *library_options, void **library_values,
                                    unsigned library_option_count) {
  char *content;
  size_t size;
  CUresult result = vgpu_read_file(name, &content, &size);
  if (result != CUDA_SUCCESS) return result;
  result = vgpu_cuLibraryLoadData(library, content, options, values, option_count, library_options, library_values,
                                  library_option_count);
  free(content);
  return result;
}

CUresult vgpu_cuLibraryUnload(CUlibrary library) { return vgpu_cuModuleUnload(of_library(library)); }

CUresult vgpu_cuLibraryGetModule(CUmodule *module, CUlibrary library) {
  CUresult checked = check_module(of_library(library));
  if (checked != CUDA_SUCCESS) return checked;
  if (module == NULL || library == NULL) return vgpu_null();
  *module = of_library(library);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuLibraryGetKernel(CUkernel *kernel, CUlibrary library, const char *name) {
  CUfunction function = NULL;
  if (kernel == NULL) return vgpu_null();
  CUresult result = vgpu_cuModuleGetFunction(&function, of_library(library), name);
  if (result == CUDA_SUCCESS) *kernel = (CUkernel)(void *)function;
  return result;
}

CUresult vgpu_cuLibraryGetKernelCount(unsigned *count, CUlibrary library) {
  return vgpu_cuModuleGetFunctionCount(count, of_library(library));
}

CUresult vgpu_cuLibraryEnumerateKernels(CUkernel *kernels, unsigned count, CUlibrary library) {
  return vgpu_cuModuleEnumerateFunctions((CUfunction *)(void *)kernels, count, of_library(library));
}

CUresult vgpu_cuLibraryGetGlobal(CUdeviceptr *pointer, size_t *bytes, CUlibrary library, const char *name) {
  return vgpu_cuModuleGetGlobal_v2(pointer, bytes, of_library(library), name);
}

CUresult vgpu_cuLibraryGetManaged(CUdeviceptr *pointer, size_t *bytes, CUlibrary library, const char *name) {
  return vgpu_cuModuleGetGlobal_v2(pointer, bytes, of_library(library), name);
}

CUresult vgpu_cuKernelGetFunction(CUfunction *function, CUkernel kernel) {
  CUresult checked = check_function(of_kernel(kernel));
  if (checked != CUDA_SUCCESS) return checked;
  if (function == NULL || kernel == NULL) return vgpu_null();
  *function = of_kernel(kernel);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuKernelGetLibrary(CUlibrary *library, CUkernel kernel) {
  CUresult checked = check_function(of_kernel(kernel));
  if (checked != CUDA_SUCCESS) return checked;
  if (library == NULL || kernel == NULL) return vgpu_null();
  *library = (CUlibrary)(void *)of_kernel(kernel)->module;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuKernelGetName(const char **name, CUkernel kernel) {
  return vgpu_cuFuncGetName(name, of_kernel(kernel));
}

CUresult vgpu_cuKernelGetAttribute(int *value, CUfunction_attribute attribute, CUkernel kernel, CUdevice device) {
  if (device != 0) return vgpu_fail(CUDA_ERROR_INVALID_DEVICE, "there is one virtual GPU, number 0, not %d", device);
  return vgpu_cuFuncGetAttribute(value, attribute, of_kernel(kernel));
}

CUresult vgpu_cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel kernel, CUdevice device) {
  if (device != 0) return vgpu_fail(CUDA_ERROR_INVALID_DEVICE, "there is one virtual GPU, number 0, not %d", device);
  return vgpu_cuFuncSetAttribute(of_kernel(kernel), attribute, value);
}

CUresult vgpu_cuKernelSetCacheConfig(CUkernel kernel, CUfunc_cache config, CUdevice device) {
  CUresult checked = check_function(of_kernel(kernel));
  if (checked != CUDA_SUCCESS) return checked;
  (void)device;
  return vgpu_cuFuncSetCacheConfig(of_kernel(kernel), config);
}

CUresult vgpu_cuKernelGetParamInfo(CUkernel kernel, size_t index, size_t *offset, size_t *size) {
  return vgpu_cuFuncGetParamInfo(of_kernel(kernel), index, offset, size);
}

/* ---- occupancy: what threads and shared memory allow ---- */

CUresult vgpu_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction function, int block_size,
                                                                   size_t shared_bytes, unsigned flags) {
  CUresult checked = check_function(function);
  if (checked != CUDA_SUCCESS) return checked;
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
  const size_t shared = shared_bytes + static_shared(function->ptx) +
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

/* As NVIDIA's cuda_occupancy.h searches: the block size with the most resident threads, the larger one of equals. */
CUresult vgpu_cuOccupancyMaxPotentialBlockSizeWithFlags(int *grid_size, int *block_size, CUfunction function,
                                                        CUoccupancyB2DSize shared_of, size_t shared_bytes, int limit,
                                                        unsigned flags) {
  CUresult checked = check_function(function);
  if (checked != CUDA_SUCCESS) return checked;
  if (grid_size == NULL || block_size == NULL || function == NULL) {
    return vgpu_null();
  }
  const int most = most_threads(function->ptx), bound = limit > 0 && limit < most ? limit : most;
  int best = 0;
  *grid_size = *block_size = 0;
  for (int size = (bound + 31) / 32 * 32; size > 0; size -= 32) {
    const int tried = size < bound ? size : bound;
    int blocks = 0;
    CUresult result = vgpu_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        &blocks, function, tried, shared_of != NULL ? shared_of(tried) : shared_bytes, flags);
    if (result != CUDA_SUCCESS) return result;
    if (blocks * tried <= best) continue;
    best = blocks * tried;
    *block_size = tried;
    *grid_size = blocks * vgpu_attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  }
  return CUDA_SUCCESS;
}

CUresult vgpu_cuOccupancyMaxPotentialBlockSize(int *grid_size, int *block_size, CUfunction function,
                                               CUoccupancyB2DSize shared_of, size_t shared_bytes, int limit) {
  return vgpu_cuOccupancyMaxPotentialBlockSizeWithFlags(grid_size, block_size, function, shared_of, shared_bytes, limit,
                                                        0);
}

CUresult vgpu_cuOccupancyAvailableDynamicSMemPerBlock(size_t *bytes, CUfunction function, int blocks, int block_size) {
  CUresult checked = check_function(function);
  if (checked != CUDA_SUCCESS) return checked;
  if (bytes == NULL || function == NULL || blocks <= 0 || block_size <= 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a pointer is NULL or a number is not positive");
  }
  const long reserved = vgpu_attribute(CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK);
  const long whole = vgpu_attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
  const long most = vgpu_attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  long each = whole / blocks / 128 * 128 - reserved; /* given out in units of 128 bytes */
  if (each > most) each = most;
  each -= (long)static_shared(function->ptx);
  *bytes = each > 0 ? (size_t)each : 0;
  return CUDA_SUCCESS;
}
