/* Driver API: managed memory. There is one place where it can be, so that advice changes nothing; what was advised of a
 * whole allocation is remembered for those who ask. */
#define _GNU_SOURCE 1
#include "engine/vgpu/api.h"
#include "engine/vgpu/regions.h"

static CUresult check_managed(CUdeviceptr pointer, size_t bytes, struct region *region) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (bytes == 0 || !regions_find(pointer, region) || bytes > region->high - pointer ||
      region->kind != REGION_MANAGED) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%zu bytes at 0x%llx are not all managed memory", bytes, pointer);
  }
  return CUDA_SUCCESS;
}

static CUresult check_location(CUmemLocation location) {
  const bool host = location.type == CU_MEM_LOCATION_TYPE_HOST || location.type == CU_MEM_LOCATION_TYPE_HOST_NUMA ||
                    location.type == CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT;
  if (host || (location.type == CU_MEM_LOCATION_TYPE_DEVICE && location.id == 0)) return CUDA_SUCCESS;
  return vgpu_fail(CUDA_ERROR_INVALID_DEVICE, "there is one virtual GPU, number 0, and the host");
}

static bool is_whole(const struct region *region, CUdeviceptr pointer, size_t bytes) {
  return pointer == region->low && bytes == region->high - region->low;
}

CUresult vgpu_cuMemAdvise_v2(CUdeviceptr pointer, size_t bytes, CUmem_advise advice, CUmemLocation location) {
  struct region region;
  CUresult result = check_managed(pointer, bytes, &region);
  if (result != CUDA_SUCCESS) return result;
  if ((int)advice < CU_MEM_ADVISE_SET_READ_MOSTLY || advice > CU_MEM_ADVISE_UNSET_ACCESSED_BY) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%d is no advice", (int)advice);
  }
  const bool placed = advice == CU_MEM_ADVISE_SET_PREFERRED_LOCATION || advice == CU_MEM_ADVISE_SET_ACCESSED_BY;
  result = placed ? check_location(location) : CUDA_SUCCESS;
  if (result != CUDA_SUCCESS || !is_whole(&region, pointer, bytes)) return result;
  struct region_advice *kept = &region.advice;
  bool *access = location.type == CU_MEM_LOCATION_TYPE_DEVICE ? &kept->by_device : &kept->by_host;
  switch ((int)advice) {
    case CU_MEM_ADVISE_SET_READ_MOSTLY:
    case CU_MEM_ADVISE_UNSET_READ_MOSTLY:
      kept->read_mostly = advice == CU_MEM_ADVISE_SET_READ_MOSTLY;
      break;
    case CU_MEM_ADVISE_SET_PREFERRED_LOCATION:
      kept->preferred = location;
      break;
    case CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION:
      kept->preferred = (CUmemLocation){.type = CU_MEM_LOCATION_TYPE_INVALID};
      break;
    default:
      *access = advice == CU_MEM_ADVISE_SET_ACCESSED_BY;
  }
  regions_set_advice(region.low, kept);
  return CUDA_SUCCESS;
}

static CUmemLocation location_of(CUdevice device) {
  return (CUmemLocation){.type = device == CU_DEVICE_CPU ? CU_MEM_LOCATION_TYPE_HOST : CU_MEM_LOCATION_TYPE_DEVICE,
                         .id = device == CU_DEVICE_CPU ? 0 : device};
}

CUresult vgpu_cuMemAdvise(CUdeviceptr pointer, size_t bytes, CUmem_advise advice, CUdevice device) {
  return vgpu_cuMemAdvise_v2(pointer, bytes, advice, location_of(device));
}

CUresult vgpu_cuMemPrefetchAsync_v2(CUdeviceptr pointer, size_t bytes, CUmemLocation location, unsigned flags,
                                    CUstream stream) {
  struct region region;
  CUresult result = check_managed(pointer, bytes, &region);
  if (result == CUDA_SUCCESS) result = check_location(location);
  if (result != CUDA_SUCCESS) return result;
  if (flags != 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "cuMemPrefetchAsync takes no flags");
  if (is_whole(&region, pointer, bytes)) {
    region.advice.prefetched = location;
    regions_set_advice(region.low, &region.advice);
  }
  return vgpu_submit(stream, &(struct operation){.kind = OPERATION_NOTHING}, false);
}

CUresult vgpu_cuMemPrefetchAsync(CUdeviceptr pointer, size_t bytes, CUdevice device, CUstream stream) {
  return vgpu_cuMemPrefetchAsync_v2(pointer, bytes, location_of(device), 0, stream);
}

static CUresult check_batch(const CUdeviceptr *pointers, const size_t *sizes, size_t count, unsigned long long flags) {
  if (pointers == NULL || sizes == NULL || count == 0 || flags != 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no ranges, or flags");
  }
  CUresult result = CUDA_SUCCESS;
  struct region region;
  for (size_t i = 0; i < count && result == CUDA_SUCCESS; ++i) result = check_managed(pointers[i], sizes[i], &region);
  return result;
}

CUresult vgpu_cuMemPrefetchBatchAsync(CUdeviceptr *pointers, size_t *sizes, size_t count, CUmemLocation *locations,
                                      size_t *location_of_range, size_t location_count, unsigned long long flags,
                                      CUstream stream) {
  CUresult result = check_batch(pointers, sizes, count, flags);
  if (result != CUDA_SUCCESS) return result;
  if (locations == NULL || location_of_range == NULL || location_count == 0 || location_of_range[0] != 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no locations, or none for the first range");
  }
  for (size_t i = 0, at = 0; i < count && result == CUDA_SUCCESS; ++i) {
    while (at + 1 < location_count && location_of_range[at + 1] <= i) ++at;
    result = vgpu_cuMemPrefetchAsync_v2(pointers[i], sizes[i], locations[at], 0, stream);
  }
  return result;
}

/* What is discarded may have any content: the one it has is one of them. */
CUresult vgpu_cuMemDiscardBatchAsync(CUdeviceptr *pointers, size_t *sizes, size_t count, unsigned long long flags,
                                     CUstream stream) {
  CUresult result = check_batch(pointers, sizes, count, flags);
  return result == CUDA_SUCCESS ? vgpu_submit(stream, &(struct operation){.kind = OPERATION_NOTHING}, false) : result;
}

CUresult vgpu_cuMemDiscardAndPrefetchBatchAsync(CUdeviceptr *pointers, size_t *sizes, size_t count,
                                                CUmemLocation *locations, size_t *location_of_range,
                                                size_t location_count, unsigned long long flags, CUstream stream) {
  return vgpu_cuMemPrefetchBatchAsync(pointers, sizes, count, locations, location_of_range, location_count, flags,
                                      stream);
}

/* ---- what was advised ---- */

static int device_of(CUmemLocation location) {
  if (location.type == CU_MEM_LOCATION_TYPE_INVALID) return CU_DEVICE_INVALID;
  return location.type == CU_MEM_LOCATION_TYPE_DEVICE ? location.id : CU_DEVICE_CPU;
}

CUresult vgpu_cuMemRangeGetAttribute(void *data, size_t size, CUmem_range_attribute attribute, CUdeviceptr pointer,
                                     size_t bytes) {
  struct region region;
  CUresult result = check_managed(pointer, bytes, &region);
  if (result != CUDA_SUCCESS) return result;
  if (data == NULL || size == 0 || size % 4 != 0 || (size != 4 && attribute != CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY)) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%zu bytes for attribute %d", size, (int)attribute);
  }
  const struct region_advice *kept = &region.advice;
  int *value = data;
  switch ((int)attribute) {
    case CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY:
      *value = kept->read_mostly;
      break;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION:
      *value = device_of(kept->preferred);
      break;
    case CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY: {
      size_t at = 0;
      if (kept->by_device && at < size / 4) value[at++] = 0;
      if (kept->by_host && at < size / 4) value[at++] = CU_DEVICE_CPU;
      while (at < size / 4) value[at++] = CU_DEVICE_INVALID;
      break;
    }
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION:
      *value = device_of(kept->prefetched);
      break;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE:
      *value = (int)kept->preferred.type;
      break;
    case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_ID:
      *value = kept->preferred.id;
      break;
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_TYPE:
      *value = (int)kept->prefetched.type;
      break;
    case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_ID:
      *value = kept->prefetched.id;
      break;
    default:
      return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%d is no attribute of managed memory", (int)attribute);
  }
  return CUDA_SUCCESS;
}

CUresult vgpu_cuMemRangeGetAttributes(void **data, size_t *sizes, CUmem_range_attribute *attributes, size_t count,
                                      CUdeviceptr pointer, size_t bytes) {
  if (data == NULL || sizes == NULL || attributes == NULL) return vgpu_null();
  CUresult result = CUDA_SUCCESS;
  for (size_t i = 0; i < count && result == CUDA_SUCCESS; ++i) {
    result = vgpu_cuMemRangeGetAttribute(data[i], sizes[i], attributes[i], pointer, bytes);
  }
  return result;
}
