/* Driver API: streams whose operations become nodes of a graph instead of being executed. */
#define _GNU_SOURCE 1
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/api.h"
#include "engine/vgpu/event.h"
#include "engine/vgpu/graph.h"

struct capture {
  struct capture *next; /* in the list of captures under way */
  uint64_t id;
  CUstreamCaptureMode mode;
  pthread_t thread;
  CUstream origin, members; /* members: linked by next_in_capture, the origin among them */
  CUgraph graph;
  bool given; /* the graph is the program's */
  bool invalid;
};

static struct capture *captures;  /* under vgpu_lock(), as all of this file */
static atomic_int captures_count; /* so that ordinary calls need not take the lock */

static _Thread_local CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

/* ---- what captures forbid ---- */

/* As the documentation of cuThreadExchangeStreamCaptureMode says. */
static bool forbids(const struct capture *capture) {
  const bool own = pthread_equal(capture->thread, pthread_self());
  if (thread_mode == CU_STREAM_CAPTURE_MODE_RELAXED) return false;
  if (own) return capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED;
  return thread_mode == CU_STREAM_CAPTURE_MODE_GLOBAL && capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
}

CUresult vgpu_capture_allows(void) {
  if (atomic_load(&captures_count) == 0) return CUDA_SUCCESS;
  CUresult result = CUDA_SUCCESS;
  vgpu_lock();
  for (struct capture *at = captures; at != NULL; at = at->next) {
    if (!forbids(at)) continue;
    at->invalid = true;
    result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  vgpu_unlock();
  return result == CUDA_SUCCESS ? result : vgpu_fail(result, "a stream is being captured; the capture is void now");
}

CUresult vgpu_default_stream_allows(CUstream stream) {
  if (!stream->is_default || atomic_load(&captures_count) == 0) return CUDA_SUCCESS;
  CUresult result = CUDA_SUCCESS;
  vgpu_lock();
  for (struct capture *at = captures; at != NULL; at = at->next) {
    if ((at->origin->flags & CU_STREAM_NON_BLOCKING) != 0 || at->origin->context != stream->context) continue;
    at->invalid = true;
    result = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
  }
  vgpu_unlock();
  return result == CUDA_SUCCESS ? result : vgpu_fail(result, "a blocking stream is being captured");
}

CUresult vgpu_capture_forbids(CUstream stream) {
  if (stream->capture == NULL) return CUDA_SUCCESS;
  vgpu_lock();
  if (stream->capture != NULL) stream->capture->invalid = true;
  vgpu_unlock();
  return vgpu_fail(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "the stream is being captured; the capture is void now");
}

CUresult vgpu_cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode) {
  if (mode == NULL) return vgpu_null();
  if ((unsigned)*mode > CU_STREAM_CAPTURE_MODE_RELAXED) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%d is no mode of capture", (int)*mode);
  }
  const CUstreamCaptureMode before = thread_mode;
  thread_mode = *mode;
  *mode = before;
  return CUDA_SUCCESS;
}

/* ---- what the next operation of a stream depends on; vgpu_lock() is held ---- */

static bool add_head(CUstream stream, CUgraphNode node) {
  for (size_t i = 0; i < stream->head_count; ++i) {
    if (stream->heads[i] == node) return true;
  }
  if (stream->head_count == stream->head_capacity) {
    const size_t capacity = stream->head_capacity == 0 ? 8 : 2 * stream->head_capacity;
    CUgraphNode *larger = realloc(stream->heads, capacity * sizeof *larger);
    if (larger == NULL) return false;
    stream->heads = larger;
    stream->head_capacity = capacity;
  }
  stream->heads[stream->head_count++] = node;
  return true;
}

static bool add_heads(CUstream stream, const CUgraphNode *nodes, size_t count) {
  bool good = true;
  for (size_t i = 0; i < count && good; ++i) {
    good = !handle_is(nodes[i], HANDLE_NODE) || add_head(stream, nodes[i]); /* it may have been removed meanwhile */
  }
  return good;
}

static CUresult invalidate(struct capture *capture) {
  capture->invalid = true;
  return vgpu_no_memory();
}

/* ---- recording ---- */

/* The description of a copy that the program made by a plain call. */
static CUDA_MEMCPY3D describe(const struct operation *operation) {
  return (CUDA_MEMCPY3D){
      .srcMemoryType = CU_MEMORYTYPE_UNIFIED,
      .srcDevice = (CUdeviceptr)operation->copy.from,
      .srcPitch = operation->copy.from_pitch != 0 ? operation->copy.from_pitch : operation->copy.width,
      .srcHeight = operation->copy.height,
      .dstMemoryType = CU_MEMORYTYPE_UNIFIED,
      .dstDevice = (CUdeviceptr)operation->copy.to,
      .dstPitch = operation->copy.to_pitch != 0 ? operation->copy.to_pitch : operation->copy.width,
      .dstHeight = operation->copy.height,
      .WidthInBytes = operation->copy.width,
      .Height = operation->copy.height,
      .Depth = operation->copy.depth};
}

/* Without the lock, which graph_add() may need: what happens in one stream while it is captured is one thread's
 * business. */
CUresult vgpu_capture_add(CUstream stream, CUgraphNodeType type, const struct operation *operation, CUgraphNode *made) {
  struct capture *capture = stream->capture;
  if (capture->invalid) {
    return vgpu_fail(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "an earlier call made the capture void");
  }
  const bool plain = type != CU_GRAPH_NODE_TYPE_GRAPH && type != CU_GRAPH_NODE_TYPE_MEM_FREE;
  CUgraphNode node = graph_add(capture->graph, type, plain ? operation : NULL, stream->heads, stream->head_count);
  if (node == NULL) return invalidate(capture);
  if (type == CU_GRAPH_NODE_TYPE_MEMCPY) node->copy = describe(operation);
  if (type == CU_GRAPH_NODE_TYPE_MEM_FREE) node->memory.dptr = operation->release.pointer;
  if (type == CU_GRAPH_NODE_TYPE_GRAPH) {
    node->child = graph_clone(operation->graph.exec->graph, false);
    if (node->child == NULL) return invalidate(capture);
    node->child->holder = node;
  }
  stream->head_count = 0;
  if (!add_head(stream, node)) return invalidate(capture);
  if (made != NULL) *made = node;
  return CUDA_SUCCESS;
}

void vgpu_capture_forget(CUevent event) {
  vgpu_lock();
  CUgraphNode *heads = event->heads;
  event->capture = 0;
  event->heads = NULL;
  event->head_count = 0;
  vgpu_unlock();
  free(heads);
}

CUresult vgpu_capture_record(CUstream stream, CUevent event) {
  CUgraphNode *heads = malloc((stream->head_count + 1) * sizeof *heads);
  if (heads == NULL) return vgpu_no_memory();
  vgpu_capture_forget(event);
  vgpu_lock();
  if (stream->head_count > 0) memcpy(heads, stream->heads, stream->head_count * sizeof *heads);
  event->capture = stream->capture->id;
  event->heads = heads;
  event->head_count = stream->head_count;
  event->recorded = false;
  vgpu_unlock();
  return CUDA_SUCCESS;
}

static void join(CUstream stream, struct capture *capture) {
  stream->capture = capture;
  stream->head_count = 0;
  stream->next_in_capture = capture->members;
  capture->members = stream;
}

CUresult vgpu_capture_wait(CUstream stream, CUevent event, bool *captured) {
  if (atomic_load(&captures_count) == 0 && event->capture == 0) return CUDA_SUCCESS;
  CUresult result = CUDA_SUCCESS;
  vgpu_lock();
  struct capture *capture = captures;
  while (capture != NULL && capture->id != event->capture) capture = capture->next;
  *captured = true;
  if (event->capture == 0) {
    *captured = stream->capture != NULL;
    if (stream->capture != NULL && event->recorded) {
      stream->capture->invalid = true;
      result = vgpu_fail(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "the event stands for work outside the capture");
    }
  } else if (capture == NULL) {
    result = vgpu_fail(CUDA_ERROR_CAPTURED_EVENT, "the event was recorded in a capture that has ended");
  } else if (stream->is_default) {
    capture->invalid = true;
    result = vgpu_fail(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "the default stream cannot take part in a capture");
  } else if (stream->capture != NULL && stream->capture != capture) {
    capture->invalid = stream->capture->invalid = true;
    result = vgpu_fail(CUDA_ERROR_STREAM_CAPTURE_MERGE, "event and stream belong to different captures");
  } else {
    if (stream->capture == NULL) join(stream, capture);
    if (!add_heads(stream, event->heads, event->head_count)) result = invalidate(capture);
  }
  vgpu_unlock();
  return result;
}

/* ---- beginning and ending ---- */

static CUresult begin(CUstream handle, CUgraph graph, const CUgraphNode *after, size_t count,
                      CUstreamCaptureMode mode) {
  CUstream stream;
  CUresult result = vgpu_stream(handle, &stream);
  if (result != CUDA_SUCCESS) return result;
  if ((unsigned)mode > CU_STREAM_CAPTURE_MODE_RELAXED) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%d is no mode of capture", (int)mode);
  }
  if (stream->is_default) {
    return vgpu_fail(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "the default stream cannot be captured");
  }
  if (stream->capture != NULL) return vgpu_fail(CUDA_ERROR_ILLEGAL_STATE, "the stream is being captured already");
  struct capture *capture = calloc(1, sizeof *capture);
  CUgraph filled = graph != NULL ? graph : graph_make(false);
  if (capture == NULL || filled == NULL) {
    free(capture);
    if (filled != NULL && graph == NULL) graph_free(filled);
    return vgpu_no_memory();
  }
  static uint64_t ids;
  vgpu_lock();
  *capture = (struct capture){.next = captures,
                              .id = ++ids,
                              .mode = mode,
                              .thread = pthread_self(),
                              .origin = stream,
                              .graph = filled,
                              .given = graph != NULL};
  captures = capture;
  atomic_fetch_add(&captures_count, 1);
  join(stream, capture);
  if (!add_heads(stream, after, count)) result = invalidate(capture);
  vgpu_unlock();
  return result;
}

CUresult vgpu_cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) {
  return begin(stream, NULL, NULL, 0, mode);
}

CUresult vgpu_cuStreamBeginCapture(CUstream stream) {
  return begin(stream, NULL, NULL, 0, CU_STREAM_CAPTURE_MODE_GLOBAL);
}

CUresult vgpu_cuStreamBeginCaptureToGraph(CUstream stream, CUgraph graph, const CUgraphNode *after,
                                          const CUgraphEdgeData *edges, size_t count, CUstreamCaptureMode mode) {
  (void)edges; /* ports matter to programmatic launches, which are ordinary ones here */
  if (!handle_is(graph, HANDLE_GRAPH)) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%p is no graph", (void *)graph);
  if (count > 0 && after == NULL) return vgpu_null();
  for (size_t i = 0; i < count; ++i) {
    if (!handle_is(after[i], HANDLE_NODE) || after[i]->graph != graph) {
      return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "dependency %zu is no node of the graph", i);
    }
  }
  return begin(stream, graph, after, count, mode);
}

/* vgpu_lock() is held. */
static void end(struct capture *capture) {
  for (CUstream member = capture->members, next; member != NULL; member = next) {
    next = member->next_in_capture;
    member->capture = NULL;
    member->next_in_capture = NULL;
    member->head_count = 0;
  }
  struct capture **at = &captures;
  while (*at != capture) at = &(*at)->next;
  *at = capture->next;
  atomic_fetch_sub(&captures_count, 1);
}

/* Whether all that was captured in `member` comes before the end of the origin. */
static bool comes_before(const struct CUstream_st *member, const struct CUstream_st *origin) {
  size_t count = 0, capacity = 64;
  bool good = true;
  CUgraphNode *seen = malloc(capacity * sizeof *seen); /* what comes before; also the list of what is to be followed */
  for (size_t i = 0; seen != NULL && i < origin->head_count + count; ++i) {
    CUgraphNode const *nodes = i < origin->head_count ? &origin->heads[i] : seen[i - origin->head_count]->after;
    const size_t found = i < origin->head_count ? 1 : seen[i - origin->head_count]->after_count;
    for (size_t k = 0; k < found; ++k) {
      bool known = false;
      for (size_t s = 0; s < count && !known; ++s) known = seen[s] == nodes[k];
      if (known) continue;
      if (count == capacity) {
        CUgraphNode *larger = realloc(seen, 2 * capacity * sizeof *seen);
        if (larger == NULL) break;
        seen = larger;
        capacity *= 2;
      }
      seen[count++] = nodes[k];
    }
  }
  for (size_t h = 0; h < member->head_count && good; ++h) {
    good = false;
    for (size_t s = 0; s < count && !good; ++s) good = seen[s] == member->heads[h];
  }
  free(seen);
  return good;
}

CUresult vgpu_cuStreamEndCapture(CUstream handle, CUgraph *graph) {
  CUstream stream;
  if (graph == NULL) return vgpu_null();
  *graph = NULL;
  CUresult result = vgpu_stream(handle, &stream);
  if (result != CUDA_SUCCESS) return result;
  if (stream->capture == NULL) return vgpu_fail(CUDA_ERROR_ILLEGAL_STATE, "the stream is not being captured");
  if (stream->capture->origin != stream) {
    return vgpu_fail(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "the capture began in another stream");
  }
  struct capture *capture = stream->capture;
  if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && !pthread_equal(capture->thread, pthread_self())) {
    return vgpu_fail(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "another thread began the capture");
  }
  vgpu_lock();
  if (capture->invalid) {
    result = vgpu_fail(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "an earlier call made the capture void");
  }
  for (CUstream member = capture->members; member != NULL && result == CUDA_SUCCESS; member = member->next_in_capture) {
    if (member == stream || comes_before(member, stream)) continue;
    result = vgpu_fail(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "work of another stream in the capture is not waited for");
  }
  end(capture);
  vgpu_unlock();
  if (result == CUDA_SUCCESS) {
    *graph = capture->graph;
  } else if (!capture->given) {
    graph_free(capture->graph);
  }
  free(capture);
  return result;
}

void vgpu_capture_leave(CUstream stream) {
  vgpu_lock();
  struct capture *capture = stream->capture;
  const bool origin = capture->origin == stream;
  capture->invalid = true;
  if (origin) {
    end(capture);
  } else {
    CUstream *at = &capture->members;
    while (*at != stream) at = &(*at)->next_in_capture;
    *at = stream->next_in_capture;
  }
  vgpu_unlock();
  if (!origin) return;
  if (!capture->given) graph_free(capture->graph);
  free(capture);
}

/* ---- asking ---- */

CUresult vgpu_cuStreamGetCaptureInfo_v3(CUstream handle, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph,
                                        const CUgraphNode **after, const CUgraphEdgeData **edges, size_t *count) {
  static const CUgraphEdgeData plain[64];
  CUstream stream;
  if (status == NULL) return vgpu_null();
  CUresult result = vgpu_stream(handle, &stream);
  if (result != CUDA_SUCCESS) return result;
  vgpu_lock();
  const struct capture *capture = stream->capture;
  *status = capture == NULL     ? CU_STREAM_CAPTURE_STATUS_NONE
            : !capture->invalid ? CU_STREAM_CAPTURE_STATUS_ACTIVE
                                : CU_STREAM_CAPTURE_STATUS_INVALIDATED;
  if (*status == CU_STREAM_CAPTURE_STATUS_ACTIVE) {
    if (id != NULL) *id = capture->id;
    if (graph != NULL) *graph = capture->graph;
    if (after != NULL) *after = stream->heads;
    if (edges != NULL) *edges = stream->head_count <= sizeof plain / sizeof *plain ? plain : NULL;
    if (count != NULL) *count = stream->head_count;
  }
  vgpu_unlock();
  return result;
}

CUresult vgpu_cuStreamGetCaptureInfo_v2(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph,
                                        const CUgraphNode **after, size_t *count) {
  return vgpu_cuStreamGetCaptureInfo_v3(stream, status, id, graph, after, NULL, count);
}

CUresult vgpu_cuStreamGetCaptureInfo(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id) {
  return vgpu_cuStreamGetCaptureInfo_v3(stream, status, id, NULL, NULL, NULL, NULL);
}

CUresult vgpu_cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status) {
  return vgpu_cuStreamGetCaptureInfo_v3(stream, status, NULL, NULL, NULL, NULL, NULL);
}

CUresult vgpu_cuStreamUpdateCaptureDependencies_v2(CUstream handle, CUgraphNode *after, const CUgraphEdgeData *edges,
                                                   size_t count, unsigned flags) {
  (void)edges;
  CUstream stream;
  CUresult result = vgpu_stream(handle, &stream);
  if (result != CUDA_SUCCESS) return result;
  if (stream->capture == NULL) return vgpu_fail(CUDA_ERROR_ILLEGAL_STATE, "the stream is not being captured");
  if (flags > CU_STREAM_SET_CAPTURE_DEPENDENCIES || (count > 0 && after == NULL)) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "flags 0x%x are not known, or there are no dependencies", flags);
  }
  for (size_t i = 0; i < count; ++i) {
    if (!handle_is(after[i], HANDLE_NODE) || after[i]->graph != stream->capture->graph) {
      return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "dependency %zu is no node of the captured graph", i);
    }
  }
  vgpu_lock();
  if (flags == CU_STREAM_SET_CAPTURE_DEPENDENCIES) stream->head_count = 0;
  if (!add_heads(stream, after, count)) result = invalidate(stream->capture);
  vgpu_unlock();
  return result;
}

CUresult vgpu_cuStreamUpdateCaptureDependencies(CUstream stream, CUgraphNode *after, size_t count, unsigned flags) {
  return vgpu_cuStreamUpdateCaptureDependencies_v2(stream, after, NULL, count, flags);
}
