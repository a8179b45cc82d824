/* Driver API: streams, and the values in memory that they wait for and write. */
#define _GNU_SOURCE 1
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/api.h"
#include "engine/vgpu/memory.h"
#include "engine/vgpu/stream_queue.h"

_Thread_local bool vgpu_null_is_own_stream;

/* ---- making and finding ---- */

CUstream vgpu_stream_make(CUcontext context, unsigned flags, int priority, bool is_default) {
  static atomic_ullong ids;
  CUstream made = calloc(1, sizeof *made);
  if (made == NULL) return NULL;
  made->context = context;
  made->flags = flags;
  made->priority = priority;
  made->is_default = is_default;
  made->id = atomic_fetch_add(&ids, 1) + 3; /* 1 and 2 are the handles of the default streams */
  made->queue = queue_make(context, is_default                              ? QUEUE_DEFAULT
                                    : (flags & CU_STREAM_NON_BLOCKING) != 0 ? QUEUE_NON_BLOCKING
                                                                            : QUEUE_BLOCKING);
  if (made->queue == NULL || !handle_add(made, HANDLE_STREAM)) {
    if (made->queue != NULL) queue_close(made->queue);
    free(made);
    return NULL;
  }
  return made;
}

static void destroy(CUstream stream) {
  handle_remove(stream);
  queue_close(stream->queue);
  free(stream->heads);
  free(stream);
}

static bool belongs(const void *handle, const void *context) { return ((CUstream)handle)->context == context; }

void vgpu_streams_destroy(CUcontext context) {
  void **streams;
  const size_t count = handle_find(HANDLE_STREAM, belongs, context, &streams);
  for (size_t i = 0; i < count; ++i) destroy(streams[i]);
  free(streams);
}

/* The streams of this thread's own, one per context it used one in. Contexts are told by their numbers: an address may
 * come back. */
struct own_stream {
  struct own_stream *next;
  unsigned long long context;
  CUstream stream;
};

static pthread_key_t own_streams;
static pthread_once_t own_streams_once = PTHREAD_ONCE_INIT;

/* The thread has ended. */
static void drop_own_streams(void *first) {
  for (struct own_stream *own = first, *next; own != NULL; own = next) {
    next = own->next;
    if (handle_is(own->stream, HANDLE_STREAM) && own->stream->context->id == own->context) destroy(own->stream);
    free(own);
  }
}

static void make_key(void) { pthread_key_create(&own_streams, drop_own_streams); }

static CUstream own_stream(CUcontext context) {
  pthread_once(&own_streams_once, make_key);
  struct own_stream *first = pthread_getspecific(own_streams);
  for (struct own_stream *own = first; own != NULL; own = own->next) {
    if (own->context == context->id) return own->stream;
  }
  struct own_stream *made = calloc(1, sizeof *made);
  CUstream stream = made != NULL ? vgpu_stream_make(context, CU_STREAM_DEFAULT, 0, false) : NULL;
  if (stream == NULL) {
    free(made);
    return NULL;
  }
  *made = (struct own_stream){.next = first, .context = context->id, .stream = stream};
  pthread_setspecific(own_streams, made);
  return stream;
}

CUresult vgpu_stream(CUstream handle, CUstream *stream) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (handle == CU_STREAM_LEGACY || (handle == NULL && !vgpu_null_is_own_stream)) {
    *stream = context->default_stream;
  } else if (handle == CU_STREAM_PER_THREAD || handle == NULL) {
    *stream = own_stream(context);
    if (*stream == NULL) return vgpu_no_memory();
  } else if (!handle_is(handle, HANDLE_STREAM)) {
    return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "%p is no stream; it may have been destroyed", (void *)handle);
  } else {
    *stream = handle;
  }
  return CUDA_SUCCESS;
}

CUresult vgpu_cuStreamCreateWithPriority(CUstream *stream, unsigned flags, int priority) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (stream == NULL) return vgpu_null();
  if ((flags & ~(unsigned)CU_STREAM_NON_BLOCKING) != 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "0x%x are no flags of a stream", flags);
  }
  (void)priority; /* all streams have the one priority there is */
  CUstream made = vgpu_stream_make(context, flags, 0, false);
  if (made == NULL) return vgpu_no_memory();
  *stream = made;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuStreamCreate(CUstream *stream, unsigned flags) {
  return vgpu_cuStreamCreateWithPriority(stream, flags, 0);
}

/* The default streams cannot be destroyed. */
static CUresult ordinary(CUstream handle) {
  CUresult result = vgpu_check_device(0);
  if (result != CUDA_SUCCESS) return result;
  if (handle_is(handle, HANDLE_STREAM) && !handle->is_default) return CUDA_SUCCESS;
  return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "%p is no stream that was created", (void *)handle);
}

CUresult vgpu_cuStreamDestroy_v2(CUstream stream) {
  CUresult result = ordinary(stream);
  if (result != CUDA_SUCCESS) return result;
  if (stream->capture != NULL) vgpu_capture_leave(stream);
  destroy(stream);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuStreamDestroy(CUstream stream) { return vgpu_cuStreamDestroy_v2(stream); }

/* ---- putting in and waiting ---- */

CUresult vgpu_submit(CUstream handle, const struct operation *operation, bool waited) {
  static const CUgraphNodeType types[] = {[OPERATION_NOTHING] = CU_GRAPH_NODE_TYPE_EMPTY,
                                          [OPERATION_KERNEL] = CU_GRAPH_NODE_TYPE_KERNEL,
                                          [OPERATION_COPY] = CU_GRAPH_NODE_TYPE_MEMCPY,
                                          [OPERATION_SET] = CU_GRAPH_NODE_TYPE_MEMSET,
                                          [OPERATION_HOST] = CU_GRAPH_NODE_TYPE_HOST,
                                          [OPERATION_FREE] = CU_GRAPH_NODE_TYPE_MEM_FREE,
                                          [OPERATION_GRAPH] = CU_GRAPH_NODE_TYPE_GRAPH,
                                          [OPERATION_CALLBACK] = CU_GRAPH_NODE_TYPE_BATCH_MEM_OP,
                                          [OPERATION_WAIT_VALUE] = CU_GRAPH_NODE_TYPE_BATCH_MEM_OP,
                                          [OPERATION_WRITE_VALUE] = CU_GRAPH_NODE_TYPE_BATCH_MEM_OP};
  CUstream stream;
  CUresult result = vgpu_stream(handle, &stream);
  if (result != CUDA_SUCCESS) return result;
  if (stream->capture != NULL) return vgpu_capture_add(stream, types[operation->kind], operation, NULL);
  result = vgpu_default_stream_allows(stream);
  if (result != CUDA_SUCCESS) return result;
  struct moment end = {0};
  result = queue_submit(stream->queue, operation, NULL, 0, waited, waited ? &end : NULL);
  if (result != CUDA_SUCCESS || !waited) return result;
  moment_wait(&end);
  moment_release(&end);
  return vgpu_sticky(stream->context);
}

CUresult vgpu_cuStreamSynchronize(CUstream handle) {
  CUstream stream;
  CUresult result = vgpu_stream(handle, &stream);
  if (result == CUDA_SUCCESS) result = vgpu_capture_forbids(stream);
  if (result == CUDA_SUCCESS) result = vgpu_default_stream_allows(stream);
  if (result != CUDA_SUCCESS) return result;
  if (stream->is_default) {
    /* It waits for the blocking streams as an operation in it would. */
    return vgpu_submit(handle, &(struct operation){.kind = OPERATION_NOTHING}, true);
  }
  struct moment end = queue_end(stream->queue);
  moment_wait(&end);
  moment_release(&end);
  return vgpu_sticky(stream->context);
}

CUresult vgpu_cuStreamQuery(CUstream handle) {
  CUstream stream;
  CUresult result = vgpu_stream(handle, &stream);
  if (result == CUDA_SUCCESS) result = vgpu_capture_forbids(stream);
  if (result == CUDA_SUCCESS) result = vgpu_default_stream_allows(stream);
  if (result != CUDA_SUCCESS) return result;
  struct moment end = queue_end(stream->queue);
  const bool past = moment_is_past(&end);
  moment_release(&end);
  result = vgpu_sticky(stream->context);
  if (result != CUDA_SUCCESS || past) return result;
  return vgpu_fail(CUDA_ERROR_NOT_READY, "the stream has work left");
}

/* ---- what a stream knows ---- */

CUresult vgpu_cuStreamGetFlags(CUstream handle, unsigned *flags) {
  CUstream stream;
  if (flags == NULL) return vgpu_null();
  CUresult result = vgpu_stream(handle, &stream);
  if (result == CUDA_SUCCESS) *flags = stream->flags;
  return result;
}

CUresult vgpu_cuStreamGetPriority(CUstream handle, int *priority) {
  CUstream stream;
  if (priority == NULL) return vgpu_null();
  CUresult result = vgpu_stream(handle, &stream);
  if (result == CUDA_SUCCESS) *priority = stream->priority;
  return result;
}

CUresult vgpu_cuStreamGetId(CUstream handle, unsigned long long *id) {
  CUstream stream;
  if (id == NULL) return vgpu_null();
  CUresult result = vgpu_stream(handle, &stream);
  if (result == CUDA_SUCCESS) *id = stream->is_default ? 1 : stream->id;
  return result;
}

CUresult vgpu_cuStreamGetCtx(CUstream handle, CUcontext *context) {
  CUstream stream;
  if (context == NULL) return vgpu_null();
  CUresult result = vgpu_stream(handle, &stream);
  if (result == CUDA_SUCCESS) *context = stream->context;
  return result;
}

CUresult vgpu_cuStreamGetCtx_v2(CUstream handle, CUcontext *context, CUgreenCtx *green) {
  if (green != NULL) *green = NULL;
  return vgpu_cuStreamGetCtx(handle, context);
}

CUresult vgpu_cuStreamGetDevice(CUstream handle, CUdevice *device) {
  CUstream stream;
  if (device == NULL) return vgpu_null();
  CUresult result = vgpu_stream(handle, &stream);
  if (result == CUDA_SUCCESS) *device = 0;
  return result;
}

/* Attributes steer caches, priorities and how a thread waits: hints, all of them. */
CUresult vgpu_cuStreamGetAttribute(CUstream handle, CUstreamAttrID attribute, CUstreamAttrValue *value) {
  CUstream stream;
  if (value == NULL) return vgpu_null();
  CUresult result = vgpu_stream(handle, &stream);
  if (result != CUDA_SUCCESS) return result;
  if ((int)attribute <= 0 || attribute >= CU_LAUNCH_ATTRIBUTE_MAX) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%d is no attribute of a stream", (int)attribute);
  }
  *value = (CUstreamAttrValue){.priority = 0};
  if (attribute == CU_LAUNCH_ATTRIBUTE_PRIORITY) value->priority = stream->priority;
  if (attribute == CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY) value->syncPolicy = CU_SYNC_POLICY_AUTO;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuStreamSetAttribute(CUstream handle, CUstreamAttrID attribute, const CUstreamAttrValue *value) {
  CUstream stream;
  if (value == NULL) return vgpu_null();
  CUresult result = vgpu_stream(handle, &stream);
  if (result != CUDA_SUCCESS) return result;
  if ((int)attribute <= 0 || attribute >= CU_LAUNCH_ATTRIBUTE_MAX) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%d is no attribute of a stream", (int)attribute);
  }
  return CUDA_SUCCESS;
}

CUresult vgpu_cuStreamCopyAttributes(CUstream to, CUstream from) {
  CUstream stream;
  CUresult result = vgpu_stream(to, &stream);
  return result == CUDA_SUCCESS ? vgpu_stream(from, &stream) : result;
}

/* Host and device share all memory, whichever stream it is attached to. */
CUresult vgpu_cuStreamAttachMemAsync(CUstream handle, CUdeviceptr pointer, size_t length, unsigned flags) {
  (void)length;
  CUstream stream;
  CUresult result = vgpu_stream(handle, &stream);
  if (result != CUDA_SUCCESS) return result;
  uint64_t low, high;
  if (!vgpu_memory_contains(pointer, 1, &low, &high) || flags == 0 ||
      (flags & ~(unsigned)(CU_MEM_ATTACH_GLOBAL | CU_MEM_ATTACH_HOST | CU_MEM_ATTACH_SINGLE)) != 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "0x%llx is no managed memory, or 0x%x no way to attach it", pointer,
                     flags);
  }
  return CUDA_SUCCESS;
}

/* ---- values in memory ---- */

static CUresult value(CUstream stream, enum operation_kind kind, CUdeviceptr address, uint64_t wanted, unsigned bytes,
                      unsigned flags) {
  uint64_t low, high;
  if (address % bytes != 0 || !vgpu_memory_contains(address, bytes, &low, &high)) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "0x%llx is not %u aligned bytes of memory of the device", address,
                     bytes);
  }
  const unsigned known = kind == OPERATION_WAIT_VALUE ? 3u | CU_STREAM_WAIT_VALUE_FLUSH : 1u;
  if ((flags & ~known) != 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "flags 0x%x are not known", flags);
  return vgpu_submit(
      stream,
      &(struct operation){.kind = kind, .value = {.address = address, .value = wanted, .bytes = bytes, .flags = flags}},
      false);
}

CUresult vgpu_cuStreamWaitValue32_v2(CUstream stream, CUdeviceptr address, cuuint32_t wanted, unsigned flags) {
  return value(stream, OPERATION_WAIT_VALUE, address, wanted, 4, flags);
}
CUresult vgpu_cuStreamWaitValue64_v2(CUstream stream, CUdeviceptr address, cuuint64_t wanted, unsigned flags) {
  return value(stream, OPERATION_WAIT_VALUE, address, wanted, 8, flags);
}
CUresult vgpu_cuStreamWriteValue32_v2(CUstream stream, CUdeviceptr address, cuuint32_t written, unsigned flags) {
  return value(stream, OPERATION_WRITE_VALUE, address, written, 4, flags);
}
CUresult vgpu_cuStreamWriteValue64_v2(CUstream stream, CUdeviceptr address, cuuint64_t written, unsigned flags) {
  return value(stream, OPERATION_WRITE_VALUE, address, written, 8, flags);
}

CUresult vgpu_cuStreamBatchMemOp_v2(CUstream stream, unsigned count, CUstreamBatchMemOpParams *parameters,
                                    unsigned flags) {
  if (parameters == NULL || count > 256 || flags != 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no operations, more than 256, or flags");
  }
  CUstream found;
  CUresult result = vgpu_stream(stream, &found);
  for (unsigned i = 0; i < count && result == CUDA_SUCCESS; ++i) {
    const CUstreamBatchMemOpParams *at = &parameters[i];
    switch ((int)at->operation) {
      case CU_STREAM_MEM_OP_WAIT_VALUE_32:
        result =
            value(stream, OPERATION_WAIT_VALUE, at->waitValue.address, at->waitValue.value, 4, at->waitValue.flags);
        break;
      case CU_STREAM_MEM_OP_WAIT_VALUE_64:
        result =
            value(stream, OPERATION_WAIT_VALUE, at->waitValue.address, at->waitValue.value64, 8, at->waitValue.flags);
        break;
      case CU_STREAM_MEM_OP_WRITE_VALUE_32:
        result =
            value(stream, OPERATION_WRITE_VALUE, at->writeValue.address, at->writeValue.value, 4, at->writeValue.flags);
        break;
      case CU_STREAM_MEM_OP_WRITE_VALUE_64:
        result = value(stream, OPERATION_WRITE_VALUE, at->writeValue.address, at->writeValue.value64, 8,
                       at->writeValue.flags);
        break;
      case CU_STREAM_MEM_OP_BARRIER:
      case CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES:
        break; /* operations of a stream see all that was written before them */
      default:
        result = vgpu_fail(CUDA_ERROR_INVALID_VALUE, "operation %u of the batch is of no known kind", i);
    }
  }
  return result;
}

/* The first versions differ in what hardware they need. */
CUresult vgpu_cuStreamWaitValue32(CUstream stream, CUdeviceptr address, cuuint32_t wanted, unsigned flags) {
  return vgpu_cuStreamWaitValue32_v2(stream, address, wanted, flags);
}
CUresult vgpu_cuStreamWaitValue64(CUstream stream, CUdeviceptr address, cuuint64_t wanted, unsigned flags) {
  return vgpu_cuStreamWaitValue64_v2(stream, address, wanted, flags);
}
CUresult vgpu_cuStreamWriteValue32(CUstream stream, CUdeviceptr address, cuuint32_t written, unsigned flags) {
  return vgpu_cuStreamWriteValue32_v2(stream, address, written, flags);
}
CUresult vgpu_cuStreamWriteValue64(CUstream stream, CUdeviceptr address, cuuint64_t written, unsigned flags) {
  return vgpu_cuStreamWriteValue64_v2(stream, address, written, flags);
}
CUresult vgpu_cuStreamBatchMemOp(CUstream stream, unsigned count, CUstreamBatchMemOpParams *parameters,
                                 unsigned flags) {
  return vgpu_cuStreamBatchMemOp_v2(stream, count, parameters, flags);
}
