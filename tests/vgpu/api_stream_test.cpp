/* Driver API of the virtual GPU: streams, events, capture and graphs. */
#include <thread>

#include "tests/vgpu/api_support.h"

class ApiStreamTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    ASSERT_CUDA(CU(cuStreamCreate)(&stream, CU_STREAM_NON_BLOCKING));
    ASSERT_CUDA(CU(cuStreamCreate)(&other, CU_STREAM_NON_BLOCKING));
    ASSERT_CUDA(CU(cuEventCreate)(&fork, CU_EVENT_DISABLE_TIMING));
    ASSERT_CUDA(CU(cuEventCreate)(&join, CU_EVENT_DISABLE_TIMING));
  }
  void TearDown() override {
    CU(cuEventDestroy)(join);
    CU(cuEventDestroy)(fork);
    CU(cuStreamDestroy)(other);
    CU(cuStreamDestroy)(stream);
    ApiTest::TearDown();
  }
  CUstreamCaptureStatus status(CUstream of) {
    CUstreamCaptureStatus value = CU_STREAM_CAPTURE_STATUS_NONE;
    EXPECT_CUDA(CU(cuStreamIsCapturing)(of, &value));
    return value;
  }
  /* Number 0 after the graph ran once on numbers that are all 1. */
  unsigned result_of(CUgraph graph) {
    CUgraphExec exec;
    EXPECT_CUDA(CU(cuGraphInstantiate)(&exec, graph, 0));
    EXPECT_CUDA(CU(cuMemsetD32)(numbers, 1, count));
    EXPECT_CUDA(CU(cuGraphLaunch)(exec, stream));
    EXPECT_CUDA(CU(cuStreamSynchronize)(stream));
    EXPECT_CUDA(CU(cuGraphExecDestroy)(exec));
    return number(0);
  }
  CUstream stream = nullptr, other = nullptr;
  CUevent fork = nullptr, join = nullptr;
  CUgraph graph = nullptr;
};

TEST_F(ApiStreamTest, EventsMeasureTime) {
  CUevent start, end;
  float milliseconds = -1;
  ASSERT_CUDA(CU(cuEventCreate)(&start, CU_EVENT_DEFAULT));
  ASSERT_CUDA(CU(cuEventCreate)(&end, CU_EVENT_DEFAULT));
  EXPECT_EQ(CU(cuEventElapsedTime)(&milliseconds, start, end), CUDA_ERROR_INVALID_HANDLE) << "not recorded yet";
  ASSERT_CUDA(CU(cuEventRecord)(start, stream));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ASSERT_CUDA(CU(cuEventRecord)(end, stream));
  EXPECT_CUDA(CU(cuEventSynchronize)(end));
  EXPECT_CUDA(CU(cuEventQuery)(end));
  EXPECT_CUDA(CU(cuEventElapsedTime)(&milliseconds, start, end));
  EXPECT_GE(milliseconds, 20.0f);
  EXPECT_LT(milliseconds, 20000.0f);
  EXPECT_CUDA(CU(cuEventRecord)(fork, stream));
  EXPECT_EQ(CU(cuEventElapsedTime)(&milliseconds, fork, end), CUDA_ERROR_INVALID_HANDLE) << "takes no times";
  CU(cuEventDestroy)(start);
  CU(cuEventDestroy)(end);
}

TEST_F(ApiStreamTest, AStreamWaitsForAnothersEvent) {
  ASSERT_CUDA(launch(1, stream));
  ASSERT_CUDA(CU(cuEventRecord)(fork, stream));
  ASSERT_CUDA(CU(cuStreamWaitEvent)(other, fork, 0));
  ASSERT_CUDA(launch(2, other));
  ASSERT_CUDA(CU(cuStreamSynchronize)(other));
  EXPECT_EQ(number(0), 8u); /* (1 * 2 + 1) * 2 + 2 */
}

TEST_F(ApiStreamTest, CaptureRecordsInOrderAndRunsNothing) {
  unsigned seven = 7;
  ASSERT_CUDA(CU(cuStreamBeginCapture)(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  EXPECT_EQ(status(stream), CU_STREAM_CAPTURE_STATUS_ACTIVE);
  ASSERT_CUDA(CU(cuMemcpyHtoDAsync)(numbers, &seven, 4, stream));
  ASSERT_CUDA(launch(1, stream));
  ASSERT_CUDA(CU(cuMemcpyDtoDAsync)(numbers + 8, numbers, 4, stream));
  ASSERT_CUDA(CU(cuMemsetD32Async)(numbers + 4, 9, 1, stream));
  ASSERT_CUDA(CU(cuStreamEndCapture)(stream, &graph));
  EXPECT_EQ(status(stream), CU_STREAM_CAPTURE_STATUS_NONE);
  EXPECT_EQ(number(0), 1u);
  size_t nodes = 0;
  EXPECT_CUDA(CU(cuGraphGetNodes)(graph, nullptr, &nodes));
  EXPECT_EQ(nodes, 4u);
  EXPECT_EQ(result_of(graph), 15u);
  EXPECT_EQ(number(1), 9u);
  EXPECT_EQ(number(2), 15u);
  EXPECT_CUDA(CU(cuGraphDestroy)(graph));
}

TEST_F(ApiStreamTest, ParametersAreCopiedWhenCaptured) {
  ASSERT_CUDA(CU(cuStreamBeginCapture)(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  for (unsigned c = 1; c <= 3; ++c) ASSERT_CUDA(launch(c, stream));
  ASSERT_CUDA(CU(cuStreamEndCapture)(stream, &graph));
  EXPECT_EQ(result_of(graph), 19u); /* ((1*2+1)*2+2)*2+3 */
  EXPECT_EQ(result_of(graph), 19u);
  CU(cuGraphDestroy)(graph);
}

TEST_F(ApiStreamTest, AnExecutableOutlivesItsGraph) {
  CUgraphExec exec;
  ASSERT_CUDA(CU(cuStreamBeginCapture)(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  ASSERT_CUDA(launch(1, stream));
  ASSERT_CUDA(CU(cuStreamEndCapture)(stream, &graph));
  ASSERT_CUDA(CU(cuGraphInstantiate)(&exec, graph, 0));
  ASSERT_CUDA(CU(cuGraphDestroy)(graph));
  ASSERT_CUDA(CU(cuGraphLaunch)(exec, stream));
  ASSERT_CUDA(CU(cuStreamSynchronize)(stream));
  EXPECT_EQ(number(0), 3u);
  CU(cuGraphExecDestroy)(exec);
}

TEST_F(ApiStreamTest, AGraphLaunchedInACaptureBecomesPartOfIt) {
  CUgraphExec inner;
  CUgraph outer;
  ASSERT_CUDA(CU(cuStreamBeginCapture)(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  ASSERT_CUDA(launch(1, stream));
  ASSERT_CUDA(CU(cuStreamEndCapture)(stream, &graph));
  ASSERT_CUDA(CU(cuGraphInstantiate)(&inner, graph, 0));
  ASSERT_CUDA(CU(cuStreamBeginCapture)(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  ASSERT_CUDA(CU(cuGraphLaunch)(inner, stream));
  ASSERT_CUDA(launch(2, stream));
  ASSERT_CUDA(CU(cuStreamEndCapture)(stream, &outer));
  EXPECT_EQ(result_of(outer), 8u);
  CU(cuGraphExecDestroy)(inner);
  CU(cuGraphDestroy)(graph);
  CU(cuGraphDestroy)(outer);
}

TEST_F(ApiStreamTest, OtherStreamsJoinACaptureThroughEvents) {
  ASSERT_CUDA(CU(cuStreamBeginCapture)(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  ASSERT_CUDA(launch(1, stream));
  ASSERT_CUDA(CU(cuEventRecord)(fork, stream));
  ASSERT_CUDA(CU(cuStreamWaitEvent)(other, fork, 0));
  EXPECT_EQ(status(other), CU_STREAM_CAPTURE_STATUS_ACTIVE);
  ASSERT_CUDA(launch(2, other));
  ASSERT_CUDA(CU(cuEventRecord)(join, other));
  ASSERT_CUDA(CU(cuStreamWaitEvent)(stream, join, 0));
  ASSERT_CUDA(launch(3, stream));
  ASSERT_CUDA(CU(cuStreamEndCapture)(stream, &graph));
  EXPECT_EQ(status(other), CU_STREAM_CAPTURE_STATUS_NONE);
  EXPECT_EQ(CU(cuEventQuery)(join), CUDA_ERROR_CAPTURED_EVENT);
  EXPECT_EQ(result_of(graph), 19u);
  CU(cuGraphDestroy)(graph);
}

TEST_F(ApiStreamTest, UnjoinedWorkIsAnError) {
  ASSERT_CUDA(CU(cuStreamBeginCapture)(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  ASSERT_CUDA(CU(cuEventRecord)(fork, stream));
  ASSERT_CUDA(CU(cuStreamWaitEvent)(other, fork, 0));
  ASSERT_CUDA(launch(2, other));
  EXPECT_EQ(CU(cuStreamEndCapture)(other, &graph), CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
  EXPECT_EQ(CU(cuStreamEndCapture)(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
  EXPECT_EQ(graph, nullptr);
  EXPECT_EQ(status(other), CU_STREAM_CAPTURE_STATUS_NONE);
  EXPECT_CUDA(launch(1, other));
}

TEST_F(ApiStreamTest, SynchronisingVoidsACapture) {
  ASSERT_CUDA(CU(cuStreamBeginCapture)(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  EXPECT_EQ(CU(cuStreamSynchronize)(stream), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  EXPECT_EQ(status(stream), CU_STREAM_CAPTURE_STATUS_INVALIDATED);
  EXPECT_EQ(launch(1, stream), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  EXPECT_EQ(CU(cuStreamEndCapture)(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  EXPECT_CUDA(launch(1, stream));
}

TEST_F(ApiStreamTest, AllocationIsForbiddenInAGlobalCaptureOnly) {
  CUdeviceptr memory;
  ASSERT_CUDA(CU(cuStreamBeginCapture)(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  EXPECT_CUDA(CU(cuMemAlloc)(&memory, 4));
  ASSERT_CUDA(CU(cuStreamEndCapture)(stream, &graph));
  CU(cuGraphDestroy)(graph);
  ASSERT_CUDA(CU(cuStreamBeginCapture)(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  std::thread([&] {
    CU(cuCtxSetCurrent)(context);
    EXPECT_CUDA(CU(cuMemAlloc)(&memory, 4));
  }).join();
  ASSERT_CUDA(CU(cuStreamEndCapture)(stream, &graph));
  CU(cuGraphDestroy)(graph);
  ASSERT_CUDA(CU(cuStreamBeginCapture)(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  EXPECT_EQ(CU(cuMemAlloc)(&memory, 4), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  EXPECT_EQ(CU(cuStreamEndCapture)(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

TEST_F(ApiStreamTest, TheDefaultStreamCannotWaitForABlockingCapture) {
  CUstream blocking;
  ASSERT_CUDA(CU(cuStreamCreate)(&blocking, CU_STREAM_DEFAULT));
  ASSERT_CUDA(CU(cuStreamBeginCapture)(blocking, CU_STREAM_CAPTURE_MODE_RELAXED));
  EXPECT_EQ(launch(1), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
  EXPECT_EQ(CU(cuStreamEndCapture)(blocking, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  EXPECT_EQ(CU(cuStreamBeginCapture)(nullptr, CU_STREAM_CAPTURE_MODE_RELAXED), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  CU(cuStreamDestroy)(blocking);
}

TEST_F(ApiStreamTest, HostFunctionsRunInTheirPlace) {
  struct state {
    CUdeviceptr memory;
    unsigned seen;
  } state = {numbers, 0};
  ASSERT_CUDA(launch(1, stream));
  ASSERT_CUDA(CU(cuLaunchHostFunc)(
      stream,
      [](void *data) {
        struct state *at = static_cast<struct state *>(data);
        at->seen = *reinterpret_cast<unsigned *>(at->memory);
      },
      &state));
  ASSERT_CUDA(launch(2, stream));
  ASSERT_CUDA(CU(cuStreamSynchronize)(stream));
  EXPECT_EQ(state.seen, 3u);
}

TEST_F(ApiStreamTest, ThreadsMayLaunchAtOnce) {
  CUdeviceptr places[4];
  std::thread threads[4];
  for (int t = 0; t < 4; ++t) {
    ASSERT_CUDA(CU(cuMemAlloc)(&places[t], 4 * count));
    ASSERT_CUDA(CU(cuMemsetD32)(places[t], 0, count));
  }
  for (int t = 0; t < 4; ++t) {
    threads[t] = std::thread([this, &places, t] {
      CU(cuCtxSetCurrent)(context);
      for (unsigned i = 0; i < 20; ++i) {
        unsigned n = count, c = static_cast<unsigned>(t) + i % 2;
        void *parameters[] = {&places[t], &n, &c};
        EXPECT_CUDA(CU(cuLaunchKernel)(step, 16, 1, 1, 64, 1, 1, 0, nullptr, parameters, nullptr));
      }
    });
  }
  for (std::thread &thread : threads) thread.join();
  for (unsigned t = 0; t < 4; ++t) {
    unsigned expected = 0;
    for (unsigned i = 0; i < 20; ++i) expected = 2 * expected + t + i % 2;
    unsigned value;
    ASSERT_CUDA(CU(cuMemcpyDtoH)(&value, places[t] + 4 * (count - 1), 4));
    EXPECT_EQ(value, expected);
  }
}
