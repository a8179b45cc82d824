/* Driver API: memory allocated and freed in the order of a stream, the pools that it comes from, and memory of graphs.
 *
 * An allocation is there at once, whatever the stream does before it; it goes when the stream has come to its freeing.
 * Pools keep nothing back: what is freed goes to the system. */
#define _GNU_SOURCE 1
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/api.h"
#include "engine/vgpu/graph.h"
#include "engine/vgpu/regions.h"
#include "engine/vgpu/stream_queue.h"

struct CUmemPoolHandle_st {
  CUmemPoolProps properties;
  int reuse[3]; /* CU_MEMPOOL_ATTR_REUSE_..., hints */
  uint64_t threshold, used, high;
  bool destroyed; /* goes with its last allocation */
};

/* Memory of a pool, or of a graph. */
struct allocation {
  struct allocation *next;
  CUdeviceptr pointer;
  size_t bytes;
  CUcontext context;
  CUmemoryPool pool;   /* NULL: of a graph */
  unsigned references; /* of a graph: its nodes */
  bool freed;          /* by an operation that was not executed yet */
};

/* Under vgpu_lock() */
static struct allocation *allocations;
static struct CUmemPoolHandle_st default_pool = {
    .properties = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE}},
    .reuse = {1, 1, 1}};
static CUmemoryPool current_pool = &default_pool;
static uint64_t graph_used, graph_high;

/* ---- allocations; vgpu_lock() is held ---- */

static struct allocation *find(CUdeviceptr pointer) {
  struct allocation *at = allocations;
  while (at != NULL && at->pointer != pointer) at = at->next;
  return at;
}

static void forget(struct allocation *allocation) {
  struct allocation **at = &allocations;
  while (*at != allocation) at = &(*at)->next;
  *at = allocation->next;
  CUmemoryPool pool = allocation->pool;
  if (pool == NULL) {
    graph_used -= allocation->bytes;
  } else {
    pool->used -= allocation->bytes;
    if (pool->destroyed && pool->used == 0) free(pool);
  }
  free(allocation);
}

/* ---- for the rest ---- */

static CUdeviceptr make(size_t bytes, CUmemoryPool pool, CUcontext context) {
  struct allocation *made = calloc(1, sizeof *made);
  void *memory = made != NULL ? regions_allocate(pool != NULL ? REGION_POOL : REGION_GRAPH, bytes, context) : NULL;
  if (memory == NULL) {
    free(made);
    return 0;
  }
  vgpu_lock();
  *made = (struct allocation){.next = allocations,
                              .pointer = (CUdeviceptr)memory,
                              .bytes = bytes,
                              .context = context,
                              .pool = pool,
                              .references = 1};
  allocations = made;
  uint64_t *used = pool != NULL ? &pool->used : &graph_used, *high = pool != NULL ? &pool->high : &graph_high;
  *used += bytes;
  if (*used > *high) *high = *used;
  vgpu_unlock();
  return (CUdeviceptr)memory;
}

bool vgpu_free_memory(CUdeviceptr pointer) {
  vgpu_lock();
  struct allocation *allocation = find(pointer);
  const bool of_pool = allocation != NULL && allocation->pool != NULL;
  if (of_pool) forget(allocation);
  vgpu_unlock();
  if (of_pool) return regions_free(REGION_POOL, pointer);
  return regions_free(REGION_DEVICE, pointer) || regions_free(REGION_MANAGED, pointer);
}

void vgpu_pools_forget(CUcontext context) {
  vgpu_lock();
  for (struct allocation *at = allocations, *next; at != NULL; at = next) {
    next = at->next;
    if (at->pool == NULL || at->context != context) continue;
    regions_free(REGION_POOL, at->pointer);
    forget(at);
  }
  vgpu_unlock();
}

CUmemoryPool vgpu_pool_of(CUdeviceptr pointer) {
  struct region region;
  if (!regions_find(pointer, &region)) return NULL;
  vgpu_lock();
  const struct allocation *allocation = find(region.low);
  CUmemoryPool pool = allocation != NULL ? allocation->pool : NULL;
  vgpu_unlock();
  return pool;
}

CUdeviceptr vgpu_graph_memory_make(size_t bytes) { return make(bytes, NULL, NULL); }

void vgpu_graph_memory_keep(CUdeviceptr pointer) {
  vgpu_lock();
  struct allocation *allocation = find(pointer);
  if (allocation != NULL) ++allocation->references;
  vgpu_unlock();
}

void vgpu_graph_memory_release(CUdeviceptr pointer) {
  vgpu_lock();
  struct allocation *allocation = find(pointer);
  const bool last = allocation != NULL && --allocation->references == 0;
  if (last) forget(allocation);
  vgpu_unlock();
  if (last) regions_free(REGION_GRAPH, pointer);
}

/* ---- in a stream ---- */

static CUresult check_pool(CUmemoryPool pool) {
  CUresult result = vgpu_check_device(0);
  if (result != CUDA_SUCCESS || pool == &default_pool || handle_is(pool, HANDLE_POOL)) return result;
  return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%p is no pool of memory; it may have been destroyed", (void *)pool);
}

static CUresult capture_allocation(CUstream stream, CUdeviceptr *pointer, size_t bytes) {
  CUgraphNode node;
  const CUdeviceptr memory = vgpu_graph_memory_make(bytes);
  if (memory == 0) return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "%zu bytes for a node of a graph", bytes);
  CUresult result =
      vgpu_capture_add(stream, CU_GRAPH_NODE_TYPE_MEM_ALLOC, &(struct operation){.kind = OPERATION_NOTHING}, &node);
  if (result != CUDA_SUCCESS) {
    vgpu_graph_memory_release(memory);
    return result;
  }
  node->memory = (CUDA_MEM_ALLOC_NODE_PARAMS){.poolProps = default_pool.properties, .bytesize = bytes, .dptr = memory};
  *pointer = memory;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuMemAllocFromPoolAsync(CUdeviceptr *pointer, size_t bytes, CUmemoryPool pool, CUstream handle) {
  CUstream stream;
  CUresult result = vgpu_stream(handle, &stream);
  if (result == CUDA_SUCCESS) result = check_pool(pool);
  if (result != CUDA_SUCCESS) return result;
  if (pointer == NULL) return vgpu_null();
  if (bytes == 0) { /* documented */
    *pointer = 0;
    return CUDA_SUCCESS;
  }
  if (stream->capture != NULL) return capture_allocation(stream, pointer, bytes);
  result = vgpu_default_stream_allows(stream);
  if (result != CUDA_SUCCESS) return result;
  const size_t most = pool->properties.maxSize;
  const CUdeviceptr made =
      most != 0 && (bytes > most || pool->used > most - bytes) ? 0 : make(bytes, pool, stream->context);
  if (made == 0) {
    return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "%zu bytes asked for; %zu of %zu are in use", bytes, regions_in_use(),
                     most != 0 ? most : regions_total());
  }
  *pointer = made;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuMemAllocAsync(CUdeviceptr *pointer, size_t bytes, CUstream stream) {
  return vgpu_cuMemAllocFromPoolAsync(pointer, bytes, current_pool, stream);
}

CUresult vgpu_cuMemFreeAsync(CUdeviceptr pointer, CUstream handle) {
  CUstream stream;
  CUresult result = vgpu_stream(handle, &stream);
  if (result != CUDA_SUCCESS || pointer == 0) return result;
  struct region region;
  bool good = regions_find(pointer, &region) && region.low == pointer;
  vgpu_lock();
  struct allocation *allocation = find(pointer);
  if (allocation != NULL && stream->capture == NULL) {
    good = good && !allocation->freed;
    allocation->freed = allocation->pool != NULL;
  }
  vgpu_unlock();
  if (!good || (allocation == NULL && region.kind != REGION_DEVICE && region.kind != REGION_MANAGED)) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "0x%llx is not the start of an allocation that was not freed", pointer);
  }
  return vgpu_submit(handle, &(struct operation){.kind = OPERATION_FREE, .release = {.pointer = pointer}}, false);
}

/* ---- pools ---- */

static CUresult check_location(const CUmemLocation *location) {
  if (location == NULL) return vgpu_null();
  const bool host = location->type == CU_MEM_LOCATION_TYPE_HOST || location->type == CU_MEM_LOCATION_TYPE_HOST_NUMA ||
                    location->type == CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT;
  if (host || (location->type == CU_MEM_LOCATION_TYPE_DEVICE && location->id == 0)) return CUDA_SUCCESS;
  return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "there is one virtual GPU, number 0, and the host");
}

CUresult vgpu_cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *properties) {
  CUresult result = vgpu_check_device(0);
  if (result != CUDA_SUCCESS) return result;
  if (pool == NULL || properties == NULL) return vgpu_null();
  result = check_location(&properties->location);
  if (result != CUDA_SUCCESS) return result;
  if (properties->allocType != CU_MEM_ALLOCATION_TYPE_PINNED) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "pools hold pinned memory");
  }
  if (properties->handleTypes != CU_MEM_HANDLE_TYPE_NONE) {
    return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "the virtual GPU shares nothing between processes");
  }
  CUmemoryPool made = calloc(1, sizeof *made);
  if (made == NULL || !handle_add(made, HANDLE_POOL)) {
    free(made);
    return vgpu_no_memory();
  }
  *made = (struct CUmemPoolHandle_st){.properties = *properties, .reuse = {1, 1, 1}};
  *pool = made;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuMemPoolDestroy(CUmemoryPool pool) {
  CUresult result = check_pool(pool);
  if (result != CUDA_SUCCESS) return result;
  if (pool == &default_pool) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "the default pool cannot be destroyed");
  handle_remove(pool);
  vgpu_lock();
  if (current_pool == pool) current_pool = &default_pool;
  pool->destroyed = true;
  if (pool->used == 0) free(pool);
  vgpu_unlock();
  return CUDA_SUCCESS;
}

CUresult vgpu_cuMemPoolTrimTo(CUmemoryPool pool, size_t bytes) {
  (void)bytes; /* nothing is held back */
  return check_pool(pool);
}

CUresult vgpu_cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value) {
  CUresult result = check_pool(pool);
  if (result != CUDA_SUCCESS) return result;
  if (value == NULL) return vgpu_null();
  switch ((int)attribute) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
      pool->reuse[attribute - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES] = *(const int *)value;
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
      pool->threshold = *(const uint64_t *)value;
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
      if (*(const uint64_t *)value != 0) break;
      pool->high = pool->used;
      return CUDA_SUCCESS;
    default:
      break;
  }
  return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "attribute %d cannot be set so", (int)attribute);
}

CUresult vgpu_cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value) {
  CUresult result = check_pool(pool);
  if (result != CUDA_SUCCESS) return result;
  if (value == NULL) return vgpu_null();
  switch ((int)attribute) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
      *(int *)value = pool->reuse[attribute - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES];
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
      *(uint64_t *)value = pool->threshold;
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
      *(uint64_t *)value = pool->used;
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
      *(uint64_t *)value = pool->high;
      return CUDA_SUCCESS;
    default:
      return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%d is no attribute of a pool", (int)attribute);
  }
}

/* Kernels and the program both reach all memory. */
CUresult vgpu_cuMemPoolSetAccess(CUmemoryPool pool, const CUmemAccessDesc *access, size_t count) {
  CUresult result = check_pool(pool);
  if (result == CUDA_SUCCESS && count > 0 && access == NULL) result = vgpu_null();
  for (size_t i = 0; i < count && result == CUDA_SUCCESS; ++i) {
    result = check_location(&access[i].location);
    if (result == CUDA_SUCCESS && access[i].flags == CU_MEM_ACCESS_FLAGS_PROT_NONE) {
      result = vgpu_fail(CUDA_ERROR_INVALID_VALUE, "access of the pool's own device cannot be taken away");
    }
  }
  return result;
}

CUresult vgpu_cuMemPoolGetAccess(CUmemAccess_flags *flags, CUmemoryPool pool, CUmemLocation *location) {
  CUresult result = check_pool(pool);
  if (result == CUDA_SUCCESS) result = check_location(location);
  if (result != CUDA_SUCCESS) return result;
  if (flags == NULL) return vgpu_null();
  *flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice device) {
  if (pool == NULL) return vgpu_null();
  CUresult result = vgpu_check_device(device);
  if (result == CUDA_SUCCESS) *pool = &default_pool;
  return result;
}

CUresult vgpu_cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice device) {
  if (pool == NULL) return vgpu_null();
  CUresult result = vgpu_check_device(device);
  if (result == CUDA_SUCCESS) *pool = current_pool;
  return result;
}

CUresult vgpu_cuDeviceSetMemPool(CUdevice device, CUmemoryPool pool) {
  CUresult result = vgpu_check_device(device);
  if (result == CUDA_SUCCESS) result = check_pool(pool);
  if (result == CUDA_SUCCESS) current_pool = pool;
  return result;
}

CUresult vgpu_cuMemGetDefaultMemPool(CUmemoryPool *pool, CUmemLocation *location, CUmemAllocationType type) {
  (void)type;
  CUresult result = check_location(location);
  return result == CUDA_SUCCESS ? vgpu_cuDeviceGetDefaultMemPool(pool, 0) : result;
}

CUresult vgpu_cuMemGetMemPool(CUmemoryPool *pool, CUmemLocation *location, CUmemAllocationType type) {
  (void)type;
  CUresult result = check_location(location);
  return result == CUDA_SUCCESS ? vgpu_cuDeviceGetMemPool(pool, 0) : result;
}

CUresult vgpu_cuMemSetMemPool(CUmemLocation *location, CUmemAllocationType type, CUmemoryPool pool) {
  (void)type;
  CUresult result = check_location(location);
  return result == CUDA_SUCCESS ? vgpu_cuDeviceSetMemPool(0, pool) : result;
}

/* ---- memory of graphs ---- */

CUresult vgpu_cuDeviceGetGraphMemAttribute(CUdevice device, CUgraphMem_attribute attribute, void *value) {
  CUresult result = vgpu_check_device(device);
  if (result != CUDA_SUCCESS) return result;
  if (value == NULL) return vgpu_null();
  if ((unsigned)attribute > CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%d is no attribute of graphs' memory", (int)attribute);
  }
  const bool high = attribute == CU_GRAPH_MEM_ATTR_USED_MEM_HIGH || attribute == CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH;
  *(uint64_t *)value = high ? graph_high : graph_used;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuDeviceSetGraphMemAttribute(CUdevice device, CUgraphMem_attribute attribute, void *value) {
  CUresult result = vgpu_check_device(device);
  if (result != CUDA_SUCCESS) return result;
  if (value == NULL) return vgpu_null();
  if ((attribute != CU_GRAPH_MEM_ATTR_USED_MEM_HIGH && attribute != CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH) ||
      *(const uint64_t *)value != 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "only the high marks can be set, and only to 0");
  }
  graph_high = graph_used;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuDeviceGraphMemTrim(CUdevice device) { return vgpu_check_device(device); }
