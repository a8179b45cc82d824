/* Driver API: initialisation, errors, the one device, contexts. */
#define _GNU_SOURCE 1
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/api.h"
#include "engine/vgpu/executor.h"
#include "engine/vgpu/launcher.h"
#include "engine/vgpu/observe.h"
#include "engine/vgpu/regions.h"
#include "engine/vgpu/vgpu.h"
#include "engine/vgpu/workers.h"

/* ---- errors ---- */

/* X(code, text): the codes this implementation can return, and what the NVIDIA driver says of them. */
#define ERROR_LIST(X)                                                                                         \
  X(CUDA_SUCCESS, "no error")                                                                                 \
  X(CUDA_ERROR_INVALID_VALUE, "invalid argument")                                                             \
  X(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")                                                                \
  X(CUDA_ERROR_NOT_INITIALIZED, "initialization error")                                                       \
  X(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected")                                               \
  X(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal")                                                      \
  X(CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid")                                               \
  X(CUDA_ERROR_INVALID_CONTEXT, "invalid device context")                                                     \
  X(CUDA_ERROR_NO_BINARY_FOR_GPU, "no kernel image is available for execution on the device")                 \
  X(CUDA_ERROR_INVALID_PTX, "a PTX JIT compilation failed")                                                   \
  X(CUDA_ERROR_FILE_NOT_FOUND, "file not found")                                                              \
  X(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle")                                                     \
  X(CUDA_ERROR_NOT_FOUND, "named symbol not found")                                                           \
  X(CUDA_ERROR_NOT_READY, "device not ready")                                                                 \
  X(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered")                                   \
  X(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch")                            \
  X(CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE, "cannot set while device is active in this process")                   \
  X(CUDA_ERROR_CONTEXT_IS_DESTROYED, "context is destroyed")                                                  \
  X(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "part or all of the requested memory range is already mapped") \
  X(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "pointer does not correspond to a registered memory region")       \
  X(CUDA_ERROR_ILLEGAL_INSTRUCTION, "an illegal instruction was encountered")                                 \
  X(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure")                                                   \
  X(CUDA_ERROR_ASSERT, "device-side assert triggered")                                                        \
  X(CUDA_ERROR_LAUNCH_TIMEOUT, "the launch timed out and was terminated")                                     \
  X(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, "too many blocks in cooperative launch")                         \
  X(CUDA_ERROR_NOT_SUPPORTED, "operation not supported")                                                      \
  X(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing")                \
  X(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "operation failed due to a previous error during capture")         \
  X(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "capture was not initiated in this stream")                          \
  X(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "capturing stream has unjoined work")                                 \
  X(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,                                                                       \
    "operation would make the legacy stream depend on a capturing blocking stream")                           \
  X(CUDA_ERROR_CAPTURED_EVENT, "operation not permitted on an event last recorded in a capturing stream")     \
  X(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD,                                                                   \
    "attempt to terminate a thread-local capture sequence from another thread")                               \
  X(CUDA_ERROR_UNKNOWN, "unknown error")

static _Thread_local char last_message[1024];

CUresult vgpu_fail(CUresult result, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(last_message, sizeof last_message, format, arguments);
  va_end(arguments);
  return result;
}

const char *vgpu_last_message(void) { return last_message; }

CUresult vgpu_cuGetErrorString(CUresult error, const char **text) {
  switch ((int)error) {
#define TEXT(code, string) \
  case code:               \
    *text = string;        \
    return CUDA_SUCCESS;
    ERROR_LIST(TEXT)
#undef TEXT
  }
  *text = NULL;
  return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%d is no error code of the virtual GPU", (int)error);
}

CUresult vgpu_cuGetErrorName(CUresult error, const char **text) {
  switch ((int)error) {
#define NAME(code, string) \
  case code:               \
    *text = #code;         \
    return CUDA_SUCCESS;
    ERROR_LIST(NAME)
#undef NAME
  }
  *text = NULL;
  return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%d is no error code of the virtual GPU", (int)error);
}

/* ---- entry points by name ---- */

struct entry_point {
  const char *name;
  void (*function)(void);
};

static const struct entry_point entry_points[] = {
#define ENTRY(name) {#name, (void (*)(void))vgpu_##name},
    VGPU_API_LIST(ENTRY)
#undef ENTRY
};

void *vgpu_symbol(const char *name) {
  for (size_t i = 0; i < sizeof entry_points / sizeof *entry_points; ++i) {
    if (strcmp(entry_points[i].name, name) != 0) continue;
    void *address; /* POSIX lets a function's address stand in a void *; ISO C knows no cast for it */
    memcpy(&address, (const void *)&entry_points[i].function, sizeof address);
    return address;
  }
  return NULL;
}

CUresult vgpu_cuGetProcAddress_v2(const char *symbol, void **function, int version, cuuint64_t flags,
                                  CUdriverProcAddressQueryResult *status) {
  (void)flags;
  if (symbol == NULL || function == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no symbol or no place for it");
  void *found = NULL;
  for (int number = 4; number >= 2 && found == NULL; --number) {
    char name[128];
    snprintf(name, sizeof name, "%s_v%d", symbol, number);
    /* The only function listed in two forms whose parameters differ; the newer came with CUDA 12.5. */
    if (strcmp(name, "cuCtxCreate_v4") == 0 && version < 12050) continue;
    found = vgpu_symbol(name);
  }
  if (found == NULL) found = vgpu_symbol(symbol);
  *function = found;
  if (status != NULL) *status = found != NULL ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  return found != NULL ? CUDA_SUCCESS : vgpu_fail(CUDA_ERROR_NOT_FOUND, "the virtual GPU has no function %s", symbol);
}

CUresult vgpu_cuGetProcAddress(const char *symbol, void **function, int version, cuuint64_t flags) {
  return vgpu_cuGetProcAddress_v2(symbol, function, version, flags, NULL);
}

/* ---- the device ---- */

static pthread_mutex_t objects = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool initialised;

void vgpu_lock(void) { pthread_mutex_lock(&objects); }
void vgpu_unlock(void) { pthread_mutex_unlock(&objects); }

/* What differs between the architectures that can be posed as; CUDA programming guide, "Technical specifications per
 * compute capability". */
static const struct {
  int capability, shared_kib, threads, blocks; /* most per multiprocessor */
} architectures[] = {{75, 64, 1024, 16},   {80, 164, 2048, 32}, {86, 100, 1536, 16},  {87, 164, 1536, 16},
                     {89, 100, 1536, 24},  {90, 228, 2048, 32}, {100, 228, 2048, 32}, {103, 228, 2048, 32},
                     {110, 228, 1536, 24}, {120, 100, 1536, 24}};

static int architecture = -1;
static pthread_once_t architecture_once = PTHREAD_ONCE_INIT;

/* The newest architecture that is not newer than the setting. */
static void choose_architecture(void) {
  const char *setting = getenv("NOPROP_VGPU_CAPABILITY");
  int wanted = setting != NULL ? atoi(setting) : 0;
  if (wanted < 75 || wanted > 120) wanted = 86;
  architecture = 0;
  for (int i = 0; i < (int)(sizeof architectures / sizeof *architectures); ++i) {
    if (architectures[i].capability <= wanted) architecture = i;
  }
}

int vgpu_capability(void) {
  pthread_once(&architecture_once, choose_architecture);
  return architectures[architecture].capability;
}

int vgpu_attribute(CUdevice_attribute attribute) {
  const int capability = vgpu_capability();
  const int shared = architectures[architecture].shared_kib * 1024;
  switch ((int)attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y:
      return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z:
      return 64;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
      return 2147483647;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z:
      return 65535;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
      return 49152;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: /* 1 KiB is the system's; on 7.5 nothing */
      return capability == 75 ? shared : shared - 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
      return shared;
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK:
      return capability == 75 ? 0 : 1024;
    case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY:
      return 65536;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
      return 32;
    case CU_DEVICE_ATTRIBUTE_MAX_PITCH:
      return 2147483647;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR:
      return 65536;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
      return 1000000; /* kHz; nominal: no claim about time is made */
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE:
      return 1000000; /* kHz */
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH:
      return 64;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
      return 4 << 20;
    case CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT:
    case CU_DEVICE_ATTRIBUTE_SURFACE_ALIGNMENT:
      return 512;
    case CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT:
      return 32;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      return (int)workers_count();
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
      return architectures[architecture].threads;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR:
      return architectures[architecture].blocks;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      return capability / 10;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      return capability % 10;
    case CU_DEVICE_ATTRIBUTE_INTEGRATED:
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
    case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH:
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_GLOBAL_L1_CACHE_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_LOCAL_L1_CACHE_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS:
    case CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES:
    case CU_DEVICE_ATTRIBUTE_HOST_NATIVE_ATOMIC_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM:
    case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_DIRECT_MANAGED_MEM_ACCESS_FROM_HOST:
    case CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
      return 1;
    case CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO:
      return 2;
    default:
      return 0; /* every optional ability not named above is absent */
  }
}

/* For calls that need cuInit but no context. */
static CUresult check_device(CUdevice device) {
  if (!atomic_load(&initialised)) return vgpu_fail(CUDA_ERROR_NOT_INITIALIZED, "cuInit has not been called");
  if (device != 0) return vgpu_fail(CUDA_ERROR_INVALID_DEVICE, "there is one virtual GPU, number 0, not %d", device);
  return CUDA_SUCCESS;
}

static CUresult null_pointer(void) { return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a result pointer is NULL"); }

CUresult vgpu_cuInit(unsigned flags) {
  if (flags != 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "cuInit takes no flags");
  if (vgpu_current_mode() == VGPU_MODES) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "NOPROP_VGPU_MODE must be run, check, fuzz or count");
  }
  atomic_store(&initialised, true);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuDriverGetVersion(int *version) {
  if (version == NULL) return null_pointer();
  *version = CUDA_VERSION;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuDeviceGetCount(int *count) {
  if (count == NULL) return null_pointer();
  *count = 1;
  return check_device(0);
}

CUresult vgpu_cuDeviceGet(CUdevice *device, int ordinal) {
  if (device == NULL) return null_pointer();
  *device = ordinal;
  return check_device(ordinal);
}

CUresult vgpu_cuDeviceGetName(char *name, int length, CUdevice device) {
  if (name == NULL || length <= 0) return null_pointer();
  snprintf(name, (size_t)length, "virtual GPU (%s)", vgpu_description());
  return check_device(device);
}

CUresult vgpu_cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
  if (uuid == NULL) return null_pointer();
  memcpy(uuid->bytes, "noprop virtual 0", 16);
  return check_device(device);
}

CUresult vgpu_cuDeviceGetUuid(CUuuid *uuid, CUdevice device) { return vgpu_cuDeviceGetUuid_v2(uuid, device); }

CUresult vgpu_cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
  if (bytes == NULL) return null_pointer();
  *bytes = regions_total();
  return check_device(device);
}

CUresult vgpu_cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
  if (value == NULL) return null_pointer();
  if ((int)attribute < 1) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%d is no device attribute", (int)attribute);
  *value = vgpu_attribute(attribute);
  return check_device(device);
}

/* ---- contexts ---- */

enum { STACK_DEPTH = 64 };

static struct CUctx_st primary = {.stack_limit = 1024, .heap_limit = 8 << 20, .printf_limit = 1 << 20};

/* Contexts of this thread: the current one on top. */
static _Thread_local struct {
  CUcontext stack[STACK_DEPTH];
  int depth;
} contexts;

static CUcontext top(void) { return contexts.depth > 0 ? contexts.stack[contexts.depth - 1] : NULL; }

static CUresult push(CUcontext context) {
  if (contexts.depth == STACK_DEPTH) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "more than %d contexts", STACK_DEPTH);
  contexts.stack[contexts.depth++] = context;
  return CUDA_SUCCESS;
}

CUresult vgpu_current(CUcontext *context) {
  CUresult result = check_device(0);
  if (result != CUDA_SUCCESS) return result;
  *context = top();
  if (*context == NULL) return vgpu_fail(CUDA_ERROR_INVALID_CONTEXT, "the thread has no current context");
  if (*context == &primary && primary.references == 0) {
    return vgpu_fail(CUDA_ERROR_CONTEXT_IS_DESTROYED, "the primary context was released");
  }
  int sticky = atomic_load(&(*context)->sticky);
  if (sticky != CUDA_SUCCESS) {
    return vgpu_fail((CUresult)sticky, "an earlier kernel in this context failed: %s", (*context)->fault);
  }
  return CUDA_SUCCESS;
}

/* All that the context owns goes; the primary context can be retained again. */
static void empty(CUcontext context) {
  observe_context_end(context);
  vgpu_modules_unload_all(context);
  regions_free_all(context);
  atomic_store(&context->sticky, CUDA_SUCCESS);
}

CUresult vgpu_cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  if (context == NULL) return null_pointer();
  CUresult result = check_device(device);
  if (result != CUDA_SUCCESS) return result;
  vgpu_lock();
  ++primary.references;
  vgpu_unlock();
  *context = &primary;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  CUresult result = check_device(device);
  if (result != CUDA_SUCCESS) return result;
  vgpu_lock();
  bool held = primary.references > 0, last = primary.references == 1;
  if (held) --primary.references;
  vgpu_unlock();
  if (!held) return vgpu_fail(CUDA_ERROR_INVALID_CONTEXT, "the primary context is not retained");
  if (last) empty(&primary);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuDevicePrimaryCtxReset_v2(CUdevice device) {
  CUresult result = check_device(device);
  if (result == CUDA_SUCCESS) empty(&primary);
  return result;
}

CUresult vgpu_cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned flags) {
  CUresult result = check_device(device);
  if (result == CUDA_SUCCESS) primary.flags = flags;
  return result;
}

CUresult vgpu_cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
  if (flags == NULL || active == NULL) return null_pointer();
  *flags = primary.flags;
  *active = primary.references > 0;
  return check_device(device);
}

CUresult vgpu_cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device) {
  if (context == NULL) return null_pointer();
  CUresult result = check_device(device);
  if (result != CUDA_SUCCESS) return result;
  CUcontext made = calloc(1, sizeof *made);
  if (made == NULL) return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory for a context");
  *made = (struct CUctx_st){.flags = flags,
                            .references = 1,
                            .stack_limit = primary.stack_limit,
                            .heap_limit = primary.heap_limit,
                            .printf_limit = primary.printf_limit};
  result = push(made);
  if (result != CUDA_SUCCESS) {
    free(made);
    return result;
  }
  *context = made;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuCtxCreate_v4(CUcontext *context, CUctxCreateParams *parameters, unsigned flags, CUdevice device) {
  if (parameters != NULL && (parameters->numExecAffinityParams > 0 || parameters->cigParams != NULL)) {
    return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "contexts have no execution affinity and share nothing with graphics");
  }
  return vgpu_cuCtxCreate_v2(context, flags, device);
}

CUresult vgpu_cuCtxDestroy_v2(CUcontext context) {
  if (context == NULL || context == &primary) {
    return vgpu_fail(CUDA_ERROR_INVALID_CONTEXT, "only a context made by cuCtxCreate can be destroyed");
  }
  if (top() == context) --contexts.depth;
  empty(context);
  free(context);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuCtxPushCurrent_v2(CUcontext context) {
  if (context == NULL) return vgpu_fail(CUDA_ERROR_INVALID_CONTEXT, "the context is NULL");
  return push(context);
}

CUresult vgpu_cuCtxPopCurrent_v2(CUcontext *context) {
  if (top() == NULL) return vgpu_fail(CUDA_ERROR_INVALID_CONTEXT, "the thread has no current context");
  if (context != NULL) *context = top();
  --contexts.depth;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuCtxSetCurrent(CUcontext context) {
  if (contexts.depth > 0) --contexts.depth;
  return context != NULL ? push(context) : CUDA_SUCCESS;
}

CUresult vgpu_cuCtxGetCurrent(CUcontext *context) {
  if (context == NULL) return null_pointer();
  *context = top();
  return CUDA_SUCCESS;
}

CUresult vgpu_cuCtxGetDevice(CUdevice *device) {
  if (device == NULL) return null_pointer();
  *device = 0;
  CUcontext context;
  return vgpu_current(&context);
}

CUresult vgpu_cuCtxGetFlags(unsigned *flags) {
  if (flags == NULL) return null_pointer();
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result == CUDA_SUCCESS) *flags = context->flags;
  return result;
}

CUresult vgpu_cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  if (least != NULL) *least = 0;
  if (greatest != NULL) *greatest = 0;
  CUcontext context;
  return vgpu_current(&context);
}

/* Kernels get the local memory they declare and cannot allocate, so the limits are kept but bind nothing. */
static size_t *limit_of(CUcontext context, CUlimit limit) {
  switch ((int)limit) {
    case CU_LIMIT_STACK_SIZE:
      return &context->stack_limit;
    case CU_LIMIT_MALLOC_HEAP_SIZE:
      return &context->heap_limit;
    case CU_LIMIT_PRINTF_FIFO_SIZE:
      return &context->printf_limit;
    default:
      return NULL;
  }
}

CUresult vgpu_cuCtxGetLimit(size_t *value, CUlimit limit) {
  if (value == NULL) return null_pointer();
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  size_t *place = limit_of(context, limit);
  if (place == NULL) return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "there is no limit %d here", (int)limit);
  *value = *place;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuCtxSetLimit(CUlimit limit, size_t value) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  size_t *place = limit_of(context, limit);
  if (place == NULL) return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "there is no limit %d here", (int)limit);
  *place = value;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuCtxSynchronize(void) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  return result != CUDA_SUCCESS ? result : vgpu_capture_allows();
}
