/* Driver API: memory of the device, managed memory and pinned memory of the host: one kind of memory here. */
#define _GNU_SOURCE 1
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/api.h"
#include "engine/vgpu/memory.h"
#include "engine/vgpu/observe.h"
#include "engine/vgpu/regions.h"
#include "engine/vgpu/stream_queue.h"

/* A call that needs a context and is not allowed during a capture. */
static CUresult enter(CUcontext *context) {
  CUresult result = vgpu_current(context);
  return result != CUDA_SUCCESS ? result : vgpu_capture_allows();
}

/* The same for one that frees: memory knows its context, so that the thread need have none. */
static CUresult enter_to_free(void) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  return result == CUDA_SUCCESS || result == CUDA_ERROR_INVALID_CONTEXT ? vgpu_capture_allows() : result;
}

/* ---- allocations ---- */

static CUresult allocate(enum region_kind kind, void **pointer, size_t bytes) {
  CUcontext context;
  CUresult result = enter(&context);
  if (result != CUDA_SUCCESS) return result;
  if (pointer == NULL || bytes == 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no place for the pointer, or 0 bytes");
  void *made = regions_allocate(kind, bytes, context);
  if (made == NULL) {
    return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "%zu bytes asked for; %zu of %zu are in use", bytes, regions_in_use(),
                     regions_total());
  }
  *pointer = made;
  return CUDA_SUCCESS;
}

static CUresult allocate_device(enum region_kind kind, CUdeviceptr *pointer, size_t bytes) {
  void *made = NULL;
  if (pointer == NULL) return vgpu_null();
  CUresult result = allocate(kind, &made, bytes);
  if (result == CUDA_SUCCESS) *pointer = (CUdeviceptr)made;
  return result;
}

CUresult vgpu_cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (free_bytes != NULL) *free_bytes = regions_total() - regions_in_use();
  if (total_bytes != NULL) *total_bytes = regions_total();
  return CUDA_SUCCESS;
}

CUresult vgpu_cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes) {
  return allocate_device(REGION_DEVICE, pointer, bytes);
}

CUresult vgpu_cuMemAllocPitch_v2(CUdeviceptr *pointer, size_t *pitch, size_t width, size_t height, unsigned element) {
  if (pitch == NULL) return vgpu_null();
  if (width == 0 || height == 0 || (element != 4 && element != 8 && element != 16)) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no width, no height, or elements of neither 4, 8 nor 16 bytes");
  }
  if (width > SIZE_MAX / 4) return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "rows of %zu bytes", width);
  *pitch = (width + 511) & ~(size_t)511;
  if (*pitch > SIZE_MAX / height) return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "width times height overflows");
  return vgpu_cuMemAlloc_v2(pointer, *pitch * height);
}

CUresult vgpu_cuMemAllocManaged(CUdeviceptr *pointer, size_t bytes, unsigned flags) {
  if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "0x%x is no way to attach memory", flags);
  }
  return allocate_device(REGION_MANAGED, pointer, bytes);
}

CUresult vgpu_cuMemFree_v2(CUdeviceptr pointer) {
  CUresult result = enter_to_free();
  if (result != CUDA_SUCCESS || pointer == 0) return result;
  struct region region;
  const bool found = regions_find(pointer, &region) && region.low == pointer;
  if (found && region.kind == REGION_GRAPH) return CUDA_SUCCESS; /* its graph keeps it */
  if (!found || (region.kind != REGION_DEVICE && region.kind != REGION_MANAGED && region.kind != REGION_POOL)) {
    observe_bad_free(pointer);
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "0x%llx is not the start of an allocation", pointer);
  }
  queues_wait(NULL); /* as NVIDIA's driver does */
  vgpu_free_memory(pointer);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr pointer) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  struct region region;
  if (!regions_find(pointer, &region)) {
    return vgpu_fail(CUDA_ERROR_NOT_FOUND, "0x%llx is in no allocation", pointer);
  }
  if (base != NULL) *base = region.low;
  if (bytes != NULL) *bytes = (size_t)(region.high - region.low);
  return CUDA_SUCCESS;
}

/* ---- pinned memory of the host ---- */

CUresult vgpu_cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) {
  const unsigned known = CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
  if ((flags & ~known) != 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "0x%x are no flags of host memory", flags);
  CUresult result = allocate(REGION_HOST, pointer, bytes);
  /* All host memory is mapped, portable and coherent here. */
  if (result == CUDA_SUCCESS) regions_set_flags((uint64_t)*pointer, flags | CU_MEMHOSTALLOC_DEVICEMAP);
  return result;
}

CUresult vgpu_cuMemHostGetFlags(unsigned *flags, void *pointer) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  struct region region;
  if (flags == NULL || !regions_find((uint64_t)pointer, &region) ||
      (region.kind != REGION_HOST && region.kind != REGION_REGISTERED)) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%p is no pinned host memory", pointer);
  }
  *flags = region.flags;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuMemAllocHost_v2(void **pointer, size_t bytes) { return vgpu_cuMemHostAlloc(pointer, bytes, 0); }

CUresult vgpu_cuMemFreeHost(void *pointer) {
  CUresult result = enter_to_free();
  if (result != CUDA_SUCCESS || pointer == NULL) return result;
  struct region region;
  if (!regions_find((uint64_t)pointer, &region) || region.low != (uint64_t)pointer || region.kind != REGION_HOST) {
    observe_bad_free((uint64_t)pointer);
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%p is not the start of pinned host memory", pointer);
  }
  queues_wait(NULL);
  regions_free(REGION_HOST, (uint64_t)pointer);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuMemHostGetDevicePointer_v2(CUdeviceptr *pointer, void *host, unsigned flags) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (flags != 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "cuMemHostGetDevicePointer takes no flags");
  struct region region;
  if (pointer == NULL || !regions_find((uint64_t)host, &region) ||
      (region.kind != REGION_HOST && region.kind != REGION_REGISTERED && region.kind != REGION_MANAGED)) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%p is not pinned or registered host memory", host);
  }
  *pointer = (CUdeviceptr)host;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuMemHostRegister_v2(void *pointer, size_t bytes, unsigned flags) {
  CUcontext context;
  CUresult result = enter(&context);
  if (result != CUDA_SUCCESS) return result;
  const unsigned known = CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP | CU_MEMHOSTREGISTER_IOMEMORY |
                         CU_MEMHOSTREGISTER_READ_ONLY;
  if (pointer == NULL || bytes == 0 || (flags & ~known) != 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no memory to register, or flags 0x%x that are not known", flags);
  }
  if ((flags & (CU_MEMHOSTREGISTER_IOMEMORY | CU_MEMHOSTREGISTER_READ_ONLY)) != 0) {
    return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "registered memory is ordinary memory that kernels read and write");
  }
  if (!regions_add(REGION_REGISTERED, (uint64_t)pointer, bytes, context)) {
    return vgpu_fail(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "%p overlaps registered memory", pointer);
  }
  regions_set_flags((uint64_t)pointer, flags | CU_MEMHOSTREGISTER_DEVICEMAP);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuMemHostRegister(void *pointer, size_t bytes, unsigned flags) {
  return vgpu_cuMemHostRegister_v2(pointer, bytes, flags);
}

CUresult vgpu_cuMemHostUnregister(void *pointer) {
  CUresult result = enter_to_free();
  if (result != CUDA_SUCCESS) return result;
  queues_wait(NULL);
  if (regions_remove(REGION_REGISTERED, (uint64_t)pointer)) return CUDA_SUCCESS;
  return vgpu_fail(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "%p is not registered", pointer);
}

/* ---- what is known of a pointer ---- */

static CUresult pointer_attribute(void *value, CUpointer_attribute attribute, CUdeviceptr pointer,
                                  const struct region *region) {
  const bool host = region->kind == REGION_HOST || region->kind == REGION_REGISTERED;
  switch ((int)attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
      *(CUcontext *)value = region->context;
      break;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      *(unsigned *)value = host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
      break;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
      *(CUdeviceptr *)value = pointer;
      break;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
      if (!host && region->kind != REGION_MANAGED) {
        return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "0x%llx is device memory", pointer);
      }
      *(void **)value = (void *)pointer;
      break;
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
      *(unsigned long long *)value = region->low; /* no two live allocations share one */
      break;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
      *(unsigned *)value = region->kind == REGION_MANAGED;
      break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
      *(int *)value = 0;
      break;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
      *(CUdeviceptr *)value = region->low;
      break;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
      *(size_t *)value = (size_t)(region->high - region->low);
      break;
    case CU_POINTER_ATTRIBUTE_MAPPED:
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS: /* plain copies always are */
      *(unsigned *)value = 1;
      break;
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
      *(unsigned *)value = CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE;
      break;
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
      *(CUmemoryPool *)value = vgpu_pool_of(pointer);
      break;
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
      *(unsigned *)value = 0;
      break;
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
      *(unsigned long long *)value = CU_MEM_HANDLE_TYPE_NONE;
      break;
    default:
      return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "pointer attribute %d", (int)attribute);
  }
  return CUDA_SUCCESS;
}

CUresult vgpu_cuPointerGetAttribute(void *value, CUpointer_attribute attribute, CUdeviceptr pointer) {
  CUresult result = vgpu_check_device(0);
  if (result != CUDA_SUCCESS) return result;
  struct region region;
  if (value == NULL || !regions_find(pointer, &region)) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "0x%llx is not known to the device", pointer);
  }
  return pointer_attribute(value, attribute, pointer, &region);
}

/* Of a pointer that the device does not know, as of any it has no value for, zeros. */
CUresult vgpu_cuPointerGetAttributes(unsigned count, CUpointer_attribute *attributes, void **values,
                                     CUdeviceptr pointer) {
  CUresult result = vgpu_check_device(0);
  if (result != CUDA_SUCCESS) return result;
  if (attributes == NULL || values == NULL) return vgpu_null();
  struct region region;
  const bool known = regions_find(pointer, &region);
  for (unsigned i = 0; i < count; ++i) {
    if (values[i] == NULL) return vgpu_null();
    if ((int)attributes[i] < CU_POINTER_ATTRIBUTE_CONTEXT ||
        attributes[i] > CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE) {
      return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%d is no pointer attribute", (int)attributes[i]);
    }
    if (known && pointer_attribute(values[i], attributes[i], pointer, &region) == CUDA_SUCCESS) continue;
    switch ((int)attributes[i]) {
      case CU_POINTER_ATTRIBUTE_CONTEXT:
      case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
      case CU_POINTER_ATTRIBUTE_HOST_POINTER:
      case CU_POINTER_ATTRIBUTE_BUFFER_ID:
      case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
      case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
      case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
      case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
      case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
      case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
      case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
        *(uint64_t *)values[i] = 0;
        break;
      case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *(int *)values[i] = -2; /* documented for memory that is not CUDA's */
        break;
      default:
        *(unsigned *)values[i] = 0;
    }
  }
  return CUDA_SUCCESS;
}

CUresult vgpu_cuPointerSetAttribute(const void *value, CUpointer_attribute attribute, CUdeviceptr pointer) {
  CUresult result = vgpu_check_device(0);
  if (result != CUDA_SUCCESS) return result;
  struct region region;
  if (value == NULL || !regions_find(pointer, &region) || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "0x%llx is not known to the device, or attribute %d cannot be set",
                     pointer, (int)attribute);
  }
  return CUDA_SUCCESS; /* plain copies and fills are synchronous already */
}
