/* The virtual GPU as a drop-in libcuda.so.1: exports the driver API's names, each a jump to the function behind it.
 * For programs that use the driver API; put the folder of the library first in LD_LIBRARY_PATH. */
#include "engine/vgpu/api.h"
#include "engine/vgpu/count.h"

/* Beside the driver API: what kernels did in `count` mode (noprop/counts.h, with the same prototypes). */
__attribute__((visibility("default"))) int noprop_vgpu_counts(noprop_kernel_counts *counts, int capacity) {
  return vgpu_counts(counts, capacity);
}
__attribute__((visibility("default"))) void noprop_vgpu_counts_reset(void) { vgpu_counts_reset(); }

/* Tells this library from the NVIDIA driver, which our own engine must not mistake it for. */
__attribute__((visibility("default"))) const int noprop_virtual_gpu_marker = 1;

#if defined(__x86_64__)
#define JUMP "jmp"
#elif defined(__aarch64__)
#define JUMP "b"
#else
#error "the jump instruction of this architecture is not known here"
#endif

/* A C function would have to repeat every parameter list; a jump passes on whatever was passed. */
#define EXPORT(name)                                                                                                 \
  __asm__(".text\n.globl " #name "\n.type " #name ", @function\n" #name ":\n\t" JUMP " vgpu_" #name "\n.size " #name \
          ", .-" #name);
VGPU_API_LIST(EXPORT)
VGPU_API_PER_THREAD(EXPORT)
#define EXPORT_REFUSED(name, why) EXPORT(name)
VGPU_API_REFUSED(EXPORT_REFUSED)
