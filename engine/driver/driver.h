/* The table of CUDA driver-API functions: the only way the engine talks to a GPU.
 *
 * Filled from the NVIDIA driver (libcuda.so.1) or from the virtual GPU. Symbols are looked up by name and version (the
 * 12.0 forms), so that the prototypes of cuda.h's versioned names hold. */
#ifndef ENGINE_DRIVER_H
#define ENGINE_DRIVER_H

#include <cuda.h>
#include <stdbool.h>

#include "noprop/status.h"

/* X(member, symbol, (parameters)): every function that the engine calls. */
#define DRIVER_FUNCTION_LIST(X)                                                                                       \
  X(init, "cuInit", (unsigned flags))                                                                                 \
  X(driver_get_version, "cuDriverGetVersion", (int *version))                                                         \
  X(device_get_count, "cuDeviceGetCount", (int *count))                                                               \
  X(device_get, "cuDeviceGet", (CUdevice * device, int ordinal))                                                      \
  X(device_get_name, "cuDeviceGetName", (char *name, int length, CUdevice device))                                    \
  X(device_get_attribute, "cuDeviceGetAttribute", (int *value, CUdevice_attribute attribute, CUdevice device))        \
  X(device_total_mem, "cuDeviceTotalMem_v2", (size_t * bytes, CUdevice device))                                       \
  X(primary_retain, "cuDevicePrimaryCtxRetain", (CUcontext * context, CUdevice device))                               \
  X(primary_release, "cuDevicePrimaryCtxRelease_v2", (CUdevice device))                                               \
  X(ctx_set_current, "cuCtxSetCurrent", (CUcontext context))                                                          \
  X(ctx_synchronize, "cuCtxSynchronize", (void))                                                                      \
  X(module_load_data, "cuModuleLoadData", (CUmodule * module, const void *image))                                     \
  X(module_unload, "cuModuleUnload", (CUmodule module))                                                               \
  X(module_get_function, "cuModuleGetFunction", (CUfunction * function, CUmodule module, const char *name))           \
  X(func_get_attribute, "cuFuncGetAttribute", (int *value, CUfunction_attribute attribute, CUfunction function))      \
  X(func_set_attribute, "cuFuncSetAttribute", (CUfunction function, CUfunction_attribute attribute, int value))       \
  X(mem_get_info, "cuMemGetInfo_v2", (size_t * free_bytes, size_t * total_bytes))                                     \
  X(mem_alloc, "cuMemAlloc_v2", (CUdeviceptr * pointer, size_t bytes))                                                \
  X(mem_free, "cuMemFree_v2", (CUdeviceptr pointer))                                                                  \
  X(mem_host_alloc, "cuMemHostAlloc", (void **pointer, size_t bytes, unsigned flags))                                 \
  X(mem_free_host, "cuMemFreeHost", (void *pointer))                                                                  \
  X(mem_address_reserve, "cuMemAddressReserve",                                                                       \
    (CUdeviceptr * pointer, size_t size, size_t alignment, CUdeviceptr address, unsigned long long flags))            \
  X(mem_address_free, "cuMemAddressFree", (CUdeviceptr pointer, size_t size))                                         \
  X(mem_create, "cuMemCreate",                                                                                        \
    (CUmemGenericAllocationHandle * handle, size_t size, const CUmemAllocationProp *prop, unsigned long long flags))  \
  X(mem_release, "cuMemRelease", (CUmemGenericAllocationHandle handle))                                               \
  X(mem_map, "cuMemMap",                                                                                              \
    (CUdeviceptr pointer, size_t size, size_t offset, CUmemGenericAllocationHandle handle, unsigned long long flags)) \
  X(mem_unmap, "cuMemUnmap", (CUdeviceptr pointer, size_t size))                                                      \
  X(mem_set_access, "cuMemSetAccess", (CUdeviceptr pointer, size_t size, const CUmemAccessDesc *desc, size_t count))  \
  X(mem_get_allocation_granularity, "cuMemGetAllocationGranularity",                                                  \
    (size_t * granularity, const CUmemAllocationProp *prop, CUmemAllocationGranularity_flags option))                 \
  X(memcpy_htod_async, "cuMemcpyHtoDAsync_v2", (CUdeviceptr to, const void *from, size_t bytes, CUstream stream))     \
  X(memcpy_dtoh_async, "cuMemcpyDtoHAsync_v2", (void *to, CUdeviceptr from, size_t bytes, CUstream stream))           \
  X(memcpy_dtod_async, "cuMemcpyDtoDAsync_v2", (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream))     \
  X(memset_d32_async, "cuMemsetD32Async", (CUdeviceptr to, unsigned value, size_t count, CUstream stream))            \
  X(stream_create, "cuStreamCreate", (CUstream * stream, unsigned flags))                                             \
  X(stream_destroy, "cuStreamDestroy_v2", (CUstream stream))                                                          \
  X(stream_synchronize, "cuStreamSynchronize", (CUstream stream))                                                     \
  X(stream_wait_event, "cuStreamWaitEvent", (CUstream stream, CUevent event, unsigned flags))                         \
  X(stream_begin_capture, "cuStreamBeginCapture_v2", (CUstream stream, CUstreamCaptureMode mode))                     \
  X(stream_end_capture, "cuStreamEndCapture", (CUstream stream, CUgraph * graph))                                     \
  X(graph_instantiate, "cuGraphInstantiateWithFlags", (CUgraphExec * exec, CUgraph graph, unsigned long long flags))  \
  X(graph_launch, "cuGraphLaunch", (CUgraphExec exec, CUstream stream))                                               \
  X(graph_exec_destroy, "cuGraphExecDestroy", (CUgraphExec exec))                                                     \
  X(graph_destroy, "cuGraphDestroy", (CUgraph graph))                                                                 \
  X(event_create, "cuEventCreate", (CUevent * event, unsigned flags))                                                 \
  X(event_record, "cuEventRecord", (CUevent event, CUstream stream))                                                  \
  X(event_synchronize, "cuEventSynchronize", (CUevent event))                                                         \
  X(event_elapsed_time, "cuEventElapsedTime", (float *milliseconds, CUevent start, CUevent end))                      \
  X(event_destroy, "cuEventDestroy_v2", (CUevent event))                                                              \
  X(launch_kernel, "cuLaunchKernel",                                                                                  \
    (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,      \
     unsigned block_z, unsigned shared_bytes, CUstream stream, void **parameters, void **extra))                      \
  X(launch_cooperative, "cuLaunchCooperativeKernel",                                                                  \
    (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,      \
     unsigned block_z, unsigned shared_bytes, CUstream stream, void **parameters))                                    \
  X(occupancy, "cuOccupancyMaxActiveBlocksPerMultiprocessor",                                                         \
    (int *blocks, CUfunction function, int threads, size_t shared_bytes))                                             \
  X(get_error_string, "cuGetErrorString", (CUresult error, const char **text))                                        \
  X(get_error_name, "cuGetErrorName", (CUresult error, const char **text))

struct driver {
#define DRIVER_MEMBER(member, symbol, parameters) CUresult(*member) parameters;
  DRIVER_FUNCTION_LIST(DRIVER_MEMBER)
#undef DRIVER_MEMBER
  bool is_virtual;
  void *library; /* dlopen handle of libcuda.so.1; NULL for the virtual GPU */
};

/* The NVIDIA driver, or NULL with a sentence why not (not installed, our own libcuda.so.1, symbol missing, no GPU). */
const struct driver *driver_nvidia(void);
/* The virtual GPU; never NULL. */
const struct driver *driver_virtual(void);

/* NOPROP_OK, or a sentence with `what` and the driver's own error text. */
noprop_status driver_check(const struct driver *driver, CUresult result, const char *what);

#endif
