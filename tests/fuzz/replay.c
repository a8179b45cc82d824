/* Feeds kept inputs to a fuzz target in a build without libFuzzer: the corpus, and the inputs that once broke a
 * promise. On a stack of 192 KiB, so that a recursion that grows with the input is found, and with a limit of time for
 * each.
 *
 *   replay_TARGET FOLDER... */
#define _GNU_SOURCE 1
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/fuzz/fuzz.h"

enum { STACK_BYTES = 192 << 10, SECONDS = 5 };

struct input {
  const char *path;
  uint8_t *data;
  size_t size;
};

static void *feed(void *argument) {
  const struct input *input = argument;
  LLVMFuzzerTestOneInput(input->data, input->size);
  return NULL;
}

static int replay(const char *path) {
  struct input input = {.path = path};
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    return 0;
  }
  for (;;) {
    uint8_t *grown = realloc(input.data, input.size + 65536);
    if (grown == NULL) break;
    input.data = grown;
    const size_t got = fread(input.data + input.size, 1, 65536, file);
    input.size += got;
    if (got < 65536) break;
  }
  fclose(file);

  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  pthread_t thread;
  struct timespec begin, end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  const int started = pthread_create(&thread, &attributes, feed, &input) == 0;
  if (started) pthread_join(thread, NULL);
  clock_gettime(CLOCK_MONOTONIC, &end);
  pthread_attr_destroy(&attributes);
  free(input.data);
  const double seconds = (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
  if (started && seconds < SECONDS) return 1;
  fprintf(stderr, "%s: %s (%.1f s)\n", path, started ? "takes too long" : "no thread", seconds);
  return 0;
}

int main(int count, char **arguments) {
  int fed = 0, failed = 0;
  for (int i = 1; i < count; i++) {
    struct dirent **entries;
    const int found = scandir(arguments[i], &entries, NULL, alphasort);
    for (int k = 0; k < found; k++) {
      if (entries[k]->d_name[0] != '.') {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", arguments[i], entries[k]->d_name);
        if (replay(path)) {
          fed++;
        } else {
          failed++;
        }
      }
      free(entries[k]);
    }
    if (found >= 0) free(entries);
  }
  printf("%d inputs, %d failed\n", fed + failed, failed);
  return failed > 0 || fed == 0;
}
