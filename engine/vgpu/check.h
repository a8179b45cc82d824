/* Mode `check`: what it finds, for those who ask, and what its files share.
 *
 *  check.c         the observer: bounds, alignment, initialisation, warps and barriers
 *  check_memory.c  allocations and what is initialised of them
 *  check_race.c    who touched a word, and whether that was before or at the same time
 *  check_clock.c   what a thread knows of others
 *  check_report.c  findings: collected, counted, written
 */
#ifndef VGPU_CHECK_H
#define VGPU_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off */
#define CHECK_KINDS(X) \
  X(OUT_OF_BOUNDS, "out of bounds") X(USE_AFTER_FREE, "use after free") X(MISALIGNED, "misaligned") \
  X(UNINITIALISED, "uninitialised read") X(RACE, "race") X(BARRIER, "barrier") X(WARP, "warp") \
  X(SHUFFLE, "shuffle") X(LEAK, "leak") X(BAD_FREE, "bad free") X(FAULT, "fault")
/* clang-format on */

enum check_kind {
#define X(name, text) CHECK_##name,
  CHECK_KINDS(X)
#undef X
      CHECK_KIND_COUNT
};

/* One of those that take part in a finding. */
struct check_party {
  char what[48];         /* "write of 4 bytes"; "": nobody */
  const char *file;      /* of the source; NULL if the PTX does not say */
  unsigned line;         /* 0: not known */
  const char *call_file; /* where the function that the line is in was inlined */
  unsigned call_line;
  unsigned ptx_line;
  unsigned block[3], thread[3];
};

struct check_finding {
  enum check_kind kind;
  char kernel[80]; /* "" if no kernel is involved */
  char what[160];  /* the sentence: "race between lanes of a warp" */
  char place[160]; /* "4 bytes at shared address 0x80, 0 bytes past the end of 'a' (128 bytes)" */
  uint64_t address;
  struct check_party first, second; /* first: the one that was caught; second: the other, if there is one */
  unsigned long long count;         /* how often */
};

/* Findings with different kinds or lines, in the order in which they were found. NULL past the last one. */
const struct check_finding *check_finding_at(size_t index);
/* Forgets all findings, for tests. */
void check_forget(void);

/* ---- inside ---- */

/* Counts it if an equal one (kind, kernel, lines of the parties) is known, else keeps it and writes it to the report:
 * standard error, or the file that NOPROP_VGPU_REPORT names. */
void check_report(const struct check_finding *finding);
/* Whether an equal finding has been reported: then it is counted, and nothing more need be found out. */
bool check_counted(const struct check_finding *finding);
void check_summary(void);

const char *check_kind_name(enum check_kind kind);

#endif
