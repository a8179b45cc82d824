/* Devices: finding and opening them, kernels, launches, copies. */
#include "engine/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/embedded.h"
#include "engine/jit.h"
#include "engine/sha256.h"
#include "engine/status.h"
#include "engine/vgpu/vgpu.h"

/* The oldest architecture that the kernels are built for. */
enum { OLDEST_CAPABILITY = 75 };

/* Modules loaded on a device, by the hash of what they were made from. */
struct kernel_cache {
  struct kernel_cache *next;
  unsigned char key[SHA256_SIZE];
  CUmodule module;
};

/* ---- finding ---- */

/* The environment variable NOPROP_SHARED_BYTES makes a block's shared memory smaller than it is, for tests and
 * measurements of programs that spill. */
static noprop_status limit_shared_bytes(noprop_device_properties *properties) {
  const char *text = getenv("NOPROP_SHARED_BYTES");
  if (text == NULL) return NOPROP_OK;
  char *end;
  const unsigned long bytes = strtoul(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != '\0')
    return status_set(NOPROP_INVALID_ARGUMENT, "NOPROP_SHARED_BYTES must be a number of bytes, not '%.40s'", text);
  if (bytes < properties->shared_bytes) properties->shared_bytes = bytes;
  return NOPROP_OK;
}

static noprop_status read_properties(const struct driver *driver, int ordinal, noprop_device_properties *properties) {
  CUdevice device;
  noprop_status status = driver_check(driver, driver->device_get(&device, ordinal), "finding the GPU");
  if (status != NOPROP_OK) return status;
  *properties = (noprop_device_properties){.is_virtual = driver->is_virtual, .ordinal = ordinal};
  const struct {
    CUdevice_attribute attribute;
    int *value;
  } attributes[] = {
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, &properties->compute_capability[0]},
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, &properties->compute_capability[1]},
      {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, &properties->multiprocessors},
  };
  int shared = 0;
  CUresult result = driver->device_get_name(properties->name, (int)sizeof properties->name, device);
  for (size_t i = 0; i < sizeof attributes / sizeof *attributes && result == CUDA_SUCCESS; ++i) {
    result = driver->device_get_attribute(attributes[i].value, attributes[i].attribute, device);
  }
  if (result == CUDA_SUCCESS) {
    result = driver->device_get_attribute(&shared, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, device);
  }
  if (result == CUDA_SUCCESS) result = driver->device_total_mem(&properties->memory_bytes, device);
  if (result == CUDA_SUCCESS) result = driver->driver_get_version(&properties->driver_version);
  properties->shared_bytes = (size_t)shared;
  status = driver_check(driver, result, "reading the GPU's properties");
  return status == NOPROP_OK ? limit_shared_bytes(properties) : status;
}

static int count_gpus(void) {
  const struct driver *driver = driver_nvidia();
  int count = 0;
  if (driver == NULL || driver->device_get_count(&count) != CUDA_SUCCESS) return 0;
  return count;
}

noprop_status noprop_device_list(int index, noprop_device_properties *properties, int *count) {
  const int gpus = count_gpus();
  if (count != NULL) *count = gpus + 1;
  if (properties == NULL) return NOPROP_OK;
  if (index < 0 || index > gpus) {
    return status_set(NOPROP_INVALID_ARGUMENT, "device index %d: there are devices 0 to %d", index, gpus);
  }
  return index < gpus ? read_properties(driver_nvidia(), index, properties)
                      : read_properties(driver_virtual(), 0, properties);
}

static int capability(const noprop_device_properties *properties) {
  return 10 * properties->compute_capability[0] + properties->compute_capability[1];
}

/* The first GPU that the kernels run on; NOPROP_NO_DEVICE with the reason if there is none. */
static noprop_status find_gpu(int *ordinal, noprop_device_properties *properties) {
  const struct driver *driver = driver_nvidia();
  if (driver == NULL) return NOPROP_NO_DEVICE;
  const int count = count_gpus();
  for (*ordinal = 0; *ordinal < count; ++*ordinal) {
    noprop_status status = read_properties(driver, *ordinal, properties);
    if (status != NOPROP_OK) return status;
    if (capability(properties) >= OLDEST_CAPABILITY) return NOPROP_OK;
  }
  return status_set(NOPROP_NO_DEVICE, "no GPU here has compute capability %d.%d or newer", OLDEST_CAPABILITY / 10,
                    OLDEST_CAPABILITY % 10);
}

static noprop_status choose(const char *name, const struct driver **driver, noprop_device_properties *properties,
                            char *reason, size_t reason_size) {
  int ordinal = 0, used = 0;
  if (strcmp(name, "virtual") == 0) {
    *driver = driver_virtual();
    snprintf(reason, reason_size, "the virtual GPU was asked for");
    return read_properties(*driver, 0, properties);
  }
  if (strcmp(name, "auto") == 0 || strcmp(name, "gpu") == 0) {
    noprop_status status = find_gpu(&ordinal, properties);
    if (status == NOPROP_OK) {
      *driver = driver_nvidia();
      snprintf(reason, reason_size, "GPU %d is the first that can be used", ordinal);
      return NOPROP_OK;
    }
    if (strcmp(name, "gpu") == 0) return status_prefix(NOPROP_NO_DEVICE, "a GPU was asked for");
    *driver = driver_virtual();
    snprintf(reason, reason_size, "the virtual GPU, because %.400s", noprop_last_error());
    return read_properties(*driver, 0, properties);
  }
  if (sscanf(name, "gpu:%d%n", &ordinal, &used) == 1 && name[used] == '\0' && ordinal >= 0) {
    *driver = driver_nvidia();
    if (*driver == NULL) return status_prefix(NOPROP_NO_DEVICE, "GPU %d was asked for", ordinal);
    const int count = count_gpus();
    if (ordinal >= count) {
      return status_set(NOPROP_NO_DEVICE, "GPU %d was asked for; there %s %d, numbered from 0", ordinal,
                        count == 1 ? "is" : "are", count);
    }
    noprop_status status = read_properties(*driver, ordinal, properties);
    if (status == NOPROP_OK && capability(properties) < OLDEST_CAPABILITY) {
      return status_set(NOPROP_NO_DEVICE, "GPU %d (%s) has compute capability %d.%d; 7.5 or newer is needed", ordinal,
                        properties->name, properties->compute_capability[0], properties->compute_capability[1]);
    }
    snprintf(reason, reason_size, "GPU %d was asked for", ordinal);
    return status;
  }
  return status_set(NOPROP_INVALID_ARGUMENT, "device '%s': allowed are auto, gpu, gpu:N and virtual", name);
}

/* ---- opening and closing ---- */

noprop_status device_enter(noprop_device *device) {
  return driver_check(device->driver, device->driver->ctx_set_current(device->context), "entering the GPU's context");
}

noprop_status noprop_device_open(const char *name, noprop_device **result) {
  if (result == NULL) return status_set(NOPROP_INVALID_ARGUMENT, "noprop_device_open: no place for the device");
  *result = NULL;
  noprop_device *device = calloc(1, sizeof *device);
  if (device == NULL) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for a device");
  noprop_status status =
      choose(name != NULL ? name : "auto", &device->driver, &device->properties, device->reason, sizeof device->reason);
  if (status != NOPROP_OK || device->driver == NULL) { /* no driver comes with a status that says why */
    free(device);
    return status;
  }
  const struct driver *driver = device->driver;
  status = driver_check(driver, driver->device_get(&device->ordinal, device->properties.ordinal), "finding the GPU");
  if (status == NOPROP_OK) {
    status = driver_check(driver, driver->primary_retain(&device->context, device->ordinal), "opening the GPU");
  }
  if (status == NOPROP_OK) status = device_enter(device);
  if (status == NOPROP_OK) {
    status = driver_check(driver, driver->stream_create(&device->stream, CU_STREAM_NON_BLOCKING), "creating a stream");
  }
  if (status == NOPROP_OK) {
    status =
        driver_check(driver, driver->stream_create(&device->copy_stream, CU_STREAM_NON_BLOCKING), "creating a stream");
  }
  if (status != NOPROP_OK) {
    noprop_device_close(device);
    return status;
  }
  *result = device;
  return NOPROP_OK;
}

void noprop_device_close(noprop_device *device) {
  if (device == NULL) return;
  const struct driver *driver = device->driver;
  if (device->context != NULL) {
    driver->ctx_set_current(device->context);
    driver->ctx_synchronize();
    for (struct kernel_cache *entry = device->kernels, *next; entry != NULL; entry = next) {
      next = entry->next;
      driver->module_unload(entry->module);
      free(entry);
    }
    if (device->stream != NULL) driver->stream_destroy(device->stream);
    if (device->copy_stream != NULL) driver->stream_destroy(device->copy_stream);
    driver->ctx_set_current(NULL);
    driver->primary_release(device->ordinal);
  }
  free(device);
}

noprop_status noprop_device_get_properties(const noprop_device *device, noprop_device_properties *properties) {
  if (device == NULL || properties == NULL) {
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_device_get_properties: an argument is NULL");
  }
  *properties = device->properties;
  return NOPROP_OK;
}

noprop_status noprop_device_get_counters(const noprop_device *device, noprop_device_counters *counters) {
  if (device == NULL || counters == NULL) {
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_device_get_counters: an argument is NULL");
  }
  *counters = device->counters;
  counters->interim_launches = device->driver->is_virtual ? vgpu_interim_launches() : 0;
  return NOPROP_OK;
}

const char *noprop_device_reason(const noprop_device *device) { return device != NULL ? device->reason : ""; }

unsigned long long noprop_device_findings(void) { return vgpu_findings(); }

void noprop_device_cancel(void) { vgpu_cancel(); }

noprop_status noprop_device_synchronize(noprop_device *device) {
  if (device == NULL) return status_set(NOPROP_INVALID_ARGUMENT, "noprop_device_synchronize: the device is NULL");
  noprop_status status = device_enter(device);
  if (status != NOPROP_OK) return status;
  return driver_check(device->driver, device->driver->ctx_synchronize(), "waiting for the GPU");
}

/* ---- kernels ---- */

static void hash_text(unsigned char key[SHA256_SIZE], const char *kind, const char *text) {
  struct sha256 hash;
  sha256_begin(&hash);
  sha256_add(&hash, kind, strlen(kind) + 1);
  sha256_add(&hash, text, strlen(text));
  sha256_end(&hash, key);
}

static CUmodule find_module(const noprop_device *device, const unsigned char key[SHA256_SIZE]) {
  const struct kernel_cache *entry = device->kernels;
  while (entry != NULL && memcmp(entry->key, key, SHA256_SIZE) != 0) entry = entry->next;
  return entry != NULL ? entry->module : NULL;
}

static noprop_status load_module(noprop_device *device, const unsigned char key[SHA256_SIZE], const void *image,
                                 CUmodule *module) {
  struct kernel_cache *entry = calloc(1, sizeof *entry);
  if (entry == NULL) return status_set(NOPROP_OUT_OF_MEMORY, "no host memory for a kernel");
  noprop_status status =
      driver_check(device->driver, device->driver->module_load_data(&entry->module, image), "loading a kernel");
  if (status != NOPROP_OK) {
    free(entry);
    return status;
  }
  memcpy(entry->key, key, SHA256_SIZE);
  entry->next = device->kernels;
  device->kernels = entry;
  *module = entry->module;
  return NOPROP_OK;
}

/* Also lets the kernel have all the dynamic shared memory that the device gives a block. */
static noprop_status find_entry(noprop_device *device, const char *entry, struct kernel *kernel) {
  const struct driver *driver = device->driver;
  int fixed = 0;
  CUresult result = driver->module_get_function(&kernel->function, kernel->module, entry);
  if (result == CUDA_SUCCESS) {
    result = driver->func_get_attribute(&fixed, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, kernel->function);
  }
  if (result == CUDA_SUCCESS) {
    result = driver->func_set_attribute(kernel->function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                        (int)device->properties.shared_bytes - fixed);
  }
  noprop_status status = driver_check(driver, result, "finding a kernel's entry");
  return status == NOPROP_OK ? status : status_prefix(status, "kernel %s", entry);
}

noprop_status device_compile(noprop_device *device, const char *source, const char *entry, struct kernel *kernel) {
  *kernel = (struct kernel){0};
  noprop_status status = device_enter(device);
  if (status != NOPROP_OK) return status;
  unsigned char key[SHA256_SIZE];
  hash_text(key, "source", source);
  kernel->module = find_module(device, key);
  if (kernel->module == NULL) {
    struct jit_image image;
    char name[128];
    snprintf(name, sizeof name, "%s.cu", entry);
    const int *capability_parts = device->properties.compute_capability;
    status = jit_compile(source, name, capability_parts[0], capability_parts[1], !device->driver->is_virtual, &image);
    if (status != NOPROP_OK) return status_prefix(status, "kernel %s", entry);
    status = load_module(device, key, image.data, &kernel->module);
    free(image.data);
    if (status != NOPROP_OK) return status_prefix(status, "kernel %s", entry);
  }
  return find_entry(device, entry, kernel);
}

noprop_status device_builtin(noprop_device *device, const char *module_name, const char *entry, struct kernel *kernel) {
  *kernel = (struct kernel){0};
  noprop_status status = device_enter(device);
  if (status != NOPROP_OK) return status;
  char name[128];
  snprintf(name, sizeof name, "%s.%s", module_name, device->driver->is_virtual ? "ptx" : "fatbin");
  unsigned char key[SHA256_SIZE];
  hash_text(key, "builtin", name);
  kernel->module = find_module(device, key);
  if (kernel->module == NULL) {
    const struct embedded_file *file = embedded_find(name);
    if (file == NULL) return status_set(NOPROP_UNSUPPORTED, "this build of the library has no %s", name);
    status = load_module(device, key, file->data, &kernel->module);
    if (status != NOPROP_OK) return status_prefix(status, "%s", name);
  }
  return find_entry(device, entry, kernel);
}

noprop_status device_launch(noprop_device *device, const struct kernel *kernel, unsigned grid, unsigned block,
                            unsigned shared_bytes, const void *arguments, size_t arguments_size) {
  noprop_status status = device_enter(device);
  if (status != NOPROP_OK) return status;
  /* The driver only reads what `extra` points to. */
  void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, (void *)(uintptr_t)arguments, CU_LAUNCH_PARAM_BUFFER_SIZE,
                   &arguments_size, CU_LAUNCH_PARAM_END};
  CUresult result = device->driver->launch_kernel(kernel->function, grid, 1, 1, block, 1, 1, shared_bytes,
                                                  device->stream, NULL, arguments_size > 0 ? extra : NULL);
  if (result != CUDA_SUCCESS) return driver_check(device->driver, result, "launching a kernel");
  if (device->recording) {
    ++device->capturing;
  } else {
    ++device->counters.launches;
  }
  return NOPROP_OK;
}

noprop_status device_launch_cooperative(noprop_device *device, const struct kernel *kernel, unsigned grid,
                                        unsigned block, unsigned shared_bytes, const void *arguments) {
  noprop_status status = device_enter(device);
  if (status != NOPROP_OK) return status;
  void *parameters[] = {(void *)(uintptr_t)arguments}; /* the driver only reads it */
  status = driver_check(device->driver,
                        device->driver->launch_cooperative(kernel->function, grid, 1, 1, block, 1, 1, shared_bytes,
                                                           device->stream, parameters),
                        "launching a kernel whose blocks wait for each other");
  if (status != NOPROP_OK) return status;
  if (device->recording) {
    ++device->capturing;
  } else {
    ++device->counters.launches;
  }
  return NOPROP_OK;
}

noprop_status device_resident_blocks(noprop_device *device, const struct kernel *kernel, unsigned block,
                                     unsigned shared_bytes, unsigned *blocks) {
  int cooperative = 0, of_one = 0;
  *blocks = 0;
  noprop_status status = device_enter(device);
  if (status != NOPROP_OK) return status;
  CUresult result =
      device->driver->device_get_attribute(&cooperative, CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, device->ordinal);
  if (result == CUDA_SUCCESS && cooperative)
    result = device->driver->occupancy(&of_one, kernel->function, (int)block, shared_bytes);
  if (result == CUDA_SUCCESS) *blocks = (unsigned)of_one * (unsigned)device->properties.multiprocessors;
  return driver_check(device->driver, result, "asking how many blocks are resident at once");
}

/* ---- copies ---- */

noprop_status device_upload(noprop_device *device, CUdeviceptr to, const void *from, size_t bytes) {
  if (bytes == 0) return NOPROP_OK;
  noprop_status status = device_enter(device);
  if (status != NOPROP_OK) return status;
  ++device->counters.copies_to_device;
  return driver_check(device->driver, device->driver->memcpy_htod_async(to, from, bytes, device->stream),
                      "copying to the GPU");
}

noprop_status device_download(noprop_device *device, void *to, CUdeviceptr from, size_t bytes) {
  if (bytes == 0) return NOPROP_OK;
  noprop_status status = device_enter(device);
  if (status != NOPROP_OK) return status;
  ++device->counters.copies_to_host;
  CUresult result = device->driver->memcpy_dtoh_async(to, from, bytes, device->stream);
  if (result == CUDA_SUCCESS) result = device->driver->stream_synchronize(device->stream);
  return driver_check(device->driver, result, "copying from the GPU");
}

noprop_status device_clear(noprop_device *device, CUdeviceptr to, size_t bytes) {
  if (bytes == 0) return NOPROP_OK;
  noprop_status status = device_enter(device);
  if (status != NOPROP_OK) return status;
  return driver_check(device->driver, device->driver->memset_d32_async(to, 0, bytes / 4, device->stream),
                      "clearing memory of the GPU");
}
