/* What stands behind an event handle. */
#ifndef VGPU_EVENT_H
#define VGPU_EVENT_H

#include "engine/vgpu/stream_queue.h"

struct CUevent_st {
  CUcontext context;
  unsigned flags;
  unsigned references; /* the program's and those of operations; under vgpu_lock(), as all that follows */
  uint64_t generation; /* counts its records */
  struct moment end;   /* of the last record */
  bool recorded;
  struct timespec time; /* when the last record was executed */
  /* Recorded in a capture: a stream that waits for it joins that capture. */
  uint64_t capture; /* its number; 0: none */
  CUgraphNode *heads;
  size_t head_count;
};

/* Its last record's end, to be released. */
struct moment vgpu_event_end(CUevent event);
/* It is recorded by a graph that ends at `end`. Returns the number of the record. */
uint64_t vgpu_event_of_graph(CUevent event, const struct moment *end);

#endif
