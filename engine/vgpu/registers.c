/* registers.h: runs ptxas -v and reads its report; counts slots of virtual registers. */
#define _GNU_SOURCE 1
#include "engine/vgpu/registers.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/vgpu/interpreter.h"

extern char **environ;

/* ---- ptxas ---- */

static bool find_program(char *path, size_t size) {
  const char *setting = getenv("NOPROP_VGPU_PTXAS");
  if (setting != NULL && setting[0] != '\0') {
    snprintf(path, size, "%s", setting);
    return strcmp(setting, "off") != 0;
  }
  const char *home = getenv("CUDA_HOME");
  if (home != NULL && snprintf(path, size, "%s/bin/ptxas", home) < (int)size && access(path, X_OK) == 0) return true;
  const char *folders = getenv("PATH");
  for (const char *at = folders; at != NULL && *at != '\0';) {
    const int length = (int)strcspn(at, ":");
    if (snprintf(path, size, "%.*s/ptxas", length, at) < (int)size && access(path, X_OK) == 0) return true;
    at += length + (at[length] == ':');
  }
  snprintf(path, size, "/usr/local/cuda/bin/ptxas");
  return access(path, X_OK) == 0;
}

/* Runs it with its messages going to the open file `messages`. */
static bool run_program(char *const arguments[], int messages) {
  posix_spawn_file_actions_t actions;
  if (posix_spawn_file_actions_init(&actions) != 0) return false;
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, messages, 1);
  posix_spawn_file_actions_adddup2(&actions, messages, 2);
  pid_t child;
  int status = -1;
  const bool started = posix_spawn(&child, arguments[0], &actions, NULL, arguments, environ) == 0;
  if (started) waitpid(child, &status, 0);
  posix_spawn_file_actions_destroy(&actions);
  return started && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* "... Compiling entry function 'NAME' for 'sm_86'", later "... Used 40 registers, ...". */
static void read_report(FILE *report, void (*found)(void *context, const char *kernel, unsigned registers),
                        void *context) {
  char line[4096], kernel[1024] = "";
  while (fgets(line, sizeof line, report) != NULL) {
    static const char begin[] = "Compiling entry function '", used[] = ": Used ";
    const char *name = strstr(line, begin), *count = strstr(line, used);
    if (name != NULL) {
      name += sizeof begin - 1;
      snprintf(kernel, sizeof kernel, "%.*s", (int)strcspn(name, "'"), name);
    } else if (count != NULL && kernel[0] != '\0') {
      found(context, kernel, (unsigned)strtoul(count + sizeof used - 1, NULL, 10));
      kernel[0] = '\0';
    }
  }
}

/* An unnamed file that a child reaches as /proc/self/fd/N. */
static FILE *unnamed_file(const char *text) {
  FILE *file = tmpfile();
  if (file == NULL) return NULL;
  if (fputs(text, file) >= 0 && fflush(file) == 0) return file;
  fclose(file);
  return NULL;
}

bool registers_compile(const char *text, int capability,
                       void (*found)(void *context, const char *kernel, unsigned registers), void *context) {
  char program[4096], architecture[32], source[64];
  if (!find_program(program, sizeof program)) return false;
  FILE *ptx = unnamed_file(text), *report = unnamed_file("");
  bool done = false;
  if (ptx != NULL && report != NULL) {
    snprintf(architecture, sizeof architecture, "-arch=sm_%d", capability);
    snprintf(source, sizeof source, "/proc/%ld/fd/%d", (long)getpid(), fileno(ptx));
    char verbose[] = "-v", output[] = "-o", nowhere[] = "/dev/null";
    char *const arguments[] = {program, verbose, architecture, source, output, nowhere, NULL};
    done = run_program(arguments, fileno(report));
    rewind(report);
    if (done) read_report(report, found, context);
  }
  if (ptx != NULL) fclose(ptx);
  if (report != NULL) fclose(report);
  return done;
}

/* ---- lifetimes ---- */

unsigned registers_alive(const struct ptx_function *function) {
  uint32_t *offsets = malloc((function->register_count + 1) * sizeof *offsets);
  if (offsets == NULL) return 0;
  const uint32_t start = SLOT_64; /* offset 0 stands for registers that are never used */
  uint32_t end = vgpu_allocate_slots(function, start, offsets);
  for (uint32_t r = 0; r < function->register_count; r++) { /* predicates, which come last, do not count */
    const bool predicate = function->register_class[r] == PTX_CLASS_PRED;
    if (predicate && offsets[r] >= start && offsets[r] < end) end = offsets[r];
  }
  free(offsets);
  return end > start ? (end - start) / SLOT_32 : 0;
}
