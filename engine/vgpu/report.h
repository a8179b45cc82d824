/* The file that NOPROP_VGPU_REPORT names: what a mode of the virtual GPU has to tell when the program ends. */
#ifndef VGPU_REPORT_H
#define VGPU_REPORT_H

#include <stdio.h>

/* The file, made empty at the first call, or NULL if none is wanted or it cannot be written. `finish` writes its end
 * when the program ends; the first call's function does. */
FILE *report_open(void (*finish)(FILE *file));

#endif
