/* Pools: device memory with stack discipline, at addresses that never move.
 *
 * A pool reserves addresses for all it may ever hold and maps memory behind them piece by piece as its top rises. What
 * was mapped stays until the pool is destroyed, so that taking the same amount again costs nothing. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/device.h"
#include "engine/status.h"

enum { POOL_ALIGNMENT = 256 };

struct piece {
  struct piece *next; /* the one mapped before */
  CUmemGenericAllocationHandle handle;
  size_t offset, bytes;
};

struct pool {
  noprop_device *device;
  CUdeviceptr base;
  size_t limit;    /* bytes that may be in use */
  size_t reserved; /* addresses: `limit` rounded up to the granularity */
  size_t granularity;
  size_t mapped, used;
  struct piece *pieces;
};

static size_t round_up(size_t value, size_t to) { return (value + to - 1) / to * to; }

static CUmemAllocationProp properties_of(const noprop_device *device) {
  return (CUmemAllocationProp){.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                               .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device->ordinal}};
}

/* "1.5 GiB" into one of the buffers. */
static const char *size_text(char text[32], size_t bytes) {
  static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  double value = (double)bytes;
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  snprintf(text, 32, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return text;
}

noprop_status pool_create(noprop_device *device, size_t limit, struct pool **result) {
  *result = NULL;
  noprop_status status = device_enter(device);
  if (status != NOPROP_OK) return status;
  struct pool *pool = calloc(1, sizeof *pool);
  if (pool == NULL) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for a memory pool");
  pool->device = device;
  pool->limit = limit != 0 && limit < device->properties.memory_bytes ? limit : device->properties.memory_bytes;
  const CUmemAllocationProp prop = properties_of(device);
  CUresult result_code =
      device->driver->mem_get_allocation_granularity(&pool->granularity, &prop, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED);
  if (result_code == CUDA_SUCCESS) {
    pool->reserved = round_up(pool->limit, pool->granularity);
    result_code = device->driver->mem_address_reserve(&pool->base, pool->reserved, 0, 0, 0);
  }
  status = driver_check(device->driver, result_code, "reserving addresses for device memory");
  if (status != NOPROP_OK) {
    free(pool);
    return status;
  }
  *result = pool;
  return NOPROP_OK;
}

static void unmap(struct pool *pool, struct piece *piece) {
  pool->device->driver->mem_unmap(pool->base + piece->offset, piece->bytes);
  pool->device->driver->mem_release(piece->handle);
  free(piece);
}

void pool_destroy(struct pool *pool) {
  if (pool == NULL) return;
  noprop_device *device = pool->device;
  if (device_enter(device) == NOPROP_OK) device->driver->stream_synchronize(device->stream);
  for (struct piece *piece = pool->pieces, *next; piece != NULL; piece = next) {
    next = piece->next;
    unmap(pool, piece);
  }
  device->driver->mem_address_free(pool->base, pool->reserved);
  device->counters.pool_bytes_reserved -= pool->mapped;
  device->counters.pool_bytes_in_use -= pool->used;
  free(pool);
}

/* Maps memory behind at least `bytes` more of the addresses. */
static noprop_status extend(struct pool *pool, size_t bytes, const char *what) {
  noprop_device *device = pool->device;
  const struct driver *driver = device->driver;
  struct piece *piece = calloc(1, sizeof *piece);
  if (piece == NULL) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for a memory pool");
  piece->offset = pool->mapped;
  piece->bytes = round_up(bytes, pool->granularity);
  const CUdeviceptr at = pool->base + piece->offset;
  const CUmemAllocationProp prop = properties_of(device);
  const CUmemAccessDesc access = {.location = prop.location, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};

  CUresult result = driver->mem_create(&piece->handle, piece->bytes, &prop, 0);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    size_t left = 0, total = 0;
    char asked_text[32], left_text[32], total_text[32];
    driver->mem_get_info(&left, &total);
    size_text(asked_text, piece->bytes);
    free(piece);
    return status_set(NOPROP_OUT_OF_MEMORY, "%s: %s more device memory is needed; %s of the device's %s are free", what,
                      asked_text, size_text(left_text, left), size_text(total_text, total));
  }
  if (result != CUDA_SUCCESS) {
    free(piece);
    return driver_check(driver, result, "allocating device memory");
  }
  result = driver->mem_map(at, piece->bytes, 0, piece->handle, 0);
  if (result != CUDA_SUCCESS) {
    driver->mem_release(piece->handle);
    free(piece);
    return driver_check(driver, result, "mapping device memory");
  }
  result = driver->mem_set_access(at, piece->bytes, &access, 1);
  if (result != CUDA_SUCCESS) {
    noprop_status status = driver_check(driver, result, "mapping device memory");
    unmap(pool, piece);
    return status;
  }
  ++device->counters.allocations;
  device->counters.pool_bytes_reserved += piece->bytes;
  pool->mapped += piece->bytes;
  piece->next = pool->pieces;
  pool->pieces = piece;
  return NOPROP_OK;
}

noprop_status pool_alloc(struct pool *pool, size_t bytes, const char *what, CUdeviceptr *pointer) {
  noprop_device *device = pool->device;
  *pointer = 0;
  if (device->recording) {
    return status_set(NOPROP_INVALID_ARGUMENT, "%s: memory cannot be taken while a graph is being recorded", what);
  }
  const size_t left = pool->used < pool->limit ? pool->limit - pool->used : 0; /* rounding may have passed the limit */
  if (bytes > left) {
    char asked_text[32], left_text[32], limit_text[32];
    return status_set(NOPROP_OUT_OF_MEMORY, "%s: %s of device memory asked for; %s of the limit of %s are left", what,
                      size_text(asked_text, bytes), size_text(left_text, left), size_text(limit_text, pool->limit));
  }
  noprop_status status = device_enter(device);
  if (status != NOPROP_OK) return status;
  /* The last allocation may end on the limit itself; its rounding then reaches into addresses beyond, which exist
   * because the granularity is a multiple of the alignment. */
  const size_t size = round_up(bytes, POOL_ALIGNMENT);
  if (pool->used + size > pool->mapped) status = extend(pool, pool->used + size - pool->mapped, what);
  if (status == NOPROP_OK) status = device_clear(device, pool->base + pool->used, size);
  if (status != NOPROP_OK) return status;
  *pointer = pool->base + pool->used;
  pool->used += size;
  device->counters.pool_bytes_in_use += size;
  if (device->counters.pool_bytes_in_use > device->counters.pool_bytes_peak) {
    device->counters.pool_bytes_peak = device->counters.pool_bytes_in_use;
  }
  return NOPROP_OK;
}

size_t pool_mark(const struct pool *pool) { return pool->used; }

void pool_release(struct pool *pool, size_t mark) {
  if (mark >= pool->used) return;
  pool->device->counters.pool_bytes_in_use -= pool->used - mark;
  pool->used = mark;
}
