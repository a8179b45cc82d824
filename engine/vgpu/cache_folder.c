/* Finds and creates the folder of compiled kernels. */
#define _GNU_SOURCE 1
#include "engine/vgpu/cache_folder.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Creates the folder and those above it; true if it can be written to. */
static bool make_folders(const char *path) {
  char part[4096];
  size_t length = strlen(path);
  if (length >= sizeof part) return false;
  for (size_t end = 1; end <= length; ++end) {
    if (path[end] != '/' && path[end] != '\0') continue;
    memcpy(part, path, end);
    part[end] = '\0';
    mkdir(part, 0700); /* fails for those that exist; what counts is the test below */
  }
  return access(path, W_OK | X_OK) == 0;
}

void cache_folder_name(char *path, size_t size) {
  const char *chosen = getenv("NOPROP_CACHE"), *shared = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  int length = 0;
  if (chosen != NULL && chosen[0] != '\0') {
    length = snprintf(path, size, "%s", chosen);
  } else if (shared != NULL && shared[0] == '/') {
    length = snprintf(path, size, "%s/noprop", shared);
  } else if (home != NULL && home[0] == '/') {
    length = snprintf(path, size, "%s/.cache/noprop", home);
  }
  if (length <= 0 || (size_t)length >= size) path[0] = '\0';
}

void cache_folder(char *path, size_t size) {
  cache_folder_name(path, size);
  if (path[0] != '\0' && !make_folders(path)) path[0] = '\0';
}
