/* Driver API of the virtual GPU: what programs do wrong gets the documented error and a reason, and never more. */
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/vgpu/api_support.h"

namespace {

class ApiMisuseTest : public ApiTest {
 protected:
  /* Things that are no handles: NULL aside, memory that looks like nothing, and an address without memory. */
  std::vector<void *> wrong() {
    return {junk, reinterpret_cast<void *>(0x10), reinterpret_cast<void *>(UINTPTR_MAX - 7)};
  }
  unsigned char junk[256] = {};
};

/* The result of a call that must not only fail but say why. */
CUresult explained(CUresult result) {
  EXPECT_STRNE(vgpu_last_message(), "") << "there is no reason";
  return result;
}

#define EXPECT_ERROR(call, code) EXPECT_EQ(explained(call), code)

}  // namespace

TEST_F(ApiMisuseTest, WhatIsNoHandleIsFoundOut) {
  for (void *at : wrong()) {
    const auto stream = static_cast<CUstream>(at);
    const auto event = static_cast<CUevent>(at);
    const auto function = static_cast<CUfunction>(at);
    const auto graph = static_cast<CUgraph>(at);
    const auto node = static_cast<CUgraphNode>(at);
    const auto exec = static_cast<CUgraphExec>(at);
    const auto some_module = static_cast<CUmodule>(at);
    const auto some_context = static_cast<CUcontext>(at);
    const auto pool = static_cast<CUmemoryPool>(at);
    const auto state = static_cast<CUlinkState>(at);
    CUdeviceptr memory = 0;
    int value = 0;
    size_t size = 0;
    float milliseconds = 0;
    CUgraphExec made = nullptr;
    CUgraphNode new_node = nullptr;
    CUfunction found = nullptr;
    void *image = nullptr;
    EXPECT_ERROR(CU(cuStreamSynchronize)(stream), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_ERROR(CU(cuStreamDestroy)(stream), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_ERROR(CU(cuMemsetD8Async)(numbers, 0, 4, stream), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_ERROR(launch(1, stream), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_ERROR(CU(cuEventRecord)(event, nullptr), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_ERROR(CU(cuEventQuery)(event), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_ERROR(CU(cuEventElapsedTime)(&milliseconds, event, event), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_ERROR(CU(cuEventDestroy)(event), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_ERROR(CU(cuStreamWaitEvent)(nullptr, event, 0), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_ERROR(CU(cuLaunchKernel)(function, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr),
                 CUDA_ERROR_INVALID_HANDLE);
    EXPECT_ERROR(CU(cuFuncGetAttribute)(&value, CU_FUNC_ATTRIBUTE_NUM_REGS, function), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_ERROR(CU(cuOccupancyMaxActiveBlocksPerMultiprocessor)(&value, function, 32, 0), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_ERROR(CU(cuModuleUnload)(some_module), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_ERROR(CU(cuModuleGetFunction)(&found, some_module, "step"), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_ERROR(CU(cuModuleGetGlobal)(&memory, &size, some_module, "table"), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_ERROR(CU(cuCtxSetCurrent)(some_context), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT_ERROR(CU(cuCtxPushCurrent)(some_context), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT_ERROR(CU(cuCtxDestroy)(some_context), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT_ERROR(CU(cuGraphInstantiate)(&made, graph, 0), CUDA_ERROR_INVALID_VALUE);
    EXPECT_ERROR(CU(cuGraphGetNodes)(graph, nullptr, &size), CUDA_ERROR_INVALID_VALUE);
    EXPECT_ERROR(CU(cuGraphDestroy)(graph), CUDA_ERROR_INVALID_VALUE);
    EXPECT_ERROR(CU(cuGraphAddEmptyNode)(&new_node, graph, nullptr, 0), CUDA_ERROR_INVALID_VALUE);
    EXPECT_ERROR(CU(cuGraphDestroyNode)(node), CUDA_ERROR_INVALID_VALUE);
    EXPECT_ERROR(CU(cuGraphLaunch)(exec, nullptr), CUDA_ERROR_INVALID_VALUE);
    EXPECT_ERROR(CU(cuGraphExecDestroy)(exec), CUDA_ERROR_INVALID_VALUE);
    EXPECT_ERROR(CU(cuMemAllocFromPoolAsync)(&memory, 4, pool, nullptr), CUDA_ERROR_INVALID_VALUE);
    EXPECT_ERROR(CU(cuMemPoolDestroy)(pool), CUDA_ERROR_INVALID_VALUE);
    EXPECT_ERROR(CU(cuLinkComplete)(state, &image, &size), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_ERROR(CU(cuMemFree)(reinterpret_cast<CUdeviceptr>(at)), CUDA_ERROR_INVALID_VALUE);
    EXPECT_ERROR(CU(cuMemFreeAsync)(reinterpret_cast<CUdeviceptr>(at), nullptr), CUDA_ERROR_INVALID_VALUE);
    EXPECT_ERROR(CU(cuMemFreeHost)(at), CUDA_ERROR_INVALID_VALUE);
    EXPECT_ERROR(CU(cuMemHostUnregister)(at), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    EXPECT_ERROR(CU(cuMemsetD8)(reinterpret_cast<CUdeviceptr>(at), 0, 4), CUDA_ERROR_INVALID_VALUE);
    EXPECT_ERROR(CU(cuMemcpyDtoH)(&value, reinterpret_cast<CUdeviceptr>(at), 4), CUDA_ERROR_INVALID_VALUE);
    EXPECT_ERROR(
        CU(cuPointerGetAttribute)(&memory, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, reinterpret_cast<CUdeviceptr>(at)),
        CUDA_ERROR_INVALID_VALUE);
  }
}

TEST_F(ApiMisuseTest, NullPointersAreErrors) {
  CUdeviceptr memory = 0;
  CUmodule some_module = nullptr;
  CUgraph graph = nullptr;
  ASSERT_CUDA(CU(cuGraphCreate)(&graph, 0));
  EXPECT_ERROR(CU(cuMemAlloc)(nullptr, 4), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuMemAlloc)(&memory, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuStreamCreate)(nullptr, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuEventCreate)(nullptr, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuModuleLoadData)(&some_module, nullptr), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuModuleLoadData)(nullptr, api_module()), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuMemcpyHtoD)(numbers, nullptr, 4), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuMemcpy2D)(nullptr), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuMemcpy3D)(nullptr), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuCtxGetCurrent)(nullptr), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuDeviceGetAttribute)(nullptr, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuLaunchKernelEx)(nullptr, step, nullptr, nullptr), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuLaunchKernel)(step, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr), CUDA_ERROR_INVALID_VALUE)
      << "parameters are missing";
  EXPECT_ERROR(CU(cuLaunchHostFunc)(nullptr, nullptr, nullptr), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuGraphInstantiate)(nullptr, graph, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuGraphAddKernelNode)(nullptr, graph, nullptr, 0, nullptr), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuGetErrorName)(CUDA_SUCCESS, nullptr), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuMemFree)(0), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuMemcpyHtoD)(numbers, nullptr, 0), CUDA_SUCCESS) << "nothing to copy";
}

TEST_F(ApiMisuseTest, FlagsThatAreNotKnownAreRefused) {
  CUstream stream;
  CUevent event;
  CUgraph graph;
  CUcontext made;
  CUdeviceptr memory;
  void *host;
  EXPECT_ERROR(CU(cuInit)(1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuStreamCreate)(&stream, 0x80), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuEventCreate)(&event, 0x80), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuEventCreate)(&event, CU_EVENT_INTERPROCESS), CUDA_ERROR_INVALID_VALUE) << "it would take times";
  EXPECT_ERROR(CU(cuGraphCreate)(&graph, 1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuCtxCreate)(&made, nullptr, 0x3, 0), CUDA_ERROR_INVALID_VALUE) << "two schedules";
  EXPECT_ERROR(CU(cuCtxCreate)(&made, nullptr, 0, 1), CUDA_ERROR_INVALID_DEVICE);
  EXPECT_ERROR(CU(cuMemHostAlloc)(&host, 4, 0x100), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuMemAllocManaged)(&memory, 4, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuMemHostRegister)(junk, sizeof junk, 0x100), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuDevicePrimaryCtxSetFlags)(0, 0x100), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuCtxSetLimit)(CU_LIMIT_MAX, 1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuCtxSetLimit)(CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH, 1), CUDA_ERROR_UNSUPPORTED_LIMIT);
}

TEST_F(ApiMisuseTest, HandlesEndWithTheirObject) {
  CUstream stream;
  CUevent event;
  CUcontext made, popped;
  CUmodule inner;
  CUfunction function;
  CUdeviceptr memory;
  ASSERT_CUDA(CU(cuStreamCreate)(&stream, 0));
  ASSERT_CUDA(CU(cuStreamDestroy)(stream));
  EXPECT_ERROR(CU(cuStreamDestroy)(stream), CUDA_ERROR_INVALID_HANDLE);
  ASSERT_CUDA(CU(cuMemAlloc)(&memory, 64));
  ASSERT_CUDA(CU(cuMemFree)(memory));
  EXPECT_ERROR(CU(cuMemFree)(memory), CUDA_ERROR_INVALID_VALUE);
  ASSERT_CUDA(CU(cuMemAlloc)(&memory, 64));
  EXPECT_ERROR(CU(cuMemFree)(memory + 4), CUDA_ERROR_INVALID_VALUE) << "not the start";
  ASSERT_CUDA(CU(cuModuleLoadData)(&inner, api_module()));
  ASSERT_CUDA(CU(cuModuleGetFunction)(&function, inner, "step"));
  ASSERT_CUDA(CU(cuModuleUnload)(inner));
  EXPECT_ERROR(CU(cuModuleUnload)(inner), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_ERROR(CU(cuLaunchKernel)(function, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr), CUDA_ERROR_INVALID_HANDLE);
  /* A context takes along what was made in it. */
  ASSERT_CUDA(CU(cuCtxCreate)(&made, nullptr, 0, 0));
  ASSERT_CUDA(CU(cuStreamCreate)(&stream, 0));
  ASSERT_CUDA(CU(cuEventCreate)(&event, 0));
  ASSERT_CUDA(CU(cuMemAlloc)(&memory, 64));
  ASSERT_CUDA(CU(cuModuleLoadData)(&inner, api_module()));
  ASSERT_CUDA(CU(cuCtxDestroy)(made));
  EXPECT_CUDA(CU(cuCtxGetCurrent)(&popped));
  EXPECT_EQ(popped, context);
  EXPECT_ERROR(CU(cuStreamQuery)(stream), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_ERROR(CU(cuEventDestroy)(event), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_ERROR(CU(cuModuleUnload)(inner), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_ERROR(CU(cuMemFree)(memory), CUDA_ERROR_INVALID_VALUE);
  EXPECT_ERROR(CU(cuCtxPushCurrent)(made), CUDA_ERROR_INVALID_CONTEXT);
}

TEST_F(ApiMisuseTest, AContextDestroyedElsewhereIsNoticed) {
  CUcontext made;
  CUdeviceptr memory;
  ASSERT_CUDA(CU(cuCtxCreate)(&made, nullptr, 0, 0));
  std::thread([&] { EXPECT_CUDA(CU(cuCtxDestroy)(made)); }).join();
  EXPECT_ERROR(CU(cuMemAlloc)(&memory, 4), CUDA_ERROR_CONTEXT_IS_DESTROYED);
  EXPECT_CUDA(CU(cuCtxPopCurrent)(nullptr));
  EXPECT_CUDA(CU(cuMemAlloc)(&memory, 4));
}

TEST_F(ApiMisuseTest, EventsOfAnotherContextAreNotRecorded) {
  CUevent event;
  CUcontext made;
  CUstream stream;
  ASSERT_CUDA(CU(cuEventCreate)(&event, 0));
  ASSERT_CUDA(CU(cuCtxCreate)(&made, nullptr, 0, 0));
  ASSERT_CUDA(CU(cuStreamCreate)(&stream, 0));
  EXPECT_ERROR(CU(cuEventRecord)(event, stream), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_CUDA(CU(cuStreamWaitEvent)(stream, event, 0)) << "waiting is allowed";
  EXPECT_CUDA(CU(cuCtxDestroy)(made));
}

TEST_F(ApiMisuseTest, CapturesForbidWhatTheyCannotExpress) {
  CUstream stream, other;
  CUgraph graph = nullptr;
  CUevent event;
  ASSERT_CUDA(CU(cuStreamCreate)(&stream, CU_STREAM_NON_BLOCKING));
  ASSERT_CUDA(CU(cuStreamCreate)(&other, CU_STREAM_NON_BLOCKING));
  ASSERT_CUDA(CU(cuEventCreate)(&event, CU_EVENT_DISABLE_TIMING));
  EXPECT_ERROR(CU(cuStreamEndCapture)(stream, &graph), CUDA_ERROR_ILLEGAL_STATE);
  const CUstreamCaptureMode relaxed = CU_STREAM_CAPTURE_MODE_RELAXED;
  ASSERT_CUDA(CU(cuStreamBeginCapture)(stream, relaxed));
  EXPECT_ERROR(CU(cuStreamBeginCapture)(stream, relaxed), CUDA_ERROR_ILLEGAL_STATE);
  EXPECT_ERROR(CU(cuStreamAddCallback)(
                   stream, [](CUstream, CUresult, void *) {}, nullptr, 0),
               CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  EXPECT_ERROR(CU(cuStreamEndCapture)(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  /* Work outside the capture, two captures in one, an event of a capture that has ended. */
  ASSERT_CUDA(CU(cuEventRecord)(event, other));
  ASSERT_CUDA(CU(cuStreamBeginCapture)(stream, relaxed));
  EXPECT_ERROR(CU(cuStreamWaitEvent)(stream, event, 0), CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
  EXPECT_ERROR(CU(cuStreamEndCapture)(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  ASSERT_CUDA(CU(cuStreamBeginCapture)(stream, relaxed));
  ASSERT_CUDA(CU(cuStreamBeginCapture)(other, relaxed));
  ASSERT_CUDA(CU(cuEventRecord)(event, other));
  EXPECT_ERROR(CU(cuStreamWaitEvent)(stream, event, 0), CUDA_ERROR_STREAM_CAPTURE_MERGE);
  EXPECT_ERROR(CU(cuStreamEndCapture)(other, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  EXPECT_ERROR(CU(cuStreamEndCapture)(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  EXPECT_ERROR(CU(cuEventSynchronize)(event), CUDA_ERROR_CAPTURED_EVENT);
  EXPECT_ERROR(CU(cuStreamWaitEvent)(stream, event, 0), CUDA_ERROR_CAPTURED_EVENT);
  ASSERT_CUDA(CU(cuEventRecord)(event, other)) << "it can be recorded again";
  EXPECT_CUDA(CU(cuEventSynchronize)(event));
  /* A stream that is destroyed in the middle ends its capture. */
  ASSERT_CUDA(CU(cuStreamBeginCapture)(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  ASSERT_CUDA(launch(1, stream));
  ASSERT_CUDA(CU(cuStreamDestroy)(stream));
  CUdeviceptr memory;
  EXPECT_CUDA(CU(cuMemAlloc)(&memory, 4));
}

TEST_F(ApiMisuseTest, LaunchesAttributesAreTakenOrRefused) {
  CUlaunchAttribute attribute = {};
  CUlaunchConfig config = {};
  unsigned n = count, c = 1;
  void *parameters[] = {&numbers, &n, &c};
  config.gridDimX = 16, config.blockDimX = 64;
  config.gridDimY = config.gridDimZ = config.blockDimY = config.blockDimZ = 1;
  config.attrs = &attribute;
  config.numAttrs = 1;
  attribute.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
  attribute.value.programmaticStreamSerializationAllowed = 1;
  EXPECT_CUDA(CU(cuLaunchKernelEx)(&config, step, parameters, nullptr));
  EXPECT_EQ(number(0), 3u);
  attribute = {};
  attribute.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
  attribute.value.clusterDim.x = 2;
  attribute.value.clusterDim.y = attribute.value.clusterDim.z = 1;
  EXPECT_ERROR(CU(cuLaunchKernelEx)(&config, step, parameters, nullptr), CUDA_ERROR_NOT_SUPPORTED);
  attribute = {};
  attribute.id = CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT;
  ASSERT_CUDA(CU(cuEventCreate)(&attribute.value.launchCompletionEvent.event, CU_EVENT_DISABLE_TIMING));
  EXPECT_CUDA(CU(cuLaunchKernelEx)(&config, step, parameters, nullptr));
  EXPECT_CUDA(CU(cuEventSynchronize)(attribute.value.launchCompletionEvent.event));
  EXPECT_EQ(number(0), 7u);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
TEST_F(ApiMisuseTest, LaunchesOfOldWorkToo) {
  unsigned n = count, c = 5;
  ASSERT_CUDA(CU(cuFuncSetBlockShape)(step, 64, 1, 1));
  EXPECT_ERROR(CU(cuLaunchGrid)(step, 16, 1), CUDA_ERROR_INVALID_VALUE) << "no parameters yet";
  ASSERT_CUDA(CU(cuParamSetv)(step, 0, &numbers, 8));
  ASSERT_CUDA(CU(cuParamSeti)(step, 8, n));
  ASSERT_CUDA(CU(cuParamSeti)(step, 12, c));
  ASSERT_CUDA(CU(cuParamSetSize)(step, 16));
  ASSERT_CUDA(CU(cuLaunchGrid)(step, 16, 1));
  EXPECT_EQ(number(count - 1), 7u);
}
#pragma GCC diagnostic pop
