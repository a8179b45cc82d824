/* Containers of device code, as nvcc's fatbinary writes them.
 *
 * The layout is not documented by NVIDIA; what is used here was read off containers that nvcc 11 to 13 made: a header,
 * then entries, each with a header that says what it holds, for which architecture, and how it is packed. */
#define _GNU_SOURCE 1
#include "engine/vgpu/fatbin.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t CONTAINER = 0xba55ed50, WRAPPER = 0x466243b1; /* magic numbers */
enum { KIND_PTX = 1 };
enum { TEXT_LIMIT = 256 << 20 };                    /* bytes of PTX; a few damaged bytes must not ask for all memory */
enum { PACKED_LZ4 = 0x2000, PACKED_ZSTD = 0x8000 }; /* flags of an entry */

struct container {
  uint32_t magic;
  uint16_t version, header_bytes;
  uint64_t bytes; /* of all entries */
};

struct wrapper {
  uint32_t magic, version;
  const void *container;
};

struct entry {
  uint16_t kind, version;
  uint32_t header_bytes;
  uint64_t bytes; /* that follow the header */
  uint32_t packed_bytes, options;
  uint16_t minor, major;
  uint32_t architecture;
  uint32_t name_offset, name_bytes;
  uint64_t flags, unused;
  uint64_t unpacked_bytes;
};

static uint32_t magic_of(const void *image) {
  uint32_t magic;
  memcpy(&magic, image, sizeof magic);
  return magic;
}

bool fatbin_is(const void *image) {
  const char *first = image;
  if (first[0] == '\0' || first[1] == '\0' || first[2] == '\0') return false; /* text shorter than a magic number */
  return magic_of(image) == CONTAINER || magic_of(image) == WRAPPER;
}

/* ---- unpacking ---- */

/* Of a count, what does not fit into four bits follows in bytes. */
static bool lz4_count(const unsigned char **at, const unsigned char *end, size_t *count) {
  if (*count < 15) return true;
  for (unsigned part = 255; part == 255;) {
    if (*at == end) return false;
    part = *(*at)++;
    *count += part;
  }
  return true;
}

/* One LZ4 block. False if it is damaged or does not give exactly `size` bytes. */
static bool unpack_lz4(unsigned char *to, size_t size, const unsigned char *at, size_t packed) {
  const unsigned char *end = at + packed;
  size_t done = 0;
  while (at < end) {
    const unsigned token = *at++;
    size_t literals = token >> 4, match = token & 15;
    if (!lz4_count(&at, end, &literals) || literals > (size_t)(end - at) || literals > size - done) return false;
    memcpy(to + done, at, literals);
    done += literals;
    at += literals;
    if (at == end) break; /* the last sequence has no match */
    if (end - at < 2) return false;
    const size_t distance = at[0] | (size_t)at[1] << 8;
    at += 2;
    if (!lz4_count(&at, end, &match)) return false;
    match += 4;
    if (distance == 0 || distance > done || match > size - done) return false;
    for (size_t i = 0; i < match; ++i, ++done) to[done] = to[done - distance]; /* may overlap */
  }
  return done == size;
}

/* By the system's library, which nearly every Linux has: the format is far too large for a copy here. */
static bool unpack_zstd(void *to, size_t size, const void *from, size_t packed, char *reason, size_t reason_bytes) {
  void *library = dlopen("libzstd.so.1", RTLD_NOW | RTLD_LOCAL);
  void *symbol = library != NULL ? dlsym(library, "ZSTD_decompress") : NULL;
  if (symbol == NULL) {
    snprintf(reason, reason_bytes,
             "its PTX is packed by zstd, and libzstd.so.1 is not there (nvcc --compress-mode=none avoids it)");
    if (library != NULL) dlclose(library);
    return false;
  }
  size_t (*decompress)(void *, size_t, const void *, size_t);
  memcpy((void *)&decompress, (const void *)&symbol, sizeof decompress);
  const bool good = decompress(to, size, from, packed) == size;
  if (!good) snprintf(reason, reason_bytes, "its PTX is damaged (zstd)");
  dlclose(library);
  return good;
}

static char *unpack(const struct entry *entry, const unsigned char *data, char *reason, size_t reason_bytes) {
  const bool packed = (entry->flags & (PACKED_LZ4 | PACKED_ZSTD)) != 0;
  const uint64_t size = packed ? entry->unpacked_bytes : entry->bytes;
  const uint64_t given = packed ? entry->packed_bytes : entry->bytes;
  if (given > entry->bytes) {
    snprintf(reason, reason_bytes, "the container is damaged");
    return NULL;
  }
  if (size > TEXT_LIMIT) {
    snprintf(reason, reason_bytes, "its PTX has %llu bytes; at most %d are supported", (unsigned long long)size,
             TEXT_LIMIT);
    return NULL;
  }
  char *text = malloc((size_t)size + 1);
  if (text == NULL) {
    snprintf(reason, reason_bytes, "out of memory");
    return NULL;
  }
  text[size] = '\0';
  bool good = true;
  if (!packed) {
    memcpy(text, data, (size_t)size);
  } else if ((entry->flags & PACKED_ZSTD) != 0) {
    good = unpack_zstd(text, (size_t)size, data, (size_t)given, reason, reason_bytes);
  } else {
    good = unpack_lz4((unsigned char *)text, (size_t)size, data, (size_t)given);
    if (!good) snprintf(reason, reason_bytes, "its PTX is damaged (LZ4)");
  }
  if (good) return text;
  free(text);
  return NULL;
}

/* ---- choosing ---- */

char *fatbin_ptx(const void *image, size_t size, unsigned capability, char *reason, size_t reason_bytes) {
  if (magic_of(image) == WRAPPER) {
    struct wrapper wrapper;
    memcpy(&wrapper, image, sizeof wrapper);
    image = wrapper.container;
    size = 0;
    if (image == NULL || magic_of(image) != CONTAINER) {
      snprintf(reason, reason_bytes, "it points to no container");
      return NULL;
    }
  }
  struct container container;
  if (size != 0 && size < sizeof container) {
    snprintf(reason, reason_bytes, "the container is cut short");
    return NULL;
  }
  memcpy(&container, image, sizeof container);
  const unsigned char *at = (const unsigned char *)image + container.header_bytes;
  uint64_t left = container.bytes;
  if (size != 0 && (size < container.header_bytes || left > size - container.header_bytes)) {
    snprintf(reason, reason_bytes, "the container is cut short");
    return NULL;
  }
  struct entry best = {.architecture = 0};
  const unsigned char *best_data = NULL;
  unsigned oldest = 0; /* PTX that is too new */
  while (left >= sizeof(struct entry)) {
    struct entry entry;
    memcpy(&entry, at, sizeof entry);
    if (entry.header_bytes < 64 || entry.header_bytes > left || entry.bytes > left - entry.header_bytes) break;
    if (entry.kind == KIND_PTX && entry.architecture <= capability && entry.architecture >= best.architecture) {
      best = entry;
      best_data = at + entry.header_bytes;
    } else if (entry.kind == KIND_PTX && entry.architecture > capability) {
      if (oldest == 0 || entry.architecture < oldest) oldest = entry.architecture;
    }
    at += entry.header_bytes + entry.bytes;
    left -= entry.header_bytes + entry.bytes;
  }
  if (best_data != NULL) return unpack(&best, best_data, reason, reason_bytes);
  if (oldest != 0) {
    snprintf(reason, reason_bytes, "its oldest PTX is for sm_%u; the virtual GPU stands for sm_%u", oldest, capability);
  } else {
    snprintf(reason, reason_bytes,
             "it holds machine code only; the virtual GPU takes PTX (nvcc -gencode arch=compute_75,code=compute_75)");
  }
  return NULL;
}
