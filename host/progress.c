/* Rate and time left of a long piece of work, from the times at which its steps were seen to be done. */
#include "host/progress.h"

void progress_mark(struct progress *progress, double now, uint64_t step) {
  int last = (progress->first + progress->count - 1) % PROGRESS_MARKS;
  if (progress->count > 1 && now - progress->marks[(last + PROGRESS_MARKS - 1) % PROGRESS_MARKS].time < 0.25) {
    progress->marks[last].time = now;
    progress->marks[last].step = step;
    return;
  }
  if (progress->count == PROGRESS_MARKS)
    progress->first = (progress->first + 1) % PROGRESS_MARKS;
  else
    progress->count++;
  last = (progress->first + progress->count - 1) % PROGRESS_MARKS;
  progress->marks[last].time = now;
  progress->marks[last].step = step;
}

double progress_rate(const struct progress *progress) {
  if (progress->count < 2) return 0;
  int last = (progress->first + progress->count - 1) % PROGRESS_MARKS;
  double time = progress->marks[last].time - progress->marks[progress->first].time;
  double steps = (double)(progress->marks[last].step - progress->marks[progress->first].step);
  return time > 0.05 ? steps / time : 0; /* less says little and is often a first chunk */
}
