/* The objects behind the driver API's handles, shared by the api_*.c files, and the list of functions they implement.
 *
 * A function carries the prefix vgpu_ (vgpu_cuInit), so that nothing in the library can be taken for the NVIDIA
 * driver's; shim/libcuda.c exports the plain names from a libcuda.so.1. */
#ifndef VGPU_API_H
#define VGPU_API_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define __CUDA_API_VERSION_INTERNAL /* every version under its exported name, no renaming macros */
#include <cuda.h>
#include <cudaProfiler.h>

/* Every function, by exported name. cuGetProcAddress and vgpu_symbol() look here; the plain name means the newest
 * version listed. */
/* clang-format off */
#define VGPU_API_LIST(X) \
  X(cuInit) X(cuDriverGetVersion) X(cuGetProcAddress) X(cuGetProcAddress_v2) X(cuGetErrorString) X(cuGetErrorName) \
  X(cuDeviceGet) X(cuDeviceGetCount) X(cuDeviceGetName) X(cuDeviceGetUuid_v2) X(cuDeviceTotalMem_v2) \
  X(cuDeviceGetAttribute) X(cuDeviceCanAccessPeer) X(cuDeviceGetP2PAttribute) X(cuCtxEnablePeerAccess) X(cuCtxDisablePeerAccess) X(cuProfilerStart) X(cuProfilerStop) X(cuDeviceGetPCIBusId) X(cuDeviceGetByPCIBusId) X(cuDeviceGetLuid) X(cuDeviceComputeCapability) X(cuDeviceGetProperties) X(cuIpcGetEventHandle) X(cuIpcOpenEventHandle) X(cuIpcGetMemHandle) X(cuIpcOpenMemHandle_v2) X(cuIpcCloseMemHandle) X(cuDeviceGetUuid) X(cuMemHostGetFlags) X(cuDevicePrimaryCtxRetain) X(cuDevicePrimaryCtxRelease_v2) \
  X(cuDevicePrimaryCtxSetFlags_v2) X(cuDevicePrimaryCtxGetState) X(cuDevicePrimaryCtxReset_v2) X(cuCtxCreate_v2) \
  X(cuCtxCreate_v4) X(cuCtxDestroy_v2) X(cuCtxPushCurrent_v2) X(cuCtxPopCurrent_v2) X(cuCtxSetCurrent) \
  X(cuCtxGetCurrent) X(cuCtxGetDevice) X(cuCtxGetFlags) X(cuCtxGetStreamPriorityRange) X(cuCtxGetLimit) \
  X(cuCtxSetLimit) X(cuCtxSynchronize) X(cuModuleLoad) X(cuModuleLoadData) X(cuModuleLoadDataEx) X(cuModuleLoadFatBinary) X(cuModuleGetFunctionCount) X(cuModuleEnumerateFunctions) X(cuModuleGetLoadingMode) X(cuFuncIsLoaded) X(cuFuncLoad) X(cuFuncGetParamInfo) X(cuFuncSetSharedMemConfig) X(cuLibraryLoadData) X(cuLibraryLoadFromFile) X(cuLibraryUnload) X(cuLibraryGetModule) X(cuLibraryGetKernel) X(cuLibraryGetKernelCount) X(cuLibraryEnumerateKernels) X(cuLibraryGetGlobal) X(cuLibraryGetManaged) X(cuKernelGetFunction) X(cuKernelGetLibrary) X(cuKernelGetName) X(cuKernelGetAttribute) X(cuKernelSetAttribute) X(cuKernelSetCacheConfig) X(cuKernelGetParamInfo) X(cuLinkCreate_v2) X(cuLinkAddData_v2) X(cuLinkAddFile_v2) X(cuLinkComplete) X(cuLinkDestroy) X(cuModuleUnload) \
  X(cuModuleGetFunction) X(cuModuleGetGlobal_v2) X(cuFuncGetAttribute) X(cuFuncSetAttribute) X(cuFuncSetCacheConfig) \
  X(cuFuncGetModule) X(cuFuncGetName) X(cuLaunchKernel) X(cuLaunchKernelEx) X(cuLaunchCooperativeKernel) X(cuLaunchHostFunc) X(cuStreamAddCallback) \
  X(cuOccupancyMaxActiveBlocksPerMultiprocessor) X(cuOccupancyMaxPotentialBlockSize) X(cuOccupancyMaxPotentialBlockSizeWithFlags) X(cuOccupancyAvailableDynamicSMemPerBlock) X(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags) \
  X(cuMemGetInfo_v2) X(cuMemAlloc_v2) X(cuMemAllocPitch_v2) X(cuMemAllocManaged) X(cuMemAllocAsync) X(cuMemFree_v2) \
  X(cuMemFreeAsync) X(cuMemGetAddressRange_v2) X(cuMemAllocHost_v2) X(cuMemHostAlloc) X(cuMemFreeHost) \
  X(cuMemHostGetDevicePointer_v2) X(cuMemHostRegister_v2) X(cuMemHostUnregister) X(cuMemAddressReserve) \
  X(cuMemAddressFree) X(cuMemCreate) X(cuMemRelease) X(cuMemMap) X(cuMemUnmap) X(cuMemSetAccess) \
  X(cuMemGetAllocationGranularity) X(cuPointerGetAttribute) X(cuMemcpy) X(cuMemcpyAsync) X(cuMemcpyHtoD_v2) \
  X(cuMemcpyDtoH_v2) X(cuMemcpyDtoD_v2) X(cuMemcpyHtoDAsync_v2) X(cuMemcpyDtoHAsync_v2) X(cuMemcpyDtoDAsync_v2) \
  X(cuMemcpy2D_v2) X(cuMemcpy2DUnaligned_v2) X(cuMemcpy2DAsync_v2) X(cuMemsetD8_v2) X(cuMemsetD16_v2) \
  X(cuMemsetD32_v2) X(cuMemsetD8Async) X(cuMemsetD16Async) X(cuMemsetD32Async) X(cuStreamCreate) \
  X(cuStreamCreateWithPriority) X(cuStreamDestroy_v2) X(cuStreamSynchronize) X(cuStreamQuery) X(cuStreamWaitEvent) \
  X(cuStreamGetFlags) X(cuStreamGetPriority) X(cuStreamGetCtx) X(cuStreamBeginCapture_v2) X(cuStreamEndCapture) \
  X(cuStreamIsCapturing) X(cuGraphInstantiateWithFlags) X(cuGraphLaunch) X(cuGraphGetNodes) X(cuGraphExecDestroy) \
  X(cuGraphDestroy) X(cuEventCreate) X(cuEventRecord) X(cuEventQuery) X(cuEventSynchronize) X(cuEventElapsedTime) \
  X(cuEventElapsedTime_v2) X(cuEventDestroy_v2)
/* clang-format on */

#define VGPU_DECLARE(name) extern __typeof__(name) vgpu_##name;
VGPU_API_LIST(VGPU_DECLARE)
#undef VGPU_DECLARE

/* ---- objects ---- */

struct CUctx_st {
  unsigned flags, references; /* references: of the primary context */
  size_t stack_limit, heap_limit, printf_limit;
  atomic_int sticky; /* CUresult of the first fault: every later call in this context fails with it */
  char fault[512];   /* about it; written before `sticky` */
};

struct CUmod_st {
  struct CUmod_st *next; /* in the list of all modules */
  CUcontext context;
  struct ptx_module *ptx;
  struct CUfunc_st *functions; /* one per ptx->functions */
};

struct CUfunc_st {
  CUmodule module;
  const struct ptx_function *ptx;
  int dynamic_shared_limit; /* CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES */
  struct kernel_code *code; /* what the executors made of it; launcher.c */
};

struct CUstream_st {
  CUcontext context;
  unsigned flags;
  struct capture *capture; /* NULL while not capturing */
  CUstream next_in_capture;
  unsigned captured; /* operations recorded from this stream */
  bool unjoined;     /* some of them are not waited for by another stream of the capture yet */
};

struct CUevent_st {
  CUcontext context;
  unsigned flags;
  bool recorded;
  struct timespec time;
  /* Recorded in a capture: a stream that waits for it joins that capture. */
  uint64_t capture_id; /* 0: not in a capture */
  CUstream captured_in;
  unsigned captured_after; /* its `captured` then */
};

/* What a stream does, at once or as a node of a graph. */
struct operation {
  enum { OPERATION_KERNEL, OPERATION_COPY, OPERATION_SET, OPERATION_HOST } kind;
  union {
    struct {
      CUfunction function;
      unsigned grid[3], block[3], shared_bytes;
      bool cooperative; /* blocks may wait for each other */
      void *parameters; /* function->ptx->parameter_bytes bytes, aligned to 16 */
    } kernel;
    struct {
      void *to;
      const void *from;
      size_t to_pitch, from_pitch, width, height; /* bytes, bytes, bytes, rows */
    } copy;
    struct {
      void *to;
      unsigned value, element; /* element: 1, 2 or 4 bytes */
      size_t count;
    } set;
    struct {
      CUhostFn function;
      void *argument;
    } host;
  };
};

/* ---- shared helpers ---- */

/* Stores the sentence behind vgpu_last_message() and returns `result`. "" if the code says all there is to say. */
CUresult vgpu_fail(CUresult result, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The calling thread's current context. An error if there is none or if a fault made it unusable. */
CUresult vgpu_current(CUcontext *context);

/* One lock for every object that is not a memory region; held briefly. */
void vgpu_lock(void);
void vgpu_unlock(void);

/* Limits of the device that poses as capability `vgpu_capability()` (86 for 8.6). */
int vgpu_capability(void);
int vgpu_attribute(CUdevice_attribute attribute);

/* Executes the operation on the stream, or records it if the stream is capturing. Parameters and sizes are valid. */
CUresult vgpu_submit(CUstream stream, const struct operation *operation);
/* An error if a capture of this thread, or a global one, forbids calls such as memory allocation. */
CUresult vgpu_capture_allows(void);

/* The PTX in an image of `size` bytes (0: not known): the image itself, or *unpacked, which the caller frees. */
CUresult vgpu_image_text(const void *image, size_t size, const char **text, char **unpacked);
/* A file's content, ended by a NUL, which the caller frees. */
CUresult vgpu_read_file(const char *name, char **content, size_t *content_bytes);
/* Fills the error log that the options name. */
void vgpu_jit_log(CUresult result, unsigned count, const CUjit_option *options, void **values);

void vgpu_modules_unload_all(CUcontext context);

#endif
