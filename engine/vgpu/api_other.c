/* Driver API: what a single device without peers, processes to share with or a profiler answers. */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <string.h>

#include "engine/vgpu/api.h"

/* ---- sharing between processes: not supported ---- */

static CUresult not_shared(void) {
  return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "the virtual GPU shares nothing between processes");
}

CUresult vgpu_cuIpcGetEventHandle(CUipcEventHandle *handle, CUevent event) {
  (void)handle;
  (void)event;
  return not_shared();
}

CUresult vgpu_cuIpcOpenEventHandle(CUevent *event, CUipcEventHandle handle) {
  (void)event;
  (void)handle;
  return not_shared();
}

CUresult vgpu_cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr pointer) {
  (void)handle;
  (void)pointer;
  return not_shared();
}

CUresult vgpu_cuIpcOpenMemHandle_v2(CUdeviceptr *pointer, CUipcMemHandle handle, unsigned flags) {
  (void)pointer;
  (void)handle;
  (void)flags;
  return not_shared();
}

CUresult vgpu_cuIpcCloseMemHandle(CUdeviceptr pointer) {
  (void)pointer;
  return not_shared();
}

/* ---- peers: there is one device ---- */

static CUresult no_device(CUdevice device) {
  return vgpu_fail(CUDA_ERROR_INVALID_DEVICE, "there is one virtual GPU, number 0, not %d", device);
}

CUresult vgpu_cuDeviceCanAccessPeer(int *can, CUdevice device, CUdevice peer) {
  if (can == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a result pointer is NULL");
  if (device != 0 || peer != 0) return no_device(device != 0 ? device : peer);
  *can = 0;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attribute, CUdevice device, CUdevice peer) {
  (void)value;
  (void)attribute;
  return device != 0 || peer != 0 ? no_device(device != 0 ? device : peer)
                                  : vgpu_fail(CUDA_ERROR_INVALID_DEVICE, "a device is no peer of itself");
}

CUresult vgpu_cuCtxEnablePeerAccess(CUcontext peer, unsigned flags) {
  (void)flags;
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (peer == NULL) return vgpu_fail(CUDA_ERROR_INVALID_CONTEXT, "the context is NULL");
  return vgpu_fail(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED, "contexts of one device are no peers");
}

CUresult vgpu_cuCtxDisablePeerAccess(CUcontext peer) {
  (void)peer;
  CUcontext context;
  CUresult result = vgpu_current(&context);
  return result != CUDA_SUCCESS ? result
                                : vgpu_fail(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED, "peer access was never enabled");
}

/* ---- the profiler: there is none to start, which is no error ---- */

CUresult vgpu_cuProfilerStart(void) {
  CUcontext context;
  return vgpu_current(&context);
}

CUresult vgpu_cuProfilerStop(void) {
  CUcontext context;
  return vgpu_current(&context);
}

/* ---- the device's place in the machine ---- */

CUresult vgpu_cuDeviceGetPCIBusId(char *text, int length, CUdevice device) {
  if (text == NULL || length <= 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no place for the text");
  if (device != 0) return no_device(device);
  snprintf(text, (size_t)length, "0000:00:00.0");
  return CUDA_SUCCESS;
}

CUresult vgpu_cuDeviceGetByPCIBusId(CUdevice *device, const char *text) {
  if (device == NULL || text == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a pointer is NULL");
  unsigned domain = 0, bus = 1, slot = 1, function = 0;
  const bool given = sscanf(text, "%x:%x:%x.%x", &domain, &bus, &slot, &function) == 4 ||
                     (domain = 0, sscanf(text, "%x:%x.%x", &bus, &slot, &function) == 3);
  if (!given || domain != 0 || bus != 0 || slot != 0 || function != 0) {
    return vgpu_fail(CUDA_ERROR_INVALID_DEVICE, "no device at %s; the virtual GPU is at 0000:00:00.0", text);
  }
  *device = 0;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuDeviceGetLuid(char *luid, unsigned *mask, CUdevice device) {
  (void)luid;
  (void)mask;
  return device != 0 ? no_device(device) : vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "LUIDs belong to another system");
}

CUresult vgpu_cuDeviceComputeCapability(int *major, int *minor, CUdevice device) {
  if (major == NULL || minor == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a result pointer is NULL");
  if (device != 0) return no_device(device);
  *major = vgpu_capability() / 10;
  *minor = vgpu_capability() % 10;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuDeviceGetProperties(CUdevprop *properties, CUdevice device) {
  if (properties == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a result pointer is NULL");
  if (device != 0) return no_device(device);
  *properties = (CUdevprop){.maxThreadsPerBlock = vgpu_attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK),
                            .maxThreadsDim = {vgpu_attribute(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X),
                                              vgpu_attribute(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y),
                                              vgpu_attribute(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z)},
                            .maxGridSize = {vgpu_attribute(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X),
                                            vgpu_attribute(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y),
                                            vgpu_attribute(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z)},
                            .sharedMemPerBlock = vgpu_attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK),
                            .totalConstantMemory = vgpu_attribute(CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY),
                            .SIMDWidth = vgpu_attribute(CU_DEVICE_ATTRIBUTE_WARP_SIZE),
                            .memPitch = vgpu_attribute(CU_DEVICE_ATTRIBUTE_MAX_PITCH),
                            .regsPerBlock = vgpu_attribute(CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK),
                            .clockRate = vgpu_attribute(CU_DEVICE_ATTRIBUTE_CLOCK_RATE),
                            .textureAlign = vgpu_attribute(CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT)};
  return CUDA_SUCCESS;
}
