/* Reads and writes entries: a header with length and checksum, then the contents. */
#define _GNU_SOURCE 1
#include "engine/cache_entry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/sha256.h"

struct header {
  char magic[CACHE_ENTRY_MAGIC];
  uint64_t size; /* of the contents */
  unsigned char checksum[SHA256_SIZE];
};

static void checksum(unsigned char digest[SHA256_SIZE], const void *data, size_t size) {
  struct sha256 hash;
  sha256_begin(&hash);
  sha256_add(&hash, data, size);
  sha256_end(&hash, digest);
}

bool cache_entry_read(const char *path, const char magic[CACHE_ENTRY_MAGIC], char **result, size_t *size) {
  FILE *file = fopen(path, "rbe");
  if (file == NULL) return false;
  struct header header;
  unsigned char digest[SHA256_SIZE];
  struct stat about;
  char *data = NULL;
  bool whole = fread(&header, sizeof header, 1, file) == 1 && memcmp(header.magic, magic, sizeof header.magic) == 0 &&
               fstat(fileno(file), &about) == 0 && header.size > 0 &&
               header.size == (uint64_t)about.st_size - sizeof header &&
               (data = malloc((size_t)header.size + 1)) != NULL && fread(data, (size_t)header.size, 1, file) == 1;
  fclose(file);
  if (whole) {
    checksum(digest, data, (size_t)header.size);
    whole = memcmp(digest, header.checksum, sizeof digest) == 0;
  }
  if (!whole) {
    free(data);
    return false;
  }
  data[header.size] = '\0';
  *result = data;
  *size = (size_t)header.size;
  return true;
}

bool cache_entry_write(const char *path, const char magic[CACHE_ENTRY_MAGIC], const void *data, size_t size,
                       bool durable) {
  char temporary[4200];
  snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
  const int descriptor = mkostemp(temporary, O_CLOEXEC);
  if (descriptor < 0) return false;
  FILE *file = fdopen(descriptor, "wb");
  if (file == NULL) {
    close(descriptor);
    unlink(temporary);
    return false;
  }
  struct header header = {.size = size};
  memcpy(header.magic, magic, sizeof header.magic);
  checksum(header.checksum, data, size);
  bool written = fwrite(&header, sizeof header, 1, file) == 1 && fwrite(data, size, 1, file) == 1 &&
                 fflush(file) == 0 && (!durable || fsync(descriptor) == 0);
  written = fclose(file) == 0 && written;
  if (written && rename(temporary, path) == 0) return true;
  const int error = errno;
  unlink(temporary);
  errno = error;
  return false;
}
