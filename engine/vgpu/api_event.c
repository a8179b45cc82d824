/* Driver API: events. */
#define _GNU_SOURCE 1
#include <stdlib.h>

#include "engine/vgpu/event.h"
#include "engine/vgpu/operation.h"

/* ---- lifetime ---- */

void event_keep(CUevent event) {
  vgpu_lock();
  ++event->references;
  vgpu_unlock();
}

void event_release(CUevent event) {
  vgpu_lock();
  const bool last = --event->references == 0;
  vgpu_unlock();
  if (!last) return;
  moment_release(&event->end);
  free(event->heads);
  free(event);
}

static void destroy(CUevent event) {
  handle_remove(event);
  event_release(event);
}

static bool belongs(const void *handle, const void *context) { return ((CUevent)handle)->context == context; }

void vgpu_events_destroy(CUcontext context) {
  void **events;
  const size_t count = handle_find(HANDLE_EVENT, belongs, context, &events);
  for (size_t i = 0; i < count; ++i) destroy(events[i]);
  free(events);
}

static CUresult check(CUevent event) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS || handle_is(event, HANDLE_EVENT)) return result;
  return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "%p is no event; it may have been destroyed", (void *)event);
}

CUresult vgpu_cuEventCreate(CUevent *event, unsigned flags) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (event == NULL) return vgpu_null();
  const unsigned known = CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS;
  if ((flags & ~known) != 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "0x%x are no flags of an event", flags);
  if ((flags & CU_EVENT_INTERPROCESS) != 0) {
    return (flags & CU_EVENT_DISABLE_TIMING) == 0
               ? vgpu_fail(CUDA_ERROR_INVALID_VALUE, "an event between processes takes no times")
               : vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "the virtual GPU shares nothing between processes");
  }
  CUevent made = calloc(1, sizeof *made);
  if (made == NULL || !handle_add(made, HANDLE_EVENT)) {
    free(made);
    return vgpu_no_memory();
  }
  made->context = context;
  made->flags = flags;
  made->references = 1;
  *event = made;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuEventDestroy_v2(CUevent event) {
  CUresult result = vgpu_check_device(0);
  if (result != CUDA_SUCCESS) return result;
  if (!handle_is(event, HANDLE_EVENT)) return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "%p is no event", (void *)event);
  destroy(event);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuEventDestroy(CUevent event) { return vgpu_cuEventDestroy_v2(event); }

/* ---- recording and waiting ---- */

void event_happens(CUevent event, uint64_t generation) {
  vgpu_lock();
  if (event->generation == generation) clock_gettime(CLOCK_MONOTONIC, &event->time);
  vgpu_unlock();
}

/* The event stands for `end` from now on. Returns the number of this record. */
static uint64_t expect(CUevent event) {
  vgpu_lock();
  event->recorded = true;
  const uint64_t generation = ++event->generation;
  vgpu_unlock();
  vgpu_capture_forget(event);
  return generation;
}

static void stand_for(CUevent event, uint64_t generation, struct moment end) {
  struct moment before = end;
  vgpu_lock();
  if (event->generation == generation) {
    before = event->end;
    event->end = end;
  }
  vgpu_unlock();
  moment_release(&before);
}

CUresult vgpu_cuEventRecord(CUevent event, CUstream handle) {
  CUstream stream;
  CUresult result = check(event);
  if (result == CUDA_SUCCESS) result = vgpu_stream(handle, &stream);
  if (result != CUDA_SUCCESS) return result;
  if (stream->context != event->context) {
    return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "event and stream belong to different contexts");
  }
  if (stream->capture != NULL) return vgpu_capture_record(stream, event);
  result = vgpu_default_stream_allows(stream);
  if (result != CUDA_SUCCESS) return result;
  const uint64_t generation = expect(event);
  struct moment end = {0};
  result =
      queue_submit(stream->queue,
                   &(struct operation){.kind = OPERATION_RECORD, .record = {.event = event, .generation = generation}},
                   NULL, 0, false, &end);
  if (result == CUDA_SUCCESS) stand_for(event, generation, end);
  return result;
}

CUresult vgpu_cuEventRecordWithFlags(CUevent event, CUstream handle, unsigned flags) {
  if (flags == CU_EVENT_RECORD_DEFAULT) return vgpu_cuEventRecord(event, handle);
  if (flags != CU_EVENT_RECORD_EXTERNAL) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "0x%x are no flags of a record", flags);
  }
  CUstream stream;
  CUresult result = check(event);
  if (result == CUDA_SUCCESS) result = vgpu_stream(handle, &stream);
  if (result != CUDA_SUCCESS) return result;
  if (stream->capture == NULL) return vgpu_cuEventRecord(event, handle);
  return vgpu_capture_add(stream, CU_GRAPH_NODE_TYPE_EVENT_RECORD,
                          &(struct operation){.kind = OPERATION_RECORD, .record = {.event = event}}, NULL);
}

uint64_t vgpu_event_of_graph(CUevent event, const struct moment *end) {
  const uint64_t generation = expect(event);
  moment_keep(end);
  stand_for(event, generation, *end);
  return generation;
}

struct moment vgpu_event_end(CUevent event) {
  vgpu_lock();
  const struct moment end = event->end;
  moment_keep(&end);
  vgpu_unlock();
  return end;
}

CUresult vgpu_cuStreamWaitEvent(CUstream handle, CUevent event, unsigned flags) {
  CUstream stream;
  CUresult result = check(event);
  if (result == CUDA_SUCCESS) result = vgpu_stream(handle, &stream);
  if (result != CUDA_SUCCESS) return result;
  if ((flags & ~(unsigned)CU_EVENT_WAIT_EXTERNAL) != 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "0x%x are no flags of a wait", flags);
  }
  if (stream->capture != NULL && flags == CU_EVENT_WAIT_EXTERNAL) {
    return vgpu_capture_add(stream, CU_GRAPH_NODE_TYPE_WAIT_EVENT,
                            &(struct operation){.kind = OPERATION_RECORD, .record = {.event = event}}, NULL);
  }
  bool captured = false;
  result = vgpu_capture_wait(stream, event, &captured);
  if (result != CUDA_SUCCESS || captured) return result;
  result = vgpu_default_stream_allows(stream);
  if (result != CUDA_SUCCESS) return result;
  struct moment end = vgpu_event_end(event);
  if (!moment_is_past(&end)) {
    result = queue_submit(stream->queue, &(struct operation){.kind = OPERATION_NOTHING}, &end, 1, false, NULL);
  }
  moment_release(&end);
  return result;
}

CUresult vgpu_cuCtxRecordEvent(CUcontext context, CUevent event) {
  CUresult result = check(event);
  if (result != CUDA_SUCCESS) return result;
  if (!handle_is(context, HANDLE_CONTEXT)) return vgpu_fail(CUDA_ERROR_INVALID_CONTEXT, "it is no context");
  return vgpu_cuEventRecord(event, context->default_stream);
}

CUresult vgpu_cuCtxWaitEvent(CUcontext context, CUevent event) {
  CUresult result = check(event);
  if (result != CUDA_SUCCESS) return result;
  if (!handle_is(context, HANDLE_CONTEXT)) return vgpu_fail(CUDA_ERROR_INVALID_CONTEXT, "it is no context");
  return vgpu_cuStreamWaitEvent(context->default_stream, event, 0);
}

/* ---- asking ---- */

static CUresult not_captured(CUevent event) {
  CUresult result = check(event);
  if (result != CUDA_SUCCESS) return result;
  vgpu_lock();
  const bool captured = event->capture != 0;
  vgpu_unlock();
  return captured ? vgpu_fail(CUDA_ERROR_CAPTURED_EVENT, "the event was recorded in a capture") : CUDA_SUCCESS;
}

CUresult vgpu_cuEventQuery(CUevent event) {
  CUresult result = not_captured(event);
  if (result != CUDA_SUCCESS) return result;
  struct moment end = vgpu_event_end(event);
  const bool past = moment_is_past(&end);
  moment_release(&end);
  result = vgpu_sticky(event->context);
  if (result != CUDA_SUCCESS || past) return result;
  return vgpu_fail(CUDA_ERROR_NOT_READY, "the work before the event is not done");
}

CUresult vgpu_cuEventSynchronize(CUevent event) {
  CUresult result = not_captured(event);
  if (result != CUDA_SUCCESS) return result;
  struct moment end = vgpu_event_end(event);
  moment_wait(&end);
  moment_release(&end);
  return vgpu_sticky(event->context);
}

CUresult vgpu_cuEventElapsedTime_v2(float *milliseconds, CUevent start, CUevent end) {
  if (milliseconds == NULL) return vgpu_null();
  CUresult result = not_captured(start);
  if (result == CUDA_SUCCESS) result = not_captured(end);
  if (result != CUDA_SUCCESS) return result;
  if (start->context != end->context) {
    return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "the events belong to different contexts");
  }
  if (!start->recorded || !end->recorded || ((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING) != 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "an event was not recorded or takes no times");
  }
  result = vgpu_cuEventQuery(start);
  if (result == CUDA_SUCCESS) result = vgpu_cuEventQuery(end);
  if (result != CUDA_SUCCESS) return result;
  vgpu_lock();
  const double seconds = (double)(end->time.tv_sec - start->time.tv_sec);
  *milliseconds = (float)(1e3 * seconds + 1e-6 * (double)(end->time.tv_nsec - start->time.tv_nsec));
  vgpu_unlock();
  return CUDA_SUCCESS;
}

CUresult vgpu_cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
  return vgpu_cuEventElapsedTime_v2(milliseconds, start, end);
}
