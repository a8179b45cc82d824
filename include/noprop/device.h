/* A device: an NVIDIA GPU through its driver, or the virtual GPU, which executes the same kernels' PTX on the CPU. */
#ifndef NOPROP_DEVICE_H
#define NOPROP_DEVICE_H

#include <noprop/status.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct noprop_device noprop_device;

typedef struct {
  char name[128];            /* "NVIDIA H100 ...", "virtual GPU (2 CPU threads, AVX-512)" */
  bool is_virtual;           /* true for the virtual GPU */
  int ordinal;               /* GPU number as the driver counts; 0 for the virtual GPU */
  int compute_capability[2]; /* major, minor */
  int multiprocessors;       /* on the virtual GPU: CPU threads */
  size_t memory_bytes;       /* total device memory */
  size_t shared_bytes;       /* largest dynamic shared memory of one block */
  int driver_version;        /* CUDA version of the driver: 13000 for 13.0 */
} noprop_device_properties;

/* Counters of the driver table since the device was opened; they cost nothing and tests rely on them. */
typedef struct {
  unsigned long long launches;       /* kernel launches, those inside graphs counted one by one */
  unsigned long long graph_launches; /* graph launches */
  /* Of this process on the virtual GPU: launches that were interpreted while machine code for the kernel was not there
   * yet but may come. While it grows, kernels are slower than they will be. 0 on a GPU. */
  unsigned long long interim_launches;
  unsigned long long allocations;      /* physical device memory allocations */
  unsigned long long copies_to_host;   /* device-to-host copies */
  unsigned long long copies_to_device; /* host-to-device copies */
  size_t pool_bytes_in_use, pool_bytes_peak, pool_bytes_reserved;
} noprop_device_counters;

/* Opens a device. `name` is "auto", "gpu", "gpu:N" or "virtual"; NULL means "auto". `auto` takes the first GPU that
 * this library can use and the virtual GPU otherwise; a device that is asked for and not there is NOPROP_NO_DEVICE.
 * Environment: NOPROP_VGPU_THREADS sets the CPU threads of the virtual GPU, NOPROP_CACHE the folder of compiled
 * kernels and of choices by measured times, which later runs must find there to give the same bits on a GPU
 * (docs/tiers.md). One device may be used by several models, from one thread at a time. */
NOPROP_API noprop_status noprop_device_open(const char *name, noprop_device **device);

/* Closes the device; NULL is allowed. Models on it must be destroyed first. */
NOPROP_API void noprop_device_close(noprop_device *device);

NOPROP_API noprop_status noprop_device_get_properties(const noprop_device *device,
                                                      noprop_device_properties *properties);
NOPROP_API noprop_status noprop_device_get_counters(const noprop_device *device, noprop_device_counters *counters);

/* A sentence that says which device `auto` took and why; owned by the device. */
NOPROP_API const char *noprop_device_reason(const noprop_device *device);

/* Properties of device number `index`: the GPUs first, then the virtual GPU. *count receives how many there are;
 * `properties` may be NULL to ask only for the count. */
NOPROP_API noprop_status noprop_device_list(int index, noprop_device_properties *properties, int *count);

/* Waits for all work on the device. */
NOPROP_API noprop_status noprop_device_synchronize(noprop_device *device);

/* How often the virtual GPU has found something wrong with a kernel or its memory in this process: only in its mode
 * `check` (environment NOPROP_VGPU_MODE=check, docs/check_mode.md), else 0. The reports stand on standard error, or in
 * the file that NOPROP_VGPU_REPORT names. */
NOPROP_API unsigned long long noprop_device_findings(void);

/* Ends the kernels that run now on the virtual GPU, or the next one if none does, wherever they are: the call that
 * waits for them fails, and their device is of no use after that. For what takes too long; may be called in a handler
 * of signals and from any thread. Kernels on a GPU run to their end. */
NOPROP_API void noprop_device_cancel(void);

#ifdef __cplusplus
}
#endif
#endif
