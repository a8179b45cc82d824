/* Runs kernels: chooses the executor, spreads blocks over the CPU threads, keeps the first fault. */
#ifndef VGPU_LAUNCHER_H
#define VGPU_LAUNCHER_H

#include "engine/vgpu/api.h"

/* Executor code of a kernel: made when its module is loaded, discarded when it is unloaded. */
CUresult launcher_prepare(CUfunction function);
void launcher_discard(CUfunction function);

/* Checks a launch against the limits of device and kernel. */
CUresult launcher_check(const struct operation *operation);

/* Runs the kernel to its end. A fault is returned, and sticks to the context. The caller sees to it that one kernel
 * runs at a time. */
CUresult launcher_run(CUcontext context, const struct operation *operation);

#endif
