/* Puts machine code into memory: a relocatable ELF object for x86-64, as LLVM writes it, in one mapping of its own. */
#ifndef VGPU_TRANSLATE_LOADER_H
#define VGPU_TRANSLATE_LOADER_H

#include <stdbool.h>
#include <stddef.h>

struct loaded {
  unsigned char *memory; /* code, executable and not writable; then data that is only read */
  size_t bytes;
};

/* Loads the object and finds the addresses of `count` of its symbols. False and a reason (a sentence without a full
 * stop) if it is damaged, lacks a symbol, or has anything that the translator's objects do not have. */
bool loader_open(struct loaded *loaded, const unsigned char *object, size_t bytes, const char *const *names,
                 void **addresses, unsigned count, char *reason, size_t reason_bytes);
void loader_close(struct loaded *loaded);

#endif
