/* report.h */
#include "engine/vgpu/report.h"

#include <pthread.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *report;
static void (*at_end)(FILE *file);

static void close_report(void) {
  at_end(report);
  fclose(report);
}

FILE *report_open(void (*finish)(FILE *file)) {
  pthread_mutex_lock(&lock);
  const char *name = getenv("NOPROP_VGPU_REPORT");
  if (at_end == NULL) {
    at_end = finish;
    report = name != NULL && name[0] != '\0' ? fopen(name, "w") : NULL;
    if (report != NULL) atexit(close_report);
  }
  pthread_mutex_unlock(&lock);
  return report;
}
