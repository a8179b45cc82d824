/* An open device: driver table, context, stream, memory pool, kernel cache. */
#ifndef ENGINE_DEVICE_H
#define ENGINE_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/driver/driver.h"
#include "noprop/device.h"

/* ---- pool: one reserved address range, mapped on demand, stack discipline ---- */

struct pool; /* owned by a model: created and destroyed with it */

/* Reserves address space for `limit` bytes (0: the device's memory) without using memory yet. */
noprop_status pool_create(noprop_device *device, size_t limit, struct pool **pool);
void pool_destroy(struct pool *pool);
/* 256-byte aligned, zero-filled, lives until pool_release to an earlier mark. Fails with the sizes asked for and left,
 * naming `what` ("gradient slots"). */
noprop_status pool_alloc(struct pool *pool, size_t bytes, const char *what, CUdeviceptr *pointer);
size_t pool_mark(const struct pool *pool);
void pool_release(struct pool *pool, size_t mark);

/* ---- kernels ---- */

struct kernel {
  CUmodule module; /* owned by the device's kernel cache */
  CUfunction function;
};

/* Compiles `source` (CUDA C++) with NVRTC for this device or takes it from the on-disk cache, loads it, and finds
 * `entry`. The headers of kernels/ can be included by name ("philox.cuh"); they are part of the library and of the
 * cache key. Same source on the same device: the same module. */
noprop_status device_compile(noprop_device *device, const char *source, const char *entry, struct kernel *kernel);
/* A kernel compiled ahead of time from kernels/NAME.cu. */
noprop_status device_builtin(noprop_device *device, const char *module_name, const char *entry, struct kernel *kernel);

noprop_status device_launch(noprop_device *device, const struct kernel *kernel, unsigned grid, unsigned block,
                            unsigned shared_bytes, const void *arguments, size_t arguments_size);
/* The same with all blocks resident at once, so that they may wait for each other; `arguments` is the kernel's only
 * parameter. Cannot be recorded. */
noprop_status device_launch_cooperative(noprop_device *device, const struct kernel *kernel, unsigned grid,
                                        unsigned block, unsigned shared_bytes, const void *arguments);
/* Blocks of a kernel that are resident at once on the whole device; 0 if it has no cooperative launches. */
noprop_status device_resident_blocks(noprop_device *device, const struct kernel *kernel, unsigned block,
                                     unsigned shared_bytes, unsigned *blocks);
/* Makes the device's context current on the calling thread; first in everything that calls the driver. */
noprop_status device_enter(noprop_device *device);

/* ---- copies: asynchronous on the device's stream; `to_host` waits ---- */
noprop_status device_upload(noprop_device *device, CUdeviceptr to, const void *from, size_t bytes);
noprop_status device_download(noprop_device *device, void *to, CUdeviceptr from, size_t bytes);
noprop_status device_clear(noprop_device *device, CUdeviceptr to, size_t bytes); /* multiple of 4 */

/* ---- graphs ---- */
struct graph;
/* Records the launches made between begin and end; they do not run. After a begin that succeeded there must be an end,
 * even if a launch failed in between: it gives the device's stream back. */
noprop_status graph_begin(noprop_device *device);
noprop_status graph_end(noprop_device *device, struct graph **graph);
noprop_status graph_launch(noprop_device *device, struct graph *graph);
void graph_destroy(noprop_device *device, struct graph *graph);

struct noprop_device {
  const struct driver *driver;
  CUdevice ordinal;
  CUcontext context;
  CUstream stream, copy_stream;
  noprop_device_properties properties;
  noprop_device_counters counters;
  char reason[512];
  struct kernel_cache *kernels;
  bool recording; /* between graph_begin and graph_end */
  int capturing;  /* launches counted into the graph being recorded */
};

#endif
