/* The objects behind the driver API's handles, shared by the api_*.c files.
 *
 * A function carries the prefix vgpu_ (vgpu_cuInit), so that nothing in the library can be taken for the NVIDIA
 * driver's; shim/libcuda.c exports the plain names from a libcuda.so.1. api_list.h lists them. */
#ifndef VGPU_API_H
#define VGPU_API_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define __CUDA_API_VERSION_INTERNAL /* every version under its exported name, no renaming macros */
#include <cuda.h>
#include <cudaProfiler.h>

#include "engine/vgpu/api_list.h"
#include "engine/vgpu/handles.h"

#define VGPU_DECLARE(name) extern __typeof__(name) vgpu_##name;
VGPU_API_LIST(VGPU_DECLARE)
VGPU_API_PER_THREAD(VGPU_DECLARE)
#undef VGPU_DECLARE
#define VGPU_DECLARE(name, reason) extern CUresult vgpu_##name(void); /* its arguments are of no interest */
VGPU_API_REFUSED(VGPU_DECLARE)
#undef VGPU_DECLARE

/* ---- objects ---- */

struct queue;

struct CUctx_st {
  unsigned flags, references; /* references: of the primary context */
  unsigned version;           /* of the API */
  unsigned long long id;      /* no other context ever has it */
  size_t limits[CU_LIMIT_MAX];
  CUfunc_cache cache;
  CUstream default_stream;
  atomic_int sticky; /* CUresult of the first fault: every later call in this context fails with it */
  char fault[512];   /* about it; written before `sticky` */
};

struct CUmod_st {
  struct CUmod_st *next; /* in the list of all modules */
  CUcontext context;     /* NULL: of a library */
  struct ptx_module *ptx;
  struct CUfunc_st *functions; /* one per ptx->functions */
};

struct CUfunc_st {
  CUmodule module;
  const struct ptx_function *ptx;
  int dynamic_shared_limit; /* CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES */
  int carveout;             /* CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT */
  int block[3];             /* set by cuFuncSetBlockShape, for cuLaunchGrid */
  unsigned shared_bytes;    /* set by cuFuncSetSharedSize */
  unsigned char *arguments; /* set by cuParamSet; NULL: none yet */
  struct kernel_code *code; /* what the executors made of it; launcher.c */
};

struct CUstream_st {
  CUcontext context;
  unsigned flags;
  int priority;
  unsigned long long id;
  bool is_default; /* the legacy default stream; a thread's own is an ordinary one */
  struct queue *queue;
  /* While capturing; api_capture.c */
  struct capture *capture; /* NULL: not */
  CUstream next_in_capture;
  CUgraphNode *heads; /* what the next operation depends on */
  size_t head_count, head_capacity;
};

/* What a stream does, at once or as a node of a graph. */
struct operation {
  enum operation_kind {
    OPERATION_NOTHING, /* waits for what it depends on */
    OPERATION_KERNEL,
    OPERATION_COPY,
    OPERATION_SET,
    OPERATION_HOST,
    OPERATION_CALLBACK,
    OPERATION_RECORD,
    OPERATION_FREE,
    OPERATION_WAIT_VALUE,
    OPERATION_WRITE_VALUE,
    OPERATION_GRAPH
  } kind;
  union {
    struct {
      CUfunction function;
      unsigned grid[3], block[3], shared_bytes;
      bool cooperative; /* blocks may wait for each other */
      void *parameters; /* function->ptx->parameter_bytes bytes, aligned to 16 */
    } kernel;
    struct {
      char *to;
      const char *from;
      size_t to_pitch, from_pitch, to_slice, from_slice; /* bytes from row to row, from slice to slice */
      size_t width, height, depth;                       /* bytes, rows, slices */
      void *staged;                                      /* memory to free with the operation; `from` lies in it */
    } copy;
    struct {
      char *to;
      unsigned value, element;     /* element: 1, 2 or 4 bytes */
      size_t pitch, width, height; /* bytes, elements, rows */
    } set;
    struct {
      CUhostFn function;
      void *argument;
    } host;
    struct {
      CUstreamCallback function;
      CUstream stream;
      void *argument;
    } callback;
    struct {
      CUevent event;
      uint64_t generation;
    } record;
    struct {
      CUdeviceptr pointer;
    } release;
    struct {
      CUdeviceptr address;
      uint64_t value;
      unsigned bytes, flags; /* bytes: 4 or 8; flags: CUstreamWaitValue_flags */
    } value;
    struct {
      CUgraphExec exec;
    } graph;
  };
};

/* ---- shared helpers ---- */

/* Stores the sentence behind vgpu_last_message() and returns `result`. "" if the code says all there is to say. */
#define vgpu_fail(result, ...) (vgpu_explain(result, __VA_ARGS__), (result)) /* callers see that it is no success */
void vgpu_explain(CUresult result, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline CUresult vgpu_no_memory(void) {
  return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "the host has no memory left");
}

/* A result pointer or something needed is NULL. */
static inline CUresult vgpu_null(void) {
  return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "a pointer is NULL that must not be");
}

/* The calling thread's current context. An error if there is none or if a fault made it unusable. */
CUresult vgpu_current(CUcontext *context);
/* The error of a fault in the context, if there was one. */
CUresult vgpu_sticky(CUcontext context);
/* An error unless `device` is the one device and cuInit has been called. */
CUresult vgpu_check_device(CUdevice device);
/* The thread executes a host function, which must not call the driver API. */
extern _Thread_local bool vgpu_in_host_function;
/* NULL as a stream means the thread's own default stream. */
extern _Thread_local bool vgpu_null_is_own_stream;

/* One lock for every object that is not a memory region or a queue; held briefly. */
void vgpu_lock(void);
void vgpu_unlock(void);

/* Limits of the device that poses as capability `vgpu_capability()` (86 for 8.6). */
int vgpu_capability(void);
int vgpu_attribute(CUdevice_attribute attribute);

/* The stream behind a handle, NULL and the thread's own default stream among them, of the current context. */
CUresult vgpu_stream(CUstream handle, CUstream *stream);
CUstream vgpu_stream_make(CUcontext context, unsigned flags, int priority, bool is_default);
void vgpu_streams_destroy(CUcontext context);
/* Frees an event that no handle names any more. */
void vgpu_events_destroy(CUcontext context);

/* Puts the operation, which is copied, into the stream, or records it if the stream is capturing. `waited`: returns
 * when it is done. Everything in it is valid. */
CUresult vgpu_submit(CUstream stream, const struct operation *operation, bool waited);
/* An error if a capture of this thread, or a global one, forbids calls such as memory allocation. */
CUresult vgpu_capture_allows(void);
/* The default stream waits for all blocking streams, which a capture cannot express. */
CUresult vgpu_default_stream_allows(CUstream stream);
/* Adds the operation to the capture that the stream takes part in. */
CUresult vgpu_capture_add(CUstream stream, CUgraphNodeType type, const struct operation *operation, CUgraphNode *node);
/* An error, and the end of the capture, if the stream is capturing. */
CUresult vgpu_capture_forbids(CUstream stream);
/* The stream, which is capturing, is destroyed. */
void vgpu_capture_leave(CUstream stream);
/* For events: what they stand for in a capture. */
CUresult vgpu_capture_record(CUstream stream, CUevent event);
CUresult vgpu_capture_wait(CUstream stream, CUevent event, bool *captured);
void vgpu_capture_forget(CUevent event);

/* A launch with its parameters in one of the two forms, checked; operation->kernel.parameters is `bytes`. */
enum { VGPU_MOST_PARAMETERS = 32768 }; /* PTX allows 32,764 bytes */
CUresult vgpu_launch_operation(struct operation *operation, unsigned char *bytes, CUfunction function,
                               const unsigned grid[3], const unsigned block[3], unsigned shared_bytes, bool cooperative,
                               void **parameters, void **extra);
/* The operation of a described copy or fill. No operation (OPERATION_NOTHING) if there is nothing to copy. */
CUresult vgpu_copy_operation(struct operation *operation, const CUDA_MEMCPY3D *shape);
CUresult vgpu_set_operation(struct operation *operation, CUdeviceptr to, size_t pitch, unsigned value, unsigned element,
                            size_t width, size_t height);

/* Frees memory from cuMemAlloc and its kin, or from a pool. False if the pointer is not the start of such. */
bool vgpu_free_memory(CUdeviceptr pointer);
/* The pool that the memory came from, or NULL. */
CUmemoryPool vgpu_pool_of(CUdeviceptr pointer);
/* Frees what pools gave to the context. */
void vgpu_pools_forget(CUcontext context);
/* Memory of a graph's allocation node lives as long as somebody holds it; cuMemFree leaves it alone. */
CUdeviceptr vgpu_graph_memory_make(size_t bytes);
void vgpu_graph_memory_keep(CUdeviceptr pointer);
void vgpu_graph_memory_release(CUdeviceptr pointer);

/* The PTX in an image of `size` bytes (0: not known): the image itself, or *unpacked, which the caller frees. */
CUresult vgpu_image_text(const void *image, size_t size, const char **text, char **unpacked);
/* A file's content, ended by a NUL, which the caller frees. */
CUresult vgpu_read_file(const char *name, char **content, size_t *content_bytes);
/* Fills the error log that the options name. */
void vgpu_jit_log(CUresult result, unsigned count, const CUjit_option *options, void **values);

void vgpu_modules_unload_all(CUcontext context);

#endif
