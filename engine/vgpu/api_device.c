/* Driver API: initialisation and the one device, which has no peers and no profiler. */
#define _GNU_SOURCE 1
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/api.h"
#include "engine/vgpu/observe.h"
#include "engine/vgpu/regions.h"
#include "engine/vgpu/settings.h"
#include "engine/vgpu/vgpu.h"
#include "engine/vgpu/workers.h"

static atomic_bool initialised, forked;

/* A process that was forked has none of the threads. */
static void note_fork(void) { atomic_store(&forked, atomic_load(&initialised)); }

static void watch_forks(void) { pthread_atfork(NULL, NULL, note_fork); }

/* What differs between the architectures that can be posed as; CUDA programming guide, "Technical specifications per
 * compute capability". */
static const struct {
  int capability, shared_kib, threads, blocks; /* most per multiprocessor */
} architectures[] = {{75, 64, 1024, 16},   {80, 164, 2048, 32}, {86, 100, 1536, 16},  {87, 164, 1536, 16},
                     {89, 100, 1536, 24},  {90, 228, 2048, 32}, {100, 228, 2048, 32}, {103, 228, 2048, 32},
                     {110, 228, 1536, 24}, {120, 100, 1536, 24}};

static int architecture = -1;
static pthread_once_t architecture_once = PTHREAD_ONCE_INIT;

/* The newest architecture that is not newer than the setting. */
static void choose_architecture(void) {
  const char *setting = getenv("NOPROP_VGPU_CAPABILITY");
  int wanted = setting != NULL ? atoi(setting) : 0;
  if (wanted < 75 || wanted > 120) wanted = 86;
  architecture = 0;
  for (int i = 0; i < (int)(sizeof architectures / sizeof *architectures); ++i) {
    if (architectures[i].capability <= wanted) architecture = i;
  }
}

int vgpu_capability(void) {
  pthread_once(&architecture_once, choose_architecture);
  return architectures[architecture].capability;
}

int vgpu_attribute(CUdevice_attribute attribute) {
  const int capability = vgpu_capability();
  const int shared = architectures[architecture].shared_kib * 1024;
  switch ((int)attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y:
      return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z:
      return 64;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
      return 2147483647;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z:
      return 65535;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
      return 49152;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: /* 1 KiB is the system's; on 7.5 nothing */
      return capability == 75 ? shared : shared - 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
      return shared;
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK:
      return capability == 75 ? 0 : 1024;
    case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY:
      return 65536;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
      return 32;
    case CU_DEVICE_ATTRIBUTE_MAX_PITCH:
      return 2147483647;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR:
      return 65536;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
      return 1000000; /* kHz; nominal: no claim about time is made */
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE:
      return 1000000; /* kHz */
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH:
      return 64;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
      return 4 << 20;
    case CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT:
    case CU_DEVICE_ATTRIBUTE_SURFACE_ALIGNMENT:
      return 512;
    case CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT:
      return 32;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      return (int)workers_count();
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
      return architectures[architecture].threads;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR:
      return architectures[architecture].blocks;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      return capability / 10;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      return capability % 10;
    case CU_DEVICE_ATTRIBUTE_INTEGRATED:
    case CU_DEVICE_ATTRIBUTE_GPU_OVERLAP:
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT:
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
    case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH:
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_GLOBAL_L1_CACHE_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_LOCAL_L1_CACHE_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS:
    case CU_DEVICE_ATTRIBUTE_HOST_NATIVE_ATOMIC_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_MEM_OPS_V1:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS_V1:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR_V1:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR:
    case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_DIRECT_MANAGED_MEM_ACCESS_FROM_HOST:
    case CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_MEM_SYNC_DOMAIN_COUNT:
      return 1;
    case CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID: /* memory of the device is on no node of its own */
    case CU_DEVICE_ATTRIBUTE_NUMA_ID:
      return -1;
    case CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO:
      return 2;
    default:
      return 0; /* abilities not named above are absent (textures, pageable access, sharing, clusters), modes default */
  }
}

/* For calls that need cuInit but no context. */
CUresult vgpu_check_device(CUdevice device) {
  if (!atomic_load(&initialised)) return vgpu_fail(CUDA_ERROR_NOT_INITIALIZED, "cuInit has not been called");
  if (atomic_load(&forked)) {
    return vgpu_fail(CUDA_ERROR_NOT_INITIALIZED, "the process was forked after cuInit: the virtual GPU stayed behind");
  }
  if (device != 0) return vgpu_fail(CUDA_ERROR_INVALID_DEVICE, "there is one virtual GPU, number 0, not %d", device);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuInit(unsigned flags) {
  if (flags != 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "cuInit takes no flags");
  char reason[200];
  if (!settings_are_right(reason, sizeof reason)) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%s", reason);
  if (vgpu_current_mode() == VGPU_MODES) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "NOPROP_VGPU_MODE must be run, check, fuzz or count");
  }
  if (atomic_load(&forked)) return vgpu_check_device(0);
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, watch_forks);
  atomic_store(&initialised, true);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuDriverGetVersion(int *version) {
  if (version == NULL) return vgpu_null();
  *version = CUDA_VERSION;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuDeviceGetCount(int *count) {
  if (count == NULL) return vgpu_null();
  CUresult result = vgpu_check_device(0);
  if (result == CUDA_SUCCESS) *count = 1;
  return result;
}

CUresult vgpu_cuDeviceGet(CUdevice *device, int ordinal) {
  if (device == NULL) return vgpu_null();
  *device = ordinal;
  return vgpu_check_device(ordinal);
}

CUresult vgpu_cuDeviceGetName(char *name, int length, CUdevice device) {
  if (name == NULL || length <= 0) return vgpu_null();
  snprintf(name, (size_t)length, "virtual GPU (%s)", vgpu_description());
  return vgpu_check_device(device);
}

CUresult vgpu_cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
  if (uuid == NULL) return vgpu_null();
  memcpy(uuid->bytes, "noprop virtual 0", 16);
  return vgpu_check_device(device);
}

CUresult vgpu_cuDeviceGetUuid(CUuuid *uuid, CUdevice device) { return vgpu_cuDeviceGetUuid_v2(uuid, device); }

CUresult vgpu_cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
  if (bytes == NULL) return vgpu_null();
  *bytes = regions_total();
  return vgpu_check_device(device);
}

CUresult vgpu_cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
  if (value == NULL) return vgpu_null();
  if ((int)attribute < 1 || attribute >= CU_DEVICE_ATTRIBUTE_MAX) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "%d is no device attribute", (int)attribute);
  }
  CUresult result = vgpu_check_device(device);
  if (result == CUDA_SUCCESS) *value = vgpu_attribute(attribute);
  return result;
}

/* ---- the device's place in the machine ---- */

CUresult vgpu_cuDeviceGetPCIBusId(char *text, int length, CUdevice device) {
  if (text == NULL || length <= 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no place for the text");
  CUresult result = vgpu_check_device(device);
  if (result != CUDA_SUCCESS) return result;
  snprintf(text, (size_t)length, "0000:00:00.0");
  return CUDA_SUCCESS;
}

CUresult vgpu_cuDeviceGetByPCIBusId(CUdevice *device, const char *text) {
  if (device == NULL || text == NULL) return vgpu_null();
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
  CUresult result = vgpu_check_device(device);
  return result != CUDA_SUCCESS ? result : vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "LUIDs belong to another system");
}

CUresult vgpu_cuDeviceComputeCapability(int *major, int *minor, CUdevice device) {
  if (major == NULL || minor == NULL) return vgpu_null();
  CUresult result = vgpu_check_device(device);
  if (result != CUDA_SUCCESS) return result;
  *major = vgpu_capability() / 10;
  *minor = vgpu_capability() % 10;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuDeviceGetProperties(CUdevprop *properties, CUdevice device) {
  if (properties == NULL) return vgpu_null();
  CUresult result = vgpu_check_device(device);
  if (result != CUDA_SUCCESS) return result;
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

/* ---- peers: there is one device ---- */

CUresult vgpu_cuDeviceCanAccessPeer(int *can, CUdevice device, CUdevice peer) {
  if (can == NULL) return vgpu_null();
  CUresult result = vgpu_check_device(device);
  if (result == CUDA_SUCCESS) result = vgpu_check_device(peer);
  if (result == CUDA_SUCCESS) *can = 0;
  return result;
}

CUresult vgpu_cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attribute, CUdevice device, CUdevice peer) {
  (void)value;
  (void)attribute;
  CUresult result = vgpu_check_device(device);
  if (result == CUDA_SUCCESS) result = vgpu_check_device(peer);
  if (result != CUDA_SUCCESS) return result;
  return vgpu_fail(CUDA_ERROR_INVALID_DEVICE, "a device is no peer of itself");
}

CUresult vgpu_cuCtxEnablePeerAccess(CUcontext peer, unsigned flags) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (flags != 0) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "cuCtxEnablePeerAccess takes no flags");
  if (!handle_is(peer, HANDLE_CONTEXT)) return vgpu_fail(CUDA_ERROR_INVALID_CONTEXT, "the peer is no context");
  return vgpu_fail(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED, "contexts of one device are no peers");
}

CUresult vgpu_cuCtxDisablePeerAccess(CUcontext peer) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (!handle_is(peer, HANDLE_CONTEXT)) return vgpu_fail(CUDA_ERROR_INVALID_CONTEXT, "the peer is no context");
  return vgpu_fail(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED, "peer access was never enabled");
}

CUresult vgpu_cuDeviceGetExecAffinitySupport(int *supported, CUexecAffinityType type, CUdevice device) {
  (void)type;
  if (supported == NULL) return vgpu_null();
  CUresult result = vgpu_check_device(device);
  if (result == CUDA_SUCCESS) *supported = 0;
  return result;
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
