/* Object files of translated kernels on disk: one file each, named after its key, with a header that tells a damaged
 * file. Files are written under a temporary name and renamed, so that readers and other processes never see half of
 * one. */
#define _GNU_SOURCE 1
#include "engine/vgpu/translate/cache.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/vgpu/translate/runtime.h"

static const char magic[8] = "nptrans1";

struct header {
  char magic[8];
  uint64_t key[2], bytes, sum;
};

/* Two 64-bit FNV-1a sums with different starts, taken over whole words. */
static void mix(struct cache_key *key, uint64_t word) {
  for (int i = 0; i < 2; i++) {
    uint64_t h = key->words[i] ^ (word + (uint64_t)i * 0x9e3779b97f4a7c15u);
    h *= 0x100000001b3u;
    key->words[i] = h ^ h >> 29;
  }
}

static void mix_bytes(struct cache_key *key, const void *data, size_t bytes) {
  const unsigned char *at = data;
  mix(key, bytes);
  for (size_t i = 0; i < bytes; i += 8) {
    uint64_t word = 0;
    memcpy(&word, at + i, bytes - i < 8 ? bytes - i : 8);
    mix(key, word);
  }
}

static void mix_operand(struct cache_key *key, const struct ptx_operand *operand) {
  mix(key,
      operand->kind | (uint64_t)operand->space << 8 | (uint64_t)operand->negate << 16 | (uint64_t)operand->index << 32);
  mix(key, operand->value);
}

struct cache_key cache_key_of(const struct ptx_function *function, const unsigned block[3], const char *identity,
                              uint64_t translator) {
  struct cache_key key = {{0xcbf29ce484222325u, 0x84222325cbf29ce4u}};
  mix(&key, translator);
  mix_bytes(&key, identity, strlen(identity));
  for (int i = 0; i < 3; i++) mix(&key, block[i]);
  mix(&key, function->shared_bytes);
  mix(&key, function->local_bytes);
  mix(&key, function->parameter_bytes);
  mix_bytes(&key, function->register_class, function->register_count);
  for (uint32_t b = 0; b < function->block_count; b++) {
    const struct ptx_block *block_at = &function->blocks[b];
    mix(&key, block_at->first | (uint64_t)block_at->count << 32);
    mix(&key, block_at->next | (uint64_t)block_at->target_count << 32);
    for (uint32_t t = 0; t < block_at->target_count; t++) mix(&key, block_at->targets[t]);
  }
  for (uint32_t i = 0; i < function->instruction_count; i++) {
    const struct ptx_instruction *x = &function->instructions[i];
    mix(&key, x->op | (uint64_t)x->flags << 16 | (uint64_t)x->type << 32 | (uint64_t)x->source_type << 40 |
                  (uint64_t)x->space << 48 | (uint64_t)x->rounding << 56);
    mix(&key, x->mode | (uint64_t)x->combine << 8 | (uint64_t)x->order << 16 | (uint64_t)x->vector << 24 |
                  (uint64_t)x->lut << 32 | (uint64_t)x->dst_count << 40 | (uint64_t)x->src_count << 48 |
                  (uint64_t)x->guard_negate << 56);
    mix(&key, x->guard);
    mix(&key, (uint64_t)x->offset);
    const struct ptx_matrix *m = &x->matrix;
    mix(&key, m->m | (uint64_t)m->n << 8 | (uint64_t)m->k << 16 | (uint64_t)m->a << 32 | (uint64_t)m->b << 40 |
                  (uint64_t)m->c << 48 | (uint64_t)m->d << 56);
    mix(&key, m->a_count | (uint64_t)m->b_count << 8 | (uint64_t)m->c_count << 16 | (uint64_t)m->a_column << 24 |
                  (uint64_t)m->b_row << 32);
    for (unsigned k = 0; k < x->dst_count; k++) mix_operand(&key, &x->dst[k]);
    for (unsigned k = 0; k < x->src_count; k++) mix_operand(&key, &x->src[k]);
  }
  return key;
}

static uint64_t checksum(const unsigned char *object, size_t bytes) {
  struct cache_key key = {{0xcbf29ce484222325u, 0x84222325cbf29ce4u}};
  mix_bytes(&key, object, bytes);
  return key.words[0] ^ key.words[1];
}

uint64_t cache_translator_sum(void) {
  Dl_info self;
  if (!dladdr(magic, &self) || !self.dli_fname) return 0;
  FILE *file = fopen(self.dli_fname, "rb");
  if (!file) return 0;
  struct cache_key key = {{0xcbf29ce484222325u, 0x84222325cbf29ce4u}};
  unsigned char buffer[65536];
  size_t bytes;
  while ((bytes = fread(buffer, 1, sizeof buffer, file)) > 0) mix_bytes(&key, buffer, bytes);
  const bool complete = !ferror(file);
  fclose(file);
  return complete ? key.words[0] ^ key.words[1] : 0;
}

enum { PATH_ROOM = 4200 };

static void file_name(char *path, const char *folder, struct cache_key key) {
  snprintf(path, PATH_ROOM, "%s/%016llx%016llx.o", folder, (unsigned long long)key.words[0],
           (unsigned long long)key.words[1]);
}

unsigned char *cache_read(const char *folder, struct cache_key key, size_t *bytes) {
  char path[PATH_ROOM];
  file_name(path, folder, key);
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  struct header header;
  unsigned char *object = NULL;
  struct stat status;
  const bool usable = fread(&header, sizeof header, 1, file) == 1 && !memcmp(header.magic, magic, sizeof magic) &&
                      !memcmp(header.key, key.words, sizeof header.key) && fstat(fileno(file), &status) == 0 &&
                      (uint64_t)status.st_size == sizeof header + header.bytes && header.bytes > 0;
  if (usable) object = malloc(header.bytes);
  if (object &&
      (fread(object, 1, header.bytes, file) != header.bytes || checksum(object, header.bytes) != header.sum)) {
    free(object);
    object = NULL;
  }
  fclose(file);
  if (object) *bytes = header.bytes;
  return object;
}

static void make_folder(const char *folder) {
  char path[PATH_ROOM];
  snprintf(path, sizeof path, "%s", folder);
  for (char *at = path + 1; *at; at++) {
    if (*at != '/') continue;
    *at = '\0';
    mkdir(path, 0700);
    *at = '/';
  }
  mkdir(path, 0700);
}

void cache_write(const char *folder, struct cache_key key, const unsigned char *object, size_t bytes) {
  char path[PATH_ROOM], temporary[PATH_ROOM + 32];
  file_name(path, folder, key);
  make_folder(folder);
  snprintf(temporary, sizeof temporary, "%s/translating.XXXXXX", folder);
  const int descriptor = mkstemp(temporary);
  if (descriptor < 0) return;
  FILE *file = fdopen(descriptor, "wb");
  if (!file) {
    close(descriptor);
    unlink(temporary);
    return;
  }
  struct header header = {.key = {key.words[0], key.words[1]}, .bytes = bytes, .sum = checksum(object, bytes)};
  memcpy(header.magic, magic, sizeof magic);
  const bool written = fwrite(&header, sizeof header, 1, file) == 1 && fwrite(object, 1, bytes, file) == bytes;
  if (fclose(file) != 0 || !written || rename(temporary, path) != 0) unlink(temporary);
}
