/* Files of a run folder: written beside and renamed, so that a reader or a crash never sees half of one. */
#include "host/run_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/status.h"

noprop_status run_path(char *path, const char *folder, const char *name) {
  int length = snprintf(path, RUN_PATH, "%s/%s", folder, name);
  if (length < 0 || length >= RUN_PATH)
    return status_set(NOPROP_FILE_ERROR, "the path %.60s... is longer than %d characters", folder, (int)RUN_PATH - 1);
  return NOPROP_OK;
}

noprop_status run_folder_make(const char *folder) {
  char path[RUN_PATH];
  size_t length = strlen(folder);
  if (length == 0 || length >= sizeof path)
    return status_set(NOPROP_FILE_ERROR, "a folder name must have 1 to %d characters", (int)RUN_PATH - 1);
  memcpy(path, folder, length + 1);
  for (char *slash = path + 1;; slash++) {
    slash += strcspn(slash, "/");
    char kept = *slash;
    *slash = 0;
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
      return status_set(NOPROP_FILE_ERROR, "the folder %s could not be made: %s", path, strerror(errno));
    *slash = kept;
    if (!kept) break;
  }
  struct stat info;
  if (stat(folder, &info) != 0 || !S_ISDIR(info.st_mode))
    return status_set(NOPROP_FILE_ERROR, "%s is there already and is not a folder", folder);
  return NOPROP_OK;
}

bool run_file_exists(const char *path) { return access(path, F_OK) == 0; }

/* Makes the rename itself durable. Failure is of no consequence: the file is whole under one of its names. */
static void sync_folder_of(const char *path) {
  char folder[RUN_PATH];
  const char *slash = strrchr(path, '/');
  if (slash && (size_t)(slash - path) < sizeof folder)
    snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
  else
    snprintf(folder, sizeof folder, ".");
  int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  (void)fsync(descriptor);
  close(descriptor);
}

noprop_status run_file_write(const char *path, const char *text, size_t size) {
  char temporary[RUN_PATH + 32], target[PATH_MAX];
  struct stat present;
  if (strlen(path) >= RUN_PATH) return status_set(NOPROP_FILE_ERROR, "the path %.60s... is too long", path);
  /* Through a link to the file itself; a device or a pipe is written to, never replaced by a file. */
  if (!realpath(path, target)) snprintf(target, sizeof target, "%s", path);
  const bool in_place = stat(target, &present) == 0 && !S_ISREG(present.st_mode);
  snprintf(temporary, sizeof temporary, "%s", target);
  if (!in_place) snprintf(temporary, sizeof temporary, "%s.tmp%ld", target, (long)getpid());
  const char *what = "opened";
  int descriptor = open(temporary, O_WRONLY | O_CLOEXEC | (in_place ? 0 : O_CREAT | O_TRUNC), 0666);
  if (descriptor < 0) goto failed;
  what = "written";
  while (size > 0) {
    ssize_t written = write(descriptor, text, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) goto failed;
    text += written;
    size -= (size_t)written;
  }
  if (fsync(descriptor) != 0 && errno != EINVAL && errno != EROFS) goto failed;
  what = "closed";
  int closed = close(descriptor);
  descriptor = -1;
  if (closed != 0) goto failed;
  what = "renamed";
  if (!in_place && rename(temporary, target) != 0) goto failed;
  if (!in_place) sync_folder_of(target);
  return NOPROP_OK;
failed:;
  int error = errno;
  if (descriptor >= 0) close(descriptor);
  if (!in_place) unlink(temporary);
  return status_set(NOPROP_FILE_ERROR, "%s could not be %s: %s", path, what, strerror(error));
}

noprop_status run_file_read(const char *path, char **text) {
  *text = NULL;
  noprop_status status = NOPROP_OK;
  char *data = NULL;
  FILE *file = fopen(path, "rbe");
  if (!file) return status_set(NOPROP_FILE_ERROR, "%s could not be opened: %s", path, strerror(errno));
  size_t size = 0, capacity = 4096;
  data = malloc(capacity);
  while (data) {
    size_t got = fread(data + size, 1, capacity - size - 1, file);
    size += got;
    if (got == 0) break;
    if (capacity - size > 1) continue;
    char *larger = realloc(data, capacity *= 2);
    if (!larger) free(data);
    data = larger;
  }
  if (!data) {
    status = status_set(NOPROP_OUT_OF_MEMORY, "no memory to read %s", path);
  } else if (ferror(file)) {
    free(data);
    status = status_set(NOPROP_FILE_ERROR, "%s could not be read: %s", path, strerror(errno));
  } else {
    data[size] = 0;
    *text = data;
  }
  fclose(file);
  return status;
}

void text_add(struct text *text, const char *format, ...) {
  if (text->failed) return;
  for (;;) {
    va_list arguments;
    va_start(arguments, format);
    size_t space = text->capacity - text->size;
    int length = vsnprintf(text->data ? text->data + text->size : NULL, text->data ? space : 0, format, arguments);
    va_end(arguments);
    if (length >= 0 && text->data && (size_t)length < space) {
      text->size += (size_t)length;
      return;
    }
    size_t capacity = (text->size + (length > 0 ? (size_t)length : 0) + 256) * 2;
    char *larger = length < 0 ? NULL : realloc(text->data, capacity);
    if (!larger) {
      text->failed = true;
      return;
    }
    text->data = larger;
    text->capacity = capacity;
  }
}

noprop_status text_write(struct text *text, const char *folder, const char *name) {
  char path[RUN_PATH];
  noprop_status status = text->failed ? status_set(NOPROP_OUT_OF_MEMORY, "no memory to write %s", name) : NOPROP_OK;
  if (status == NOPROP_OK) status = run_path(path, folder, name);
  if (status == NOPROP_OK) status = run_file_write(path, text->data ? text->data : "", text->size);
  free(text->data);
  *text = (struct text){0};
  return status;
}

noprop_status text_append(struct text *text, const char *folder, const char *name) {
  char path[RUN_PATH];
  noprop_status status = text->failed ? status_set(NOPROP_OUT_OF_MEMORY, "no memory to write %s", name) : NOPROP_OK;
  if (status == NOPROP_OK) status = run_path(path, folder, name);
  if (status == NOPROP_OK) {
    FILE *file = fopen(path, "ae");
    const bool written = file && fputs(text->data ? text->data : "", file) >= 0;
    if ((file && fclose(file) != 0) || !written)
      status = status_set(NOPROP_FILE_ERROR, "%s could not be written: %s", path, strerror(errno));
  }
  free(text->data);
  *text = (struct text){0};
  return status;
}

double run_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
