/* How many registers a thread of a kernel needs on a GPU: what ptxas says where the CUDA toolkit is there. */
#ifndef VGPU_REGISTERS_H
#define VGPU_REGISTERS_H

#include "engine/vgpu/ir.h"

/* Compiles the module's text with ptxas for `capability` and calls `found` for every kernel. False: no ptxas, or it
 * fails. NOPROP_VGPU_PTXAS names the program, "off" does without; else PATH, CUDA_HOME and /usr/local/cuda are
 * searched. */
bool registers_compile(const char *text, int capability,
                       void (*found)(void *context, const char *kernel, unsigned registers), void *context);

/* What the PTX keeps alive at once at most, in 32-bit registers: an estimate from the virtual registers' lifetimes. */
unsigned registers_alive(const struct ptx_function *function);

#endif
