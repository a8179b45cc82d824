/* What translated code and the C code around it share at run time: the state of a warp, and the tables that a
 * translated kernel carries. Generated code reads the fields of struct warp by their offsets. */
#ifndef VGPU_TRANSLATE_RUNTIME_H
#define VGPU_TRANSLATE_RUNTIME_H

#include "engine/vgpu/matrix.h"
#include "engine/vgpu/translate.h"
#include "engine/vgpu/translate/analysis.h"
#include "engine/vgpu/translate/loader.h"

/* Memory that accesses through one pointer may touch: [low, low + length). Empty until a check has found it; a window
 * shorter than its root's longest access stays empty, so that length - span never wraps. */
struct window {
  uint64_t low, length;
};
enum { WINDOW_ALIGNMENT = 32 };              /* of low: an access is aligned if its distance from low is */
#define WINDOW_EMPTY_LOW ((uint64_t)1 << 63) /* above every address: address - low exceeds every length */

/* Machine code that is called with a struct warp in rdi and keeps every register but rax. */
typedef void (*translated_entry)(void);

/* What generated code asks for. CHECK: request_site, request_base. CHECK_LANES: request_site, argument[0]. The others:
 * request_instruction, argument[], result[]. NOT_TOGETHER: request_base holds the lanes that are elsewhere. */
enum request { REQUEST_CHECK, REQUEST_CHECK_LANES, REQUEST_OPERATE, REQUEST_NOT_TOGETHER };

struct warp {
  const unsigned char *params;
  unsigned char *shared, *local, *segment, *frame; /* local, frame: of this warp */
  int64_t shared_bytes;
  const int *stop; /* never NULL */
  uint64_t grid_id;
  uint32_t ctaid[3], grid[3];
  uint32_t number; /* of the warp in its block */
  uint32_t resume; /* 0: from the start; else the barrier to continue after */
  uint32_t lanes;  /* lanes that exist */
  uint32_t dynamic_shared, total_shared, multiprocessors, slot;
  /* A call from generated code: what is asked for, and the code that leads to translated_serve(). */
  translated_entry call;
  uint32_t request, request_lanes;
  uint32_t request_instruction;
  const int64_t *request_site;
  uint64_t request_base;
  uint64_t (*clock)(uint32_t special);
  const struct vgpu_launch *launch;
  struct vgpu_fault *fault;
  const struct translated *code;
  _Alignas(64) uint64_t argument[4][WARP_LANES], result[2][WARP_LANES];
  _Alignas(64) uint32_t matrix[MATRIX_REGISTERS][WARP_LANES]; /* sources of mma, then its results */
  _Alignas(64) unsigned char spare[1024]; /* where lanes that must not load or store point instead */
  struct window windows[];
};

/* What the generated function returns: RUN_ENDED, RUN_FAULT, RUN_STOPPED (*stop was not 0), or the number of the
 * barrier it waits at (from 1). */
enum { RUN_ENDED = 0, RUN_FAULT = -1, RUN_STOPPED = -2 };
typedef int32_t (*warp_function)(struct warp *warp);

/* An access site, as 64-bit numbers in the generated code: SITE_ fields, then per access {offset, bytes, instruction},
 * then, if SITE_PATTERNED, 32 offsets of the lanes. The address of an access is base + lane's offset + offset. */
enum { SITE_ROOT, SITE_SPACE, SITE_COUNT, SITE_PATTERNED, SITE_SPAN, SITE_ACCESSES };

/* Symbols of the object file, and the fields of its table: at INFO_SPANS the longest access of each root. */
#define RUN_SYMBOL "vgpu_kernel_run"
#define INFO_SYMBOL "vgpu_kernel_info"
enum { INFO_FRAME_BYTES, INFO_ROOTS, INFO_BARRIERS, INFO_SPANS };

/* Does what the warp asks for. Nonzero: the block ends with a fault. */
int32_t translated_serve(struct warp *warp);
translated_entry translated_call(bool avx512);

/* What translate() returns. */
struct translated {
  const struct ptx_function *function;
  const struct vgpu_translator_host *host;
  warp_function run;
  const int64_t *info;
  unsigned block[3], threads, warps;
  translated_entry call;
  struct loaded loaded;
};
int translated_run_block(const struct vgpu_launch *launch, struct vgpu_scratch *scratch, const unsigned ctaid[3],
                         unsigned slot, struct vgpu_fault *fault);

#endif
