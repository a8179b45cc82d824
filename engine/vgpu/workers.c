/* A thread pool for jobs of microseconds.
 *
 * A job is opened by making `generation` odd and closed by making it even again. Helpers that are awake see this while
 * they spin; those asleep are woken. Nobody waits for a helper that comes late: it enters (`inside`), finds the job
 * closed and leaves, so a short job ends as soon as its indices are done, whether or not a helper woke up in time.
 * Sequentially consistent operations on `generation` and `inside` make sure that either the helper sees the job closed
 * or the caller sees the helper inside. */
#define _GNU_SOURCE 1
#include "engine/vgpu/workers.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { SPIN_ROUNDS = 4000 }; /* 4000 pauses: some 40 to 100 microseconds */

static struct {
  atomic_uint generation; /* odd while a job is open */
  atomic_int inside;      /* helpers that may be looking at the job */
  _Alignas(64) atomic_ullong next;
  unsigned long long count, chunk;
  atomic_int stopped;
  workers_body body;
  void *context;

  pthread_mutex_t mutex;
  pthread_cond_t wake;
  atomic_int sleeping;
  int shutting_down; /* under the mutex */

  unsigned threads; /* with the caller */
  unsigned spin_rounds;
  pthread_t helpers[WORKERS_MOST];
  pid_t owner; /* the process that has the helpers */
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static pthread_once_t count_once = PTHREAD_ONCE_INIT, start_once = PTHREAD_ONCE_INIT;

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

static void take_part(unsigned worker) {
  const unsigned long long count = pool.count, chunk = pool.chunk;
  for (;;) {
    unsigned long long first = atomic_fetch_add_explicit(&pool.next, chunk, memory_order_relaxed);
    if (first >= count) return;
    unsigned long long end = count - first < chunk ? count : first + chunk;
    for (unsigned long long index = first; index < end; ++index) {
      if (atomic_load_explicit(&pool.stopped, memory_order_relaxed)) return;
      if (!pool.body(pool.context, index, worker)) atomic_store(&pool.stopped, 1);
    }
  }
}

static void *help(void *argument) {
  const unsigned worker = (unsigned)(size_t)argument;
  unsigned seen = 0;
  for (;;) {
    unsigned generation = atomic_load_explicit(&pool.generation, memory_order_acquire);
    for (unsigned round = 0; (generation == seen || generation % 2 == 0) && round < pool.spin_rounds; ++round) {
      relax();
      generation = atomic_load_explicit(&pool.generation, memory_order_acquire);
    }
    if (generation == seen || generation % 2 == 0) {
      pthread_mutex_lock(&pool.mutex);
      atomic_fetch_add(&pool.sleeping, 1);
      for (;;) {
        generation = atomic_load(&pool.generation);
        if (pool.shutting_down || (generation != seen && generation % 2 == 1)) break;
        pthread_cond_wait(&pool.wake, &pool.mutex);
      }
      atomic_fetch_sub(&pool.sleeping, 1);
      int leave = pool.shutting_down;
      pthread_mutex_unlock(&pool.mutex);
      if (leave) return NULL;
    }
    atomic_fetch_add(&pool.inside, 1);
    generation = atomic_load(&pool.generation);
    if (generation % 2 == 1) {
      take_part(worker);
      seen = generation;
    }
    atomic_fetch_sub(&pool.inside, 1);
  }
}

static void count_threads(void) {
  cpu_set_t allowed;
  long processors = sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
  long threads = processors;
  const char *setting = getenv("NOPROP_VGPU_THREADS");
  if (setting != NULL && atol(setting) > 0) threads = atol(setting);
  pool.threads = threads > WORKERS_MOST ? WORKERS_MOST : (unsigned)threads;
  /* With more threads than processors, one that spins keeps one that works from running. */
  pool.spin_rounds = threads > processors ? 0 : SPIN_ROUNDS;
}

/* Helpers do not survive fork; the child works alone. */
static void reset_in_child(void) {
  atomic_store(&pool.inside, 0);
  atomic_store(&pool.sleeping, 0);
  pthread_mutex_init(&pool.mutex, NULL);
}

static void start(void) {
  pthread_atfork(NULL, NULL, reset_in_child);
  pool.owner = getpid();
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* signals belong to the program's own threads */
  unsigned started = 1;
  while (started < workers_count() &&
         pthread_create(&pool.helpers[started], NULL, help, (void *)(size_t)started) == 0) {
    ++started;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pool.threads = started;
}

__attribute__((destructor)) static void stop(void) {
  if (pool.owner != getpid()) return;
  pthread_mutex_lock(&pool.mutex);
  pool.shutting_down = 1;
  pthread_cond_broadcast(&pool.wake);
  pthread_mutex_unlock(&pool.mutex);
  for (unsigned i = 1; i < pool.threads; ++i) pthread_join(pool.helpers[i], NULL);
}

unsigned workers_count(void) {
  pthread_once(&count_once, count_threads);
  return pool.threads;
}

void workers_run(unsigned long long count, workers_body body, void *context) {
  if (count <= 1 || workers_count() == 1) {
    for (unsigned long long index = 0; index < count; ++index) {
      if (!body(context, index, 0)) break;
    }
    return;
  }
  pthread_once(&start_once, start);
  pool.body = body;
  pool.context = context;
  pool.count = count;
  /* Many blocks are usually small ones: hand them out by the handful, yet leave eight helpings for each thread. */
  pool.chunk = count / (pool.threads * 8ULL);
  if (pool.chunk < 1) pool.chunk = 1;
  if (pool.chunk > 16) pool.chunk = 16;
  atomic_store_explicit(&pool.next, 0, memory_order_relaxed);
  atomic_store_explicit(&pool.stopped, 0, memory_order_relaxed);
  atomic_fetch_add(&pool.generation, 1);
  if (atomic_load(&pool.sleeping) > 0) {
    pthread_mutex_lock(&pool.mutex);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.mutex);
  }
  take_part(0);
  atomic_fetch_add(&pool.generation, 1);
  for (unsigned round = 0; atomic_load(&pool.inside) > 0; ++round) {
    if (round < pool.spin_rounds) {
      relax();
    } else {
      sched_yield();
    }
  }
}
