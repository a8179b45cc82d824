/* Driver API: entry points by name and version. */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <string.h>

#include "engine/vgpu/api.h"
#include "engine/vgpu/vgpu.h"

/* ---- what is not supported ---- */

/* Any function can stand for these: the caller cleans up its arguments. */
#define REFUSED(name, why) \
  CUresult vgpu_##name(void) { return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, #name ": " VGPU_NO_##why); }
VGPU_API_REFUSED(REFUSED)
#undef REFUSED

/* ---- by name ---- */

struct entry_point {
  const char *name;
  void (*function)(void);
};

static const struct entry_point entry_points[] = {
#define ENTRY(name) {#name, (void (*)(void))vgpu_##name},
    VGPU_API_LIST(ENTRY) VGPU_API_PER_THREAD(ENTRY)
#undef ENTRY
#define ENTRY(name, why) {#name, (void (*)(void))vgpu_##name},
        VGPU_API_REFUSED(ENTRY)
#undef ENTRY
};

void *vgpu_symbol(const char *name) {
  for (size_t i = 0; i < sizeof entry_points / sizeof *entry_points; ++i) {
    if (strcmp(entry_points[i].name, name) != 0) continue;
    void *address; /* POSIX lets a function's address stand in a void *; ISO C knows no cast for it */
    memcpy(&address, (const void *)&entry_points[i].function, sizeof address);
    return address;
  }
  return NULL;
}

/* ---- by version ---- */

/* Since which CUDA a function with a number has been what its plain name means (cudaTypedefs.h). Those that came before
 * CUDA 10 are not listed: nobody asks for less. */
static const struct {
  const char *name;
  int since; /* 1000 * major + 10 * minor */
} newer[] = {
    {"cuCtxCreate_v3", 11040},
    {"cuCtxCreate_v4", 12050},
    {"cuCtxGetDevice_v2", 13000},
    {"cuCtxSynchronize_v2", 13000},
    {"cuDeviceGetUuid_v2", 11040},
    {"cuDevicePrimaryCtxRelease_v2", 11000},
    {"cuDevicePrimaryCtxReset_v2", 11000},
    {"cuDevicePrimaryCtxSetFlags_v2", 11000},
    {"cuEventElapsedTime_v2", 12080},
    {"cuGetProcAddress_v2", 12000},
    {"cuGraphAddDependencies_v2", 12030},
    {"cuGraphAddKernelNode_v2", 12000},
    {"cuGraphAddNode_v2", 12030},
    {"cuGraphExecKernelNodeSetParams_v2", 12000},
    {"cuGraphExecUpdate_v2", 12000},
    {"cuGraphGetEdges_v2", 12030},
    {"cuGraphInstantiate_v2", 11000},
    {"cuGraphKernelNodeGetParams_v2", 12000},
    {"cuGraphKernelNodeSetParams_v2", 12000},
    {"cuGraphNodeGetDependencies_v2", 12030},
    {"cuGraphNodeGetDependentNodes_v2", 12030},
    {"cuGraphRemoveDependencies_v2", 12030},
    {"cuMemAdvise_v2", 12020},
    {"cuMemPrefetchAsync_v2", 12020},
    {"cuMemcpyBatchAsync_v2", 13000},
    {"cuStreamBatchMemOp_v2", 11070},
    {"cuStreamBeginCapture_v2", 10010},
    {"cuStreamGetCaptureInfo_v2", 11030},
    {"cuStreamGetCaptureInfo_v3", 12030},
    {"cuStreamGetCtx_v2", 12050},
    {"cuStreamUpdateCaptureDependencies_v2", 12030},
    {"cuStreamWaitValue32_v2", 11070},
    {"cuStreamWaitValue64_v2", 11070},
    {"cuStreamWriteValue32_v2", 11070},
    {"cuStreamWriteValue64_v2", 11070},
};

static bool is_known_to(const char *name, int version) {
  for (size_t i = 0; i < sizeof newer / sizeof *newer; ++i) {
    if (strcmp(newer[i].name, name) == 0) return version >= newer[i].since;
  }
  return true;
}

CUresult vgpu_cuGetProcAddress_v2(const char *symbol, void **function, int version, cuuint64_t flags,
                                  CUdriverProcAddressQueryResult *status) {
  if (symbol == NULL || function == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no symbol or no place for it");
  const bool own_stream = (flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) != 0;
  const cuuint64_t known = CU_GET_PROC_ADDRESS_LEGACY_STREAM | CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;
  if ((flags & ~known) != 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "flags %llu", (unsigned long long)flags);
  static const char *const forms[] = {"_ptsz", "_ptds", ""};
  void *found = NULL;
  bool too_new = false;
  for (int number = 4; number >= 1 && found == NULL; --number) {
    for (size_t form = own_stream ? 0 : 2; form < 3 && found == NULL; ++form) {
      char plain[128], name[140];
      if (number > 1) {
        snprintf(plain, sizeof plain, "%.100s_v%d", symbol, number);
      } else {
        snprintf(plain, sizeof plain, "%.100s", symbol);
      }
      snprintf(name, sizeof name, "%s%s", plain, forms[form]);
      void *candidate = vgpu_symbol(name);
      if (candidate != NULL && is_known_to(plain, version)) found = candidate;
      too_new = too_new || (candidate != NULL && found == NULL);
    }
  }
  *function = found;
  if (status != NULL) {
    *status = found != NULL ? CU_GET_PROC_ADDRESS_SUCCESS
              : too_new     ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                            : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  }
  if (found != NULL) return CUDA_SUCCESS;
  return too_new ? vgpu_fail(CUDA_ERROR_NOT_FOUND, "%s came after version %d of CUDA", symbol, version)
                 : vgpu_fail(CUDA_ERROR_NOT_FOUND, "the virtual GPU has no function %s", symbol);
}

CUresult vgpu_cuGetProcAddress(const char *symbol, void **function, int version, cuuint64_t flags) {
  return vgpu_cuGetProcAddress_v2(symbol, function, version, flags, NULL);
}
