/* The findings of mode `check`: kept once per kind and lines, counted, written where the user wants them. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/check.h"
#include "engine/vgpu/vgpu.h"

enum { MOST = 1000 }; /* distinct findings: a report of more helps nobody */

static struct check_finding *findings; /* [MOST], made at the first one */
static size_t count;
static unsigned long long reported; /* those that the last summary told of */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_ullong total;

static const char *const names[] = {
#define X(name, text) text,
    CHECK_KINDS(X)
#undef X
};

const char *check_kind_name(enum check_kind kind) { return kind < CHECK_KIND_COUNT ? names[kind] : "unknown"; }

unsigned long long vgpu_findings(void) { return atomic_load(&total); }

const struct check_finding *check_finding_at(size_t index) { return index < count ? &findings[index] : NULL; }

void check_forget(void) {
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < count; ++i) {
    struct check_party *const parties[] = {&findings[i].first, &findings[i].second};
    for (int p = 0; p < 2; ++p) {
      free((void *)(uintptr_t)parties[p]->file);
      free((void *)(uintptr_t)parties[p]->call_file);
    }
  }
  count = 0;
  reported = 0;
  atomic_store(&total, 0);
  pthread_mutex_unlock(&lock);
}

/* ---- the text ---- */

static FILE *open_report(void) {
  const char *name = getenv("NOPROP_VGPU_REPORT");
  if (name == NULL || name[0] == '\0') return stderr;
  FILE *file = fopen(name, "a");
  if (file == NULL) return stderr;
  return file;
}

static void close_report(FILE *file) {
  if (file != stderr) fclose(file);
}

static void write_party(FILE *file, const struct check_party *party) {
  fprintf(file, "    %s by thread (%u, %u, %u) of block (%u, %u, %u)", party->what, party->thread[0], party->thread[1],
          party->thread[2], party->block[0], party->block[1], party->block[2]);
  if (party->line != 0) fprintf(file, " at %s:%u", party->file != NULL ? party->file : "?", party->line);
  if (party->call_line != 0) {
    fprintf(file, ", called at %s:%u", party->call_file != NULL ? party->call_file : "?", party->call_line);
  }
  fprintf(file, " (PTX line %u)\n", party->ptx_line);
}

static void write_finding(const struct check_finding *finding) {
  FILE *file = open_report();
  fprintf(file, "noprop check: %s", finding->what);
  if (finding->kernel[0] != '\0') fprintf(file, " in kernel %s", finding->kernel);
  if (finding->place[0] != '\0') fprintf(file, "\n    %s", finding->place);
  fputc('\n', file);
  if (finding->first.what[0] != '\0') write_party(file, &finding->first);
  if (finding->second.what[0] != '\0') write_party(file, &finding->second);
  close_report(file);
}

void check_summary(void) {
  pthread_mutex_lock(&lock);
  const unsigned long long now = atomic_load(&total);
  if (now != reported) {
    FILE *file = open_report();
    fprintf(file, "noprop check: %zu finding%s, met %llu time%s\n", count, count == 1 ? "" : "s", now,
            now == 1 ? "" : "s");
    close_report(file);
    reported = now;
  }
  pthread_mutex_unlock(&lock);
}

/* ---- keeping ---- */

static bool same_name(const char *a, const char *b) { return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0); }

static bool same_line(const struct check_party *a, const struct check_party *b) {
  if (a->line != 0 && b->line != 0) {
    return a->line == b->line && a->call_line == b->call_line && same_name(a->file, b->file) &&
           same_name(a->call_file, b->call_file);
  }
  return a->ptx_line == b->ptx_line;
}

static bool same(const struct check_finding *a, const struct check_finding *b) {
  if (a->kind != b->kind || strcmp(a->kernel, b->kernel) != 0) return false;
  if (a->kernel[0] == '\0') return strcmp(a->what, b->what) == 0;
  if ((a->second.what[0] == '\0') != (b->second.what[0] == '\0')) return false;
  if (a->second.what[0] == '\0') return same_line(&a->first, &b->first);
  return (same_line(&a->first, &b->first) && same_line(&a->second, &b->second)) ||
         (same_line(&a->first, &b->second) && same_line(&a->second, &b->first));
}

/* The lock is held. */
static bool counted(const struct check_finding *finding) {
  for (size_t i = 0; i < count; ++i) {
    if (!same(&findings[i], finding)) continue;
    ++findings[i].count;
    atomic_fetch_add(&total, 1);
    return true;
  }
  return false;
}

bool check_counted(const struct check_finding *finding) {
  pthread_mutex_lock(&lock);
  const bool known = counted(finding);
  pthread_mutex_unlock(&lock);
  return known;
}

/* Names belong to modules, which may be unloaded. */
static void keep_names(struct check_party *party) {
  if (party->file != NULL) party->file = strdup(party->file);
  if (party->call_file != NULL) party->call_file = strdup(party->call_file);
}

void check_report(const struct check_finding *finding) {
  pthread_mutex_lock(&lock);
  if (!counted(finding)) {
    atomic_fetch_add(&total, 1);
    if (findings == NULL) findings = calloc(MOST, sizeof *findings);
    if (findings != NULL && count < MOST) {
      findings[count] = *finding;
      findings[count].count = 1;
      keep_names(&findings[count].first);
      keep_names(&findings[count].second);
      write_finding(&findings[count++]);
    }
  }
  pthread_mutex_unlock(&lock);
}
