/* Streams as queues of operations, and the threads that execute them.
 *
 * One lock guards all queues: it is held for bookkeeping only, never while an operation runs.
 *
 * Handing work to another thread costs far more than a small kernel. So a thread that waits executes what it waits for
 * itself, and a dispatcher takes what was submitted only after GRACE, by which time most programs wait already. More
 * threads are made when a queue could go on and all are taken, so that an operation which waits for the program (a host
 * function, a value in memory) holds up its own queue alone. */
#define _GNU_SOURCE 1
#include "engine/vgpu/stream_queue.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/vgpu/operation.h"
#include "engine/vgpu/vgpu.h"

struct task {
  struct task *next;
  struct operation operation;
  size_t after_count;
  struct moment after[]; /* each keeps its queue */
};

struct queue {
  struct queue *next; /* in the list of all queues */
  CUcontext context;
  enum queue_kind kind;
  struct task *head, *tail;
  uint64_t submitted, completed;
  unsigned references; /* the stream's, and the moments' */
  bool running;        /* a thread executes the head */
};

enum { GRACE = 1000 * 1000, ATTENTIVE = 20 * 1000 * 1000 }; /* nanoseconds; ATTENTIVE: since the last submission */

/* A thread that waits for a moment. */
struct waiter {
  struct waiter *next;
  const struct moment *moment;
  pthread_cond_t wake;
};

static struct {
  pthread_mutex_t lock;
  pthread_cond_t work;
  struct queue *queues;
  struct waiter *waiters;
  uint64_t last_submission; /* CLOCK_MONOTONIC, nanoseconds */
  unsigned polling, idle;   /* threads that look again after GRACE (at most one), and that sleep until woken */
  unsigned urgent;          /* how many of them are to look at once */
  unsigned running;         /* operations */
  bool coming;              /* a thread was made or woken to poll, but is not here yet */
  atomic_bool leaving;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER};

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void lock(void) { pthread_mutex_lock(&all.lock); }
static void unlock(void) { pthread_mutex_unlock(&all.lock); }

/* ---- queues and moments; the lock is held ---- */

static bool is_past(const struct moment *moment) {
  /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): a moment has a reference to its queue */
  return moment->queue == NULL || moment->queue->completed >= moment->ticket;
}

static void drop_queue(struct queue *queue) {
  if (queue == NULL || --queue->references > 0) return;
  struct queue **at = &all.queues;
  while (*at != queue) at = &(*at)->next;
  *at = queue->next;
  free(queue);
}

static void drop_moment(struct moment *moment) {
  drop_queue(moment->queue);
  *moment = (struct moment){0};
}

static bool is_ready(const struct queue *queue) {
  if (queue->head == NULL || queue->running) return false;
  for (size_t i = 0; i < queue->head->after_count; ++i) {
    if (!is_past(&queue->head->after[i])) return false;
  }
  return true;
}

static struct queue *find_ready(void) {
  struct queue *queue = all.queues;
  while (queue != NULL && !is_ready(queue)) queue = queue->next;
  return queue;
}

/* A queue that can go on, and must for `queue` to. NULL if others are at it. */
static struct queue *find_needed(struct queue *queue) {
  if (queue->head == NULL || queue->running) return NULL;
  for (size_t i = 0; i < queue->head->after_count; ++i) {
    if (is_past(&queue->head->after[i])) continue;
    struct queue *needed = find_needed(queue->head->after[i].queue);
    if (needed != NULL) return needed;
  }
  return is_ready(queue) ? queue : NULL;
}

/* ---- threads; the lock is held, but not while an operation runs ---- */

static void run_head(struct queue *queue) {
  struct task *task = queue->head;
  queue->running = true;
  ++all.running;
  ++queue->references;
  unlock();
  operation_execute(queue->context, &task->operation); /* a fault is kept in the context */
  lock();
  queue->running = false;
  --all.running;
  queue->head = task->next;
  if (queue->head == NULL) queue->tail = NULL;
  ++queue->completed;
  for (size_t i = 0; i < task->after_count; ++i) drop_moment(&task->after[i]);
  drop_queue(queue);
  for (struct waiter *waiter = all.waiters; waiter != NULL; waiter = waiter->next) {
    if (is_past(waiter->moment) || all.leaving) pthread_cond_signal(&waiter->wake);
  }
  unlock();
  operation_clear(&task->operation); /* may end in calls of the program's */
  free(task);
  lock();
}

static void *serve(void *unused);

static bool make_thread(void) {
  pthread_t thread;
  sigset_t every, before;
  sigfillset(&every);
  pthread_sigmask(SIG_SETMASK, &every, &before); /* signals belong to the program's own threads */
  const bool made = pthread_create(&thread, NULL, serve, NULL) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (made) pthread_detach(thread);
  return made; /* if not, whoever waits executes the operation */
}

/* Sends a thread to every queue that can go on, but for `own` queues that the caller serves. */
static void wake(unsigned own) {
  unsigned ready = 0;
  for (const struct queue *queue = all.queues; queue != NULL; queue = queue->next) ready += is_ready(queue);
  while (ready > own + all.urgent) {
    if (all.polling + all.idle > all.urgent) {
      pthread_cond_signal(&all.work);
    } else if (!make_thread()) {
      return;
    }
    ++all.urgent;
  }
}

/* Sees to it that somebody looks after GRACE. */
static void attend(void) {
  all.last_submission = now();
  if (all.polling > 0 || all.urgent > 0 || all.coming) return;
  all.coming = true;
  if (all.idle > 0) {
    pthread_cond_signal(&all.work);
  } else {
    all.coming = make_thread();
  }
}

static void *serve(void *unused) {
  (void)unused;
  lock();
  for (bool look = all.urgent > 0;; look = look || all.urgent > 0) {
    if (all.urgent > 0) --all.urgent;
    all.coming = false;
    for (struct queue *queue; look && !all.leaving && (queue = find_ready()) != NULL;) {
      wake(1);
      run_head(queue);
    }
    look = false;
    if (all.polling == 0 && now() - all.last_submission < ATTENTIVE) {
      struct timespec until;
      clock_gettime(CLOCK_REALTIME, &until);
      until.tv_nsec += GRACE;
      until.tv_sec += until.tv_nsec / 1000000000;
      until.tv_nsec %= 1000000000;
      ++all.polling;
      look = pthread_cond_timedwait(&all.work, &all.lock, &until) != 0;
      --all.polling;
    } else {
      ++all.idle;
      pthread_cond_wait(&all.work, &all.lock);
      --all.idle;
    }
  }
  return NULL;
}

/* The program ends: what runs is ended, what waits is forgotten, as when a process with work on a GPU ends. Kernels use
 * memory that is freed after this. */
static void leave(void) {
  lock();
  all.leaving = true;
  if (all.running > 0) vgpu_cancel();
  for (struct waiter *waiter = all.waiters; waiter != NULL; waiter = waiter->next) pthread_cond_signal(&waiter->wake);
  unlock();
  for (int round = 0; round < 2000; ++round) { /* two seconds: a host function may never end */
    lock();
    const bool busy = all.running > 0;
    unlock();
    if (!busy) break;
    usleep(1000);
  }
}

/* A process that was forked has the queues but not the threads, and a lock that may be held by one of them. */
static void stay_behind(void) {
  pthread_mutex_init(&all.lock, NULL);
  atomic_store(&all.leaving, true);
  all.running = 0;
}

bool queues_are_left(void) { return atomic_load_explicit(&all.leaving, memory_order_relaxed); }

/* ---- for the rest ---- */

struct queue *queue_make(CUcontext context, enum queue_kind kind) {
  static bool registered;
  struct queue *queue = calloc(1, sizeof *queue);
  if (queue == NULL) return NULL;
  queue->context = context;
  queue->kind = kind;
  queue->references = 1;
  lock();
  queue->next = all.queues;
  all.queues = queue;
  const bool first = !registered;
  registered = true;
  unlock();
  if (first) {
    atexit(leave);
    pthread_atfork(NULL, NULL, stay_behind);
  }
  return queue;
}

void queue_close(struct queue *queue) {
  lock();
  if (queue->head != NULL) {
    /* The stream's reference is given back when the queue is empty: the last task holds it. */
    struct task *last = calloc(1, sizeof *last + sizeof *last->after);
    if (last != NULL) {
      last->after_count = 1;
      last->after[0] = (struct moment){.queue = queue, .ticket = 0};
      queue->tail->next = last;
      queue->tail = last;
      ++queue->submitted;
    }
  } else {
    drop_queue(queue);
  }
  unlock();
}

void moment_keep(const struct moment *moment) {
  if (moment->queue == NULL) return;
  lock();
  ++moment->queue->references;
  unlock();
}

void moment_release(struct moment *moment) {
  if (moment->queue == NULL) return;
  lock();
  drop_moment(moment);
  unlock();
}

bool moment_is_past(const struct moment *moment) {
  if (moment->queue == NULL) return true;
  lock();
  const bool past = is_past(moment);
  if (!past) wake(0); /* the program asks instead of waiting: nobody else will execute it */
  unlock();
  return past;
}

void moment_wait(const struct moment *moment) {
  if (moment->queue == NULL) return;
  struct waiter self = {.moment = moment, .wake = PTHREAD_COND_INITIALIZER};
  lock();
  while (!is_past(moment) && !all.leaving) {
    struct queue *needed = find_needed(moment->queue);
    if (needed != NULL) {
      wake(1);
      run_head(needed);
      continue;
    }
    self.next = all.waiters;
    all.waiters = &self;
    pthread_cond_wait(&self.wake, &all.lock);
    struct waiter **at = &all.waiters;
    while (*at != &self) at = &(*at)->next;
    *at = self.next;
  }
  /* What others put into the queues that this thread was at. */
  if (all.waiters != NULL) {
    wake(0);
  } else if (find_ready() != NULL) {
    attend();
  }
  unlock();
}

struct moment queue_end(struct queue *queue) {
  lock();
  ++queue->references;
  const struct moment end = {.queue = queue, .ticket = queue->submitted};
  unlock();
  return end;
}

/* Whether operations of `queue` wait for what is in `other` already. */
static bool follows(const struct queue *queue, const struct queue *other) {
  if (other == queue || other->context != queue->context || other->completed == other->submitted) return false;
  return (queue->kind == QUEUE_DEFAULT && other->kind == QUEUE_BLOCKING) ||
         (queue->kind == QUEUE_BLOCKING && other->kind == QUEUE_DEFAULT);
}

static bool is_held_up(const struct queue *queue, const struct moment *after, size_t after_count) {
  for (size_t i = 0; i < after_count; ++i) {
    if (!is_past(&after[i])) return true;
  }
  for (const struct queue *other = all.queues; other != NULL; other = other->next) {
    if (follows(queue, other)) return true;
  }
  return false;
}

CUresult queue_submit(struct queue *queue, const struct operation *operation, const struct moment *after,
                      size_t after_count, bool waited, struct moment *made) {
  struct operation copy;
  if (!operation_copy(&copy, operation)) return vgpu_no_memory();
  lock();
  if (operation->kind == OPERATION_RECORD && queue->head == NULL && !is_held_up(queue, after, after_count)) {
    /* There is nothing before it: this is the time to be recorded. */
    if (made != NULL) *made = (struct moment){0};
    unlock();
    operation_execute(queue->context, &copy);
    operation_clear(&copy);
    return CUDA_SUCCESS;
  }
  size_t count = after_count;
  for (const struct queue *other = all.queues; other != NULL; other = other->next) count += follows(queue, other);
  struct task *task = calloc(1, sizeof *task + count * sizeof *task->after);
  if (task == NULL) {
    unlock();
    operation_clear(&copy);
    return vgpu_no_memory();
  }
  task->operation = copy;
  for (size_t i = 0; i < after_count; ++i) {
    if (!is_past(&after[i])) task->after[task->after_count++] = after[i];
  }
  for (struct queue *other = all.queues; other != NULL; other = other->next) {
    if (!follows(queue, other)) continue;
    task->after[task->after_count++] = (struct moment){.queue = other, .ticket = other->submitted};
  }
  for (size_t i = 0; i < task->after_count; ++i) ++task->after[i].queue->references;
  if (queue->tail != NULL) {
    queue->tail->next = task;
  } else {
    queue->head = task;
  }
  queue->tail = task;
  ++queue->submitted;
  if (made != NULL) {
    ++queue->references;
    *made = (struct moment){.queue = queue, .ticket = queue->submitted};
  }
  if (!waited && is_ready(queue)) attend();
  unlock();
  return CUDA_SUCCESS;
}

void queues_wait(CUcontext context) {
  for (;;) {
    struct moment end = {0};
    lock();
    for (struct queue *queue = all.queues; queue != NULL && end.queue == NULL; queue = queue->next) {
      if ((context != NULL && queue->context != context) || queue->completed == queue->submitted) continue;
      ++queue->references;
      end = (struct moment){.queue = queue, .ticket = queue->submitted};
    }
    unlock();
    if (end.queue == NULL) return;
    moment_wait(&end);
    moment_release(&end);
  }
}
