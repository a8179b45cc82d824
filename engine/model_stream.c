/* Rows that do not fit device memory: streamed in epoch order through two pinned buffers.
 *
 * A chunk is a whole number of batches. The host gathers its rows in the order that the kernel would visit them (the
 * same permutation, kernels/row_order.h), the copy stream brings it to device memory while the chunk before is worked
 * on. Events order the two: a device buffer is overwritten only after the steps that read it, and read only after the
 * copy. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model.h"
#include "engine/status.h"
#include "kernels/row_order.h"

enum { STREAM_BUFFERS = 2, STREAM_DEFAULT_BYTES = 64 << 20 };

struct stream_buffer {
  void *pinned[2]; /* condition, target; NULL where there is none */
  CUdeviceptr memory[2];
  CUevent copied, used; /* the copy's end; the end of the steps that read the buffer */
  bool copying, using;  /* whether these events have been recorded */
  uint64_t chunk;       /* number of the chunk held, counted over all epochs; UINT64_MAX: none */
};

struct stream {
  struct model_rows sides[2];
  unsigned batches, chunks_per_epoch; /* batches in a chunk */
  struct stream_buffer buffers[STREAM_BUFFERS];
};

static noprop_status check(const noprop_model *model, CUresult result, const char *what) {
  return driver_check(model->device->driver, result, what);
}

static size_t chunk_bytes(void) {
  const char *text = getenv("NOPROP_STREAM_BYTES");
  const unsigned long long bytes = text ? strtoull(text, NULL, 10) : 0;
  return bytes > 0 ? (size_t)bytes : STREAM_DEFAULT_BYTES;
}

noprop_status stream_create(noprop_model *model, const struct model_rows *condition, const struct model_rows *target,
                            struct stream **result) {
  const struct driver *driver = model->device->driver;
  const struct model_binding *binding = &model->binding;
  const size_t batch_bytes = (model_row_bytes(condition) + model_row_bytes(target)) * binding->batch;
  *result = NULL;
  struct stream *stream = calloc(1, sizeof *stream);
  if (!stream) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for streaming");
  stream->sides[0] = *condition;
  stream->sides[1] = *target;
  size_t batches = batch_bytes > 0 ? chunk_bytes() / batch_bytes : 0;
  if (batches > binding->steps_per_epoch) batches = binding->steps_per_epoch;
  if (batches < 1) batches = 1;
  stream->batches = (unsigned)batches;
  stream->chunks_per_epoch = (binding->steps_per_epoch + stream->batches - 1) / stream->batches;
  noprop_status status = check(model, driver->ctx_set_current(model->device->context), "using the device");
  for (int i = 0; i < STREAM_BUFFERS && status == NOPROP_OK; ++i) {
    struct stream_buffer *buffer = &stream->buffers[i];
    buffer->chunk = UINT64_MAX;
    for (int side = 0; side < 2 && status == NOPROP_OK; ++side) {
      const size_t bytes = batches * binding->batch * model_row_bytes(&stream->sides[side]);
      if (bytes == 0) continue;
      status = check(model, driver->mem_host_alloc(&buffer->pinned[side], bytes, 0),
                     "allocating pinned memory for streaming");
      if (status == NOPROP_OK) status = pool_alloc(model->pool, bytes, "streamed rows", &buffer->memory[side]);
    }
    if (status == NOPROP_OK)
      status = check(model, driver->event_create(&buffer->copied, CU_EVENT_DISABLE_TIMING), "creating an event");
    if (status == NOPROP_OK)
      status = check(model, driver->event_create(&buffer->used, CU_EVENT_DISABLE_TIMING), "creating an event");
  }
  /* Fresh memory is cleared on the device's stream; copies run on another. */
  if (status == NOPROP_OK) status = noprop_device_synchronize(model->device);
  if (status != NOPROP_OK) {
    stream_destroy(model, stream);
    return status;
  }
  *result = stream;
  return NOPROP_OK;
}

void stream_destroy(noprop_model *model, struct stream *stream) {
  if (!stream) return;
  const struct driver *driver = model->device->driver;
  driver->ctx_set_current(model->device->context);
  driver->stream_synchronize(model->device->copy_stream);
  for (int i = 0; i < STREAM_BUFFERS; ++i) {
    struct stream_buffer *buffer = &stream->buffers[i];
    for (int side = 0; side < 2; ++side)
      if (buffer->pinned[side]) driver->mem_free_host(buffer->pinned[side]);
    if (buffer->copied) driver->event_destroy(buffer->copied);
    if (buffer->used) driver->event_destroy(buffer->used);
  }
  free(stream);
}

/* Rows of `chunk` that exist, and the position in the epoch of its first. */
static long chunk_extent(const noprop_model *model, const struct stream *stream, uint64_t chunk, unsigned *first) {
  const struct model_binding *binding = &model->binding;
  const unsigned long long rows = (unsigned long long)stream->batches * binding->batch;
  const unsigned long long begin = chunk % stream->chunks_per_epoch * rows;
  *first = (unsigned)begin;
  return (long)(begin + rows < binding->rows ? rows : binding->rows - begin);
}

/* Gathers a chunk's rows and starts their copy, unless the buffer holds them. */
static noprop_status load(noprop_model *model, struct stream *stream, uint64_t chunk) {
  const struct driver *driver = model->device->driver;
  const CUstream copies = model->device->copy_stream;
  struct stream_buffer *buffer = &stream->buffers[chunk % STREAM_BUFFERS];
  if (buffer->chunk == chunk) return NOPROP_OK;
  noprop_status status = NOPROP_OK;
  /* The pinned memory is free once its last copy has ended. */
  if (buffer->copying) status = check(model, driver->event_synchronize(buffer->copied), "waiting for streamed rows");
  if (status != NOPROP_OK) return status;
  unsigned first;
  const long count = chunk_extent(model, stream, chunk, &first);
  const row_order order =
      row_order_make(model->settings.seed, (unsigned)(chunk / stream->chunks_per_epoch), model->binding.rows);
  for (long i = 0; i < count; ++i) {
    const long row = row_order_row(&order, first + (unsigned)i);
    for (int side = 0; side < 2; ++side)
      if (buffer->pinned[side])
        model_rows_convert(&stream->sides[side], row, 1,
                           (char *)buffer->pinned[side] + (size_t)i * model_row_bytes(&stream->sides[side]));
  }
  if (buffer->using)
    status = check(model, driver->stream_wait_event(copies, buffer->used, 0), "ordering streamed rows");
  for (int side = 0; side < 2 && status == NOPROP_OK; ++side) {
    if (!buffer->pinned[side]) continue;
    status = check(model,
                   driver->memcpy_htod_async(buffer->memory[side], buffer->pinned[side],
                                             (size_t)count * model_row_bytes(&stream->sides[side]), copies),
                   "copying streamed rows");
    ++model->device->counters.copies_to_device;
  }
  if (status == NOPROP_OK) status = check(model, driver->event_record(buffer->copied, copies), "recording an event");
  if (status != NOPROP_OK) return status;
  buffer->copying = true;
  buffer->chunk = chunk;
  return NOPROP_OK;
}

static uint64_t chunk_of(const noprop_model *model, const struct stream *stream, uint64_t step) {
  const unsigned steps_per_epoch = model->binding.steps_per_epoch;
  return step / steps_per_epoch * stream->chunks_per_epoch + step % steps_per_epoch / stream->batches;
}

noprop_status stream_prepare(noprop_model *model, struct stream *stream, uint64_t step, train_arguments *arguments,
                             long *steps) {
  const struct driver *driver = model->device->driver;
  const uint64_t chunk = chunk_of(model, stream, step);
  struct stream_buffer *buffer = &stream->buffers[chunk % STREAM_BUFFERS];
  noprop_status status = check(model, driver->ctx_set_current(model->device->context), "using the device");
  if (status == NOPROP_OK) status = load(model, stream, chunk);
  if (status == NOPROP_OK)
    status =
        check(model, driver->stream_wait_event(model->device->stream, buffer->copied, 0), "ordering streamed rows");
  if (status != NOPROP_OK) return status;
  unsigned first;
  chunk_extent(model, stream, chunk, &first);
  arguments->condition = DEVICE_POINTER(const void, buffer->memory[0]);
  arguments->target = DEVICE_POINTER(const void, buffer->memory[1]);
  arguments->first_position = first;
  const unsigned index = (unsigned)(step % model->binding.steps_per_epoch);
  const unsigned end = (index / stream->batches + 1) * stream->batches;
  *steps = (long)((end < model->binding.steps_per_epoch ? end : model->binding.steps_per_epoch) - index);
  return NOPROP_OK;
}

noprop_status stream_finish(noprop_model *model, struct stream *stream, uint64_t next_step) {
  const struct driver *driver = model->device->driver;
  const uint64_t chunk = chunk_of(model, stream, next_step - 1);
  struct stream_buffer *buffer = &stream->buffers[chunk % STREAM_BUFFERS];
  noprop_status status = check(model, driver->event_record(buffer->used, model->device->stream), "recording an event");
  if (status != NOPROP_OK) return status;
  buffer->using = true;
  return load(model, stream, chunk + 1);
}
