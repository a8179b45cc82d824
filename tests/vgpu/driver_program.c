/* An ordinary program for the CUDA driver API, linked with -lcuda. It knows nothing of the virtual GPU; like programs
 * in other languages it declares what it uses itself. Prints the device and the sum that a kernel made. */
#include <stdio.h>

typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef unsigned long long CUdeviceptr;

extern int cuInit(unsigned flags);
extern int cuDeviceGet(int *device, int ordinal);
extern int cuDeviceGetName(char *name, int length, int device);
extern int cuCtxCreate_v2(CUcontext *context, unsigned flags, int device);
extern int cuCtxDestroy_v2(CUcontext context);
extern int cuModuleLoadData(CUmodule *module, const void *image);
extern int cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name);
extern int cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes);
extern int cuMemFree_v2(CUdeviceptr pointer);
extern int cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes);
extern int cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes);
extern int cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                          unsigned block_y, unsigned block_z, unsigned shared, CUstream stream, void **parameters,
                          void **extra);
extern int cuCtxSynchronize(void);

static const char saxpy[] =
    ".version 7.0\n.target sm_75\n.address_size 64\n"
    ".visible .entry saxpy(.param .u64 y, .param .u64 x, .param .f32 a, .param .u32 n) {\n"
    "  .reg .pred %p<2>; .reg .b32 %r<6>; .reg .f32 %f<5>; .reg .b64 %rd<7>;\n"
    "  ld.param.u64 %rd1, [y]; ld.param.u64 %rd2, [x]; ld.param.f32 %f1, [a]; ld.param.u32 %r1, [n];\n"
    "  mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 %r4, %tid.x; mad.lo.s32 %r5, %r2, %r3, %r4;\n"
    "  setp.ge.u32 %p1, %r5, %r1; @%p1 bra END;\n"
    "  mul.wide.u32 %rd3, %r5, 4; add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3;\n"
    "  ld.global.f32 %f2, [%rd5]; ld.global.f32 %f3, [%rd4]; fma.rn.f32 %f4, %f1, %f2, %f3; st.global.f32 [%rd4], "
    "%f4;\n"
    "END: ret;\n}\n";

enum { COUNT = 10000 };

static float x[COUNT], y[COUNT];

static int check(int result, const char *what) {
  if (result != 0) fprintf(stderr, "%s: %d\n", what, result);
  return result;
}

int main(void) {
  int device;
  char name[256];
  CUcontext context;
  CUmodule module;
  CUfunction function;
  CUdeviceptr device_x, device_y;
  float a = 0.5f;
  unsigned n = COUNT;
  double sum = 0;
  for (int i = 0; i < COUNT; ++i) {
    x[i] = (float)i;
    y[i] = 1.0f;
  }
  void *parameters[] = {&device_y, &device_x, &a, &n};
  if (check(cuInit(0), "cuInit") || check(cuDeviceGet(&device, 0), "cuDeviceGet") ||
      check(cuDeviceGetName(name, sizeof name, device), "cuDeviceGetName") ||
      check(cuCtxCreate_v2(&context, 0, device), "cuCtxCreate") ||
      check(cuModuleLoadData(&module, saxpy), "cuModuleLoadData") ||
      check(cuModuleGetFunction(&function, module, "saxpy"), "cuModuleGetFunction") ||
      check(cuMemAlloc_v2(&device_x, sizeof x), "cuMemAlloc") ||
      check(cuMemAlloc_v2(&device_y, sizeof y), "cuMemAlloc") ||
      check(cuMemcpyHtoD_v2(device_x, x, sizeof x), "cuMemcpyHtoD") ||
      check(cuMemcpyHtoD_v2(device_y, y, sizeof y), "cuMemcpyHtoD") ||
      check(cuLaunchKernel(function, (COUNT + 255) / 256, 1, 1, 256, 1, 1, 0, NULL, parameters, NULL),
            "cuLaunchKernel") ||
      check(cuCtxSynchronize(), "cuCtxSynchronize") || check(cuMemcpyDtoH_v2(y, device_y, sizeof y), "cuMemcpyDtoH") ||
      check(cuMemFree_v2(device_x), "cuMemFree") || check(cuMemFree_v2(device_y), "cuMemFree") ||
      check(cuCtxDestroy_v2(context), "cuCtxDestroy")) {
    return 1;
  }
  for (int i = 0; i < COUNT; ++i) sum += y[i];
  printf("%s\n%.1f\n", name, sum);
  return 0;
}
