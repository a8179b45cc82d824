/* Promises of the graphs in engine/device.h. */
#include <vector>

#include "tests/engine/support.h"

static const char kStep[] =
    "extern \"C\" __global__ void step(float *x, int n, float c) {\n"
    "  int i = blockIdx.x * blockDim.x + threadIdx.x;\n"
    "  if (i < n) x[i] = x[i] * 1.37f + c / (1.0f + x[i] * x[i]);\n"
    "}\n";

struct step_arguments {
  CUdeviceptr x;
  int n;
  float c;
};

class GraphTest : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    ASSERT_OK(device_compile(device, kStep, "step", &kernel));
    ASSERT_OK(pool_create(device, 1 << 20, &pool));
    ASSERT_OK(pool_alloc(pool, 4 * count, "numbers", &x));
  }
  void TearDown() override {
    pool_destroy(pool);
    DeviceTest::TearDown();
  }
  noprop_status step(float c) {
    step_arguments arguments = {x, count, c};
    return device_launch(device, &kernel, (count + 63) / 64, 64, 0, &arguments, sizeof arguments);
  }
  std::vector<float> numbers() {
    std::vector<float> values(count);
    EXPECT_OK(device_download(device, values.data(), x, 4 * count));
    return values;
  }
  enum { count = 1000 };
  struct kernel kernel;
  struct pool *pool = nullptr;
  CUdeviceptr x = 0;
};

TEST_F(GraphTest, RecordingRunsNothing) {
  struct graph *graph;
  ASSERT_OK(graph_begin(device));
  ASSERT_OK(step(1.0f));
  ASSERT_OK(graph_end(device, &graph));
  EXPECT_EQ(numbers(), std::vector<float>(count, 0.0f));
  EXPECT_EQ(device->counters.launches, 0u);
  graph_destroy(device, graph);
}

TEST_F(GraphTest, ReplayGivesTheBitsOfDirectLaunches) {
  for (int i = 0; i < 12; ++i) ASSERT_OK(step(0.25f * static_cast<float>(i % 4)));
  std::vector<float> direct = numbers();
  ASSERT_NE(direct, std::vector<float>(count, 0.0f));

  ASSERT_OK(device_clear(device, x, 4 * count));
  struct graph *graph;
  ASSERT_OK(graph_begin(device));
  for (int i = 0; i < 4; ++i) ASSERT_OK(step(0.25f * static_cast<float>(i)));
  ASSERT_OK(graph_end(device, &graph));
  for (int i = 0; i < 3; ++i) ASSERT_OK(graph_launch(device, graph));
  EXPECT_EQ(numbers(), direct);
  EXPECT_EQ(device->counters.launches, 24u) << "launches inside graphs are counted one by one";
  EXPECT_EQ(device->counters.graph_launches, 3u);
  graph_destroy(device, graph);
}

TEST_F(GraphTest, CopiesAndClearsAreRecordedToo) {
  std::vector<float> ones(count, 1.0f);
  struct graph *graph;
  ASSERT_OK(graph_begin(device));
  ASSERT_OK(device_clear(device, x, 4 * count));
  ASSERT_OK(device_upload(device, x, ones.data(), 40));
  ASSERT_OK(graph_end(device, &graph));
  ASSERT_OK(step(5.0f));
  ASSERT_OK(graph_launch(device, graph));
  std::vector<float> values = numbers();
  EXPECT_EQ(values[9], 1.0f);
  EXPECT_EQ(values[10], 0.0f);
  graph_destroy(device, graph);
}

TEST_F(GraphTest, AFailedLaunchLeavesTheDeviceUsable) {
  struct graph *graph;
  ASSERT_OK(graph_begin(device));
  step_arguments arguments = {x, count, 1.0f};
  EXPECT_NE(device_launch(device, &kernel, 0, 64, 0, &arguments, sizeof arguments), NOPROP_OK);
  ASSERT_OK(graph_end(device, &graph));
  graph_destroy(device, graph);
  EXPECT_OK(step(1.0f));
  EXPECT_EQ(numbers()[0], 1.0f);
}

TEST_F(GraphTest, ReadingBackWhileRecordingIsAnError) {
  struct graph *graph = nullptr;
  float value;
  CUdeviceptr memory;
  ASSERT_OK(graph_begin(device));
  EXPECT_EQ(pool_alloc(pool, 4, "more", &memory), NOPROP_INVALID_ARGUMENT);
  EXPECT_EQ(device_download(device, &value, x, 4), NOPROP_DEVICE_ERROR);
  EXPECT_EQ(graph_end(device, &graph), NOPROP_DEVICE_ERROR) << "the recording is void";
  EXPECT_EQ(graph, nullptr);
  graph_destroy(device, graph);
  EXPECT_OK(device_download(device, &value, x, 4));
}
