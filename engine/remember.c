/* One entry a choice, named by the hash of its text; a lock that is held while an entry is looked for and written. */
#define _GNU_SOURCE 1
#include "engine/remember.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "engine/cache_entry.h"
#include "engine/sha256.h"
#include "engine/vgpu/cache_folder.h"

enum { FOLDER = 4000, PATH = 4200 };

static const char entry_magic[CACHE_ENTRY_MAGIC] = {'N', 'P', 'C', 'H', 'O', 'S', '1', '\n'};

static void entry_path(char path[PATH], const char *folder, const char *text) {
  struct sha256 hash;
  unsigned char digest[SHA256_SIZE];
  char name[2 * SHA256_SIZE + 1];
  sha256_begin(&hash);
  sha256_add(&hash, text, strlen(text));
  sha256_end(&hash, digest);
  for (int i = 0; i < SHA256_SIZE; ++i) snprintf(name + 2 * i, 3, "%02x", digest[i]);
  snprintf(path, PATH, "%s/%s.choice", folder, name);
}

/* An entry holds its text, which a reader may look at, and on a line of its own the choice. */
static bool read_choice(const char *path, const char *text, int *choice) {
  const size_t length = strlen(text);
  char *data = NULL;
  size_t size = 0;
  if (!cache_entry_read(path, entry_magic, &data, &size)) return false;
  const bool found = size > length && memcmp(data, text, length) == 0 && sscanf(data + length, "\n%d", choice) == 1;
  free(data);
  return found;
}

static bool write_choice(const char *path, const char *text, int choice) {
  char *data = NULL;
  const int size = asprintf(&data, "%s\n%d\n", text, choice);
  const bool written = size > 0 && cache_entry_write(path, entry_magic, data, (size_t)size, true);
  if (size > 0) free(data);
  return written;
}

/* A descriptor whose lock no other thread or process holds, or -1 with errno. To close it gives the lock back. */
static int lock(const char *path) {
  const int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) return -1;
  int result = flock(descriptor, LOCK_EX);
  while (result != 0 && errno == EINTR) result = flock(descriptor, LOCK_EX);
  if (result == 0) return descriptor;
  const int error = errno;
  close(descriptor);
  errno = error;
  return -1;
}

bool remember_find(const char *text, int *choice) {
  char folder[FOLDER], path[PATH];
  cache_folder_name(folder, sizeof folder);
  entry_path(path, folder, text);
  return folder[0] != '\0' && read_choice(path, text, choice);
}

bool remember_settle(const char *text, int *choice, char *reason, size_t size) {
  char name[FOLDER], folder[FOLDER], path[PATH], lock_path[PATH];
  cache_folder_name(name, sizeof name);
  cache_folder(folder, sizeof folder);
  if (folder[0] == '\0') {
    if (name[0] == '\0')
      snprintf(reason, size, "none of NOPROP_CACHE, XDG_CACHE_HOME and HOME names a folder");
    else
      snprintf(reason, size, "%s: cannot be written to", name);
    return false;
  }
  entry_path(path, folder, text);
  snprintf(lock_path, sizeof lock_path, "%s/choices.lock", folder);
  const int held = lock(lock_path);
  if (held < 0) {
    snprintf(reason, size, "%s: %s", lock_path, strerror(errno));
    return false;
  }
  const bool settled = read_choice(path, text, choice) || write_choice(path, text, *choice);
  if (!settled) snprintf(reason, size, "%s: %s", path, strerror(errno));
  close(held);
  return settled;
}
