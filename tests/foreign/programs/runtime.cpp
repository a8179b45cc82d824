/* As much of the CUDA runtime as these programs call, over the driver API: what nvcc's code calls (its prototypes are
 * in crt/host_runtime.h and crt/device_functions.h), what CUB calls, and the programs' own calls. NVIDIA's runtime asks
 * the driver for function tables that are not documented, and so cannot start on a driver that keeps to the
 * documentation.
 *
 * One device, its primary context; modules are loaded when the first of their kernels is asked for. */
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace {

/* ---- errors: the runtime's numbers are the driver's ---- */

thread_local cudaError_t last_error = cudaSuccess;

cudaError_t keep(CUresult result) {
  if (result != CUDA_SUCCESS) last_error = static_cast<cudaError_t>(result);
  return static_cast<cudaError_t>(result);
}

/* Makes the primary context the thread's own. */
CUresult start() {
  static CUcontext context = nullptr;
  static const CUresult result = [] {
    CUresult made = cuInit(0);
    return made != CUDA_SUCCESS ? made : cuDevicePrimaryCtxRetain(&context, 0);
  }();
  return result != CUDA_SUCCESS ? result : cuCtxSetCurrent(context);
}

/* Calls a function of the driver in the primary context. */
template <typename Function, typename... Arguments>
cudaError_t call(Function function, Arguments... arguments) {
  const CUresult result = start();
  return keep(result != CUDA_SUCCESS ? result : function(arguments...));
}

CUdeviceptr address(const void *pointer) { return reinterpret_cast<CUdeviceptr>(pointer); }

/* ---- what the programs' constructors register: containers of code, kernels, variables ---- */

struct Container {
  const void *image;
  CUlibrary library = nullptr;
  std::vector<std::pair<std::string, void **>> managed; /* variables, and where the host keeps their addresses */
};

struct Symbol {
  Container *container;
  std::string name;
};

/* By the addresses of the host's stubs and of the host's shadows. */
std::map<const void *, Symbol> &symbols() {
  static std::map<const void *, Symbol> all;
  return all;
}

CUresult library_of(Container *container) {
  if (container->library != nullptr) return CUDA_SUCCESS;
  const CUresult started = start();
  if (started != CUDA_SUCCESS) return started;
  char log[2000] = "";
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {log, reinterpret_cast<void *>(sizeof log)};
  const CUresult result =
      cuLibraryLoadData(&container->library, container->image, options, values, 2, nullptr, nullptr, 0);
  if (result != CUDA_SUCCESS) fprintf(stderr, "The driver refuses the program's code: %s\n", log);
  for (const auto &[name, place] : container->managed) {
    size_t bytes = 0;
    CUdeviceptr pointer = 0;
    if (result == CUDA_SUCCESS &&
        cuLibraryGetManaged(&pointer, &bytes, container->library, name.c_str()) == CUDA_SUCCESS)
      *place = reinterpret_cast<void *>(pointer);
  }
  return result;
}

CUresult kernel_of(CUkernel *kernel, const void *stub) {
  const auto found = symbols().find(stub);
  if (found == symbols().end()) return CUDA_ERROR_NOT_FOUND;
  const CUresult result = library_of(found->second.container);
  return result != CUDA_SUCCESS
             ? result
             : cuLibraryGetKernel(kernel, found->second.container->library, found->second.name.c_str());
}

CUresult function_of(CUfunction *function, const void *stub) {
  CUkernel kernel = nullptr;
  const CUresult result = kernel_of(&kernel, stub);
  return result != CUDA_SUCCESS ? result : cuKernelGetFunction(function, kernel);
}

CUresult variable_of(CUdeviceptr *place, size_t *bytes, const void *shadow) {
  const auto found = symbols().find(shadow);
  if (found == symbols().end()) return CUDA_ERROR_NOT_FOUND;
  const CUresult result = library_of(found->second.container);
  return result != CUDA_SUCCESS
             ? result
             : cuLibraryGetGlobal(place, bytes, found->second.container->library, found->second.name.c_str());
}

/* ---- launches ---- */

struct Shape {
  dim3 grid, block;
  size_t shared;
  CUstream stream;
};
thread_local std::vector<Shape> shapes; /* between <<<...>>> and the stub that it calls */

CUresult launch(CUfunction function, const Shape &shape, void **arguments) {
  return cuLaunchKernel(function, shape.grid.x, shape.grid.y, shape.grid.z, shape.block.x, shape.block.y, shape.block.z,
                        static_cast<unsigned>(shape.shared), shape.stream, arguments, nullptr);
}

}  // namespace

extern "C" {

/* ---- what nvcc's code calls ---- */

void **__cudaRegisterFatBinary(void *image) { return reinterpret_cast<void **>(new Container{image, nullptr, {}}); }
void __cudaRegisterFatBinaryEnd(void **) {}

char __cudaInitModule(void **handle) {
  return keep(library_of(reinterpret_cast<Container *>(handle))) == cudaSuccess ? 1 : 0;
}

void __cudaUnregisterFatBinary(void **handle) {
  auto *container = reinterpret_cast<Container *>(handle);
  if (container->library != nullptr) cuLibraryUnload(container->library);
  delete container;
}

void __cudaRegisterFunction(void **handle, const char *stub, char *, const char *name, int, uint3 *, uint3 *, dim3 *,
                            dim3 *, int *) {
  symbols()[stub] = {reinterpret_cast<Container *>(handle), name};
}

void __cudaRegisterVar(void **handle, char *shadow, char *, const char *name, int, size_t, int, int) {
  symbols()[shadow] = {reinterpret_cast<Container *>(handle), name};
}

void __cudaRegisterManagedVar(void **handle, void **place, char *, const char *name, int, size_t, int, int) {
  reinterpret_cast<Container *>(handle)->managed.push_back({name, place});
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, CUstream_st *stream) {
  shapes.push_back({grid, block, shared, stream});
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
  if (shapes.empty()) return keep(CUDA_ERROR_INVALID_VALUE);
  *grid = shapes.back().grid;
  *block = shapes.back().block;
  *shared = shapes.back().shared;
  *static_cast<CUstream *>(stream) = shapes.back().stream;
  shapes.pop_back();
  return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *stub) { return keep(kernel_of(kernel, stub)); }

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **arguments, size_t shared,
                               cudaStream_t stream) {
  /* The driver launches kernels of libraries under the type of functions. */
  return call(launch, reinterpret_cast<CUfunction>(kernel), Shape{grid, block, shared, stream}, arguments);
}

/* nvcc 12's code */
cudaError_t cudaLaunchKernel(const void *stub, dim3 grid, dim3 block, void **arguments, size_t shared,
                             cudaStream_t stream) {
  CUfunction function = nullptr;
  const cudaError_t error = call(function_of, &function, stub);
  return error != cudaSuccess ? error : call(launch, function, Shape{grid, block, shared, stream}, arguments);
}

/* ---- kernels ---- */

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *config, const void *stub, void **arguments) {
  CUfunction function = nullptr;
  const cudaError_t error = call(function_of, &function, stub);
  if (error != cudaSuccess) return error;
  std::vector<CUlaunchAttribute> attributes(config->numAttrs);
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    /* The runtime's attributes have the driver's numbers and layout. */
    static_assert(sizeof(CUlaunchAttribute) == sizeof(cudaLaunchAttribute), "attributes of launches");
    std::memcpy(static_cast<void *>(&attributes[i]), &config->attrs[i], sizeof attributes[i]);
  }
  CUlaunchConfig driver_config = {};
  driver_config.gridDimX = config->gridDim.x, driver_config.gridDimY = config->gridDim.y;
  driver_config.gridDimZ = config->gridDim.z, driver_config.blockDimX = config->blockDim.x;
  driver_config.blockDimY = config->blockDim.y, driver_config.blockDimZ = config->blockDim.z;
  driver_config.sharedMemBytes = static_cast<unsigned>(config->dynamicSmemBytes);
  driver_config.hStream = config->stream;
  driver_config.attrs = attributes.data(), driver_config.numAttrs = config->numAttrs;
  return call(cuLaunchKernelEx, &driver_config, function, arguments, static_cast<void **>(nullptr));
}

cudaError_t cudaLaunchCooperativeKernel(const void *stub, dim3 grid, dim3 block, void **arguments, size_t shared,
                                        cudaStream_t stream) {
  CUfunction function = nullptr;
  const cudaError_t error = call(function_of, &function, stub);
  if (error != cudaSuccess) return error;
  return call(cuLaunchCooperativeKernel, function, grid.x, grid.y, grid.z, block.x, block.y, block.z,
              static_cast<unsigned>(shared), stream, arguments);
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, const void *stub) {
  CUfunction function = nullptr;
  const cudaError_t error = call(function_of, &function, stub);
  if (error != cudaSuccess) return error;
  const auto get = [&](CUfunction_attribute attribute) {
    int value = 0;
    keep(cuFuncGetAttribute(&value, attribute, function));
    return value;
  };
  *attributes = {};
  attributes->sharedSizeBytes = get(CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
  attributes->constSizeBytes = get(CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES);
  attributes->localSizeBytes = get(CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES);
  attributes->maxThreadsPerBlock = get(CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  attributes->numRegs = get(CU_FUNC_ATTRIBUTE_NUM_REGS);
  attributes->ptxVersion = get(CU_FUNC_ATTRIBUTE_PTX_VERSION);
  attributes->binaryVersion = get(CU_FUNC_ATTRIBUTE_BINARY_VERSION);
  attributes->maxDynamicSharedSizeBytes = get(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
  return cudaPeekAtLastError();
}

cudaError_t cudaFuncSetAttribute(const void *stub, cudaFuncAttribute attribute, int value) {
  CUfunction function = nullptr;
  const cudaError_t error = call(function_of, &function, stub);
  /* Numbered as the driver's. */
  return error != cudaSuccess ? error
                              : call(cuFuncSetAttribute, function, static_cast<CUfunction_attribute>(attribute), value);
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *stub, int threads,
                                                                   size_t shared, unsigned flags) {
  CUfunction function = nullptr;
  const cudaError_t error = call(function_of, &function, stub);
  return error != cudaSuccess
             ? error
             : call(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags, blocks, function, threads, shared, flags);
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *stub, int threads, size_t shared) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, stub, threads, shared, 0);
}

/* ---- errors ---- */

cudaError_t cudaPeekAtLastError() { return last_error; }

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

const char *cudaGetErrorString(cudaError_t error) {
  const char *text = nullptr;
  return cuGetErrorString(static_cast<CUresult>(error), &text) == CUDA_SUCCESS ? text : "unknown error";
}

const char *cudaGetErrorName(cudaError_t error) {
  const char *text = nullptr;
  return cuGetErrorName(static_cast<CUresult>(error), &text) == CUDA_SUCCESS ? text : "unknown error";
}

/* ---- the device ---- */

cudaError_t cudaGetDeviceCount(int *count) { return call(cuDeviceGetCount, count); }

cudaError_t cudaGetDevice(int *device) {
  *device = 0;
  return call([] { return CUDA_SUCCESS; });
}

cudaError_t cudaSetDevice(int device) {
  return call([device] { return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE; });
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
  /* Numbered as the driver's. */
  return call(cuDeviceGetAttribute, value, static_cast<CUdevice_attribute>(attribute), device);
}

cudaError_t cudaDeviceSynchronize() { return call(cuCtxSynchronize); }

/* ---- memory ---- */

cudaError_t cudaMalloc(void **pointer, size_t bytes) {
  return call(cuMemAlloc, reinterpret_cast<CUdeviceptr *>(pointer), bytes);
}

cudaError_t cudaFree(void *pointer) { return pointer == nullptr ? cudaSuccess : call(cuMemFree, address(pointer)); }

cudaError_t cudaMallocHost(void **pointer, size_t bytes) { return call(cuMemAllocHost, pointer, bytes); }
cudaError_t cudaFreeHost(void *pointer) { return call(cuMemFreeHost, pointer); }

cudaError_t cudaMallocManaged(void **pointer, size_t bytes, unsigned flags) {
  return call(cuMemAllocManaged, reinterpret_cast<CUdeviceptr *>(pointer), bytes, flags);
}

/* Addresses tell which memory they are in: unified addressing. */
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind) {
  return call(cuMemcpy, address(to), address(from), bytes);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  return call(cuMemcpyAsync, address(to), address(from), bytes, stream);
}

cudaError_t cudaMemset(void *pointer, int value, size_t bytes) {
  return call(cuMemsetD8, address(pointer), static_cast<unsigned char>(value), bytes);
}

cudaError_t cudaMemsetAsync(void *pointer, int value, size_t bytes, cudaStream_t stream) {
  return call(cuMemsetD8Async, address(pointer), static_cast<unsigned char>(value), bytes, stream);
}

cudaError_t cudaMemcpyToSymbol(const void *shadow, const void *from, size_t bytes, size_t offset, cudaMemcpyKind) {
  CUdeviceptr place = 0;
  size_t size = 0;
  const cudaError_t error = call(variable_of, &place, &size, shadow);
  if (error != cudaSuccess) return error;
  if (offset > size || bytes > size - offset) return keep(CUDA_ERROR_INVALID_VALUE);
  return call(cuMemcpy, place + offset, address(from), bytes);
}

/* ---- streams, events, graphs: the driver's, whose flags have the same numbers ---- */

cudaError_t cudaStreamCreate(cudaStream_t *stream) { return call(cuStreamCreate, stream, 0u); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
  return call(cuStreamCreate, stream, flags);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return call(cuStreamDestroy, stream); }
cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return call(cuStreamSynchronize, stream); }
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  return call(cuStreamWaitEvent, stream, event, flags);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) { return call(cuEventCreate, event, flags); }
cudaError_t cudaEventDestroy(cudaEvent_t event) { return call(cuEventDestroy, event); }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) { return call(cuEventRecord, event, stream); }

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return call(cuStreamBeginCapture, stream, static_cast<CUstreamCaptureMode>(mode));
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
  return call(cuStreamEndCapture, stream, graph);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long flags) {
  return call(cuGraphInstantiate, executable, graph, flags);
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return call(cuGraphLaunch, executable, stream);
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) { return call(cuGraphExecDestroy, executable); }
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return call(cuGraphDestroy, graph); }

}  // extern "C"
