/* Where compiled kernels are kept between runs. It stands here because the virtual GPU is also a library of its own. */
#ifndef VGPU_CACHE_FOLDER_H
#define VGPU_CACHE_FOLDER_H

#include <stddef.h>

/* NOPROP_CACHE, $XDG_CACHE_HOME/noprop or ~/.cache/noprop in `path`, created if need be; "" if none can be written to.
 */
void cache_folder(char *path, size_t size);
/* The same, whether or not it is there and can be written to; "" if there is no name for it. */
void cache_folder_name(char *path, size_t size);

#endif
