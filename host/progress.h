/* Rate and time left of a long piece of work, from the times at which its steps were seen to be done. */
#ifndef HOST_PROGRESS_H
#define HOST_PROGRESS_H

#include <stdint.h>

/* The rate is that of the last few seconds: old marks are forgotten. */
enum { PROGRESS_MARKS = 32 };

struct progress {
  struct {
    double time;
    uint64_t step;
  } marks[PROGRESS_MARKS]; /* a ring, the oldest at `first` */
  int first, count;
};

/* Steps finished so far, now. Marks less than a quarter of a second apart are taken as one. */
void progress_mark(struct progress *progress, double now, uint64_t step);
/* Steps per second over the marks; 0 if there is nothing to tell from yet. */
double progress_rate(const struct progress *progress);

#endif
