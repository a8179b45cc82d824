/* Fills the table of driver functions, once per process, and turns the driver's results into sentences. */
#include "engine/driver/driver.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "engine/status.h"
#include "engine/vgpu/vgpu.h"

/* The oldest driver that has every function of the table in the form we call: CUDA 12.0. */
enum { OLDEST_DRIVER = 12000 };

static pthread_once_t nvidia_once = PTHREAD_ONCE_INIT, virtual_once = PTHREAD_ONCE_INIT;
static struct driver nvidia_table, virtual_table;
static bool nvidia_usable;
static char nvidia_problem[512]; /* why not, if not usable */

static void *nvidia_symbol(const char *name) { return dlsym(nvidia_table.library, name); }

/* Returns the first symbol that is missing, or NULL when the table is complete. POSIX promises that a function's
 * address survives the way through void *; ISO C does not, hence the copy instead of a cast. */
static const char *fill(struct driver *driver, void *(*find)(const char *name)) {
  const char *missing = NULL;
  void *address;
#define FILL(member, symbol, parameters)                                   \
  address = find(symbol);                                                  \
  memcpy((void *)&driver->member, (const void *)&address, sizeof address); \
  if (address == NULL && missing == NULL) missing = symbol;
  DRIVER_FUNCTION_LIST(FILL)
#undef FILL
  return missing;
}

static void open_nvidia(void) {
  struct driver *driver = &nvidia_table;
  driver->library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (driver->library == NULL) {
    snprintf(nvidia_problem, sizeof nvidia_problem, "the NVIDIA driver (libcuda.so.1) is not installed");
    return;
  }
  if (dlsym(driver->library, "noprop_virtual_gpu_marker") != NULL) {
    snprintf(nvidia_problem, sizeof nvidia_problem,
             "the libcuda.so.1 found first is the virtual GPU, not the NVIDIA driver");
    return;
  }
  const char *missing = fill(driver, nvidia_symbol);
  int version = 0;
  if (driver->driver_get_version != NULL) driver->driver_get_version(&version);
  if (missing != NULL || version < OLDEST_DRIVER) {
    snprintf(nvidia_problem, sizeof nvidia_problem,
             "the NVIDIA driver is for CUDA %d.%d%s%s; CUDA 12.0 or newer is needed", version / 1000,
             version % 1000 / 10, missing != NULL ? " and lacks " : "", missing != NULL ? missing : "");
    return;
  }
  const char *text = NULL;
  int count = 0;
  CUresult result = driver->init(0);
  if (result == CUDA_SUCCESS) result = driver->device_get_count(&count);
  if (result != CUDA_SUCCESS) {
    driver->get_error_string(result, &text);
    snprintf(nvidia_problem, sizeof nvidia_problem, "the NVIDIA driver finds no usable GPU: %s",
             text != NULL ? text : "unknown error");
  } else if (count == 0) {
    snprintf(nvidia_problem, sizeof nvidia_problem, "the NVIDIA driver finds no GPU");
  } else {
    nvidia_usable = true;
  }
}

static void open_virtual(void) {
  virtual_table.is_virtual = true;
  fill(&virtual_table, vgpu_symbol);
  virtual_table.init(0);
}

const struct driver *driver_nvidia(void) {
  pthread_once(&nvidia_once, open_nvidia);
  if (nvidia_usable) return &nvidia_table;
  status_set(NOPROP_NO_DEVICE, "%s", nvidia_problem);
  return NULL;
}

const struct driver *driver_virtual(void) {
  pthread_once(&virtual_once, open_virtual);
  return &virtual_table;
}

noprop_status driver_check(const struct driver *driver, CUresult result, const char *what) {
  if (result == CUDA_SUCCESS) return NOPROP_OK;
  const char *name = NULL, *text = NULL;
  driver->get_error_name(result, &name);
  driver->get_error_string(result, &text);
  const char *detail = driver->is_virtual ? vgpu_last_message() : "";
  noprop_status status = NOPROP_DEVICE_ERROR;
  if (result == CUDA_ERROR_OUT_OF_MEMORY) status = NOPROP_OUT_OF_MEMORY;
  if (result == CUDA_ERROR_NO_DEVICE || result == CUDA_ERROR_INVALID_DEVICE) status = NOPROP_NO_DEVICE;
  return status_set(status, "%s: %s (%s)%s%s", what, text != NULL ? text : "unknown error",
                    name != NULL ? name : "unknown", detail[0] != '\0' ? ": " : "", detail);
}
