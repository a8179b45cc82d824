/* Streams as queues of operations, and the threads that execute them.
 *
 * Each queue executes its operations in order; different queues execute at the same time, as far as the operations
 * allow it (kernels take turns). All order between queues is expressed by moments: an operation starts when the moments
 * it depends on are past. Operations of a blocking queue and of the default queue of the same context wait for each
 * other, which queue_submit() sees to. */
#ifndef VGPU_STREAM_QUEUE_H
#define VGPU_STREAM_QUEUE_H

#include "engine/vgpu/api.h"

struct queue;

enum queue_kind { QUEUE_BLOCKING, QUEUE_NON_BLOCKING, QUEUE_DEFAULT };

/* NULL if there is no memory. */
struct queue *queue_make(CUcontext context, enum queue_kind kind);
/* What is in the queue is still executed. */
void queue_close(struct queue *queue);

/* The end of an operation. It keeps the queue's counters alive. All zero: past. */
struct moment {
  struct queue *queue;
  uint64_t ticket;
};
void moment_keep(const struct moment *moment);
void moment_release(struct moment *moment);
bool moment_is_past(const struct moment *moment);
/* Waits; the calling thread executes what it waits for itself where nobody else does yet. */
void moment_wait(const struct moment *moment);
/* The end of all that is in the queue now. To be released. */
struct moment queue_end(struct queue *queue);

/* Puts the operation, of which a copy is made, at the end of the queue; it also waits for `after`. `made`, if not NULL,
 * is its end, to be released. `waited`: the caller will wait for it at once, so that no thread need be woken. */
CUresult queue_submit(struct queue *queue, const struct operation *operation, const struct moment *after,
                      size_t after_count, bool waited, struct moment *made);

/* Waits until all queues of the context, or of all contexts if it is NULL, are empty. */
void queues_wait(CUcontext context);

/* Whether the program is ending: nothing is executed any more. */
bool queues_are_left(void);

#endif
