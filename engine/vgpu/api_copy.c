/* Driver API: copies and fills. */
#define _GNU_SOURCE 1
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/api.h"
#include "engine/vgpu/memory.h"
#include "engine/vgpu/regions.h"

/* Copies of up to this size from memory of the program that is not pinned take a copy of it and go on, as NVIDIA's
 * driver documents; larger ones are waited for. */
enum { MOST_STAGED = 64 * 1024 };

static CUresult check_device_range(CUdeviceptr pointer, size_t bytes) {
  uint64_t low, high;
  if (bytes == 0 || vgpu_memory_contains(pointer, bytes, &low, &high)) return CUDA_SUCCESS;
  return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%zu bytes at 0x%llx are not all device memory", bytes, pointer);
}

/* Whether it is memory that the program got from cuMemHostAlloc, registered, or got from the device. */
static bool is_pinned(const void *pointer) {
  uint64_t low, high;
  return vgpu_memory_contains((uint64_t)pointer, 1, &low, &high);
}

/* ---- one dimension ---- */

enum { FROM_DEVICE = 1, TO_DEVICE = 2 }; /* sides that must be memory of the device */

static CUresult copy(void *to, const void *from, size_t bytes, int sides, CUstream handle, bool waited) {
  CUstream stream;
  CUresult result = vgpu_stream(handle, &stream);
  if (result == CUDA_SUCCESS && waited) result = vgpu_capture_forbids(stream);
  if (result == CUDA_SUCCESS && waited) result = vgpu_capture_allows();
  if (result == CUDA_SUCCESS && bytes > 0 && (to == NULL || from == NULL)) result = vgpu_null();
  if (result == CUDA_SUCCESS && (sides & TO_DEVICE) != 0) result = check_device_range((CUdeviceptr)to, bytes);
  if (result == CUDA_SUCCESS && (sides & FROM_DEVICE) != 0) result = check_device_range((CUdeviceptr)from, bytes);
  if (result != CUDA_SUCCESS || bytes == 0) return result;
  struct operation operation = {
      .kind = OPERATION_COPY,
      .copy = {
          .to = to, .from = from, .to_pitch = bytes, .from_pitch = bytes, .width = bytes, .height = 1, .depth = 1}};
  if (!waited && stream->capture == NULL) {
    const bool read_now = !is_pinned(from);
    if (read_now && bytes <= MOST_STAGED) operation.copy.staged = (void *)from;
    waited = (read_now && bytes > MOST_STAGED) || !is_pinned(to);
  }
  return vgpu_submit(handle, &operation, waited);
}

CUresult vgpu_cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  return copy((void *)to, from, bytes, TO_DEVICE, stream, false);
}

CUresult vgpu_cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy(to, (const void *)from, bytes, FROM_DEVICE, stream, false);
}

CUresult vgpu_cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy((void *)to, (const void *)from, bytes, TO_DEVICE | FROM_DEVICE, stream, false);
}

/* Either side may be host memory, so neither is checked. */
CUresult vgpu_cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy((void *)to, (const void *)from, bytes, 0, stream, false);
}

CUresult vgpu_cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
  return copy((void *)to, from, bytes, TO_DEVICE, NULL, true);
}

CUresult vgpu_cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
  return copy(to, (const void *)from, bytes, FROM_DEVICE, NULL, true);
}

CUresult vgpu_cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return copy((void *)to, (const void *)from, bytes, TO_DEVICE | FROM_DEVICE, NULL, true);
}

CUresult vgpu_cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return copy((void *)to, (const void *)from, bytes, 0, NULL, true);
}

static CUresult check_contexts(CUcontext one, CUcontext other) {
  if (handle_is(one, HANDLE_CONTEXT) && handle_is(other, HANDLE_CONTEXT)) return CUDA_SUCCESS;
  return vgpu_fail(CUDA_ERROR_INVALID_CONTEXT, "one of the contexts is none");
}

CUresult vgpu_cuMemcpyPeer(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context,
                           size_t bytes) {
  CUresult result = check_contexts(to_context, from_context);
  return result == CUDA_SUCCESS ? vgpu_cuMemcpyDtoD_v2(to, from, bytes) : result;
}

CUresult vgpu_cuMemcpyPeerAsync(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context,
                                size_t bytes, CUstream stream) {
  CUresult result = check_contexts(to_context, from_context);
  return result == CUDA_SUCCESS ? vgpu_cuMemcpyDtoDAsync_v2(to, from, bytes, stream) : result;
}

CUresult vgpu_cuMemcpyBatchAsync_v2(CUdeviceptr *to, CUdeviceptr *from, size_t *sizes, size_t count,
                                    CUmemcpyAttributes *attributes, size_t *attribute_of_copy, size_t attribute_count,
                                    CUstream stream) {
  CUstream found;
  CUresult result = vgpu_stream(stream, &found);
  if (result == CUDA_SUCCESS) result = vgpu_capture_forbids(found);
  if (result != CUDA_SUCCESS) return result;
  if (to == NULL || from == NULL || sizes == NULL || count == 0 || attributes == NULL || attribute_of_copy == NULL ||
      attribute_count == 0 || attribute_count > count || attribute_of_copy[0] != 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no copies, or no attributes for the first of them");
  }
  if (found->is_default) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "batches do not go to the default stream");
  for (size_t i = 0; i < count && result == CUDA_SUCCESS; ++i) {
    result = vgpu_cuMemcpyAsync(to[i], from[i], sizes[i], stream);
  }
  return result;
}

CUresult vgpu_cuMemcpyBatchAsync(CUdeviceptr *to, CUdeviceptr *from, size_t *sizes, size_t count,
                                 CUmemcpyAttributes *attributes, size_t *attribute_of_copy, size_t attribute_count,
                                 size_t *failed, CUstream stream) {
  if (failed != NULL) *failed = SIZE_MAX; /* no single copy is to blame */
  return vgpu_cuMemcpyBatchAsync_v2(to, from, sizes, count, attributes, attribute_of_copy, attribute_count, stream);
}

/* ---- two and three dimensions ---- */

static CUresult side(CUmemorytype type, const void *host, CUdeviceptr device, const char **start) {
  if (type == CU_MEMORYTYPE_ARRAY) {
    return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "there are no texture units, so there are no CUDA arrays");
  }
  if (type != CU_MEMORYTYPE_HOST && type != CU_MEMORYTYPE_DEVICE && type != CU_MEMORYTYPE_UNIFIED) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%d is no kind of memory", (int)type);
  }
  *start = type == CU_MEMORYTYPE_HOST ? host : (const char *)device;
  return *start != NULL ? CUDA_SUCCESS : vgpu_null();
}

CUresult vgpu_copy_operation(struct operation *operation, const CUDA_MEMCPY3D *shape) {
  *operation = (struct operation){.kind = OPERATION_NOTHING};
  const size_t width = shape->WidthInBytes, height = shape->Height, depth = shape->Depth;
  if (width == 0 || height == 0 || depth == 0) return CUDA_SUCCESS;
  const char *from, *to;
  CUresult result = side(shape->srcMemoryType, shape->srcHost, shape->srcDevice, &from);
  if (result == CUDA_SUCCESS) result = side(shape->dstMemoryType, shape->dstHost, shape->dstDevice, &to);
  if (result != CUDA_SUCCESS) return result;
  const size_t from_pitch = shape->srcPitch != 0 ? shape->srcPitch : width + shape->srcXInBytes,
               to_pitch = shape->dstPitch != 0 ? shape->dstPitch : width + shape->dstXInBytes,
               from_slice = from_pitch * (shape->srcHeight != 0 ? shape->srcHeight : height + shape->srcY),
               to_slice = to_pitch * (shape->dstHeight != 0 ? shape->dstHeight : height + shape->dstY);
  if (from_pitch < shape->srcXInBytes + width || to_pitch < shape->dstXInBytes + width ||
      (depth > 1 &&
       (from_slice < from_pitch * (height + shape->srcY) || to_slice < to_pitch * (height + shape->dstY)))) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE,
                     "a pitch is less than the width of a row, or a height less than a slice");
  }
  from += shape->srcZ * from_slice + shape->srcY * from_pitch + shape->srcXInBytes;
  to += shape->dstZ * to_slice + shape->dstY * to_pitch + shape->dstXInBytes;
  if (shape->srcMemoryType == CU_MEMORYTYPE_DEVICE) {
    result = check_device_range((CUdeviceptr)from, (depth - 1) * from_slice + (height - 1) * from_pitch + width);
  }
  if (result == CUDA_SUCCESS && shape->dstMemoryType == CU_MEMORYTYPE_DEVICE) {
    result = check_device_range((CUdeviceptr)to, (depth - 1) * to_slice + (height - 1) * to_pitch + width);
  }
  if (result != CUDA_SUCCESS) return result;
  *operation = (struct operation){.kind = OPERATION_COPY,
                                  .copy = {.to = (char *)(uintptr_t)to,
                                           .from = from,
                                           .to_pitch = to_pitch,
                                           .from_pitch = from_pitch,
                                           .to_slice = to_slice,
                                           .from_slice = from_slice,
                                           .width = width,
                                           .height = height,
                                           .depth = depth}};
  return CUDA_SUCCESS;
}

static CUresult copy_shape(const CUDA_MEMCPY3D *shape, CUstream handle, bool waited) {
  CUstream stream;
  struct operation operation = {.kind = OPERATION_NOTHING};
  CUresult result = vgpu_stream(handle, &stream);
  if (result == CUDA_SUCCESS && waited) result = vgpu_capture_forbids(stream);
  if (result == CUDA_SUCCESS && waited) result = vgpu_capture_allows();
  if (result == CUDA_SUCCESS) result = vgpu_copy_operation(&operation, shape);
  if (result != CUDA_SUCCESS || operation.kind == OPERATION_NOTHING) return result;
  /* Memory that is not pinned may go once the call is over. */
  if (stream->capture == NULL) waited = waited || !is_pinned(operation.copy.from) || !is_pinned(operation.copy.to);
  return vgpu_submit(handle, &operation, waited);
}

CUresult vgpu_cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D *shape, CUstream stream) {
  return shape != NULL ? copy_shape(shape, stream, false) : vgpu_null();
}

CUresult vgpu_cuMemcpy3D_v2(const CUDA_MEMCPY3D *shape) {
  return shape != NULL ? copy_shape(shape, NULL, true) : vgpu_null();
}

static CUDA_MEMCPY3D of_peers(const CUDA_MEMCPY3D_PEER *peers) {
  CUDA_MEMCPY3D shape;
  memcpy(&shape, peers, sizeof shape); /* the contexts stand where the other has reserved members */
  _Static_assert(sizeof shape == sizeof *peers, "the two descriptions are laid out alike");
  shape.reserved0 = shape.reserved1 = NULL;
  return shape;
}

CUresult vgpu_cuMemcpy3DPeer(const CUDA_MEMCPY3D_PEER *peers) {
  if (peers == NULL) return vgpu_null();
  const CUDA_MEMCPY3D shape = of_peers(peers);
  return copy_shape(&shape, NULL, true);
}

CUresult vgpu_cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER *peers, CUstream stream) {
  if (peers == NULL) return vgpu_null();
  const CUDA_MEMCPY3D shape = of_peers(peers);
  return copy_shape(&shape, stream, false);
}

static CUDA_MEMCPY3D of_two(const CUDA_MEMCPY2D *shape) {
  return (CUDA_MEMCPY3D){.srcXInBytes = shape->srcXInBytes,
                         .srcY = shape->srcY,
                         .srcMemoryType = shape->srcMemoryType,
                         .srcHost = shape->srcHost,
                         .srcDevice = shape->srcDevice,
                         .srcArray = shape->srcArray,
                         .srcPitch = shape->srcPitch,
                         .dstXInBytes = shape->dstXInBytes,
                         .dstY = shape->dstY,
                         .dstMemoryType = shape->dstMemoryType,
                         .dstHost = shape->dstHost,
                         .dstDevice = shape->dstDevice,
                         .dstArray = shape->dstArray,
                         .dstPitch = shape->dstPitch,
                         .WidthInBytes = shape->WidthInBytes,
                         .Height = shape->Height,
                         .Depth = 1};
}

CUresult vgpu_cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *given, CUstream stream) {
  if (given == NULL) return vgpu_null();
  const CUDA_MEMCPY3D shape = of_two(given);
  return copy_shape(&shape, stream, false);
}

CUresult vgpu_cuMemcpy2D_v2(const CUDA_MEMCPY2D *given) {
  if (given == NULL) return vgpu_null();
  const CUDA_MEMCPY3D shape = of_two(given);
  return copy_shape(&shape, NULL, true);
}

CUresult vgpu_cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *given) { return vgpu_cuMemcpy2D_v2(given); }

/* ---- fills ---- */

CUresult vgpu_set_operation(struct operation *operation, CUdeviceptr to, size_t pitch, unsigned value, unsigned element,
                            size_t width, size_t height) {
  *operation = (struct operation){.kind = OPERATION_NOTHING};
  if (element != 1 && element != 2 && element != 4) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "elements of %u bytes", element);
  }
  if (width == 0 || height == 0) return CUDA_SUCCESS;
  if (to % element != 0 || width > SIZE_MAX / element ||
      (height > 1 && (pitch % element != 0 || pitch < width * element))) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE,
                     "0x%llx or the pitch is not aligned to elements of %u bytes, or too small", to, element);
  }
  CUresult result = check_device_range(to, (height - 1) * pitch + width * element);
  if (result != CUDA_SUCCESS) return result;
  *operation = (struct operation){
      .kind = OPERATION_SET,
      .set = {.to = (char *)to, .value = value, .element = element, .pitch = pitch, .width = width, .height = height}};
  return CUDA_SUCCESS;
}

static CUresult set(CUdeviceptr to, size_t pitch, unsigned value, unsigned element, size_t width, size_t height,
                    CUstream handle, bool waited) {
  CUstream stream;
  struct operation operation = {.kind = OPERATION_NOTHING};
  CUresult result = vgpu_stream(handle, &stream);
  if (result == CUDA_SUCCESS && waited) result = vgpu_capture_forbids(stream);
  if (result == CUDA_SUCCESS) result = vgpu_set_operation(&operation, to, pitch, value, element, width, height);
  return result == CUDA_SUCCESS && operation.kind != OPERATION_NOTHING ? vgpu_submit(handle, &operation, waited)
                                                                       : result;
}

CUresult vgpu_cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
  return set(to, 0, value, 1, count, 1, stream, false);
}
CUresult vgpu_cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
  return set(to, 0, value, 2, count, 1, stream, false);
}
CUresult vgpu_cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream) {
  return set(to, 0, value, 4, count, 1, stream, false);
}
CUresult vgpu_cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count) {
  return set(to, 0, value, 1, count, 1, NULL, true);
}
CUresult vgpu_cuMemsetD16_v2(CUdeviceptr to, unsigned short value, size_t count) {
  return set(to, 0, value, 2, count, 1, NULL, true);
}
CUresult vgpu_cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t count) {
  return set(to, 0, value, 4, count, 1, NULL, true);
}
CUresult vgpu_cuMemsetD2D8Async(CUdeviceptr to, size_t pitch, unsigned char value, size_t width, size_t height,
                                CUstream stream) {
  return set(to, pitch, value, 1, width, height, stream, false);
}
CUresult vgpu_cuMemsetD2D16Async(CUdeviceptr to, size_t pitch, unsigned short value, size_t width, size_t height,
                                 CUstream stream) {
  return set(to, pitch, value, 2, width, height, stream, false);
}
CUresult vgpu_cuMemsetD2D32Async(CUdeviceptr to, size_t pitch, unsigned value, size_t width, size_t height,
                                 CUstream stream) {
  return set(to, pitch, value, 4, width, height, stream, false);
}
CUresult vgpu_cuMemsetD2D8_v2(CUdeviceptr to, size_t pitch, unsigned char value, size_t width, size_t height) {
  return set(to, pitch, value, 1, width, height, NULL, true);
}
CUresult vgpu_cuMemsetD2D16_v2(CUdeviceptr to, size_t pitch, unsigned short value, size_t width, size_t height) {
  return set(to, pitch, value, 2, width, height, NULL, true);
}
CUresult vgpu_cuMemsetD2D32_v2(CUdeviceptr to, size_t pitch, unsigned value, size_t width, size_t height) {
  return set(to, pitch, value, 4, width, height, NULL, true);
}
