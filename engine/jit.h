/* Compilation of kernel source at run time, with an on-disk cache. */
#ifndef ENGINE_JIT_H
#define ENGINE_JIT_H

#include <stdbool.h>
#include <stddef.h>

#include "noprop/status.h"

struct jit_image {
  char *data;      /* PTX text or a cubin, NUL-terminated; freed by the caller */
  size_t size;     /* without that NUL */
  bool from_cache; /* taken from the folder of compiled kernels, without NVRTC */
};

/* Compiles CUDA C++ with NVRTC: to a cubin for exactly `major`.`minor`, or to PTX. The headers of kernels/ can be
 * included by name. `name` appears in the compiler's messages.
 *
 * The result is kept in the folder NOPROP_CACHE, $XDG_CACHE_HOME/noprop or ~/.cache/noprop, under a hash of source,
 * headers, options and NVRTC's version. Entries carry their length and checksum; one that is damaged is made anew. Any
 * number of processes may share the folder. Where it cannot be written everything works, only slower.
 *
 * If NOPROP_KERNEL_SOURCES names a folder, the source is left there too, as NAME-HASH.cu. */
noprop_status jit_compile(const char *source, const char *name, int major, int minor, bool cubin,
                          struct jit_image *image);

enum { JIT_HASH = 65 /* characters of a hash, with the NUL */ };

/* What names a source with all headers that it may include. */
void jit_source_hash(const char *source, char text[JIT_HASH]);

/* NVRTC's whole log of this thread's last failed compilation; "" if there was none. */
const char *jit_log(void);

#endif
