/* Promises of include/noprop/device.h and engine/device.h: opening, properties, kernels, launches, copies, counters. */
#include <cstring>
#include <vector>

#include "tests/engine/support.h"

static const char kScale[] =
    "extern \"C\" __global__ void scale(float *x, float by, int n) {\n"
    "  int i = blockIdx.x * blockDim.x + threadIdx.x;\n"
    "  if (i < n) x[i] *= by;\n"
    "}\n";

struct scale_arguments {
  CUdeviceptr x;
  float by;
  int n;
};

/* ---- opening ---- */

TEST(DeviceOpen, VirtualIsAlwaysThere) {
  noprop_device *device = nullptr;
  ASSERT_OK(noprop_device_open("virtual", &device));
  noprop_device_properties properties;
  ASSERT_OK(noprop_device_get_properties(device, &properties));
  EXPECT_TRUE(properties.is_virtual);
  EXPECT_EQ(std::string(properties.name).rfind("virtual GPU (", 0), 0u) << properties.name;
  EXPECT_EQ(properties.compute_capability[0], 8);
  EXPECT_EQ(properties.compute_capability[1], 6);
  EXPECT_EQ(properties.shared_bytes, 99u * 1024);
  EXPECT_GT(properties.memory_bytes, 0u);
  EXPECT_GE(properties.multiprocessors, 1);
  EXPECT_STREQ(noprop_device_reason(device), "the virtual GPU was asked for");
  noprop_device_close(device);
}

TEST(DeviceOpen, AutoSaysWhatItTookAndWhy) {
  noprop_device *device = nullptr;
  ASSERT_OK(noprop_device_open(nullptr, &device));
  noprop_device_properties properties;
  ASSERT_OK(noprop_device_get_properties(device, &properties));
  std::string reason = noprop_device_reason(device);
  if (properties.is_virtual) {
    EXPECT_EQ(reason.rfind("the virtual GPU, because ", 0), 0u) << reason;
    EXPECT_GT(reason.size(), strlen("the virtual GPU, because "));
  } else {
    EXPECT_EQ(reason.rfind("GPU ", 0), 0u) << reason;
  }
  noprop_device_close(device);
}

TEST(DeviceOpen, AGpuThatIsNotThereIsAnError) {
  noprop_device *device = reinterpret_cast<noprop_device *>(1);
  EXPECT_EQ(noprop_device_open("gpu:4095", &device), NOPROP_NO_DEVICE);
  EXPECT_EQ(device, nullptr);
  EXPECT_NE(std::string(noprop_last_error()).find("GPU 4095 was asked for"), std::string::npos) << noprop_last_error();
  if (driver_nvidia() == nullptr) {
    EXPECT_EQ(noprop_device_open("gpu", &device), NOPROP_NO_DEVICE);
    EXPECT_EQ(std::string(noprop_last_error()).rfind("a GPU was asked for: ", 0), 0u) << noprop_last_error();
  }
}

TEST(DeviceOpen, UnknownNamesAreRefused) {
  noprop_device *device;
  for (const char *name : {"", "cpu", "gpu:", "gpu:x", "gpu:-1", "gpu:0x", "Virtual"}) {
    EXPECT_EQ(noprop_device_open(name, &device), NOPROP_INVALID_ARGUMENT) << name;
    EXPECT_NE(std::string(noprop_last_error()).find("auto, gpu, gpu:N and virtual"), std::string::npos);
  }
  EXPECT_EQ(noprop_device_open("virtual", nullptr), NOPROP_INVALID_ARGUMENT);
  noprop_device_close(nullptr);
}

TEST(DeviceOpen, TheListEndsWithTheVirtualGpu) {
  int count = 0;
  ASSERT_OK(noprop_device_list(0, nullptr, &count));
  ASSERT_GE(count, 1);
  noprop_device_properties properties;
  ASSERT_OK(noprop_device_list(count - 1, &properties, nullptr));
  EXPECT_TRUE(properties.is_virtual);
  EXPECT_EQ(noprop_device_list(count, &properties, nullptr), NOPROP_INVALID_ARGUMENT);
  EXPECT_EQ(noprop_device_list(-1, &properties, nullptr), NOPROP_INVALID_ARGUMENT);
}

TEST(DeviceOpen, SeveralDevicesMayBeOpenAtOnce) {
  noprop_device *first, *second;
  ASSERT_OK(noprop_device_open("virtual", &first));
  ASSERT_OK(noprop_device_open("virtual", &second));
  noprop_device_close(first);
  struct pool *pool;
  CUdeviceptr memory;
  ASSERT_OK(pool_create(second, 1 << 20, &pool));
  EXPECT_OK(pool_alloc(pool, 1000, "test", &memory));
  EXPECT_OK(noprop_device_synchronize(second));
  pool_destroy(pool);
  noprop_device_close(second);
}

/* ---- kernels ---- */

TEST_F(DeviceTest, CompilesLaunchesAndCopies) {
  struct kernel kernel;
  ASSERT_OK(device_compile(device, kScale, "scale", &kernel));
  struct pool *pool;
  CUdeviceptr memory;
  ASSERT_OK(pool_create(device, 1 << 20, &pool));
  ASSERT_OK(pool_alloc(pool, 1000 * sizeof(float), "numbers", &memory));
  std::vector<float> numbers(1000), back(1000);
  for (int i = 0; i < 1000; ++i) numbers[i] = static_cast<float>(i);
  ASSERT_OK(device_upload(device, memory, numbers.data(), 4000));
  scale_arguments arguments = {memory, 3.0f, 990};
  ASSERT_OK(device_launch(device, &kernel, 8, 128, 0, &arguments, sizeof arguments));
  ASSERT_OK(device_download(device, back.data(), memory, 4000));
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(back[i], i < 990 ? 3.0f * i : 1.0f * i) << i;

  ASSERT_OK(device_clear(device, memory, 8));
  ASSERT_OK(device_download(device, back.data(), memory, 16));
  EXPECT_EQ(back[1], 0.0f);
  EXPECT_EQ(back[2], 6.0f);

  noprop_device_counters counters;
  ASSERT_OK(noprop_device_get_counters(device, &counters));
  EXPECT_EQ(counters.launches, 1u);
  EXPECT_EQ(counters.copies_to_device, 1u);
  EXPECT_EQ(counters.copies_to_host, 2u);
  EXPECT_EQ(counters.allocations, 1u);
  EXPECT_EQ(counters.graph_launches, 0u);
  pool_destroy(pool);
}

TEST_F(DeviceTest, TheSameSourceIsTheSameModule) {
  struct kernel first, second, other;
  ASSERT_OK(device_compile(device, kScale, "scale", &first));
  ASSERT_OK(device_compile(device, kScale, "scale", &second));
  ASSERT_OK(device_compile(device, (std::string(kScale) + "// other\n").c_str(), "scale", &other));
  EXPECT_EQ(first.module, second.module);
  EXPECT_EQ(first.function, second.function);
  EXPECT_NE(first.module, other.module);
}

TEST_F(DeviceTest, ACompileErrorNamesTheKernelAndTheLine) {
  struct kernel kernel;
  EXPECT_EQ(device_compile(device, "\nextern \"C\" __global__ void broken() { undeclared = 1; }", "broken", &kernel),
            NOPROP_COMPILE_ERROR);
  std::string sentence = noprop_last_error();
  EXPECT_NE(sentence.find("kernel broken"), std::string::npos) << sentence;
  EXPECT_NE(sentence.find("broken.cu(2)"), std::string::npos) << sentence;
  EXPECT_NE(sentence.find("undeclared"), std::string::npos) << sentence;
}

TEST_F(DeviceTest, AMissingEntryIsAnError) {
  struct kernel kernel;
  EXPECT_EQ(device_compile(device, kScale, "absent", &kernel), NOPROP_DEVICE_ERROR);
  EXPECT_NE(std::string(noprop_last_error()).find("absent"), std::string::npos) << noprop_last_error();
}

TEST_F(DeviceTest, AMissingBuiltinIsAnError) {
  struct kernel kernel;
  EXPECT_EQ(device_builtin(device, "absent", "entry", &kernel), NOPROP_UNSUPPORTED);
  EXPECT_NE(std::string(noprop_last_error()).find("absent.ptx"), std::string::npos) << noprop_last_error();
}

TEST_F(DeviceTest, AllDynamicSharedMemoryOfTheDeviceCanBeUsed) {
  const char *source =
      "extern \"C\" __global__ void fill(int *out, int n) {\n"
      "  extern __shared__ int shared[];\n"
      "  for (int i = threadIdx.x; i < n; i += blockDim.x) shared[i] = i;\n"
      "  __syncthreads();\n"
      "  if (threadIdx.x == 0) *out = shared[n - 1];\n"
      "}\n";
  struct kernel kernel;
  struct pool *pool;
  CUdeviceptr out;
  ASSERT_OK(device_compile(device, source, "fill", &kernel));
  ASSERT_OK(pool_create(device, 1 << 20, &pool));
  ASSERT_OK(pool_alloc(pool, 4, "result", &out));
  const unsigned bytes = static_cast<unsigned>(device->properties.shared_bytes);
  struct {
    CUdeviceptr out;
    int n;
  } arguments = {out, static_cast<int>(bytes / 4)};
  ASSERT_OK(device_launch(device, &kernel, 1, 64, bytes, &arguments, sizeof arguments));
  int result = 0;
  ASSERT_OK(device_download(device, &result, out, 4));
  EXPECT_EQ(result, static_cast<int>(bytes / 4) - 1);
  EXPECT_EQ(device_launch(device, &kernel, 1, 64, bytes + 4, &arguments, sizeof arguments), NOPROP_DEVICE_ERROR);
  pool_destroy(pool);
}

TEST_F(DeviceTest, ALaunchOutsideTheLimitsIsAnErrorAndChangesNothing) {
  struct kernel kernel;
  ASSERT_OK(device_compile(device, kScale, "scale", &kernel));
  scale_arguments arguments = {0, 1.0f, 0};
  EXPECT_EQ(device_launch(device, &kernel, 0, 32, 0, &arguments, sizeof arguments), NOPROP_DEVICE_ERROR);
  EXPECT_NE(std::string(noprop_last_error()).find("grid dimension x is 0"), std::string::npos) << noprop_last_error();
  EXPECT_EQ(device_launch(device, &kernel, 1, 1025, 0, &arguments, sizeof arguments), NOPROP_DEVICE_ERROR);
  EXPECT_EQ(device_launch(device, &kernel, 1, 32, 0, &arguments, 4), NOPROP_DEVICE_ERROR);
  EXPECT_EQ(device->counters.launches, 0u);
  EXPECT_OK(device_launch(device, &kernel, 1, 32, 0, &arguments, sizeof arguments));
}

TEST_F(DeviceTest, AFaultNamesTheKernelAndStaysUntilTheDeviceIsClosed) {
  const char *source = "extern \"C\" __global__ void stray(int *p) { p[threadIdx.x] = 1; }";
  struct kernel kernel;
  ASSERT_OK(device_compile(device, source, "stray", &kernel));
  CUdeviceptr nowhere = 64;
  /* As on hardware the launch returns at once, and the next call that waits for it fails, as do all later ones. */
  EXPECT_OK(device_launch(device, &kernel, 1, 32, 0, &nowhere, sizeof nowhere));
  EXPECT_EQ(noprop_device_synchronize(device), NOPROP_DEVICE_ERROR);
  EXPECT_NE(std::string(noprop_last_error()).find("stray"), std::string::npos) << noprop_last_error();
  EXPECT_EQ(device_launch(device, &kernel, 1, 32, 0, &nowhere, sizeof nowhere), NOPROP_DEVICE_ERROR);
  EXPECT_EQ(noprop_device_synchronize(device), NOPROP_DEVICE_ERROR);
  EXPECT_NE(std::string(noprop_last_error()).find("stray"), std::string::npos) << noprop_last_error();
  noprop_device_close(device);
  ASSERT_OK(noprop_device_open("virtual", &device));
  EXPECT_OK(noprop_device_synchronize(device));
}
