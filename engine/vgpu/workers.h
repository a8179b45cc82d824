/* The CPU threads of the virtual GPU: one persistent pool that shares out the blocks of a launch. */
#ifndef VGPU_WORKERS_H
#define VGPU_WORKERS_H

enum { WORKERS_MOST = 1024 };

/* Runs `body` for one index; `worker` is 0..workers_count()-1, and no two calls at the same time share one, so that it
 * can choose scratch memory. Returns 0 to stop handing out further indices (those already handed out still run). */
typedef int (*workers_body)(void *context, unsigned long long index, unsigned worker);

/* Threads that take part, the caller included: NOPROP_VGPU_THREADS, by default one per CPU this process may use. */
unsigned workers_count(void);

/* Calls body(context, index, worker) for every index below `count` in no order and waits for all. One call at a time. A
 * count of one runs on the calling thread without waking anybody. */
void workers_run(unsigned long long count, workers_body body, void *context);

#endif
