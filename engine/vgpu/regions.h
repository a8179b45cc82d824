/* The virtual GPU's address space: one large reserved range of the process, in which allocations, mapped memory and
 * module variables get their places, and the register of what is accessible. Device addresses are host pointers. */
#ifndef VGPU_REGIONS_H
#define VGPU_REGIONS_H

#include "engine/vgpu/api.h"

enum region_kind {
  REGION_DEVICE,
  REGION_MANAGED,
  REGION_HOST,       /* cuMemHostAlloc */
  REGION_REGISTERED, /* the program's own memory, cuMemHostRegister */
  REGION_MODULE,     /* a module's variables */
  REGION_MAPPED,     /* cuMemMap with access */
  REGION_POOL,       /* cuMemAllocAsync */
  REGION_GRAPH       /* a graph's node of allocation */
};

struct region_advice { /* cuMemAdvise, cuMemPrefetchAsync */
  bool read_mostly, by_device, by_host;
  CUmemLocation preferred, prefetched;
};

struct region {
  uint64_t low, high; /* [low, high) */
  enum region_kind kind;
  CUcontext context;
  unsigned flags; /* of cuMemHostAlloc, cuMemHostRegister */
  struct region_advice advice;
};

/* Memory the device says it has: that of the machine, or of the control group it is confined to. */
size_t regions_total(void);
size_t regions_in_use(void);

/* Zero-filled memory of that size, registered. Alignment: 256, or 2 MiB from that size on. NULL if `kind` is not
 * REGION_HOST and it exceeds what the device has left, or if the system has no more. */
void *regions_allocate(enum region_kind kind, size_t bytes, CUcontext context);
/* Gives back what regions_allocate gave; false if `address` is not the start of a region of that kind. */
bool regions_free(enum region_kind kind, uint64_t address);
void regions_free_all(CUcontext context);

/* The region that holds `address`. */
bool regions_find(uint64_t address, struct region *region);
/* Keeps the flags that the region was made with. */
void regions_set_flags(uint64_t low, unsigned flags);
void regions_set_advice(uint64_t low, const struct region_advice *advice);

/* Registers and unregisters memory that lies elsewhere or is mapped. False if it overlaps, or is not registered so. */
bool regions_add(enum region_kind kind, uint64_t low, size_t bytes, CUcontext context);
bool regions_remove(enum region_kind kind, uint64_t low);

/* Address space without memory, aligned to 2 MiB; NULL if there is none. */
void *regions_reserve(size_t bytes);
void regions_unreserve(void *address);
/* Puts memory of the device under reserved addresses, without access and registration, and takes it away again. False
 * if the addresses are not reserved. */
bool regions_commit(void *address, size_t bytes);
void regions_decommit(void *address, size_t bytes);
/* Takes and gives back memory of the device's total without a place for it. */
bool regions_charge(size_t bytes);
void regions_refund(size_t bytes);

#endif
