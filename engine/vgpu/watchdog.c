/* A thread that sleeps until the current launch's time is over. It exists from the first launch with a time limit on.
 */
#define _GNU_SOURCE 1
#include "engine/vgpu/watchdog.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

static struct {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  int *flag; /* NULL: nothing to watch */
  int value;
  struct timespec deadline;
  pid_t owner; /* the process that has the thread: a fork's child starts its own */
} watchdog = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void *watch(void *unused) {
  (void)unused;
  pthread_mutex_lock(&watchdog.mutex);
  for (;;) {
    if (watchdog.flag == NULL) {
      pthread_cond_wait(&watchdog.changed, &watchdog.mutex);
      continue;
    }
    /* The launch that ends this wait may be a later one than the wait began for: the deadline is looked at anew. */
    const struct timespec deadline = watchdog.deadline;
    if (pthread_cond_timedwait(&watchdog.changed, &watchdog.mutex, &deadline) != ETIMEDOUT) continue;
    if (watchdog.flag == NULL || watchdog.deadline.tv_sec != deadline.tv_sec ||
        watchdog.deadline.tv_nsec != deadline.tv_nsec) {
      continue;
    }
    int none = 0;
    __atomic_compare_exchange_n(watchdog.flag, &none, watchdog.value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    watchdog.flag = NULL;
  }
  return NULL;
}

static int start(void) {
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&watchdog.changed, &monotonic);
  pthread_condattr_destroy(&monotonic);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* signals belong to the program's own threads */
  pthread_t thread;
  const int problem = pthread_create(&thread, NULL, watch, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (problem != 0) return -1;
  pthread_detach(thread);
  watchdog.owner = getpid();
  return 0;
}

int watchdog_begin(int *flag, int value, uint64_t nanoseconds) {
  pthread_mutex_lock(&watchdog.mutex);
  const int result = watchdog.owner == getpid() ? 0 : start();
  clock_gettime(CLOCK_MONOTONIC, &watchdog.deadline);
  nanoseconds += (uint64_t)watchdog.deadline.tv_nsec;
  watchdog.deadline.tv_sec += (time_t)(nanoseconds / 1000000000u);
  watchdog.deadline.tv_nsec = (long)(nanoseconds % 1000000000u);
  watchdog.value = value;
  watchdog.flag = result == 0 ? flag : NULL;
  if (result == 0) pthread_cond_signal(&watchdog.changed);
  pthread_mutex_unlock(&watchdog.mutex);
  return result;
}

void watchdog_end(void) {
  pthread_mutex_lock(&watchdog.mutex);
  watchdog.flag = NULL;
  pthread_mutex_unlock(&watchdog.mutex);
}
