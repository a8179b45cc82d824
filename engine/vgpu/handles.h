/* Which handles are alive. A program may pass anything as a handle: only what stands here is looked into. */
#ifndef VGPU_HANDLES_H
#define VGPU_HANDLES_H

#include <stdbool.h>
#include <stddef.h>

enum handle_kind {
  HANDLE_CONTEXT = 1,
  HANDLE_MODULE, /* libraries, too */
  HANDLE_FUNCTION,
  HANDLE_LINK,
  HANDLE_STREAM,
  HANDLE_EVENT,
  HANDLE_GRAPH,
  HANDLE_NODE,
  HANDLE_EXEC,
  HANDLE_POOL,
  HANDLE_USER_OBJECT
};

/* False if there is no memory for it. */
bool handle_add(const void *handle, enum handle_kind kind);
void handle_remove(const void *handle);
/* False for NULL and for anything that was never made or was destroyed. */
bool handle_is(const void *handle, enum handle_kind kind);

/* All handles of the kind for which `wanted` holds, in *found, which the caller frees. NULL if there are none. */
size_t handle_find(enum handle_kind kind, bool (*wanted)(const void *handle, const void *of), const void *of,
                   void ***found);

#endif
