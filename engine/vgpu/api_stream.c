/* Driver API: launches, streams, events, capture and graphs.
 *
 * Work is done when it is submitted: a call that enqueues on a real GPU returns here when the work is finished. Every
 * order that streams and events can express then holds already. A graph is the list of captured operations in the order
 * of their calls, which is one of the orders that the capture allows. */
#define _GNU_SOURCE 1
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/api.h"
#include "engine/vgpu/ir.h"
#include "engine/vgpu/launcher.h"
#include "engine/vgpu/observe.h"

struct CUgraph_st {
  struct operation *operations;
  size_t count, capacity;
};

struct CUgraphExec_st {
  CUcontext context;
  struct CUgraph_st graph; /* a copy */
};

struct capture {
  struct capture *next; /* in the list of captures under way */
  uint64_t id;
  CUstreamCaptureMode mode;
  pthread_t thread;
  CUstream origin, members; /* members: linked by next_in_capture, the origin among them */
  CUgraph graph;
  bool invalid;
};

static struct capture *captures;  /* under vgpu_lock() */
static atomic_int captures_count; /* so that ordinary calls need not take the lock */

/* One operation runs at a time. Taken before vgpu_lock() where both are needed. */
static pthread_mutex_t executing = PTHREAD_MUTEX_INITIALIZER;

/* ---- operations ---- */

static void copy_rows(const struct operation *operation) {
  const size_t width = operation->copy.width;
  char *to = operation->copy.to;
  const char *from = operation->copy.from;
  for (size_t row = 0; row < operation->copy.height; ++row) {
    memmove(to + row * operation->copy.to_pitch, from + row * operation->copy.from_pitch, width);
  }
}

static void set_elements(const struct operation *operation) {
  const size_t count = operation->set.count;
  const unsigned value = operation->set.value;
  if (operation->set.element == 1 || value == 0) {
    memset(operation->set.to, (int)value, count * operation->set.element);
  } else if (operation->set.element == 2) {
    for (size_t i = 0; i < count; ++i) ((uint16_t *)operation->set.to)[i] = (uint16_t)value;
  } else {
    for (size_t i = 0; i < count; ++i) ((uint32_t *)operation->set.to)[i] = value;
  }
}

/* `executing` is held. */
static CUresult execute(CUcontext context, const struct operation *operation) {
  switch (operation->kind) {
    case OPERATION_KERNEL:
      return launcher_run(context, operation);
    case OPERATION_COPY:
      copy_rows(operation);
      observe_copy(operation);
      break;
    case OPERATION_SET:
      set_elements(operation);
      observe_set(operation);
      break;
    case OPERATION_HOST:
      operation->host.function(operation->host.argument);
      break;
  }
  return CUDA_SUCCESS;
}

static bool append(CUgraph graph, const struct operation *operation) {
  if (graph->count == graph->capacity) {
    size_t capacity = graph->capacity == 0 ? 16 : 2 * graph->capacity;
    struct operation *larger = realloc(graph->operations, capacity * sizeof *larger);
    if (larger == NULL) return false;
    graph->operations = larger;
    graph->capacity = capacity;
  }
  struct operation node = *operation;
  if (node.kind == OPERATION_KERNEL) {
    size_t bytes = node.kernel.function->ptx->parameter_bytes;
    node.kernel.parameters = aligned_alloc(16, (bytes + 16) & ~(size_t)15);
    if (node.kernel.parameters == NULL) return false;
    memcpy(node.kernel.parameters, operation->kernel.parameters, bytes);
  }
  graph->operations[graph->count++] = node;
  return true;
}

static void clear_graph(CUgraph graph) {
  for (size_t i = 0; i < graph->count; ++i) {
    if (graph->operations[i].kind == OPERATION_KERNEL) free(graph->operations[i].kernel.parameters);
  }
  free(graph->operations);
  *graph = (struct CUgraph_st){0};
}

/* ---- capture ---- */

/* The handles that stand for the default stream. */
static CUstream real_stream(CUstream stream) {
  return stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD ? NULL : stream;
}

CUresult vgpu_capture_allows(void) {
  if (atomic_load(&captures_count) == 0) return CUDA_SUCCESS;
  CUresult result = CUDA_SUCCESS;
  vgpu_lock();
  for (struct capture *at = captures; at != NULL; at = at->next) {
    if (at->mode == CU_STREAM_CAPTURE_MODE_RELAXED) continue;
    if (at->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL && !pthread_equal(at->thread, pthread_self())) continue;
    at->invalid = true;
    result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  vgpu_unlock();
  return result == CUDA_SUCCESS ? result : vgpu_fail(result, "a stream is being captured; the capture is void now");
}

/* The default stream waits for all blocking streams, which a capture cannot express. */
static CUresult default_stream_allows(void) {
  if (atomic_load(&captures_count) == 0) return CUDA_SUCCESS;
  CUresult result = CUDA_SUCCESS;
  vgpu_lock();
  for (struct capture *at = captures; at != NULL; at = at->next) {
    if ((at->origin->flags & CU_STREAM_NON_BLOCKING) != 0) continue;
    at->invalid = true;
    result = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
  }
  vgpu_unlock();
  return result == CUDA_SUCCESS ? result : vgpu_fail(result, "a blocking stream is being captured");
}

/* vgpu_lock() is held. */
static CUresult record(CUstream stream, const struct operation *operation) {
  if (stream->capture->invalid) {
    return vgpu_fail(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "an earlier call made the capture void");
  }
  if (!append(stream->capture->graph, operation)) {
    stream->capture->invalid = true;
    return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory for a graph");
  }
  ++stream->captured;
  if (stream != stream->capture->origin) stream->unjoined = true;
  return CUDA_SUCCESS;
}

CUresult vgpu_submit(CUstream stream, const struct operation *operation) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  stream = real_stream(stream);
  if (stream == NULL) {
    result = default_stream_allows();
    if (result != CUDA_SUCCESS) return result;
  } else if (stream->capture != NULL) {
    vgpu_lock();
    result = record(stream, operation);
    vgpu_unlock();
    return result;
  }
  pthread_mutex_lock(&executing);
  result = execute(context, operation);
  pthread_mutex_unlock(&executing);
  return result;
}

static void join_capture(CUstream stream, struct capture *capture) {
  stream->capture = capture;
  stream->captured = 0;
  stream->unjoined = false;
  stream->next_in_capture = capture->members;
  capture->members = stream;
}

/* vgpu_lock() is held. */
static void end_capture(struct capture *capture) {
  for (CUstream member = capture->members, next; member != NULL; member = next) {
    next = member->next_in_capture;
    member->capture = NULL;
    member->next_in_capture = NULL;
  }
  struct capture **at = &captures;
  while (*at != capture) at = &(*at)->next;
  *at = capture->next;
  atomic_fetch_sub(&captures_count, 1);
  free(capture);
}

CUresult vgpu_cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (real_stream(stream) == NULL) {
    return vgpu_fail(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "the default stream cannot be captured");
  }
  if (stream->capture != NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the stream is being captured already");
  struct capture *capture = calloc(1, sizeof *capture);
  CUgraph graph = calloc(1, sizeof *graph);
  if (capture == NULL || graph == NULL) {
    free(capture);
    free(graph);
    return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory for a graph");
  }
  static uint64_t ids;
  vgpu_lock();
  *capture = (struct capture){
      .next = captures, .id = ++ids, .mode = mode, .thread = pthread_self(), .origin = stream, .graph = graph};
  captures = capture;
  join_capture(stream, capture);
  atomic_fetch_add(&captures_count, 1);
  vgpu_unlock();
  return CUDA_SUCCESS;
}

CUresult vgpu_cuStreamEndCapture(CUstream stream, CUgraph *graph) {
  if (graph == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no place for the graph");
  *graph = NULL;
  stream = real_stream(stream);
  if (stream == NULL || stream->capture == NULL || stream->capture->origin != stream) {
    return vgpu_fail(
        stream != NULL && stream->capture != NULL ? CUDA_ERROR_STREAM_CAPTURE_UNMATCHED : CUDA_ERROR_INVALID_VALUE,
        "no capture began in this stream");
  }
  CUresult result = CUDA_SUCCESS;
  vgpu_lock();
  struct capture *capture = stream->capture;
  CUgraph made = capture->graph;
  if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && !pthread_equal(capture->thread, pthread_self())) {
    vgpu_unlock();
    return vgpu_fail(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "another thread began the capture");
  }
  if (capture->invalid) {
    result = vgpu_fail(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "an earlier call made the capture void");
  }
  for (CUstream member = capture->members; member != NULL && result == CUDA_SUCCESS; member = member->next_in_capture) {
    if (member->unjoined) {
      result = vgpu_fail(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "work of another stream in the capture is not waited for");
    }
  }
  end_capture(capture);
  vgpu_unlock();
  if (result != CUDA_SUCCESS) {
    clear_graph(made);
    free(made);
    return result;
  }
  *graph = made;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status) {
  if (status == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no place for the status");
  stream = real_stream(stream);
  vgpu_lock();
  *status = CU_STREAM_CAPTURE_STATUS_NONE;
  if (stream != NULL && stream->capture != NULL) {
    *status = stream->capture->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED : CU_STREAM_CAPTURE_STATUS_ACTIVE;
  }
  vgpu_unlock();
  return CUDA_SUCCESS;
}

/* ---- launches ---- */

/* PTX allows 32,764 bytes of parameters. */
enum { MOST_PARAMETERS = 32768 };

static CUresult launch(CUfunction function, const unsigned grid[3], const unsigned block[3], unsigned shared_bytes,
                       bool cooperative, CUstream stream, void **parameters, void **extra) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (function == NULL) return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "the function is NULL");
  const struct ptx_function *ptx = function->ptx;
  _Alignas(16) unsigned char bytes[MOST_PARAMETERS];
  if (ptx->parameter_bytes > sizeof bytes) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "kernel %s: %u bytes of parameters", ptx->name, ptx->parameter_bytes);
  }
  struct operation operation = {.kind = OPERATION_KERNEL,
                                .kernel = {.function = function,
                                           .grid = {grid[0], grid[1], grid[2]},
                                           .block = {block[0], block[1], block[2]},
                                           .shared_bytes = shared_bytes,
                                           .cooperative = cooperative,
                                           .parameters = bytes}};
  result = launcher_check(&operation);
  if (result != CUDA_SUCCESS) return result;

  if (parameters != NULL) {
    for (uint32_t i = 0; i < ptx->parameter_count; ++i) {
      if (parameters[i] == NULL) {
        return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "kernel %s: parameter %u is a NULL pointer", ptx->name, i);
      }
      memcpy(bytes + ptx->parameters[i].offset, parameters[i], ptx->parameters[i].size);
    }
  } else if (extra != NULL) {
    const void *buffer = NULL;
    size_t size = 0;
    for (void **at = extra; *at != CU_LAUNCH_PARAM_END; at += 2) {
      if (*at == CU_LAUNCH_PARAM_BUFFER_POINTER) buffer = at[1];
      if (*at == CU_LAUNCH_PARAM_BUFFER_SIZE) size = *(const size_t *)at[1];
    }
    if (buffer == NULL || size < ptx->parameter_bytes) {
      return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "kernel %s: %zu bytes of parameters given, %u needed", ptx->name, size,
                       ptx->parameter_bytes);
    }
    memcpy(bytes, buffer, ptx->parameter_bytes);
  } else if (ptx->parameter_count > 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "kernel %s: %u parameters are missing", ptx->name, ptx->parameter_count);
  }
  return vgpu_submit(stream, &operation);
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

CUresult vgpu_cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **parameters, void **extra) {
  if (config == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no launch configuration");
  bool cooperative = false;
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const CUlaunchAttribute *attribute = &config->attrs[i];
    bool neutral = attribute->id == CU_LAUNCH_ATTRIBUTE_IGNORE || attribute->id == CU_LAUNCH_ATTRIBUTE_PRIORITY ||
                   attribute->id == CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT;
    if (attribute->id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE) {
      cooperative = attribute->value.cooperative != 0;
      continue;
    }
    if (attribute->id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) {
      const unsigned x = attribute->value.clusterDim.x, y = attribute->value.clusterDim.y;
      neutral = x <= 1 && y <= 1 && attribute->value.clusterDim.z <= 1;
    }
    if (!neutral) return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "launch attribute %d", (int)attribute->id);
  }
  return launch(function, (const unsigned[]){config->gridDimX, config->gridDimY, config->gridDimZ},
                (const unsigned[]){config->blockDimX, config->blockDimY, config->blockDimZ}, config->sharedMemBytes,
                cooperative, config->hStream, parameters, extra);
}

CUresult vgpu_cuLaunchHostFunc(CUstream stream, CUhostFn function, void *argument) {
  if (function == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the function is NULL");
  return vgpu_submit(stream,
                     &(struct operation){.kind = OPERATION_HOST, .host = {.function = function, .argument = argument}});
}

struct callback {
  CUstreamCallback function;
  CUstream stream;
  void *argument;
};

static void run_callback(void *argument) {
  struct callback *callback = argument;
  callback->function(callback->stream, CUDA_SUCCESS, callback->argument);
  free(callback);
}

CUresult vgpu_cuStreamAddCallback(CUstream stream, CUstreamCallback function, void *argument, unsigned flags) {
  if (function == NULL || flags != 0)
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no function, or flags that are not 0");
  if (real_stream(stream) != NULL && stream->capture != NULL) {
    return vgpu_fail(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "a callback cannot be captured; a host function can");
  }
  struct callback *callback = malloc(sizeof *callback);
  if (callback == NULL) return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory for a callback");
  *callback = (struct callback){.function = function, .stream = stream, .argument = argument};
  CUresult result = vgpu_cuLaunchHostFunc(stream, run_callback, callback);
  if (result != CUDA_SUCCESS) free(callback);
  return result; /* NOLINT(clang-analyzer-unix.Malloc): run_callback frees it */
}

/* ---- streams ---- */

CUresult vgpu_cuStreamCreate(CUstream *stream, unsigned flags) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (stream == NULL || flags > CU_STREAM_NON_BLOCKING) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no place for the stream, or unknown flags %u", flags);
  }
  CUstream made = calloc(1, sizeof *made);
  if (made == NULL) return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory for a stream");
  made->context = context;
  made->flags = flags;
  *stream = made;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuStreamCreateWithPriority(CUstream *stream, unsigned flags, int priority) {
  (void)priority; /* the range is 0 to 0, and values outside are clamped */
  return vgpu_cuStreamCreate(stream, flags);
}

CUresult vgpu_cuStreamDestroy_v2(CUstream stream) {
  if (real_stream(stream) == NULL) return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "the default stream is not destroyed");
  vgpu_lock();
  if (stream->capture != NULL) {
    struct capture *capture = stream->capture;
    CUgraph graph = capture->graph;
    end_capture(capture);
    clear_graph(graph);
    free(graph);
  }
  vgpu_unlock();
  free(stream);
  return CUDA_SUCCESS;
}

/* For calls that a capturing stream does not allow. */
static CUresult not_capturing(CUstream stream) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  stream = real_stream(stream);
  if (result != CUDA_SUCCESS) return result;
  if (stream == NULL || stream->capture == NULL) return CUDA_SUCCESS;
  vgpu_lock();
  stream->capture->invalid = true;
  vgpu_unlock();
  return vgpu_fail(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "the stream is being captured; the capture is void now");
}

CUresult vgpu_cuStreamSynchronize(CUstream stream) {
  CUresult result = not_capturing(stream);
  if (result != CUDA_SUCCESS) return result;
  pthread_mutex_lock(&executing); /* what another thread has under way */
  pthread_mutex_unlock(&executing);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuStreamQuery(CUstream stream) { return not_capturing(stream); }

CUresult vgpu_cuStreamGetFlags(CUstream stream, unsigned *flags) {
  if (flags == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a pointer is NULL");
  *flags = real_stream(stream) != NULL ? stream->flags : CU_STREAM_DEFAULT;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuStreamGetPriority(CUstream stream, int *priority) {
  (void)stream;
  if (priority == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a pointer is NULL");
  *priority = 0;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuStreamGetCtx(CUstream stream, CUcontext *context) {
  if (context == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a pointer is NULL");
  if (real_stream(stream) == NULL) return vgpu_current(context);
  *context = stream->context;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags) {
  (void)flags;
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (event == NULL) return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "the event is NULL");
  stream = real_stream(stream);
  vgpu_lock();
  struct capture *capture = captures;
  while (capture != NULL && capture->id != event->capture_id) capture = capture->next;
  if (event->capture_id != 0 && capture != NULL) {
    if (stream == NULL) {
      capture->invalid = true;
      result = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    } else if (stream->capture != NULL && stream->capture != capture) {
      result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    } else {
      if (stream->capture == NULL) join_capture(stream, capture);
      if (event->captured_in != stream) {
        if (event->captured_in->captured == event->captured_after) event->captured_in->unjoined = false;
        if (stream != capture->origin) stream->unjoined = true;
      }
    }
  }
  vgpu_unlock();
  return result == CUDA_SUCCESS ? result
                                : vgpu_fail(result, "the event belongs to a capture that this stream cannot join");
}

/* ---- events ---- */

CUresult vgpu_cuEventCreate(CUevent *event, unsigned flags) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (event == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no place for the event");
  CUevent made = calloc(1, sizeof *made);
  if (made == NULL) return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory for an event");
  made->context = context;
  made->flags = flags;
  *event = made;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuEventRecord(CUevent event, CUstream stream) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (event == NULL) return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "the event is NULL");
  stream = real_stream(stream);
  if (stream != NULL && stream->capture != NULL) {
    vgpu_lock();
    event->capture_id = stream->capture->id;
    event->captured_in = stream;
    event->captured_after = stream->captured;
    vgpu_unlock();
    return CUDA_SUCCESS;
  }
  pthread_mutex_lock(&executing); /* after what is under way in another thread */
  clock_gettime(CLOCK_MONOTONIC, &event->time);
  event->recorded = true;
  event->capture_id = 0;
  pthread_mutex_unlock(&executing);
  return CUDA_SUCCESS;
}

static CUresult not_captured(CUevent event) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (event == NULL) return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "the event is NULL");
  if (event->capture_id != 0) return vgpu_fail(CUDA_ERROR_CAPTURED_EVENT, "the event was recorded in a capture");
  return CUDA_SUCCESS;
}

CUresult vgpu_cuEventQuery(CUevent event) { return not_captured(event); }

CUresult vgpu_cuEventSynchronize(CUevent event) { return not_captured(event); }

CUresult vgpu_cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
  if (milliseconds == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no place for the time");
  CUresult result = not_captured(start);
  if (result == CUDA_SUCCESS) result = not_captured(end);
  if (result != CUDA_SUCCESS) return result;
  if (!start->recorded || !end->recorded || ((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING) != 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "an event was not recorded or takes no times");
  }
  double seconds = (double)(end->time.tv_sec - start->time.tv_sec);
  *milliseconds = (float)(1e3 * seconds + 1e-6 * (double)(end->time.tv_nsec - start->time.tv_nsec));
  return CUDA_SUCCESS;
}

CUresult vgpu_cuEventElapsedTime_v2(float *milliseconds, CUevent start, CUevent end) {
  return vgpu_cuEventElapsedTime(milliseconds, start, end);
}

CUresult vgpu_cuEventDestroy_v2(CUevent event) {
  if (event == NULL) return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "the event is NULL");
  free(event);
  return CUDA_SUCCESS;
}

/* ---- graphs ---- */

CUresult vgpu_cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (exec == NULL || graph == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no graph or no place for the result");
  const unsigned long long harmless =
      CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH | CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY;
  if ((flags & ~harmless) != 0) return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "graph flags %llu", flags & ~harmless);
  CUgraphExec made = calloc(1, sizeof *made);
  bool copied = made != NULL;
  for (size_t i = 0; i < graph->count && copied; ++i) copied = append(&made->graph, &graph->operations[i]);
  if (!copied) {
    if (made != NULL) clear_graph(&made->graph);
    free(made);
    return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory for a graph");
  }
  made->context = context;
  *exec = made;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (exec == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the graph is NULL");
  stream = real_stream(stream);
  if (stream != NULL && stream->capture != NULL) { /* a graph within a graph */
    vgpu_lock();
    for (size_t i = 0; i < exec->graph.count && result == CUDA_SUCCESS; ++i) {
      result = record(stream, &exec->graph.operations[i]);
    }
    vgpu_unlock();
    return result;
  }
  if (stream == NULL) result = default_stream_allows();
  if (result != CUDA_SUCCESS) return result;
  pthread_mutex_lock(&executing);
  for (size_t i = 0; i < exec->graph.count && result == CUDA_SUCCESS; ++i) {
    result = execute(context, &exec->graph.operations[i]);
  }
  pthread_mutex_unlock(&executing);
  return result;
}

CUresult vgpu_cuGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *count) {
  if (graph == NULL || count == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a pointer is NULL");
  for (size_t i = 0; nodes != NULL && i < *count; ++i) {
    nodes[i] = i < graph->count ? (CUgraphNode)&graph->operations[i] : NULL;
  }
  if (nodes == NULL || *count > graph->count) *count = graph->count;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuGraphExecDestroy(CUgraphExec exec) {
  if (exec == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the graph is NULL");
  clear_graph(&exec->graph);
  free(exec);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuGraphDestroy(CUgraph graph) {
  if (graph == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the graph is NULL");
  clear_graph(graph);
  free(graph);
  return CUDA_SUCCESS;
}
