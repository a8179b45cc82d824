/* Driver API: allocations, virtual-address management, copies and fills. */
#define _GNU_SOURCE 1
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/vgpu/api.h"
#include "engine/vgpu/memory.h"
#include "engine/vgpu/observe.h"
#include "engine/vgpu/regions.h"

enum { GRANULARITY = 2 << 20 };

/* A call that needs a context and is not allowed during a capture. */
static CUresult enter(CUcontext *context) {
  CUresult result = vgpu_current(context);
  return result != CUDA_SUCCESS ? result : vgpu_capture_allows();
}

/* ---- allocations ---- */

static CUresult allocate(enum region_kind kind, void **pointer, size_t bytes) {
  CUcontext context;
  CUresult result = enter(&context);
  if (result != CUDA_SUCCESS) return result;
  if (pointer == NULL || bytes == 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no place for the pointer, or 0 bytes");
  *pointer = regions_allocate(kind, bytes, context);
  if (*pointer != NULL) return CUDA_SUCCESS;
  return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "%zu bytes asked for; %zu of %zu are in use", bytes, regions_in_use(),
                   regions_total());
}

static CUresult allocate_device(enum region_kind kind, CUdeviceptr *pointer, size_t bytes) {
  void *made = NULL;
  if (pointer == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no place for the pointer");
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
  (void)element;
  if (pitch == NULL || width > SIZE_MAX / 4) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no place for the pitch");
  *pitch = (width + 511) & ~(size_t)511;
  if (height != 0 && *pitch > SIZE_MAX / height)
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "width times height overflows");
  return vgpu_cuMemAlloc_v2(pointer, *pitch * height);
}

CUresult vgpu_cuMemAllocManaged(CUdeviceptr *pointer, size_t bytes, unsigned flags) {
  (void)flags; /* host and device share all memory, whoever attaches it */
  return allocate_device(REGION_MANAGED, pointer, bytes);
}

CUresult vgpu_cuMemAllocAsync(CUdeviceptr *pointer, size_t bytes, CUstream stream) {
  (void)stream;
  return vgpu_cuMemAlloc_v2(pointer, bytes);
}

CUresult vgpu_cuMemFree_v2(CUdeviceptr pointer) {
  CUcontext context;
  CUresult result = enter(&context);
  if (result != CUDA_SUCCESS || pointer == 0) return result;
  if (regions_free(REGION_DEVICE, pointer) || regions_free(REGION_MANAGED, pointer)) return CUDA_SUCCESS;
  observe_bad_free(pointer);
  return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "0x%llx is not the start of an allocation", pointer);
}

CUresult vgpu_cuMemFreeAsync(CUdeviceptr pointer, CUstream stream) {
  (void)stream;
  return vgpu_cuMemFree_v2(pointer);
}

CUresult vgpu_cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr pointer) {
  struct region region;
  if (!regions_find(pointer, &region)) {
    return vgpu_fail(CUDA_ERROR_NOT_FOUND, "0x%llx is in no allocation", pointer);
  }
  if (base != NULL) *base = region.low;
  if (bytes != NULL) *bytes = (size_t)(region.high - region.low);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) {
  CUresult result = allocate(REGION_HOST, pointer, bytes);
  /* All host memory is mapped, portable and coherent here. */
  if (result == CUDA_SUCCESS) regions_set_flags((uint64_t)*pointer, flags | CU_MEMHOSTALLOC_DEVICEMAP);
  return result;
}

CUresult vgpu_cuMemHostGetFlags(unsigned *flags, void *pointer) {
  struct region region;
  if (flags == NULL || !regions_find((uint64_t)pointer, &region) || region.kind != REGION_HOST) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%p is not memory from cuMemHostAlloc", pointer);
  }
  *flags = region.flags;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuMemAllocHost_v2(void **pointer, size_t bytes) { return vgpu_cuMemHostAlloc(pointer, bytes, 0); }

CUresult vgpu_cuMemFreeHost(void *pointer) {
  CUcontext context;
  CUresult result = enter(&context);
  if (result != CUDA_SUCCESS || pointer == NULL) return result;
  if (regions_free(REGION_HOST, (uint64_t)pointer)) return CUDA_SUCCESS;
  observe_bad_free((uint64_t)pointer);
  return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%p is not the start of pinned host memory", pointer);
}

CUresult vgpu_cuMemHostGetDevicePointer_v2(CUdeviceptr *pointer, void *host, unsigned flags) {
  (void)flags;
  struct region region;
  if (pointer == NULL || !regions_find((uint64_t)host, &region)) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%p is not pinned or registered host memory", host);
  }
  *pointer = (CUdeviceptr)host;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuMemHostRegister_v2(void *pointer, size_t bytes, unsigned flags) {
  (void)flags;
  CUcontext context;
  CUresult result = enter(&context);
  if (result != CUDA_SUCCESS) return result;
  if (pointer == NULL || bytes == 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no memory to register");
  if (regions_add(REGION_REGISTERED, (uint64_t)pointer, bytes, context)) return CUDA_SUCCESS;
  return vgpu_fail(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "%p overlaps registered memory", pointer);
}

CUresult vgpu_cuMemHostUnregister(void *pointer) {
  CUcontext context;
  CUresult result = enter(&context);
  if (result != CUDA_SUCCESS) return result;
  if (regions_remove(REGION_REGISTERED, (uint64_t)pointer)) return CUDA_SUCCESS;
  return vgpu_fail(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "%p is not registered", pointer);
}

CUresult vgpu_cuPointerGetAttribute(void *value, CUpointer_attribute attribute, CUdeviceptr pointer) {
  struct region region;
  if (value == NULL || !regions_find(pointer, &region)) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "0x%llx is not known to the device", pointer);
  }
  const bool host = region.kind == REGION_HOST || region.kind == REGION_REGISTERED;
  switch ((int)attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
      *(CUcontext *)value = region.context;
      break;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      *(unsigned *)value = host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
      break;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
      *(CUdeviceptr *)value = pointer;
      break;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
      if (!host && region.kind != REGION_MANAGED) {
        return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "0x%llx is device memory", pointer);
      }
      *(void **)value = (void *)pointer;
      break;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
      *(unsigned *)value = region.kind == REGION_MANAGED;
      break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
      *(int *)value = 0;
      break;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
      *(CUdeviceptr *)value = region.low;
      break;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
      *(size_t *)value = (size_t)(region.high - region.low);
      break;
    default:
      return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "pointer attribute %d", (int)attribute);
  }
  return CUDA_SUCCESS;
}

/* ---- virtual-address management ----
 * Memory made by cuMemCreate comes into being where it is first mapped. A handle can be mapped at one place at a time;
 * if it is unmapped while the program still holds it, its contents wait in `saved`. */

struct physical {
  struct physical *next;
  size_t bytes;
  unsigned references; /* the program's and the mapping's */
  uint64_t mapped_at;  /* 0: nowhere */
  void *saved;
};

static struct physical *physicals; /* under vgpu_lock() */

/* vgpu_lock() is held. */
static void drop(struct physical *physical) {
  if (--physical->references > 0) return;
  struct physical **at = &physicals;
  while (*at != physical) at = &(*at)->next;
  *at = physical->next;
  regions_refund(physical->bytes);
  free(physical->saved);
  free(physical);
}

static struct physical *find_handle(CUmemGenericAllocationHandle handle) {
  struct physical *at = physicals;
  while (at != NULL && (uint64_t)at != handle) at = at->next;
  return at;
}

static struct physical *find_mapping(uint64_t address) {
  struct physical *at = physicals;
  while (at != NULL && at->mapped_at != address) at = at->next;
  return at;
}

CUresult vgpu_cuMemGetAllocationGranularity(size_t *granularity, const CUmemAllocationProp *prop,
                                            CUmemAllocationGranularity_flags option) {
  (void)option;
  if (granularity == NULL || prop == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a pointer is NULL");
  *granularity = GRANULARITY;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuMemAddressReserve(CUdeviceptr *pointer, size_t size, size_t alignment, CUdeviceptr address,
                                  unsigned long long flags) {
  (void)address; /* a wish; reservations go where there is room */
  if (pointer == NULL || size == 0 || size % GRANULARITY != 0 || alignment > GRANULARITY || flags != 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the size must be a multiple of %d, the alignment at most that",
                     GRANULARITY);
  }
  *pointer = (CUdeviceptr)regions_reserve(size);
  return *pointer != 0 ? CUDA_SUCCESS : vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no %zu bytes of address space", size);
}

CUresult vgpu_cuMemAddressFree(CUdeviceptr pointer, size_t size) {
  if (pointer == 0 || size == 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no reserved range");
  vgpu_lock();
  bool mapped = false;
  for (struct physical *at = physicals; at != NULL; at = at->next) {
    mapped = mapped || (at->mapped_at >= pointer && at->mapped_at < pointer + size);
  }
  if (!mapped) regions_unreserve((void *)pointer);
  vgpu_unlock();
  return mapped ? vgpu_fail(CUDA_ERROR_INVALID_VALUE, "memory is still mapped in the range") : CUDA_SUCCESS;
}

CUresult vgpu_cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size, const CUmemAllocationProp *prop,
                          unsigned long long flags) {
  if (handle == NULL || prop == NULL || size == 0 || size % GRANULARITY != 0 || flags != 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the size must be a multiple of %d", GRANULARITY);
  }
  if (!regions_charge(size)) {
    return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "%zu bytes asked for; %zu of %zu are in use", size, regions_in_use(),
                     regions_total());
  }
  struct physical *made = calloc(1, sizeof *made);
  if (made == NULL) {
    regions_refund(size);
    return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory for a handle");
  }
  made->bytes = size;
  made->references = 1;
  vgpu_lock();
  made->next = physicals;
  physicals = made;
  vgpu_unlock();
  *handle = (uint64_t)made;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuMemRelease(CUmemGenericAllocationHandle handle) {
  vgpu_lock();
  struct physical *physical = find_handle(handle);
  if (physical != NULL) drop(physical);
  vgpu_unlock();
  return physical != NULL ? CUDA_SUCCESS : vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no such memory handle");
}

CUresult vgpu_cuMemMap(CUdeviceptr pointer, size_t size, size_t offset, CUmemGenericAllocationHandle handle,
                       unsigned long long flags) {
  CUresult result = CUDA_SUCCESS;
  vgpu_lock();
  struct physical *physical = find_handle(handle);
  if (physical == NULL || pointer == 0 || pointer % GRANULARITY != 0 || size != physical->bytes || offset != 0 ||
      flags != 0) {
    result = vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a handle is mapped whole, at a multiple of %d", GRANULARITY);
  } else if (physical->mapped_at != 0) {
    result = vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "a handle can be mapped at one place only");
  } else if (!regions_commit((void *)pointer, size)) {
    result = vgpu_fail(CUDA_ERROR_INVALID_VALUE, "0x%llx is not the start of %zu reserved bytes", pointer, size);
  } else {
    if (physical->saved != NULL) {
      mprotect((void *)pointer, size, PROT_READ | PROT_WRITE);
      memcpy((void *)pointer, physical->saved, size);
      mprotect((void *)pointer, size, PROT_NONE);
      free(physical->saved);
      physical->saved = NULL;
    }
    physical->mapped_at = pointer;
    ++physical->references;
  }
  vgpu_unlock();
  return result;
}

CUresult vgpu_cuMemUnmap(CUdeviceptr pointer, size_t size) {
  CUresult result = CUDA_SUCCESS;
  vgpu_lock();
  for (uint64_t at = pointer; at < pointer + size && result == CUDA_SUCCESS;) {
    struct physical *physical = find_mapping(at);
    if (physical == NULL || physical->bytes > pointer + size - at) {
      result = vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the range does not consist of whole mappings");
      break;
    }
    at += physical->bytes;
    regions_remove(REGION_MAPPED, physical->mapped_at);
    if (physical->references > 1) {
      physical->saved = malloc(physical->bytes);
      if (physical->saved != NULL) {
        mprotect((void *)physical->mapped_at, physical->bytes, PROT_READ);
        memcpy(physical->saved, (const void *)physical->mapped_at, physical->bytes);
      }
    }
    regions_decommit((void *)physical->mapped_at, physical->bytes);
    physical->mapped_at = 0;
    drop(physical);
  }
  vgpu_unlock();
  return result;
}

CUresult vgpu_cuMemSetAccess(CUdeviceptr pointer, size_t size, const CUmemAccessDesc *desc, size_t count) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (desc == NULL || count == 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no access is described");
  int protection = PROT_NONE;
  if (desc->flags == CU_MEM_ACCESS_FLAGS_PROT_READ) protection = PROT_READ;
  if (desc->flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE) protection = PROT_READ | PROT_WRITE;
  vgpu_lock();
  for (uint64_t at = pointer; at < pointer + size;) {
    struct physical *physical = find_mapping(at);
    if (physical == NULL || physical->bytes > pointer + size - at) {
      result = vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the range does not consist of whole mappings");
      break;
    }
    regions_remove(REGION_MAPPED, at);
    mprotect((void *)at, physical->bytes, protection);
    if (protection != PROT_NONE && !regions_add(REGION_MAPPED, at, physical->bytes, context)) {
      result = vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory to register the range");
      break;
    }
    at += physical->bytes;
  }
  vgpu_unlock();
  return result;
}

/* ---- copies and fills ---- */

static CUresult check_device_range(CUdeviceptr pointer, size_t bytes) {
  uint64_t low, high;
  if (bytes == 0 || vgpu_memory_contains(pointer, bytes, &low, &high)) return CUDA_SUCCESS;
  return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%zu bytes at 0x%llx are not all device memory", bytes, pointer);
}

enum { FROM_DEVICE = 1, TO_DEVICE = 2 };

static CUresult copy(void *to, const void *from, size_t bytes, int sides, CUstream stream) {
  CUresult result = CUDA_SUCCESS;
  if (bytes > 0 && (to == NULL || from == NULL)) result = vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a pointer is NULL");
  if (result == CUDA_SUCCESS && (sides & TO_DEVICE) != 0) result = check_device_range((CUdeviceptr)to, bytes);
  if (result == CUDA_SUCCESS && (sides & FROM_DEVICE) != 0) result = check_device_range((CUdeviceptr)from, bytes);
  if (result != CUDA_SUCCESS) return result;
  return vgpu_submit(stream,
                     &(struct operation){.kind = OPERATION_COPY,
                                         .copy = {.to = to, .from = from, .width = bytes, .height = bytes > 0}});
}

CUresult vgpu_cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  return copy((void *)to, from, bytes, TO_DEVICE, stream);
}

CUresult vgpu_cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy(to, (const void *)from, bytes, FROM_DEVICE, stream);
}

CUresult vgpu_cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy((void *)to, (const void *)from, bytes, TO_DEVICE | FROM_DEVICE, stream);
}

/* Either side may be host memory, so neither is checked. */
CUresult vgpu_cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy((void *)to, (const void *)from, bytes, 0, stream);
}

CUresult vgpu_cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
  return copy((void *)to, from, bytes, TO_DEVICE, NULL);
}

CUresult vgpu_cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
  return copy(to, (const void *)from, bytes, FROM_DEVICE, NULL);
}

CUresult vgpu_cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return copy((void *)to, (const void *)from, bytes, TO_DEVICE | FROM_DEVICE, NULL);
}

CUresult vgpu_cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return copy((void *)to, (const void *)from, bytes, 0, NULL);
}

CUresult vgpu_cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *shape, CUstream stream) {
  if (shape == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no copy is described");
  if (shape->srcMemoryType == CU_MEMORYTYPE_ARRAY || shape->dstMemoryType == CU_MEMORYTYPE_ARRAY) {
    return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "there are no CUDA arrays");
  }
  const size_t width = shape->WidthInBytes, height = shape->Height;
  if (width == 0 || height == 0) return CUDA_SUCCESS;
  const bool from_host = shape->srcMemoryType == CU_MEMORYTYPE_HOST,
             to_host = shape->dstMemoryType == CU_MEMORYTYPE_HOST;
  const char *from = from_host ? shape->srcHost : (const char *)shape->srcDevice;
  char *to = to_host ? shape->dstHost : (char *)shape->dstDevice;
  if (from == NULL || to == NULL || (height > 1 && (shape->srcPitch < width || shape->dstPitch < width))) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a pointer is NULL, or a pitch less than the width of a row");
  }
  from += shape->srcY * shape->srcPitch + shape->srcXInBytes;
  to += shape->dstY * shape->dstPitch + shape->dstXInBytes;
  CUresult result = CUDA_SUCCESS;
  if (shape->srcMemoryType == CU_MEMORYTYPE_DEVICE) {
    result = check_device_range((CUdeviceptr)from, (height - 1) * shape->srcPitch + width);
  }
  if (result == CUDA_SUCCESS && shape->dstMemoryType == CU_MEMORYTYPE_DEVICE) {
    result = check_device_range((CUdeviceptr)to, (height - 1) * shape->dstPitch + width);
  }
  if (result != CUDA_SUCCESS) return result;
  return vgpu_submit(stream, &(struct operation){.kind = OPERATION_COPY,
                                                 .copy = {.to = to,
                                                          .from = from,
                                                          .to_pitch = shape->dstPitch,
                                                          .from_pitch = shape->srcPitch,
                                                          .width = width,
                                                          .height = height}});
}

CUresult vgpu_cuMemcpy2D_v2(const CUDA_MEMCPY2D *shape) { return vgpu_cuMemcpy2DAsync_v2(shape, NULL); }

CUresult vgpu_cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *shape) { return vgpu_cuMemcpy2DAsync_v2(shape, NULL); }

static CUresult set(CUdeviceptr to, unsigned value, unsigned element, size_t count, CUstream stream) {
  if (to % element != 0 || count > SIZE_MAX / element) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "0x%llx is not aligned to elements of %u bytes", to, element);
  }
  CUresult result = check_device_range(to, count * element);
  if (result != CUDA_SUCCESS) return result;
  return vgpu_submit(
      stream, &(struct operation){.kind = OPERATION_SET,
                                  .set = {.to = (void *)to, .value = value, .element = element, .count = count}});
}

CUresult vgpu_cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
  return set(to, value, 1, count, stream);
}

CUresult vgpu_cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
  return set(to, value, 2, count, stream);
}

CUresult vgpu_cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream) {
  return set(to, value, 4, count, stream);
}

CUresult vgpu_cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count) {
  return set(to, value, 1, count, NULL);
}

CUresult vgpu_cuMemsetD16_v2(CUdeviceptr to, unsigned short value, size_t count) {
  return set(to, value, 2, count, NULL);
}

CUresult vgpu_cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t count) { return set(to, value, 4, count, NULL); }
