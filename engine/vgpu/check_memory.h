/* Mode `check`: the allocations that the device knows or knew, and what is initialised of them. */
#ifndef VGPU_CHECK_MEMORY_H
#define VGPU_CHECK_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cell;

struct object {
  uint64_t low, high;
  const void *context;
  int kind; /* enum region_kind */
  bool freed;
  uint8_t *initialised; /* a bit per byte; NULL: all is */
  struct cell *cells;   /* one per word of 4 bytes, made at the first access; check_race.c */
};

/* The object, live or freed, that holds the address; NULL if none does. */
struct object *check_object(uint64_t address);
/* The live or freed object that lies nearest to the address. */
struct object *check_nearest(uint64_t address);

/* Bits [first, first + count) of a bitmap. */
bool bits_all_set(const uint8_t *bits, uint64_t first, uint64_t count);
void bits_set(uint8_t *bits, uint64_t first, uint64_t count);

/* Held while a launch runs, and by the program's side while it changes the objects. */
void check_lock(void);
void check_unlock(void);

/* The observer's functions for the program's side. */
void check_allocated(uint64_t low, uint64_t high, int kind, const void *context);
void check_freed(uint64_t low, uint64_t high, int kind);
void check_bad_free(uint64_t address);
void check_written(uint64_t low, uint64_t high);
void check_copied(uint64_t to, uint64_t from, uint64_t bytes);
void check_context_end(const void *context);

#endif
