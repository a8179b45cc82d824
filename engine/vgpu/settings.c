#include "engine/vgpu/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/workers.h"

/* A number in plain decimal notation, from `least` to `most`. */
static bool is_number(const char *text, bool whole, double least, double most) {
  if (text[strspn(text, whole ? "0123456789" : "0123456789.")] != '\0') return false;
  char *end;
  const double value = strtod(text, &end);
  return *end == '\0' && value >= least && value <= most;
}

static bool is_one_of(const char *text, const char *const *words) {
  for (; *words != NULL; ++words) {
    if (strcmp(text, *words) == 0) return true;
  }
  return false;
}

static bool threads(const char *text) { return is_number(text, true, 1, WORKERS_MOST); }

static bool capability(const char *text) { return is_number(text, true, 75, 120); }

static bool seconds(const char *text) { return is_number(text, false, 0, 1e9); }

static bool executor(const char *text) {
  static const char *const words[] = {"auto", "interpret", "translate", NULL};
  return is_one_of(text, words);
}

static bool instructions(const char *text) {
  static const char *const words[] = {"avx512", "avx2", "baseline", NULL};
  return is_one_of(text, words);
}

bool settings_are_right(char *reason, size_t reason_bytes) {
  static const struct {
    const char *name, *meaning;
    bool (*is_right)(const char *text);
  } settings[] = {{"NOPROP_VGPU_THREADS", "a whole number from 1 to 1024", threads},
                  {"NOPROP_VGPU_CAPABILITY", "a compute capability from 75 to 120 (86 for 8.6)", capability},
                  {"NOPROP_VGPU_EXECUTOR", "auto, interpret or translate", executor},
                  {"NOPROP_VGPU_INSTRUCTIONS", "avx512, avx2 or baseline", instructions},
                  {"NOPROP_VGPU_LIMIT_SECONDS", "a number of seconds from 0 (no limit) to 1000000000", seconds}};
  for (size_t i = 0; i < sizeof settings / sizeof *settings; ++i) {
    const char *text = getenv(settings[i].name);
    if (text == NULL || text[0] == '\0' || settings[i].is_right(text)) continue;
    snprintf(reason, reason_bytes, "%s must be %s, not '%.60s'", settings[i].name, settings[i].meaning, text);
    return false;
  }
  return true;
}
