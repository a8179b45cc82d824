/* NVRTC, opened at run time, and the folder that remembers what it compiled. */
#define _GNU_SOURCE 1
#include "engine/jit.h"

#include <dlfcn.h>
#include <nvrtc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/cache_entry.h"
#include "engine/embedded.h"
#include "engine/sha256.h"
#include "engine/status.h"
#include "engine/vgpu/cache_folder.h"

/* ---- NVRTC ---- */

#define NVRTC_FUNCTION_LIST(X) \
  X(nvrtcVersion)              \
  X(nvrtcGetErrorString)       \
  X(nvrtcGetNumSupportedArchs) \
  X(nvrtcGetSupportedArchs)    \
  X(nvrtcCreateProgram)        \
  X(nvrtcDestroyProgram)       \
  X(nvrtcCompileProgram)       \
  X(nvrtcGetPTXSize)           \
  X(nvrtcGetPTX)               \
  X(nvrtcGetCUBINSize)         \
  X(nvrtcGetCUBIN)             \
  X(nvrtcGetProgramLogSize)    \
  X(nvrtcGetProgramLog)

static struct {
  void *library;
#define NVRTC_MEMBER(name) __typeof__(name) *name;
  NVRTC_FUNCTION_LIST(NVRTC_MEMBER)
#undef NVRTC_MEMBER
  int major, minor;
} nvrtc;

static pthread_once_t nvrtc_once = PTHREAD_ONCE_INIT;
static char nvrtc_problem[512]; /* "" once NVRTC is usable */

/* Newest first. The name without a number comes with development installations only. */
static const char *const nvrtc_names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};

static void open_in(const char *folder) {
  for (size_t i = 0; i < sizeof nvrtc_names / sizeof *nvrtc_names && nvrtc.library == NULL; ++i) {
    char path[4096];
    snprintf(path, sizeof path, "%s%s%s", folder, folder[0] != '\0' ? "/" : "", nvrtc_names[i]);
    nvrtc.library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  }
}

static void open_beside_program(void) {
  char program[4000];
  ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (length <= 0) return;
  program[length] = '\0';
  char *slash = strrchr(program, '/');
  if (slash == NULL) return;
  *slash = '\0';
  open_in(program);
  if (nvrtc.library == NULL) {
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/../lib", program);
    open_in(folder);
  }
}

static void open_nvrtc(void) {
  const char *chosen = getenv("NOPROP_NVRTC");
  if (chosen != NULL && chosen[0] != '\0') {
    nvrtc.library = dlopen(chosen, RTLD_NOW | RTLD_LOCAL);
    if (nvrtc.library == NULL) {
      snprintf(nvrtc_problem, sizeof nvrtc_problem, "NOPROP_NVRTC is set, but cannot be opened: %s", dlerror());
      return;
    }
  }
  static const char *const homes[] = {"CUDA_HOME", "CUDA_PATH"};
  if (nvrtc.library == NULL) open_in("");
  for (size_t i = 0; i < 2 && nvrtc.library == NULL; ++i) {
    const char *home = getenv(homes[i]);
    if (home == NULL || home[0] == '\0') continue;
    char folder[4000];
    snprintf(folder, sizeof folder, "%s/lib64", home);
    open_in(folder);
  }
  if (nvrtc.library == NULL) open_in("/usr/local/cuda/lib64");
  if (nvrtc.library == NULL) open_beside_program();
#ifdef NOPROP_NVRTC_LIBRARY /* where the build found it; may be empty */
  if (nvrtc.library == NULL && sizeof NOPROP_NVRTC_LIBRARY > 1) {
    nvrtc.library = dlopen(NOPROP_NVRTC_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  }
#endif
  if (nvrtc.library == NULL) {
    snprintf(
        nvrtc_problem, sizeof nvrtc_problem,
        "the CUDA compiler library NVRTC (libnvrtc.so.13 or .12) is not installed; NOPROP_NVRTC can name its path");
    return;
  }
  const char *missing = NULL;
  void *address;
#define NVRTC_FILL(name)                                               \
  address = dlsym(nvrtc.library, #name);                               \
  memcpy((void *)&nvrtc.name, (const void *)&address, sizeof address); \
  if (address == NULL) missing = #name;
  NVRTC_FUNCTION_LIST(NVRTC_FILL)
#undef NVRTC_FILL
  if (nvrtc.nvrtcVersion != NULL) nvrtc.nvrtcVersion(&nvrtc.major, &nvrtc.minor);
  if (missing != NULL || nvrtc.major < 12) {
    snprintf(nvrtc_problem, sizeof nvrtc_problem, "the NVRTC found is version %d.%d; 12.0 or newer is needed",
             nvrtc.major, nvrtc.minor);
  }
}

/* The architecture to ask NVRTC for. One it does not know yet runs the code of the newest it knows in the same family,
 * or failing that PTX, which the driver finishes. */
static void choose_architecture(int major, int minor, bool *cubin, char *option, size_t size) {
  int count = 0, supported[256], wanted = 10 * major + minor, family = 0, newest = 0;
  if (nvrtc.nvrtcGetNumSupportedArchs(&count) == NVRTC_SUCCESS && count > 0 && count <= 256 &&
      nvrtc.nvrtcGetSupportedArchs(supported) == NVRTC_SUCCESS) {
    for (int i = 0; i < count; ++i) {
      if (supported[i] > wanted) continue;
      if (supported[i] / 10 == major && supported[i] > family) family = supported[i];
      if (supported[i] > newest) newest = supported[i];
    }
    if (family == 0 && newest != 0) *cubin = false;
    if (newest != 0) wanted = family != 0 ? family : newest;
  }
  snprintf(option, size, "--gpu-architecture=%s_%d", *cubin ? "sm" : "compute", wanted);
}

/* ---- the log ---- */

static pthread_key_t log_key;
static pthread_once_t log_once = PTHREAD_ONCE_INIT;

static void create_log_key(void) { pthread_key_create(&log_key, free); }

static void keep_log(char *log) {
  pthread_once(&log_once, create_log_key);
  free(pthread_getspecific(log_key));
  pthread_setspecific(log_key, log);
}

const char *jit_log(void) {
  pthread_once(&log_once, create_log_key);
  const char *log = pthread_getspecific(log_key);
  return log != NULL ? log : "";
}

/* The log's first line that tells of an error, as the sentence. */
static noprop_status compile_error(const char *log, const char *fallback) {
  const char *error = strstr(log, "error");
  if (error == NULL) return status_set(NOPROP_COMPILE_ERROR, "NVRTC cannot compile the kernel: %s", fallback);
  const char *begin = error;
  while (begin > log && begin[-1] != '\n') --begin;
  return status_set(NOPROP_COMPILE_ERROR, "NVRTC cannot compile the kernel: %.*s", (int)strcspn(begin, "\n"), begin);
}

static noprop_status run_nvrtc(const char *source, const char *name, const char *const *options, int option_count,
                               bool cubin, struct jit_image *image) {
  enum { MOST_HEADERS = 256 };
  const char *texts[MOST_HEADERS], *names[MOST_HEADERS];
  int headers = 0;
  for (int i = 0; embedded_at(i) != NULL && headers < MOST_HEADERS; ++i) {
    const char *dot = strrchr(embedded_at(i)->name, '.');
    if (dot == NULL || (strcmp(dot, ".cuh") != 0 && strcmp(dot, ".h") != 0)) continue;
    names[headers] = embedded_at(i)->name;
    texts[headers++] = (const char *)embedded_at(i)->data;
  }

  nvrtcProgram program = NULL;
  noprop_status status = NOPROP_OK;
  nvrtcResult result = nvrtc.nvrtcCreateProgram(&program, source, name, headers, texts, names);
  if (result != NVRTC_SUCCESS) return compile_error("", nvrtc.nvrtcGetErrorString(result));
  result = nvrtc.nvrtcCompileProgram(program, option_count, options);
  if (result != NVRTC_SUCCESS) {
    size_t size = 0;
    char *log = NULL;
    if (nvrtc.nvrtcGetProgramLogSize(program, &size) == NVRTC_SUCCESS && (log = calloc(1, size + 1)) != NULL) {
      nvrtc.nvrtcGetProgramLog(program, log);
    }
    keep_log(log);
    status = compile_error(jit_log(), nvrtc.nvrtcGetErrorString(result));
    goto done;
  }
  size_t size = 0;
  result = cubin ? nvrtc.nvrtcGetCUBINSize(program, &size) : nvrtc.nvrtcGetPTXSize(program, &size);
  if (result == NVRTC_SUCCESS) {
    image->data = calloc(1, size + 1);
    if (image->data == NULL) {
      status = status_set(NOPROP_OUT_OF_MEMORY, "compiled kernel: %zu bytes of host memory are not to be had", size);
      goto done;
    }
    result = cubin ? nvrtc.nvrtcGetCUBIN(program, image->data) : nvrtc.nvrtcGetPTX(program, image->data);
    image->size = cubin ? size : strlen(image->data);
  }
  if (result != NVRTC_SUCCESS) status = compile_error("", nvrtc.nvrtcGetErrorString(result));

done:
  nvrtc.nvrtcDestroyProgram(&program);
  return status;
}

/* ---- the cache ---- */

static const char entry_magic[CACHE_ENTRY_MAGIC] = {'N', 'P', 'K', 'E', 'R', 'N', '1', '\n'};

/* NOPROP_KERNEL_SOURCES names a folder that receives the text of every kernel: NAME-HASH.cu. */
static void keep_source(const char *source, const char *name) {
  const char *folder = getenv("NOPROP_KERNEL_SOURCES");
  if (folder == NULL || folder[0] == '\0') return;
  unsigned char digest[SHA256_SIZE];
  struct sha256 hash;
  sha256_begin(&hash);
  sha256_add(&hash, source, strlen(source));
  sha256_end(&hash, digest);
  char path[4200];
  snprintf(path, sizeof path, "%s/%.*s-%02x%02x%02x%02x.cu", folder, (int)strcspn(name, "."), name, digest[0],
           digest[1], digest[2], digest[3]);
  FILE *file = fopen(path, "w");
  if (file == NULL) return;
  fputs(source, file);
  fclose(file);
}

static void add_text(struct sha256 *hash, const char *text) { sha256_add(hash, text, strlen(text) + 1); }

/* A source and the headers that it may include. */
static void add_source(struct sha256 *hash, const char *source) {
  add_text(hash, source);
  for (int i = 0; embedded_at(i) != NULL; ++i) {
    const char *dot = strrchr(embedded_at(i)->name, '.');
    if (dot == NULL || (strcmp(dot, ".cuh") != 0 && strcmp(dot, ".h") != 0)) continue;
    add_text(hash, embedded_at(i)->name);
    sha256_add(hash, embedded_at(i)->data, embedded_at(i)->size + 1);
  }
}

static void end_as_text(struct sha256 *hash, char text[JIT_HASH]) {
  unsigned char digest[SHA256_SIZE];
  sha256_end(hash, digest);
  for (int i = 0; i < SHA256_SIZE; ++i) snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

void jit_source_hash(const char *source, char text[JIT_HASH]) {
  struct sha256 hash;
  sha256_begin(&hash);
  add_source(&hash, source);
  end_as_text(&hash, text);
}

/* Everything that decides the image. */
static void entry_path(char *path, size_t size, const char *folder, const char *source, const char *name,
                       const char *const *options, int option_count) {
  struct sha256 hash;
  sha256_begin(&hash);
  char version[64];
  snprintf(version, sizeof version, "NVRTC %d.%d", nvrtc.major, nvrtc.minor);
  add_text(&hash, version);
  add_text(&hash, name);
  for (int i = 0; i < option_count; ++i) add_text(&hash, options[i]);
  add_source(&hash, source);
  char text[JIT_HASH];
  end_as_text(&hash, text);
  snprintf(path, size, "%s/%s.kernel", folder, text);
}

noprop_status jit_compile(const char *source, const char *name, int major, int minor, bool cubin,
                          struct jit_image *image) {
  *image = (struct jit_image){0};
  pthread_once(&nvrtc_once, open_nvrtc);
  if (nvrtc_problem[0] != '\0') return status_set(NOPROP_UNSUPPORTED, "%s", nvrtc_problem);

  keep_source(source, name);
  char architecture[64];
  choose_architecture(major, minor, &cubin, architecture, sizeof architecture);
  const char *const options[] = {architecture, "--std=c++17", "--generate-line-info"};
  const int option_count = (int)(sizeof options / sizeof *options);

  char folder[4000], path[4100] = "";
  cache_folder(folder, sizeof folder);
  if (folder[0] != '\0') {
    entry_path(path, sizeof path, folder, source, name, options, option_count);
    image->from_cache = cache_entry_read(path, entry_magic, &image->data, &image->size);
    if (image->from_cache) return NOPROP_OK;
  }
  noprop_status status = run_nvrtc(source, name, options, option_count, cubin, image);
  if (status != NOPROP_OK) {
    free(image->data);
    *image = (struct jit_image){0};
    return status;
  }
  /* Failure only costs the next start a compilation. */
  if (path[0] != '\0') (void)cache_entry_write(path, entry_magic, image->data, image->size, false);
  return NOPROP_OK;
}
