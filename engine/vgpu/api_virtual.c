/* Driver API: addresses reserved, and memory mapped there.
 *
 * Memory made by cuMemCreate comes into being where it is first mapped. A handle can be mapped at one place at a time;
 * if it is unmapped while the program still holds it, its contents wait in `saved`. */
#define _GNU_SOURCE 1
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/vgpu/api.h"
#include "engine/vgpu/regions.h"
#include "engine/vgpu/stream_queue.h"

enum { GRANULARITY = 2 << 20 };

struct physical {
  struct physical *next;
  size_t bytes;
  unsigned references; /* the program's and the mapping's */
  uint64_t mapped_at;  /* 0: nowhere */
  unsigned long long access;
  CUmemAllocationProp properties;
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
  if (granularity == NULL || prop == NULL) return vgpu_null();
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
  CUresult result = vgpu_check_device(0);
  if (result != CUDA_SUCCESS) return result;
  if (handle == NULL || prop == NULL || size == 0 || size % GRANULARITY != 0 || flags != 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the size must be a multiple of %d", GRANULARITY);
  }
  if (prop->type != CU_MEM_ALLOCATION_TYPE_PINNED ||
      (prop->location.type == CU_MEM_LOCATION_TYPE_DEVICE && prop->location.id != 0)) {
    return vgpu_fail(CUDA_ERROR_INVALID_DEVICE, "memory is pinned, on device 0 or on the host");
  }
  if (prop->requestedHandleTypes != CU_MEM_HANDLE_TYPE_NONE) {
    return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "the virtual GPU shares nothing between processes");
  }
  if (!regions_charge(size)) {
    return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "%zu bytes asked for; %zu of %zu are in use", size, regions_in_use(),
                     regions_total());
  }
  struct physical *made = calloc(1, sizeof *made);
  if (made == NULL) {
    regions_refund(size);
    return vgpu_no_memory();
  }
  made->bytes = size;
  made->references = 1;
  made->properties = *prop;
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
  queues_wait(NULL);
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
    physical->access = 0;
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
    physical->access = desc->flags;
    if (protection != PROT_NONE && !regions_add(REGION_MAPPED, at, physical->bytes, context)) {
      result = vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory to register the range");
      break;
    }
    at += physical->bytes;
  }
  vgpu_unlock();
  return result;
}

/* The mapping that holds an address. vgpu_lock() is held. */
static struct physical *find_holder(uint64_t address) {
  struct physical *at = physicals;
  while (at != NULL && (at->mapped_at == 0 || address < at->mapped_at || address - at->mapped_at >= at->bytes)) {
    at = at->next;
  }
  return at;
}

CUresult vgpu_cuMemGetAccess(unsigned long long *flags, const CUmemLocation *location, CUdeviceptr pointer) {
  if (flags == NULL || location == NULL) return vgpu_null();
  vgpu_lock();
  const struct physical *physical = find_holder(pointer);
  if (physical != NULL) *flags = physical->access;
  vgpu_unlock();
  return physical != NULL ? CUDA_SUCCESS : vgpu_fail(CUDA_ERROR_INVALID_VALUE, "nothing is mapped at 0x%llx", pointer);
}

CUresult vgpu_cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *address) {
  if (handle == NULL) return vgpu_null();
  vgpu_lock();
  struct physical *physical = find_holder((uint64_t)address);
  if (physical != NULL) {
    ++physical->references;
    *handle = (uint64_t)physical;
  }
  vgpu_unlock();
  return physical != NULL ? CUDA_SUCCESS : vgpu_fail(CUDA_ERROR_INVALID_VALUE, "nothing is mapped at %p", address);
}

CUresult vgpu_cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp *properties,
                                                     CUmemGenericAllocationHandle handle) {
  if (properties == NULL) return vgpu_null();
  vgpu_lock();
  const struct physical *physical = find_handle(handle);
  if (physical != NULL) *properties = physical->properties;
  vgpu_unlock();
  return physical != NULL ? CUDA_SUCCESS : vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no such memory handle");
}
