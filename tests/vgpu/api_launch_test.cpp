/* Driver API of the virtual GPU: device, contexts, modules, launches and faults. */
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/vgpu/api_support.h"

using ApiLaunchTest = ApiTest;

/* ---- device and contexts ---- */

TEST(ApiDevice, IsOneGpuOfCapability86) {
  ASSERT_CUDA(CU(cuInit)(0));
  int count = 0, major = 0, minor = 0, warp = 0, shared = 0;
  EXPECT_CUDA(CU(cuDeviceGetCount)(&count));
  EXPECT_EQ(count, 1);
  CUdevice device;
  EXPECT_CUDA(CU(cuDeviceGet)(&device, 0));
  EXPECT_EQ(CU(cuDeviceGet)(&device, 1), CUDA_ERROR_INVALID_DEVICE);
  EXPECT_CUDA(CU(cuDeviceGetAttribute)(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0));
  EXPECT_CUDA(CU(cuDeviceGetAttribute)(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0));
  EXPECT_CUDA(CU(cuDeviceGetAttribute)(&warp, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0));
  EXPECT_CUDA(CU(cuDeviceGetAttribute)(&shared, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 0));
  EXPECT_EQ(10 * major + minor, 86);
  EXPECT_EQ(warp, 32);
  EXPECT_EQ(shared, 101376);
}

TEST(ApiDevice, CallsWithoutAContextAreErrors) {
  ASSERT_CUDA(CU(cuInit)(0));
  CUdeviceptr memory;
  std::thread([&] { EXPECT_EQ(CU(cuMemAlloc)(&memory, 4), CUDA_ERROR_INVALID_CONTEXT); }).join();
}

TEST(ApiDevice, ContextsFormAStack) {
  ASSERT_CUDA(CU(cuInit)(0));
  CUcontext first, second, at;
  ASSERT_CUDA(CU(cuCtxCreate)(&first, nullptr, 0, 0));
  ASSERT_CUDA(CU(cuCtxCreate)(&second, nullptr, 0, 0));
  EXPECT_CUDA(CU(cuCtxGetCurrent)(&at));
  EXPECT_EQ(at, second);
  EXPECT_CUDA(CU(cuCtxPopCurrent)(&at));
  EXPECT_EQ(at, second);
  EXPECT_CUDA(CU(cuCtxGetCurrent)(&at));
  EXPECT_EQ(at, first);
  EXPECT_CUDA(CU(cuCtxPushCurrent)(second));
  EXPECT_CUDA(CU(cuCtxDestroy)(second));
  EXPECT_CUDA(CU(cuCtxGetCurrent)(&at));
  EXPECT_EQ(at, first);
  EXPECT_CUDA(CU(cuCtxDestroy)(first));
}

TEST(ApiDevice, FunctionsAreFoundByNameAndVersion) {
  void *function = nullptr;
  CUdriverProcAddressQueryResult found;
  EXPECT_CUDA(CU(cuGetProcAddress)("cuMemAlloc", &function, 12000, 0, &found));
  EXPECT_EQ(function, vgpu_symbol("cuMemAlloc_v2"));
  EXPECT_EQ(found, CU_GET_PROC_ADDRESS_SUCCESS);
  EXPECT_CUDA(CU(cuGetProcAddress)("cuCtxCreate", &function, 12000, 0, &found));
  EXPECT_EQ(function, vgpu_symbol("cuCtxCreate_v3"));
  EXPECT_CUDA(CU(cuGetProcAddress)("cuCtxCreate", &function, 11000, 0, &found));
  EXPECT_EQ(function, vgpu_symbol("cuCtxCreate_v2"));
  EXPECT_CUDA(CU(cuGetProcAddress)("cuCtxCreate", &function, 13000, 0, &found));
  EXPECT_EQ(function, vgpu_symbol("cuCtxCreate_v4"));
  EXPECT_EQ(CU(cuGetProcAddress)("cuNothing", &function, 12000, 0, &found), CUDA_ERROR_NOT_FOUND);
  EXPECT_EQ(function, nullptr);
  EXPECT_EQ(found, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
  EXPECT_EQ(vgpu_symbol("cuNothing"), nullptr);
}

TEST(ApiDevice, ErrorsHaveNamesAndTexts) {
  const char *text = nullptr;
  EXPECT_CUDA(CU(cuGetErrorName)(CUDA_ERROR_ILLEGAL_ADDRESS, &text));
  EXPECT_STREQ(text, "CUDA_ERROR_ILLEGAL_ADDRESS");
  EXPECT_CUDA(CU(cuGetErrorString)(CUDA_ERROR_ILLEGAL_ADDRESS, &text));
  EXPECT_STREQ(text, "an illegal memory access was encountered");
  EXPECT_EQ(CU(cuGetErrorString)(static_cast<CUresult>(123456), &text), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(text, nullptr);
}

TEST(ApiDevice, ReleasingTheLastReferenceFreesAll) {
  ASSERT_CUDA(CU(cuInit)(0));
  CUcontext context;
  CUmodule module;
  CUdeviceptr memory;
  size_t before, after, total;
  ASSERT_CUDA(CU(cuDevicePrimaryCtxRetain)(&context, 0));
  ASSERT_CUDA(CU(cuCtxSetCurrent)(context));
  ASSERT_CUDA(CU(cuMemGetInfo)(&before, &total));
  ASSERT_CUDA(CU(cuModuleLoadData)(&module, api_module()));
  ASSERT_CUDA(CU(cuMemAlloc)(&memory, 1 << 20));
  ASSERT_CUDA(CU(cuDevicePrimaryCtxRelease)(0));
  EXPECT_EQ(CU(cuMemAlloc)(&memory, 4), CUDA_ERROR_CONTEXT_IS_DESTROYED);
  ASSERT_CUDA(CU(cuDevicePrimaryCtxRetain)(&context, 0));
  ASSERT_CUDA(CU(cuMemGetInfo)(&after, &total));
  EXPECT_EQ(after, before);
  ASSERT_CUDA(CU(cuDevicePrimaryCtxRelease)(0));
  EXPECT_EQ(CU(cuDevicePrimaryCtxRelease)(0), CUDA_ERROR_INVALID_CONTEXT);
  CU(cuCtxSetCurrent)(nullptr);
}

/* ---- modules ---- */

TEST_F(ApiLaunchTest, VariablesHaveTheirInitialValues) {
  CUdeviceptr table, total;
  size_t bytes;
  ASSERT_CUDA(CU(cuModuleGetGlobal)(&table, &bytes, module, "table"));
  EXPECT_EQ(bytes, 16u);
  unsigned values[4];
  ASSERT_CUDA(CU(cuMemcpyDtoH)(values, table, 16));
  EXPECT_EQ(values[3], 40u);
  ASSERT_CUDA(CU(cuModuleGetGlobal)(&total, &bytes, module, "total"));
  EXPECT_EQ(bytes, 8u);
  EXPECT_CUDA(CU(cuMemsetD32)(total, 1, 2));
  EXPECT_EQ(CU(cuModuleGetGlobal)(&table, &bytes, module, "absent"), CUDA_ERROR_NOT_FOUND);
  CUfunction function;
  EXPECT_EQ(CU(cuModuleGetFunction)(&function, module, "absent"), CUDA_ERROR_NOT_FOUND);
}

TEST_F(ApiLaunchTest, RefusedPtxIsNamedWithItsLine) {
  std::string ptx = api_module();
  ptx.replace(ptx.find("setp.ge"), 7, "setp.xx");
  CUmodule refused = nullptr;
  char log[1000] = "";
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {log, reinterpret_cast<void *>(sizeof log)};
  EXPECT_EQ(CU(cuModuleLoadDataEx)(&refused, ptx.c_str(), 2, options, values), CUDA_ERROR_INVALID_PTX);
  EXPECT_EQ(refused, nullptr);
  EXPECT_NE(std::string(vgpu_last_message()).find("PTX line 12: "), std::string::npos) << vgpu_last_message();
  EXPECT_STREQ(log, vgpu_last_message());
  EXPECT_EQ(reinterpret_cast<size_t>(values[1]), strlen(log));
}

TEST_F(ApiLaunchTest, ImagesForOtherDevicesAreRefused) {
  CUmodule refused;
  EXPECT_EQ(CU(cuModuleLoadData)(&refused, "\177ELF machine code"), CUDA_ERROR_NO_BINARY_FOR_GPU);
  std::string newer = api_module();
  newer.replace(newer.find("sm_75"), 5, "sm_90");
  EXPECT_EQ(CU(cuModuleLoadData)(&refused, newer.c_str()), CUDA_ERROR_NO_BINARY_FOR_GPU) << vgpu_last_message();
  EXPECT_EQ(CU(cuModuleLoadData)(&refused, ""), CUDA_ERROR_INVALID_PTX);
  EXPECT_EQ(CU(cuModuleLoad)(&refused, "/nonexistent/module.ptx"), CUDA_ERROR_FILE_NOT_FOUND);
}

/* ---- launches ---- */

TEST_F(ApiLaunchTest, EveryThreadOfEveryBlockRuns) {
  for (unsigned block : {1u, 32u, 33u, 64u, 1000u, 1024u}) {
    ASSERT_CUDA(CU(cuMemsetD32)(numbers, 1, count));
    ASSERT_CUDA(launch(3, nullptr, block));
    for (int i = 0; i < count; ++i) ASSERT_EQ(number(i), 5u) << "block " << block << ", number " << i;
  }
}

TEST_F(ApiLaunchTest, ParametersMayComeInABuffer) {
  struct {
    CUdeviceptr x;
    unsigned n, c;
  } arguments = {numbers, 10, 100};
  size_t bytes = sizeof arguments;
  void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &arguments, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                   CU_LAUNCH_PARAM_END};
  ASSERT_CUDA(CU(cuLaunchKernel)(step, 1, 1, 1, 32, 1, 1, 0, nullptr, nullptr, extra));
  EXPECT_EQ(number(9), 102u);
  EXPECT_EQ(number(10), 1u);
  bytes = 8;
  EXPECT_EQ(CU(cuLaunchKernel)(step, 1, 1, 1, 32, 1, 1, 0, nullptr, nullptr, extra), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(ApiLaunchTest, LaunchesOutsideTheLimitsAreRefused) {
  unsigned n = 0, c = 0;
  void *parameters[] = {&numbers, &n, &c};
  struct {
    unsigned grid[3], block[3], shared;
  } wrong[] = {{{0, 1, 1}, {1, 1, 1}, 0},     {{1, 65536, 1}, {1, 1, 1}, 0},      {{1, 1, 1}, {0, 1, 1}, 0},
               {{1, 1, 1}, {1025, 1, 1}, 0},  {{1, 1, 1}, {1, 1, 65}, 0},         {{1, 1, 1}, {32, 32, 2}, 0},
               {{1, 1, 1}, {1, 1, 1}, 49153}, {{0x80000000u, 1, 1}, {1, 1, 1}, 0}};
  for (const auto &at : wrong) {
    EXPECT_EQ(CU(cuLaunchKernel)(step, at.grid[0], at.grid[1], at.grid[2], at.block[0], at.block[1], at.block[2],
                                 at.shared, nullptr, parameters, nullptr),
              CUDA_ERROR_INVALID_VALUE);
    EXPECT_NE(std::string(vgpu_last_message()).find("kernel step: "), std::string::npos) << vgpu_last_message();
  }
  EXPECT_EQ(CU(cuLaunchKernel)(step, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr), CUDA_ERROR_INVALID_VALUE);
  parameters[1] = nullptr;
  EXPECT_EQ(CU(cuLaunchKernel)(step, 1, 1, 1, 1, 1, 1, 0, nullptr, parameters, nullptr), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuLaunchKernel)(nullptr, 1, 1, 1, 1, 1, 1, 0, nullptr, parameters, nullptr), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_CUDA(CU(cuCtxSynchronize)()) << "a refused launch does not harm the context";
}

TEST_F(ApiLaunchTest, KernelsBringTheirOwnLimits) {
  CUfunction bounded;
  ASSERT_CUDA(CU(cuModuleGetFunction)(&bounded, module, "bounded"));
  int value = 0;
  EXPECT_CUDA(CU(cuFuncGetAttribute)(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, bounded));
  EXPECT_EQ(value, 64);
  EXPECT_CUDA(CU(cuFuncGetAttribute)(&value, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, bounded));
  EXPECT_EQ(value, 1024);
  EXPECT_CUDA(CU(cuLaunchKernel)(bounded, 1, 1, 1, 64, 1, 1, 48 * 1024 - 1024, nullptr, nullptr, nullptr));
  EXPECT_EQ(CU(cuLaunchKernel)(bounded, 1, 1, 1, 65, 1, 1, 0, nullptr, nullptr, nullptr), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuLaunchKernel)(bounded, 1, 1, 1, 64, 1, 1, 47 * 1024 + 4, nullptr, nullptr, nullptr),
            CUDA_ERROR_INVALID_VALUE);
  const CUfunction_attribute limit = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
  EXPECT_EQ(CU(cuFuncSetAttribute)(bounded, limit, 98 * 1024 + 1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_CUDA(CU(cuFuncSetAttribute)(bounded, limit, 98 * 1024));
  EXPECT_CUDA(CU(cuLaunchKernel)(bounded, 1, 1, 1, 64, 1, 1, 98 * 1024, nullptr, nullptr, nullptr));
}

TEST_F(ApiLaunchTest, OccupancyFollowsThreadsAndSharedMemory) {
  CUfunction bounded;
  ASSERT_CUDA(CU(cuModuleGetFunction)(&bounded, module, "bounded"));
  int blocks = -1;
  EXPECT_CUDA(CU(cuOccupancyMaxActiveBlocksPerMultiprocessor)(&blocks, step, 1024, 0));
  EXPECT_EQ(blocks, 1); /* 1536 threads */
  EXPECT_CUDA(CU(cuOccupancyMaxActiveBlocksPerMultiprocessor)(&blocks, step, 32, 0));
  EXPECT_EQ(blocks, 16); /* blocks */
  EXPECT_CUDA(CU(cuOccupancyMaxActiveBlocksPerMultiprocessor)(&blocks, bounded, 64, 31 * 1024));
  EXPECT_EQ(blocks, 3); /* 100 KiB / (31 + 1 + 1) KiB */
  EXPECT_CUDA(CU(cuOccupancyMaxActiveBlocksPerMultiprocessor)(&blocks, bounded, 128, 0));
  EXPECT_EQ(blocks, 0);
}

/* ---- faults ---- */

TEST_F(ApiLaunchTest, AStrayStoreIsReportedAndSticks) {
  CUfunction stray;
  ASSERT_CUDA(CU(cuModuleGetFunction)(&stray, module, "stray"));
  CUdeviceptr past = numbers + 4 * count;
  void *parameters[] = {&past};
  EXPECT_CUDA(CU(cuLaunchKernel)(stray, 1, 1, 1, 1, 1, 1, 0, nullptr, parameters, nullptr));
  EXPECT_EQ(CU(cuCtxSynchronize)(), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_NE(std::string(vgpu_last_message()).find("stray"), std::string::npos) << vgpu_last_message();
  unsigned value;
  EXPECT_EQ(CU(cuMemcpyDtoH)(&value, numbers, 4), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_NE(std::string(vgpu_last_message()).find("stray"), std::string::npos) << vgpu_last_message();
  EXPECT_EQ(CU(cuCtxSynchronize)(), CUDA_ERROR_ILLEGAL_ADDRESS);
  ASSERT_CUDA(CU(cuDevicePrimaryCtxReset)(0));
  EXPECT_CUDA(CU(cuCtxSynchronize)());
}

TEST_F(ApiLaunchTest, ATrapNamesItsBlock) {
  CUfunction trapped;
  ASSERT_CUDA(CU(cuModuleGetFunction)(&trapped, module, "trapped"));
  EXPECT_CUDA(CU(cuLaunchKernel)(trapped, 3, 1, 1, 32, 1, 1, 0, nullptr, nullptr, nullptr));
  EXPECT_CUDA(CU(cuLaunchKernel)(trapped, 64, 1, 1, 32, 1, 1, 0, nullptr, nullptr, nullptr));
  EXPECT_EQ(CU(cuCtxSynchronize)(), CUDA_ERROR_ILLEGAL_INSTRUCTION);
  EXPECT_NE(std::string(vgpu_last_message()).find("3"), std::string::npos) << vgpu_last_message();
  ASSERT_CUDA(CU(cuDevicePrimaryCtxReset)(0));
}

TEST_F(ApiLaunchTest, AForkedProcessHasNoGpu) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    CUdeviceptr memory;
    const bool refused = CU(cuMemAlloc)(&memory, 4) == CUDA_ERROR_NOT_INITIALIZED &&
                         CU(cuInit)(0) == CUDA_ERROR_NOT_INITIALIZED && launch(1) == CUDA_ERROR_NOT_INITIALIZED;
    std::_Exit(refused ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_CUDA(launch(1));
  EXPECT_EQ(number(0), 3u);
}

TEST_F(ApiLaunchTest, FunctionsTellWhatTheyUse) {
  int value = -1;
  CUfunction bounded;
  ASSERT_CUDA(CU(cuModuleGetFunction)(&bounded, module, "bounded"));
  EXPECT_CUDA(CU(cuFuncGetAttribute)(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, bounded));
  EXPECT_EQ(value, 64);
  EXPECT_CUDA(CU(cuFuncGetAttribute)(&value, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, bounded));
  EXPECT_EQ(value, 1024);
  EXPECT_CUDA(CU(cuFuncGetAttribute)(&value, CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES, step));
  EXPECT_EQ(value, 16) << "the module's table";
  EXPECT_CUDA(CU(cuFuncGetAttribute)(&value, CU_FUNC_ATTRIBUTE_NUM_REGS, step));
  EXPECT_GT(value, 0);
  EXPECT_LT(value, 20);
  EXPECT_CUDA(CU(cuFuncSetAttribute)(step, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, 50));
  EXPECT_CUDA(CU(cuFuncGetAttribute)(&value, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, step));
  EXPECT_EQ(value, 50);
  EXPECT_EQ(CU(cuFuncGetAttribute)(&value, CU_FUNC_ATTRIBUTE_MAX, step), CUDA_ERROR_INVALID_VALUE);
  /* A bound on registers, as a linker's option. */
  CUjit_option options[] = {CU_JIT_MAX_REGISTERS};
  void *values[] = {reinterpret_cast<void *>(4)};
  CUlinkState state;
  void *image;
  size_t size;
  CUmodule linked;
  CUfunction bound_step;
  ASSERT_CUDA(CU(cuLinkCreate)(1, options, values, &state));
  ASSERT_CUDA(CU(cuLinkAddData)(state, CU_JIT_INPUT_PTX, const_cast<char *>(api_module()),
                                std::strlen(api_module()) + 1, "step", 0, nullptr, nullptr));
  ASSERT_CUDA(CU(cuLinkComplete)(state, &image, &size));
  ASSERT_CUDA(CU(cuModuleLoadData)(&linked, image));
  ASSERT_CUDA(CU(cuLinkDestroy)(state));
  ASSERT_CUDA(CU(cuModuleGetFunction)(&bound_step, linked, "step"));
  EXPECT_CUDA(CU(cuFuncGetAttribute)(&value, CU_FUNC_ATTRIBUTE_NUM_REGS, bound_step));
  EXPECT_EQ(value, 4);
}
