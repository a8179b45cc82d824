/* What the tests of the virtual GPU's driver API share: calls by name, a context, and kernels in PTX. */
#ifndef TESTS_VGPU_API_SUPPORT_H
#define TESTS_VGPU_API_SUPPORT_H

#include <cuda.h>
#include <gtest/gtest.h>

#include <string>

extern "C" {
#include "engine/vgpu/vgpu.h"
}

/* The virtual GPU's cuXxx: CU(cuMemAlloc)(&p, n). cuda.h's macros turn the plain name into the exported one first. */
#define CU_EXPORTED(name) reinterpret_cast<decltype(&name)>(vgpu_symbol(#name))
#define CU(name) CU_EXPORTED(name)

#define EXPECT_CUDA(call) EXPECT_EQ((call), CUDA_SUCCESS) << vgpu_last_message()
#define ASSERT_CUDA(call) ASSERT_EQ((call), CUDA_SUCCESS) << vgpu_last_message()

/* step: x[i] = x[i] * 2 + c for i < n.  stray: *p = 1.  trapped: traps in block 3.  Variables: table (4 words), total.
 */
inline const char *api_module() {
  return ".version 8.0\n"
         ".target sm_75\n"
         ".address_size 64\n"
         ".visible .const .align 4 .u32 table[4] = {10, 20, 30, 40};\n"
         ".visible .global .align 8 .u64 total;\n"
         ".visible .entry step(.param .u64 x, .param .u32 n, .param .u32 c)\n"
         "{\n"
         "  .reg .pred %p<2>; .reg .b32 %r<8>; .reg .b64 %rd<5>;\n"
         "  ld.param.u64 %rd1, [x]; ld.param.u32 %r1, [n]; ld.param.u32 %r2, [c];\n"
         "  mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mov.u32 %r5, %tid.x;\n"
         "  mad.lo.s32 %r6, %r3, %r4, %r5;\n"
         "  setp.ge.s32 %p1, %r6, %r1;\n"
         "  @%p1 bra DONE;\n"
         "  cvta.to.global.u64 %rd2, %rd1; mul.wide.s32 %rd3, %r6, 4; add.s64 %rd4, %rd2, %rd3;\n"
         "  ld.global.u32 %r7, [%rd4]; add.u32 %r7, %r7, %r7; add.u32 %r7, %r7, %r2; st.global.u32 [%rd4], %r7;\n"
         "DONE:\n"
         "  ret;\n"
         "}\n"
         ".visible .entry stray(.param .u64 p)\n"
         "{\n"
         "  .reg .b32 %r<2>; .reg .b64 %rd<2>;\n"
         "  ld.param.u64 %rd1, [p]; mov.u32 %r1, 1; st.global.u32 [%rd1], %r1;\n"
         "  ret;\n"
         "}\n"
         ".visible .entry trapped()\n"
         "{\n"
         "  .reg .pred %p<2>; .reg .b32 %r<2>;\n"
         "  mov.u32 %r1, %ctaid.x; setp.eq.u32 %p1, %r1, 3;\n"
         "  @%p1 trap;\n"
         "  ret;\n"
         "}\n"
         ".visible .entry bounded() .maxntid 64, 1, 1\n"
         "{\n"
         "  .shared .align 4 .b8 fixed[1024];\n"
         "  .reg .b32 %r<2>;\n"
         "  mov.u32 %r1, 1; st.shared.u32 [fixed], %r1;\n"
         "  ret;\n"
         "}\n";
}

class ApiTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_CUDA(CU(cuInit)(0));
    ASSERT_CUDA(CU(cuDevicePrimaryCtxRetain)(&context, 0));
    ASSERT_CUDA(CU(cuCtxSetCurrent)(context));
    ASSERT_CUDA(CU(cuModuleLoadData)(&module, api_module()));
    ASSERT_CUDA(CU(cuModuleGetFunction)(&step, module, "step"));
    ASSERT_CUDA(CU(cuMemAlloc)(&numbers, 4 * count));
    ASSERT_CUDA(CU(cuMemsetD32)(numbers, 1, count));
  }
  /* Releasing the last reference frees what the tests left. */
  void TearDown() override {
    CU(cuDevicePrimaryCtxRelease)(0);
    CU(cuCtxSetCurrent)(nullptr);
  }
  CUresult launch(unsigned c, CUstream stream = nullptr, unsigned block = 64) {
    unsigned n = count;
    void *parameters[] = {&numbers, &n, &c};
    return CU(cuLaunchKernel)(step, (count + block - 1) / block, 1, 1, block, 1, 1, 0, stream, parameters, nullptr);
  }
  unsigned number(int index) {
    unsigned value = 0;
    EXPECT_CUDA(CU(cuMemcpyDtoH)(&value, numbers + 4 * static_cast<CUdeviceptr>(index), 4));
    return value;
  }
  enum { count = 1000 };
  CUcontext context = nullptr;
  CUmodule module = nullptr;
  CUfunction step = nullptr;
  CUdeviceptr numbers = 0;
};

#endif
