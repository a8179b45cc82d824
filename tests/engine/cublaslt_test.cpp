/* Promises of engine/cublaslt.h, but for those that only a GPU could keep. */
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/cublaslt_fake.h"
#include "tests/engine/support.h"

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>
static constexpr bool same(int ours, int theirs) { return ours == theirs; }
static_assert(same(CUBLASLT_SUCCESS, CUBLAS_STATUS_SUCCESS));
static_assert(same(CUBLASLT_NOT_SUPPORTED, CUBLAS_STATUS_NOT_SUPPORTED));
static_assert(same(CUBLASLT_FLOAT, CUDA_R_32F));
static_assert(same(CUBLASLT_FP32, CUBLAS_COMPUTE_32F));
static_assert(same(CUBLASLT_TF32, CUBLAS_COMPUTE_32F_FAST_TF32));
static_assert(same(CUBLASLT_AS_IS, CUBLAS_OP_N));
static_assert(same(CUBLASLT_TURNED, CUBLAS_OP_T));
static_assert(same(CUBLASLT_TURN_A, CUBLASLT_MATMUL_DESC_TRANSA));
static_assert(same(CUBLASLT_TURN_B, CUBLASLT_MATMUL_DESC_TRANSB));
static_assert(same(CUBLASLT_WORKSPACE, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES));
static_assert(same(CUBLASLT_ALIGNMENT_A, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES));
static_assert(same(CUBLASLT_ALIGNMENT_A + 1, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES));
static_assert(same(CUBLASLT_ALIGNMENT_A + 2, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES));
static_assert(same(CUBLASLT_ALIGNMENT_D, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES));
static_assert(sizeof(cublaslt_algorithm) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(cublaslt_heuristic) == sizeof(cublasLtMatmulHeuristicResult_t) &&
              offsetof(cublaslt_heuristic, workspace_bytes) ==
                  offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize) &&
              offsetof(cublaslt_heuristic, state) == offsetof(cublasLtMatmulHeuristicResult_t, state));
#endif

namespace {

using cublaslt_fake::state;

TEST(CublasLt, TellsWhatIsMissing) {
  cublaslt_functions functions;
  char reason[200];
  EXPECT_FALSE(cublaslt_load("libnoprop-nowhere.so.1", &functions, reason, sizeof reason));
  EXPECT_STREQ(reason, "is not installed");
  EXPECT_FALSE(cublaslt_load("libm.so.6", &functions, reason, sizeof reason));
  EXPECT_STREQ(reason, "cannot be used, as libm.so.6 has no cublasLtGetVersion");
}

TEST(CublasLt, IsNotForTheVirtualGpuNorWhereItIsTurnedOff) {
  bool allowed = true;
  char reason[200];
  ASSERT_OK(cublaslt_allowed(true, &allowed, reason, sizeof reason));
  EXPECT_FALSE(allowed);
  EXPECT_STREQ(reason, "is for GPUs, and this one is virtual");
  ASSERT_OK(cublaslt_allowed(false, &allowed, reason, sizeof reason));
  EXPECT_TRUE(allowed);
  setenv("NOPROP_CUBLASLT", "off", 1);
  ASSERT_OK(cublaslt_allowed(false, &allowed, reason, sizeof reason));
  EXPECT_FALSE(allowed);
  EXPECT_STREQ(reason, "is turned off by NOPROP_CUBLASLT");
  setenv("NOPROP_CUBLASLT", "sometimes", 1);
  EXPECT_EQ(cublaslt_allowed(false, &allowed, reason, sizeof reason), NOPROP_INVALID_ARGUMENT);
  EXPECT_STREQ(noprop_last_error(), "NOPROP_CUBLASLT must be auto or off, not 'sometimes'");
  unsetenv("NOPROP_CUBLASLT");
}

/* Version 13 under a driver for CUDA 12 gives no handle, and 12 does. */
TEST(CublasLt, IsTheOlderLibraryWhereTheNewerGivesNoHandle) {
  cublaslt_functions newer = cublaslt_fake::functions;
  const cublaslt_functions *opened = nullptr;
  void *handle = nullptr;
  char reason[200];
  const cublaslt_fake::Library ended; /* takes its substitutes back when the test ends */
  cublaslt_substitute(&newer, &cublaslt_fake::functions);
  ASSERT_TRUE(cublaslt_open(&opened, &handle, reason, sizeof reason));
  EXPECT_EQ(opened, &newer);
  opened->destroy(handle);
  newer.create = [](void **) { return 1; }; /* CUBLAS_STATUS_NOT_INITIALIZED */
  ASSERT_TRUE(cublaslt_open(&opened, &handle, reason, sizeof reason));
  EXPECT_EQ(opened, &cublaslt_fake::functions);
  opened->destroy(handle);
  cublaslt_substitute(&newer, nullptr);
  EXPECT_FALSE(cublaslt_open(&opened, &handle, reason, sizeof reason));
  EXPECT_EQ(opened, nullptr);
  EXPECT_STREQ(reason, "cannot be used, as cublasLtCreate of libcublasLt.so.13 returns 1");
  EXPECT_EQ(state.live, 0);
}

/* Matrices by rows, with strides that all differ, against three loops. */
TEST(CublasLt, MultipliesMatricesByRows) {
  const cublaslt_fake::Library library;
  const unsigned rows = 5, columns = 7, depth = 3;
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  const auto random = [&](size_t count) {
    std::vector<float> made(count);
    for (float &value : made) value = normal(generator);
    return made;
  };
  for (const bool turned : {false, true})
    for (const bool adds : {false, true}) {
      const cublaslt_product product = {rows, columns, depth, 11, turned ? 13u : 17u, 19, turned, adds};
      const std::vector<float> values = random(rows * 11), weights = random(columns * 17), added = random(rows * 19);
      std::vector<float> result(rows * 19, -1.0f);
      cublaslt_plan *plan = nullptr;
      ASSERT_EQ(cublaslt_plan_create(&cublaslt_fake::functions, nullptr, &product, &plan), CUBLASLT_SUCCESS);
      EXPECT_EQ(state.compute, adds ? 77 : 68);
      EXPECT_EQ(cublaslt_run(plan, values.data(), weights.data(), adds ? added.data() : nullptr, result.data(), nullptr,
                             nullptr),
                CUBLASLT_SUCCESS);
      for (unsigned r = 0; r < rows; ++r)
        for (unsigned c = 0; c < 19; ++c) {
          double want = adds ? static_cast<double>(added[r * 19 + c]) : 0.0;
          for (unsigned i = 0; i < depth; ++i)
            want +=
                static_cast<double>(values[r * 11 + i]) * weights[turned ? c % columns * 13 + i : i * 17 + c % columns];
          EXPECT_NEAR(result[r * 19 + c], c < columns ? want : -1.0, 1e-5) << turned << adds << " " << r << " " << c;
        }
      cublaslt_plan_destroy(plan);
      EXPECT_EQ(state.live, 0);
    }
}

TEST(CublasLt, HasNoPlanWhereTheLibraryFails) {
  const cublaslt_fake::Library library;
  const cublaslt_product product = {4, 4, 4, 8, 8, 8, 0, 0};
  for (const char *failing : {"operation_create", "operation_set", "layout_create", "preference_create",
                              "preference_set", "heuristic", "no algorithm", "algorithm's state"}) {
    cublaslt_plan *plan = nullptr;
    state.failing = failing;
    EXPECT_NE(cublaslt_plan_create(&cublaslt_fake::functions, nullptr, &product, &plan), CUBLASLT_SUCCESS) << failing;
    EXPECT_EQ(plan, nullptr) << failing;
    EXPECT_EQ(state.live, 0) << failing;
  }
}

}  // namespace
