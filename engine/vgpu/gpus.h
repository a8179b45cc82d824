/* The table of GPUs behind noprop/counts.h, for `count` mode and for the library. */
#ifndef VGPU_GPUS_H
#define VGPU_GPUS_H

#include "noprop/counts.h"

const noprop_gpu *vgpu_gpu_at(int index);          /* NULL past the end */
const noprop_gpu *vgpu_gpu_find(const char *name); /* NULL: unknown */

#endif
