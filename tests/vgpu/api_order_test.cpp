/* Driver API of the virtual GPU: what streams promise about order, and what they leave open. */
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/vgpu/api_support.h"

namespace {

/* A host function that holds up its stream until the test opens it. */
class Gate {
 public:
  static void wait(void *gate) {
    Gate *self = static_cast<Gate *>(gate);
    std::unique_lock<std::mutex> lock(self->mutex_);
    self->reached_ = true;
    self->changed_.notify_all();
    self->changed_.wait(lock, [&] { return self->open_; });
  }
  void open() {
    std::lock_guard<std::mutex> lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait_until_reached() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return reached_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false, reached_ = false;
};

class ApiOrderTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    for (CUstream &stream : blocking) ASSERT_CUDA(CU(cuStreamCreate)(&stream, CU_STREAM_DEFAULT));
    for (CUstream &stream : free_streams) ASSERT_CUDA(CU(cuStreamCreate)(&stream, CU_STREAM_NON_BLOCKING));
    ASSERT_CUDA(CU(cuMemHostAlloc)(reinterpret_cast<void **>(&pinned), 4 * count, 0));
    ASSERT_CUDA(CU(cuEventCreate)(&event, CU_EVENT_DEFAULT));
  }
  void TearDown() override {
    gate.open();
    ApiTest::TearDown();
  }
  CUresult hold(CUstream stream) { return CU(cuLaunchHostFunc)(stream, Gate::wait, &gate); }
  CUstream blocking[2] = {}, free_streams[2] = {};
  unsigned *pinned = nullptr;
  CUevent event = nullptr;
  Gate gate;
};

}  // namespace

TEST_F(ApiOrderTest, AStreamThatIsHeldUpHoldsUpNoOther) {
  ASSERT_CUDA(hold(blocking[0]));
  ASSERT_CUDA(launch(1, blocking[0]));
  EXPECT_EQ(CU(cuStreamQuery)(blocking[0]), CUDA_ERROR_NOT_READY);
  ASSERT_CUDA(CU(cuMemsetD32Async)(numbers + 4, 7, 1, blocking[1]));
  ASSERT_CUDA(CU(cuStreamSynchronize)(blocking[1]));
  ASSERT_CUDA(CU(cuMemcpyDtoHAsync)(pinned, numbers, 8, free_streams[0]));
  ASSERT_CUDA(CU(cuStreamSynchronize)(free_streams[0]));
  EXPECT_EQ(pinned[0], 1u);
  EXPECT_EQ(pinned[1], 7u);
  EXPECT_EQ(CU(cuStreamQuery)(blocking[0]), CUDA_ERROR_NOT_READY);
  gate.open();
  ASSERT_CUDA(CU(cuStreamSynchronize)(blocking[0]));
  EXPECT_CUDA(CU(cuStreamQuery)(blocking[0]));
  EXPECT_EQ(number(0), 3u);
  EXPECT_EQ(number(1), 15u);
}

TEST_F(ApiOrderTest, WorkBeginsWithoutAnybodyWaitingForIt) {
  std::atomic<int> seen{0};
  ASSERT_CUDA(CU(cuLaunchHostFunc)(
      free_streams[0], [](void *at) { *static_cast<std::atomic<int> *>(at) = 1; }, &seen));
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (seen == 0 && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
  EXPECT_EQ(seen, 1);
}

TEST_F(ApiOrderTest, TheDefaultStreamWaitsForBlockingStreamsAndTheyForIt) {
  ASSERT_CUDA(hold(blocking[0]));
  ASSERT_CUDA(launch(1, nullptr));     /* waits for blocking[0] */
  ASSERT_CUDA(launch(2, blocking[1])); /* waits for the default stream */
  EXPECT_EQ(CU(cuStreamQuery)(nullptr), CUDA_ERROR_NOT_READY);
  EXPECT_EQ(CU(cuStreamQuery)(blocking[1]), CUDA_ERROR_NOT_READY);
  ASSERT_CUDA(CU(cuMemcpyDtoHAsync)(pinned, numbers, 4, free_streams[0])); /* waits for nobody */
  ASSERT_CUDA(CU(cuStreamSynchronize)(free_streams[0]));
  EXPECT_EQ(pinned[0], 1u);
  gate.open();
  ASSERT_CUDA(CU(cuStreamSynchronize)(blocking[1]));
  EXPECT_EQ(number(0), 8u);
}

TEST_F(ApiOrderTest, EachThreadHasADefaultStreamOfItsOwn) {
  unsigned n = count, c = 1;
  void *parameters[] = {&numbers, &n, &c};
  ASSERT_CUDA(hold(CU_STREAM_PER_THREAD));
  std::thread([&] {
    ASSERT_CUDA(CU(cuCtxSetCurrent)(context));
    EXPECT_CUDA(CU(cuLaunchKernel)(step, 16, 1, 1, 64, 1, 1, 0, CU_STREAM_PER_THREAD, parameters, nullptr));
    EXPECT_CUDA(CU(cuStreamSynchronize)(CU_STREAM_PER_THREAD));
  }).join();
  EXPECT_EQ(CU(cuStreamQuery)(CU_STREAM_PER_THREAD), CUDA_ERROR_NOT_READY);
  ASSERT_CUDA(CU(cuMemcpyDtoHAsync)(pinned, numbers, 4, free_streams[0]));
  ASSERT_CUDA(CU(cuStreamSynchronize)(free_streams[0]));
  EXPECT_EQ(pinned[0], 3u);
  gate.open();
  EXPECT_CUDA(CU(cuStreamSynchronize)(CU_STREAM_PER_THREAD));
  /* The functions of -DCUDA_API_PER_THREAD_DEFAULT_STREAM take NULL for it. */
  const auto launch_own = reinterpret_cast<decltype(&cuLaunchKernel)>(vgpu_symbol("cuLaunchKernel_ptsz"));
  const auto query_own = reinterpret_cast<decltype(&cuStreamQuery)>(vgpu_symbol("cuStreamQuery_ptsz"));
  const auto copy_own = reinterpret_cast<decltype(&cuMemcpyDtoH)>(vgpu_symbol("cuMemcpyDtoH_v2_ptds"));
  ASSERT_CUDA(hold(free_streams[1])); /* has nothing to do with it */
  EXPECT_CUDA(launch_own(step, 16, 1, 1, 64, 1, 1, 0, nullptr, parameters, nullptr));
  EXPECT_CUDA(copy_own(pinned, numbers, 4));
  EXPECT_CUDA(query_own(nullptr));
  EXPECT_EQ(pinned[0], 7u);
}

TEST_F(ApiOrderTest, EventsOrderStreamsAndTellWhenTheyHappened) {
  ASSERT_CUDA(hold(free_streams[0]));
  ASSERT_CUDA(launch(1, free_streams[0]));
  ASSERT_CUDA(CU(cuEventRecord)(event, free_streams[0]));
  ASSERT_CUDA(CU(cuStreamWaitEvent)(free_streams[1], event, 0));
  ASSERT_CUDA(launch(2, free_streams[1]));
  EXPECT_EQ(CU(cuEventQuery)(event), CUDA_ERROR_NOT_READY);
  EXPECT_EQ(CU(cuStreamQuery)(free_streams[1]), CUDA_ERROR_NOT_READY);
  float milliseconds = 0;
  EXPECT_EQ(CU(cuEventElapsedTime)(&milliseconds, event, event), CUDA_ERROR_NOT_READY);
  CUevent later;
  ASSERT_CUDA(CU(cuEventCreate)(&later, CU_EVENT_DEFAULT));
  ASSERT_CUDA(CU(cuEventRecord)(later, free_streams[1]));
  gate.open();
  ASSERT_CUDA(CU(cuEventSynchronize)(later));
  EXPECT_CUDA(CU(cuEventQuery)(event));
  EXPECT_CUDA(CU(cuEventElapsedTime)(&milliseconds, event, later));
  EXPECT_GT(milliseconds, 0.0f);
  EXPECT_EQ(number(0), 8u);
  EXPECT_CUDA(CU(cuEventDestroy)(later));
}

TEST_F(ApiOrderTest, AWaitMeansTheRecordBeforeIt) {
  ASSERT_CUDA(CU(cuStreamWaitEvent)(free_streams[1], event, 0)); /* never recorded: no wait */
  ASSERT_CUDA(CU(cuStreamSynchronize)(free_streams[1]));
  ASSERT_CUDA(CU(cuEventRecord)(event, free_streams[0]));
  ASSERT_CUDA(CU(cuStreamWaitEvent)(free_streams[1], event, 0));
  ASSERT_CUDA(hold(free_streams[0]));
  ASSERT_CUDA(CU(cuEventRecord)(event, free_streams[0])); /* a later record moves no earlier wait */
  EXPECT_CUDA(CU(cuStreamSynchronize)(free_streams[1]));
  EXPECT_EQ(CU(cuEventQuery)(event), CUDA_ERROR_NOT_READY);
}

TEST_F(ApiOrderTest, CopiesFromPageableMemoryTakeWhatIsThereNow) {
  std::vector<unsigned> small(8, 5), large(count, 6);
  ASSERT_CUDA(hold(free_streams[0]));
  ASSERT_CUDA(CU(cuMemcpyHtoDAsync)(numbers, small.data(), 32, free_streams[0]));
  small.assign(8, 0);
  for (unsigned i = 0; i < 8; ++i) pinned[i] = 9;
  ASSERT_CUDA(CU(cuMemcpyHtoDAsync)(numbers + 32, pinned, 32, free_streams[0]));
  for (unsigned i = 0; i < 8; ++i) pinned[i] = 10; /* pinned memory is read when the copy is done */
  gate.open();
  ASSERT_CUDA(CU(cuStreamSynchronize)(free_streams[0]));
  EXPECT_EQ(number(0), 5u);
  EXPECT_EQ(number(8), 10u);
  /* To pageable memory: done when the call returns. */
  ASSERT_CUDA(CU(cuMemcpyDtoHAsync)(large.data(), numbers, 4 * count, free_streams[0]));
  EXPECT_EQ(large[0], 5u);
  EXPECT_EQ(large[8], 10u);
}

TEST_F(ApiOrderTest, ValuesInMemoryHoldStreamsUpAndLetThemGo) {
  CUdeviceptr flag = reinterpret_cast<CUdeviceptr>(pinned);
  for (unsigned i = 0; i < 16; ++i) pinned[i] = 0;
  ASSERT_CUDA(CU(cuStreamWaitValue32)(free_streams[0], flag, 3, CU_STREAM_WAIT_VALUE_GEQ));
  ASSERT_CUDA(launch(1, free_streams[0]));
  ASSERT_CUDA(CU(cuStreamWriteValue32)(free_streams[0], flag + 4, 77, 0));
  EXPECT_EQ(CU(cuStreamQuery)(free_streams[0]), CUDA_ERROR_NOT_READY);
  ASSERT_CUDA(CU(cuStreamWriteValue32)(free_streams[1], flag, 2, 0));
  ASSERT_CUDA(CU(cuStreamSynchronize)(free_streams[1]));
  EXPECT_EQ(CU(cuStreamQuery)(free_streams[0]), CUDA_ERROR_NOT_READY);
  __atomic_store_n(pinned, 5u, __ATOMIC_RELEASE); /* the program may do it, too */
  ASSERT_CUDA(CU(cuStreamSynchronize)(free_streams[0]));
  EXPECT_EQ(pinned[1], 77u);
  EXPECT_EQ(number(0), 3u);
  CUstreamBatchMemOpParams batch[3] = {};
  batch[0].writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_64;
  batch[0].writeValue.address = flag + 8;
  batch[0].writeValue.value64 = 1ull << 40;
  batch[1].waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_64;
  batch[1].waitValue.address = flag + 8;
  batch[1].waitValue.value64 = 1ull << 40;
  batch[1].waitValue.flags = CU_STREAM_WAIT_VALUE_AND;
  batch[2].writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
  batch[2].writeValue.address = flag + 16;
  batch[2].writeValue.value = 4;
  ASSERT_CUDA(CU(cuStreamBatchMemOp)(free_streams[0], 3, batch, 0));
  ASSERT_CUDA(CU(cuStreamSynchronize)(free_streams[0]));
  EXPECT_EQ(pinned[3], 1u << 8);
  EXPECT_EQ(pinned[4], 4u);
}

TEST_F(ApiOrderTest, HostFunctionsMustNotCallTheApi) {
  struct state {
    CUresult result = CUDA_SUCCESS;
  } state;
  ASSERT_CUDA(CU(cuLaunchHostFunc)(
      free_streams[0],
      [](void *at) {
        CUdeviceptr memory = 0;
        static_cast<struct state *>(at)->result = CU(cuMemAlloc)(&memory, 4);
      },
      &state));
  ASSERT_CUDA(CU(cuStreamSynchronize)(free_streams[0]));
  EXPECT_EQ(state.result, CUDA_ERROR_NOT_PERMITTED);
}

TEST_F(ApiOrderTest, CallbacksAreToldOfFaultsAndHostFunctionsNotCalled) {
  struct state {
    CUresult told = CUDA_ERROR_UNKNOWN;
    bool called = false;
  } state;
  CUfunction stray;
  ASSERT_CUDA(CU(cuModuleGetFunction)(&stray, module, "stray"));
  CUdeviceptr nowhere = 64;
  void *parameters[] = {&nowhere};
  ASSERT_CUDA(CU(cuLaunchKernel)(stray, 1, 1, 1, 1, 1, 1, 0, free_streams[0], parameters, nullptr));
  CU(cuLaunchHostFunc)
  (
      free_streams[0], [](void *at) { static_cast<struct state *>(at)->called = true; }, &state);
  CU(cuStreamAddCallback)
  (
      free_streams[0], [](CUstream, CUresult result, void *at) { static_cast<struct state *>(at)->told = result; },
      &state, 0);
  EXPECT_EQ(CU(cuStreamSynchronize)(free_streams[0]), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_NE(std::string(vgpu_last_message()).find("kernel stray"), std::string::npos) << vgpu_last_message();
  ASSERT_CUDA(CU(cuDevicePrimaryCtxReset)(0)); /* waits for the stream, which the failing call above need not */
  EXPECT_FALSE(state.called);
  /* If the fault came before the callback was put in, that call failed with it already. */
  EXPECT_TRUE(state.told == CUDA_ERROR_ILLEGAL_ADDRESS || state.told == CUDA_ERROR_UNKNOWN);
}

TEST_F(ApiOrderTest, ADestroyedStreamFinishesItsWork) {
  ASSERT_CUDA(hold(free_streams[0]));
  ASSERT_CUDA(launch(1, free_streams[0]));
  ASSERT_CUDA(CU(cuEventRecord)(event, free_streams[0]));
  ASSERT_CUDA(CU(cuStreamDestroy)(free_streams[0]));
  EXPECT_EQ(CU(cuStreamQuery)(free_streams[0]), CUDA_ERROR_INVALID_HANDLE);
  gate.open();
  ASSERT_CUDA(CU(cuEventSynchronize)(event));
  EXPECT_EQ(number(0), 3u);
}

TEST_F(ApiOrderTest, MemoryIsFreedInTheOrderOfTheStream) {
  CUdeviceptr memory;
  size_t bytes;
  ASSERT_CUDA(CU(cuMemAllocAsync)(&memory, 4 * count, free_streams[0]));
  ASSERT_CUDA(hold(free_streams[0]));
  ASSERT_CUDA(CU(cuMemsetD32Async)(memory, 21, count, free_streams[0]));
  ASSERT_CUDA(CU(cuMemcpyDtoDAsync)(numbers, memory, 4 * count, free_streams[0]));
  ASSERT_CUDA(CU(cuMemFreeAsync)(memory, free_streams[0]));
  EXPECT_EQ(CU(cuMemFreeAsync)(memory, free_streams[0]), CUDA_ERROR_INVALID_VALUE) << "freed twice";
  EXPECT_CUDA(CU(cuMemGetAddressRange)(nullptr, &bytes, memory));
  gate.open();
  ASSERT_CUDA(CU(cuStreamSynchronize)(free_streams[0]));
  EXPECT_EQ(CU(cuMemGetAddressRange)(nullptr, &bytes, memory), CUDA_ERROR_NOT_FOUND);
  EXPECT_EQ(number(count - 1), 21u);
}

TEST_F(ApiOrderTest, ManyThreadsAndStreamsKeepEachStreamsOrder) {
  enum { threads = 4, rounds = 60 };
  std::vector<std::thread> all;
  std::atomic<int> wrong{0};
  for (unsigned t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      CUstream own;
      CUdeviceptr memory;
      unsigned n = 64, expected = 1;
      CU(cuCtxSetCurrent)(context);
      if (CU(cuStreamCreate)(&own, t % 2) != CUDA_SUCCESS || CU(cuMemAlloc)(&memory, 256) != CUDA_SUCCESS) ++wrong;
      CU(cuMemsetD32Async)(memory, 1, 64, own);
      for (unsigned i = 0; i < rounds; ++i) {
        void *parameters[] = {&memory, &n, &i};
        CU(cuLaunchKernel)(step, 1, 1, 1, 64, 1, 1, 0, own, parameters, nullptr);
        expected = 2 * expected + i;
        if (i % 7 == t) CU(cuStreamSynchronize)(own);
        if (i % 11 == t) {
          unsigned value = 0;
          CU(cuMemcpyDtoHAsync)(&value, memory + 252, 4, own);
          if (value != expected) ++wrong;
        }
      }
      unsigned value = 0;
      CU(cuMemcpyDtoHAsync)(&value, memory, 4, own);
      if (value != expected) ++wrong;
      CU(cuStreamDestroy)(own);
    });
  }
  for (std::thread &thread : all) thread.join();
  EXPECT_EQ(wrong, 0);
}
