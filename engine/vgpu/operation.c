/* What streams and graphs do: copying, executing and freeing the description of one operation. */
#define _GNU_SOURCE 1
#include "engine/vgpu/operation.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/vgpu/ir.h"
#include "engine/vgpu/launcher.h"
#include "engine/vgpu/observe.h"
#include "engine/vgpu/vgpu.h"

_Thread_local bool vgpu_in_host_function;

bool operation_copy(struct operation *to, const struct operation *from) {
  *to = *from;
  switch (from->kind) {
    case OPERATION_KERNEL: {
      const size_t bytes = from->kernel.function->ptx->parameter_bytes;
      to->kernel.parameters = aligned_alloc(16, (bytes + 16) & ~(size_t)15);
      if (to->kernel.parameters == NULL) return false;
      memcpy(to->kernel.parameters, from->kernel.parameters, bytes);
      return true;
    }
    case OPERATION_COPY:
      if (from->copy.staged == NULL) return true;
      to->copy.staged = malloc(from->copy.width);
      if (to->copy.staged == NULL) return false;
      memcpy(to->copy.staged, from->copy.from, from->copy.width);
      to->copy.from = to->copy.staged;
      return true;
    case OPERATION_RECORD:
      event_keep(from->record.event);
      return true;
    case OPERATION_GRAPH:
      graph_exec_keep(from->graph.exec);
      return true;
    default:
      return true;
  }
}

void operation_clear(struct operation *operation) {
  switch (operation->kind) {
    case OPERATION_KERNEL:
      free(operation->kernel.parameters);
      break;
    case OPERATION_COPY:
      free(operation->copy.staged);
      break;
    case OPERATION_RECORD:
      event_release(operation->record.event);
      break;
    case OPERATION_GRAPH:
      graph_exec_release(operation->graph.exec);
      break;
    default:
      break;
  }
  *operation = (struct operation){.kind = OPERATION_NOTHING};
}

static void copy_rows(const struct operation *operation) {
  for (size_t slice = 0; slice < operation->copy.depth; ++slice) {
    char *to = operation->copy.to + slice * operation->copy.to_slice;
    const char *from = operation->copy.from + slice * operation->copy.from_slice;
    for (size_t row = 0; row < operation->copy.height; ++row) {
      memmove(to + row * operation->copy.to_pitch, from + row * operation->copy.from_pitch, operation->copy.width);
    }
  }
}

static void set_elements(const struct operation *operation) {
  const size_t width = operation->set.width;
  const unsigned value = operation->set.value;
  for (size_t row = 0; row < operation->set.height; ++row) {
    char *to = operation->set.to + row * operation->set.pitch;
    if (operation->set.element == 1 || value == 0) {
      memset(to, (int)value, width * operation->set.element);
    } else if (operation->set.element == 2) {
      for (size_t i = 0; i < width; ++i) ((uint16_t *)(void *)to)[i] = (uint16_t)value;
    } else {
      for (size_t i = 0; i < width; ++i) ((uint32_t *)(void *)to)[i] = value;
    }
  }
}

static bool value_has_come(const struct operation *operation) {
  const uint64_t wanted = operation->value.value;
  uint64_t there;
  int64_t ahead; /* cyclic difference, as the documentation of CU_STREAM_WAIT_VALUE_GEQ says */
  if (operation->value.bytes == 4) {
    there = __atomic_load_n((const uint32_t *)operation->value.address, __ATOMIC_ACQUIRE);
    ahead = (int32_t)((uint32_t)there - (uint32_t)wanted);
  } else {
    there = __atomic_load_n((const uint64_t *)operation->value.address, __ATOMIC_ACQUIRE);
    ahead = (int64_t)(there - wanted);
  }
  switch (operation->value.flags & 3) {
    case CU_STREAM_WAIT_VALUE_GEQ:
      return ahead >= 0;
    case CU_STREAM_WAIT_VALUE_EQ:
      return ahead == 0;
    case CU_STREAM_WAIT_VALUE_AND:
      return (there & wanted) != 0;
    default: /* NOR */
      return operation->value.bytes == 4 ? (uint32_t) ~(there | wanted) != 0 : ~(there | wanted) != 0;
  }
}

/* Nobody tells when memory changes: look again, soon at first, then ten thousand times a second. */
static void wait_for_value(CUcontext context, const struct operation *operation) {
  for (unsigned round = 0; !value_has_come(operation) && atomic_load(&context->sticky) == CUDA_SUCCESS; ++round) {
    if (round > 100) usleep(100);
  }
}

static void write_value(const struct operation *operation) {
  if (operation->value.bytes == 4) {
    __atomic_store_n((uint32_t *)operation->value.address, (uint32_t)operation->value.value, __ATOMIC_RELEASE);
  } else {
    __atomic_store_n((uint64_t *)operation->value.address, operation->value.value, __ATOMIC_RELEASE);
  }
}

/* One kernel at a time: each uses all CPU threads. An observer is told of nothing else meanwhile. */
static pthread_mutex_t kernels = PTHREAD_MUTEX_INITIALIZER;

static void copy_or_set(const struct operation *operation) {
  const bool observed = vgpu_mode_observer() != NULL;
  if (observed) pthread_mutex_lock(&kernels);
  if (operation->kind == OPERATION_COPY) {
    copy_rows(operation);
    if (observed) observe_copy(operation);
  } else {
    set_elements(operation);
    if (observed) observe_set(operation);
  }
  if (observed) pthread_mutex_unlock(&kernels);
}

static CUresult run_kernel(CUcontext context, const struct operation *operation) {
  pthread_mutex_lock(&kernels);
  CUresult result = launcher_run(context, operation);
  if (result != CUDA_SUCCESS && atomic_load(&context->sticky) == CUDA_SUCCESS) {
    /* It never ran (no memory, an executor that cannot): later calls must not pass for good. */
    strncpy(context->fault, vgpu_last_message(), sizeof context->fault - 1);
    atomic_store(&context->sticky, (int)result);
  }
  pthread_mutex_unlock(&kernels);
  return result;
}

CUresult operation_execute(CUcontext context, struct operation *operation) {
  const CUresult sticky = (CUresult)atomic_load(&context->sticky);
  switch (operation->kind) {
    case OPERATION_CALLBACK: /* these are told */
      vgpu_in_host_function = true;
      operation->callback.function(operation->callback.stream, sticky, operation->callback.argument);
      vgpu_in_host_function = false;
      return sticky;
    case OPERATION_RECORD:
      event_happens(operation->record.event, operation->record.generation);
      return sticky;
    case OPERATION_FREE:
      vgpu_free_memory(operation->release.pointer);
      return sticky;
    default:
      break;
  }
  if (sticky != CUDA_SUCCESS) return sticky;
  switch (operation->kind) {
    case OPERATION_KERNEL:
      return run_kernel(context, operation);
    case OPERATION_COPY:
    case OPERATION_SET:
      copy_or_set(operation);
      break;
    case OPERATION_HOST:
      vgpu_in_host_function = true;
      operation->host.function(operation->host.argument);
      vgpu_in_host_function = false;
      break;
    case OPERATION_WAIT_VALUE:
      wait_for_value(context, operation);
      break;
    case OPERATION_WRITE_VALUE:
      write_value(operation);
      break;
    case OPERATION_GRAPH:
      return graph_exec_run(context, operation->graph.exec);
    default:
      break;
  }
  return CUDA_SUCCESS;
}
