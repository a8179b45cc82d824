/* What streams and graphs do: copying, executing and freeing the description of one operation. */
#ifndef VGPU_OPERATION_H
#define VGPU_OPERATION_H

#include "engine/vgpu/api.h"

/* A copy that owns what it points to. False if there is no memory. */
bool operation_copy(struct operation *to, const struct operation *from);
void operation_clear(struct operation *operation);

/* Does it, now, on this thread. A fault sticks to the context. */
CUresult operation_execute(CUcontext context, struct operation *operation);

/* Makes a graph's executable form last as long as somebody uses it. api_graph_exec.c */
void graph_exec_keep(CUgraphExec exec);
void graph_exec_release(CUgraphExec exec);
CUresult graph_exec_run(CUcontext context, CUgraphExec exec);

/* The same for events. api_event.c */
void event_keep(CUevent event);
void event_release(CUevent event);
/* The event's operation `generation` happens now. */
void event_happens(CUevent event, uint64_t generation);

#endif
