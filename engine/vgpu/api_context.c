/* Driver API: contexts, the primary one among them, and each thread's stack of them. */
#define _GNU_SOURCE 1
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/api.h"
#include "engine/vgpu/observe.h"
#include "engine/vgpu/regions.h"
#include "engine/vgpu/stream_queue.h"
#include "engine/vgpu/vgpu.h"
#include "engine/vgpu/workers.h"

enum { STACK_DEPTH = 64, API_VERSION = 3020 /* of a context: the form of cuCtxCreate_v2 */ };

static pthread_mutex_t objects = PTHREAD_MUTEX_INITIALIZER;

void vgpu_lock(void) { pthread_mutex_lock(&objects); }
void vgpu_unlock(void) { pthread_mutex_unlock(&objects); }

static struct CUctx_st primary;
static pthread_mutex_t retaining = PTHREAD_MUTEX_INITIALIZER; /* while the primary context comes and goes */

/* Contexts of this thread: the current one on top. */
static _Thread_local struct {
  CUcontext stack[STACK_DEPTH];
  int depth;
} contexts;

/* ---- the current context ---- */

static CUcontext top(void) { return contexts.depth > 0 ? contexts.stack[contexts.depth - 1] : NULL; }

static CUresult push(CUcontext context) {
  if (contexts.depth == STACK_DEPTH) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "more than %d contexts", STACK_DEPTH);
  contexts.stack[contexts.depth++] = context;
  return CUDA_SUCCESS;
}

static CUresult check(CUcontext context) {
  if (handle_is(context, HANDLE_CONTEXT)) return CUDA_SUCCESS;
  if (context == NULL) return vgpu_fail(CUDA_ERROR_INVALID_CONTEXT, "the context is NULL");
  if (context == &primary) return vgpu_fail(CUDA_ERROR_CONTEXT_IS_DESTROYED, "the primary context was released");
  return vgpu_fail(CUDA_ERROR_INVALID_CONTEXT, "%p is no context; it may have been destroyed", (void *)context);
}

CUresult vgpu_sticky(CUcontext context) {
  const CUresult sticky = (CUresult)atomic_load(&context->sticky);
  if (sticky == CUDA_SUCCESS) return sticky;
  return vgpu_fail(sticky, "an earlier kernel in this context failed: %s", context->fault);
}

CUresult vgpu_current(CUcontext *context) {
  CUresult result = vgpu_check_device(0);
  if (result != CUDA_SUCCESS) return result;
  if (vgpu_in_host_function) {
    return vgpu_fail(CUDA_ERROR_NOT_PERMITTED, "a host function in a stream must not call the driver API");
  }
  if (queues_are_left()) return vgpu_fail(CUDA_ERROR_DEINITIALIZED, "the program is ending");
  *context = top();
  if (*context == NULL) return vgpu_fail(CUDA_ERROR_INVALID_CONTEXT, "the thread has no current context");
  if (!handle_is(*context, HANDLE_CONTEXT)) {
    return vgpu_fail(CUDA_ERROR_CONTEXT_IS_DESTROYED,
                     *context == &primary ? "the primary context was released" : "the current context was destroyed");
  }
  return vgpu_sticky(*context);
}

/* ---- making and ending ---- */

static CUresult begin(CUcontext context, unsigned flags) {
  static atomic_ullong ids;
  *context =
      (struct CUctx_st){.flags = flags, .references = 1, .version = API_VERSION, .id = atomic_fetch_add(&ids, 1) + 1};
  context->limits[CU_LIMIT_STACK_SIZE] = 1024;
  context->limits[CU_LIMIT_PRINTF_FIFO_SIZE] = 1 << 20;
  context->limits[CU_LIMIT_MALLOC_HEAP_SIZE] = 8 << 20;
  context->limits[CU_LIMIT_MAX_L2_FETCH_GRANULARITY] = 64;
  context->default_stream = vgpu_stream_make(context, CU_STREAM_DEFAULT, 0, true);
  if (context->default_stream == NULL || !handle_add(context, HANDLE_CONTEXT)) return vgpu_no_memory();
  return CUDA_SUCCESS;
}

/* All that the context owns goes. */
static void end(CUcontext context) {
  queues_wait(context);
  observe_context_end(context);
  vgpu_streams_destroy(context);
  vgpu_events_destroy(context);
  vgpu_modules_unload_all(context);
  vgpu_pools_forget(context);
  regions_free_all(context);
  handle_remove(context);
}

CUresult vgpu_cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  if (context == NULL) return vgpu_null();
  CUresult result = vgpu_check_device(device);
  if (result != CUDA_SUCCESS) return result;
  pthread_mutex_lock(&retaining);
  if (primary.references > 0) {
    ++primary.references;
  } else {
    result = begin(&primary, primary.flags);
    if (result != CUDA_SUCCESS) primary.references = 0;
  }
  pthread_mutex_unlock(&retaining);
  if (result == CUDA_SUCCESS) *context = &primary;
  return result;
}

CUresult vgpu_cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  CUresult result = vgpu_check_device(device);
  if (result != CUDA_SUCCESS) return result;
  pthread_mutex_lock(&retaining);
  if (primary.references == 0) {
    result = vgpu_fail(CUDA_ERROR_INVALID_CONTEXT, "the primary context is not retained");
  } else if (--primary.references == 0) {
    end(&primary);
  }
  pthread_mutex_unlock(&retaining);
  return result;
}

/* The context stays retained as often as it was, but empty and without its fault. */
CUresult vgpu_cuDevicePrimaryCtxReset_v2(CUdevice device) {
  CUresult result = vgpu_check_device(device);
  if (result != CUDA_SUCCESS) return result;
  pthread_mutex_lock(&retaining);
  const unsigned references = primary.references;
  if (references > 0) {
    end(&primary);
    result = begin(&primary, primary.flags);
    primary.references = references;
  }
  pthread_mutex_unlock(&retaining);
  return result;
}

static CUresult check_flags(unsigned flags) {
  const unsigned schedule = flags & CU_CTX_SCHED_MASK;
  if ((flags & ~(unsigned)CU_CTX_FLAGS_MASK) == 0 && (schedule & (schedule - 1)) == 0) return CUDA_SUCCESS;
  return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "0x%x are no flags of a context", flags);
}

CUresult vgpu_cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned flags) {
  CUresult result = vgpu_check_device(device);
  if (result == CUDA_SUCCESS) result = check_flags(flags);
  if (result == CUDA_SUCCESS) primary.flags = flags;
  return result;
}

CUresult vgpu_cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
  if (flags == NULL || active == NULL) return vgpu_null();
  CUresult result = vgpu_check_device(device);
  if (result != CUDA_SUCCESS) return result;
  *flags = primary.flags;
  *active = primary.references > 0;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuDevicePrimaryCtxRelease(CUdevice device) { return vgpu_cuDevicePrimaryCtxRelease_v2(device); }
CUresult vgpu_cuDevicePrimaryCtxReset(CUdevice device) { return vgpu_cuDevicePrimaryCtxReset_v2(device); }
CUresult vgpu_cuDevicePrimaryCtxSetFlags(CUdevice device, unsigned flags) {
  return vgpu_cuDevicePrimaryCtxSetFlags_v2(device, flags);
}

CUresult vgpu_cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device) {
  if (context == NULL) return vgpu_null();
  CUresult result = vgpu_check_device(device);
  if (result == CUDA_SUCCESS) result = check_flags(flags);
  if (result != CUDA_SUCCESS) return result;
  CUcontext made = calloc(1, sizeof *made);
  if (made == NULL) return vgpu_no_memory();
  result = begin(made, flags);
  if (result == CUDA_SUCCESS) result = push(made);
  if (result != CUDA_SUCCESS) {
    end(made);
    free(made);
    return result;
  }
  *context = made;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuCtxCreate(CUcontext *context, unsigned flags, CUdevice device) {
  return vgpu_cuCtxCreate_v2(context, flags, device);
}

CUresult vgpu_cuCtxCreate_v3(CUcontext *context, CUexecAffinityParam *parameters, int count, unsigned flags,
                             CUdevice device) {
  if (parameters != NULL && count > 0) {
    return vgpu_fail(CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY, "contexts have no execution affinity");
  }
  return vgpu_cuCtxCreate_v2(context, flags, device);
}

CUresult vgpu_cuCtxCreate_v4(CUcontext *context, CUctxCreateParams *parameters, unsigned flags, CUdevice device) {
  if (parameters != NULL && (parameters->numExecAffinityParams > 0 || parameters->cigParams != NULL)) {
    return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "contexts have no execution affinity and share nothing with graphics");
  }
  return vgpu_cuCtxCreate_v2(context, flags, device);
}

CUresult vgpu_cuCtxDestroy_v2(CUcontext context) {
  CUresult result = vgpu_check_device(0);
  if (result == CUDA_SUCCESS) result = check(context);
  if (result != CUDA_SUCCESS) return result;
  if (context == &primary) {
    return vgpu_fail(CUDA_ERROR_INVALID_CONTEXT, "only a context made by cuCtxCreate can be destroyed");
  }
  if (top() == context) --contexts.depth;
  end(context);
  free(context);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuCtxDestroy(CUcontext context) { return vgpu_cuCtxDestroy_v2(context); }

CUresult vgpu_cuCtxAttach(CUcontext *context, unsigned flags) {
  if (context == NULL) return vgpu_null();
  if (flags != 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "cuCtxAttach takes no flags");
  CUresult result = vgpu_current(context);
  if (result == CUDA_SUCCESS) ++(*context)->references;
  return result;
}

CUresult vgpu_cuCtxDetach(CUcontext context) {
  CUresult result = check(context);
  if (result != CUDA_SUCCESS) return result;
  if (context == NULL || context != top())
    return vgpu_fail(CUDA_ERROR_INVALID_CONTEXT, "only the current context can be detached");
  if (context->references > 1) {
    --context->references;
    return CUDA_SUCCESS;
  }
  return vgpu_cuCtxDestroy_v2(context);
}

/* ---- each thread's stack ---- */

CUresult vgpu_cuCtxPushCurrent_v2(CUcontext context) {
  CUresult result = vgpu_check_device(0);
  if (result == CUDA_SUCCESS) result = check(context);
  return result == CUDA_SUCCESS ? push(context) : result;
}

CUresult vgpu_cuCtxPopCurrent_v2(CUcontext *context) {
  CUresult result = vgpu_check_device(0);
  if (result != CUDA_SUCCESS) return result;
  if (top() == NULL) return vgpu_fail(CUDA_ERROR_INVALID_CONTEXT, "the thread has no current context");
  if (context != NULL) *context = top();
  --contexts.depth;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuCtxPushCurrent(CUcontext context) { return vgpu_cuCtxPushCurrent_v2(context); }
CUresult vgpu_cuCtxPopCurrent(CUcontext *context) { return vgpu_cuCtxPopCurrent_v2(context); }

CUresult vgpu_cuCtxSetCurrent(CUcontext context) {
  CUresult result = vgpu_check_device(0);
  if (result == CUDA_SUCCESS && context != NULL) result = check(context);
  if (result != CUDA_SUCCESS) return result;
  if (contexts.depth > 0) --contexts.depth;
  return context != NULL ? push(context) : CUDA_SUCCESS;
}

CUresult vgpu_cuCtxGetCurrent(CUcontext *context) {
  if (context == NULL) return vgpu_null();
  CUresult result = vgpu_check_device(0);
  if (result == CUDA_SUCCESS) *context = top();
  return result;
}

/* ---- what a context knows ---- */

/* NULL: the current one. */
static CUresult named(CUcontext *context) {
  CUcontext current;
  CUresult result = vgpu_check_device(0);
  if (result != CUDA_SUCCESS) return result;
  if (*context != NULL) return check(*context);
  result = vgpu_current(&current);
  if (result == CUDA_SUCCESS) *context = current;
  return result;
}

/* The second versions of cuCtxGetDevice and cuCtxSynchronize came with CUDA 13. Programs that look functions up by
 * adding _v2 themselves (numba 0.60) call them with the parameters of the first, so that `context` is whatever the
 * register holds: what is no context means the current one. */
static CUresult perhaps_named(CUcontext *context) {
  if (!handle_is(*context, HANDLE_CONTEXT)) *context = NULL;
  return named(context);
}

CUresult vgpu_cuCtxGetDevice_v2(CUdevice *device, CUcontext context) {
  if (device == NULL) return vgpu_null();
  CUresult result = perhaps_named(&context);
  if (result == CUDA_SUCCESS) *device = 0;
  return result;
}

CUresult vgpu_cuCtxGetDevice(CUdevice *device) { return vgpu_cuCtxGetDevice_v2(device, NULL); }

CUresult vgpu_cuCtxGetId(CUcontext context, unsigned long long *id) {
  if (id == NULL) return vgpu_null();
  CUresult result = named(&context);
  if (result == CUDA_SUCCESS) *id = context->id;
  return result;
}

CUresult vgpu_cuCtxGetApiVersion(CUcontext context, unsigned *version) {
  if (version == NULL) return vgpu_null();
  CUresult result = named(&context);
  if (result == CUDA_SUCCESS) *version = context->version;
  return result;
}

CUresult vgpu_cuCtxGetFlags(unsigned *flags) {
  if (flags == NULL) return vgpu_null();
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result == CUDA_SUCCESS) *flags = context->flags;
  return result;
}

CUresult vgpu_cuCtxSetFlags(unsigned flags) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result == CUDA_SUCCESS) result = check_flags(flags);
  if (result == CUDA_SUCCESS) context->flags = flags;
  return result;
}

CUresult vgpu_cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (least != NULL) *least = 0;
  if (greatest != NULL) *greatest = 0;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuCtxGetCacheConfig(CUfunc_cache *config) {
  if (config == NULL) return vgpu_null();
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result == CUDA_SUCCESS) *config = context->cache;
  return result;
}

/* A hint. */
CUresult vgpu_cuCtxSetCacheConfig(CUfunc_cache config) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if ((unsigned)config > CU_FUNC_CACHE_PREFER_EQUAL) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%d is no preference of a cache", (int)config);
  }
  context->cache = config;
  return CUDA_SUCCESS;
}

/* The width of banks has not been selectable since compute capability 5.0. */
CUresult vgpu_cuCtxGetSharedMemConfig(CUsharedconfig *config) {
  if (config == NULL) return vgpu_null();
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result == CUDA_SUCCESS) *config = CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE;
  return result;
}

CUresult vgpu_cuCtxSetSharedMemConfig(CUsharedconfig config) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if ((unsigned)config > CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%d is no width of banks", (int)config);
  }
  return CUDA_SUCCESS;
}

CUresult vgpu_cuCtxGetExecAffinity(CUexecAffinityParam *affinity, CUexecAffinityType type) {
  if (affinity == NULL) return vgpu_null();
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (type != CU_EXEC_AFFINITY_TYPE_SM_COUNT) {
    return vgpu_fail(CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY, "%d is no kind of affinity", (int)type);
  }
  affinity->type = type;
  affinity->param.smCount.val = workers_count();
  return CUDA_SUCCESS;
}

CUresult vgpu_cuCtxResetPersistingL2Cache(void) {
  CUcontext context;
  return vgpu_current(&context); /* nothing persists */
}

/* Kernels get the local memory they declare and cannot allocate, so the limits are kept but bind nothing. */
static CUresult limit_of(CUlimit limit, size_t **place) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  switch ((int)limit) {
    case CU_LIMIT_STACK_SIZE:
    case CU_LIMIT_PRINTF_FIFO_SIZE:
    case CU_LIMIT_MALLOC_HEAP_SIZE:
    case CU_LIMIT_MAX_L2_FETCH_GRANULARITY:
      *place = &context->limits[limit];
      return CUDA_SUCCESS;
    default:
      if (limit >= CU_LIMIT_MAX) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%d is no limit", (int)limit);
      return vgpu_fail(CUDA_ERROR_UNSUPPORTED_LIMIT, "there is no limit %d here", (int)limit);
  }
}

CUresult vgpu_cuCtxGetLimit(size_t *value, CUlimit limit) {
  if (value == NULL) return vgpu_null();
  size_t *place = NULL;
  CUresult result = limit_of(limit, &place);
  if (result == CUDA_SUCCESS) *value = *place;
  return result;
}

CUresult vgpu_cuCtxSetLimit(CUlimit limit, size_t value) {
  size_t *place = NULL;
  CUresult result = limit_of(limit, &place);
  if (result == CUDA_SUCCESS) *place = value;
  return result;
}

CUresult vgpu_cuCtxSynchronize_v2(CUcontext context) {
  CUresult result = perhaps_named(&context);
  if (result == CUDA_SUCCESS) result = vgpu_capture_allows();
  if (result != CUDA_SUCCESS) return result;
  queues_wait(context);
  return vgpu_sticky(context);
}

CUresult vgpu_cuCtxSynchronize(void) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  return result == CUDA_SUCCESS ? vgpu_cuCtxSynchronize_v2(context) : result;
}
