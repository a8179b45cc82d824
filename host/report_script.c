/* Scripts for gnuplot and how they are run: a child process in the folder, its picture renamed once it is whole. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/status.h"
#include "host/report.h"

const unsigned REPORT_COLOURS[] = {0x0072B2, 0xD55E00, 0x009E73, 0xCC79A7, 0xE69F00,
                                   0x56B4E9, 0xB8A800, 0x000000, 0x8C8C8C, 0x882255};

const char *const REPORT_PICTURES[] = {"loss",  "data",    "trajectories",      "predictions", "samples",  "field",
                                       "along", "latents", "learned_schedules", "blocks",      "forecast", NULL};

void report_script_begin(struct text *script, const char *name, int width, int height) {
  text_add(script,
           "# Draws %s.png from the data beside it: gnuplot %s.gp\n"
           "if (!exists(\"picture\")) picture = '%s.png'\n"
           "set terminal pngcairo size %d,%d font 'DejaVu Sans,12' enhanced background rgb 'white'\n"
           "set output picture\n"
           "set encoding utf8\n"
           "set datafile separator comma\n"
           "set border 3 linecolor rgb '#404040'\n"
           "set tics nomirror out scale 0.6 textcolor rgb '#202020'\n"
           "set grid linecolor rgb '#E4E4E4' linewidth 1 linetype 1\n"
           "set key noautotitle samplen 2 spacing 1.15 tmargin center horizontal reverse Left\n",
           name, name, name, width, height);
}

void report_script_colours(struct text *script) {
  for (int i = 0; i < REPORT_COLOUR_COUNT; i++)
    text_add(script, "set linetype %d linecolor rgb '#%06X'\n", i + 1, REPORT_COLOURS[i]);
}

void report_script_log_tics(struct text *script, const char *axis, double least, double most) {
  enum { DECADES_OF_THREE = 3, TICS_MOST = 12 };
  static const double steps[] = {1, 2, 5};
  const int first = (int)floor(log10(least)), last = (int)ceil(log10(most));
  const int count = last - first <= DECADES_OF_THREE ? 3 : 1, stride = 1 + (last - first) / TICS_MOST;
  const char *separator = "";
  text_add(script, "set %stics (", axis);
  for (int decade = first; decade <= last; decade += stride)
    for (int i = 0; i < count; i++) {
      text_add(script, "%s%.3g", separator, steps[i] * pow(10, decade));
      separator = ", ";
    }
  text_add(script, ")\n");
}

/* The last line that is not empty, without gnuplot's "file, line N:" markers cut: it says where the script fails. */
static void last_line(char *text) {
  size_t length = strlen(text);
  while (length > 0 && strchr("\n\r ^", text[length - 1])) text[--length] = 0;
  char *line = strrchr(text, '\n');
  if (line) memmove(text, line + 1, strlen(line));
}

noprop_status report_run_script(const char *folder, const char *name, bool *missing) {
  char script[64], partial[64], setting[96], words[2048] = "";
  char from[RUN_PATH], to[RUN_PATH];
  int channel[2];
  *missing = false;
  snprintf(script, sizeof script, "%s.gp", name);
  snprintf(partial, sizeof partial, "%s.png.tmp%ld", name, (long)getpid());
  snprintf(setting, sizeof setting, "picture = '%s'", partial);
  noprop_status status = run_path(from, folder, partial);
  if (status != NOPROP_OK) return status;
  snprintf(script, sizeof script, "%s.png", name);
  status = run_path(to, folder, script);
  if (status != NOPROP_OK) return status;
  snprintf(script, sizeof script, "%s.gp", name);
  if (pipe(channel) != 0) return status_set(NOPROP_FILE_ERROR, "gnuplot could not be started: %s", strerror(errno));
  pid_t child = fork();
  if (child == 0) {
    enum { NOT_FOUND = 127, NO_FOLDER = 126 };
    int nothing = open("/dev/null", O_RDWR);
    if (chdir(folder) != 0 || nothing < 0) _exit(NO_FOLDER);
    dup2(nothing, STDIN_FILENO);
    dup2(nothing, STDOUT_FILENO);
    dup2(channel[1], STDERR_FILENO);
    close(channel[0]);
    close(channel[1]);
    execlp("gnuplot", "gnuplot", "-e", setting, script, (char *)NULL);
    _exit(errno == ENOENT ? NOT_FOUND : NO_FOLDER);
  }
  int error = errno;
  close(channel[1]);
  size_t size = 0;
  for (;;) {
    ssize_t got = child < 0 ? 0 : read(channel[0], words + size, sizeof words - 1 - size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    size += (size_t)got;
    /* More than fits is read and forgotten, so that the child does not wait for us. */
    if (size == sizeof words - 1) size = 0;
  }
  words[size] = 0;
  close(channel[0]);
  if (child < 0) return status_set(NOPROP_FILE_ERROR, "gnuplot could not be started: %s", strerror(error));
  int result = 0;
  while (waitpid(child, &result, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(result) && WEXITSTATUS(result) == 127) {
    *missing = true;
    return NOPROP_OK;
  }
  if (!WIFEXITED(result) || WEXITSTATUS(result) != 0) {
    unlink(from);
    last_line(words);
    return status_set(NOPROP_FILE_ERROR, "gnuplot could not draw %s/%s: %s", folder, script,
                      words[0] ? words : "no reason given");
  }
  if (rename(from, to) != 0) {
    error = errno;
    unlink(from);
    return status_set(NOPROP_FILE_ERROR, "%s could not be written: %s", to, strerror(error));
  }
  return NOPROP_OK;
}

/* ---- pictures that are drawn from a run's own files ------------------------------------------------------------- */

noprop_status noprop_report_draw(const char *run_folder, noprop_log_function log, void *user) {
  char path[RUN_PATH];
  if (!run_folder) return status_set(NOPROP_INVALID_ARGUMENT, "noprop_report_draw needs a run folder");
  noprop_status status = run_path(path, run_folder, "history.csv");
  if (status != NOPROP_OK) return status;
  bool has_history = run_file_exists(path);
  if (has_history) {
    status = run_path(path, run_folder, "loss.gp");
    if (status == NOPROP_OK && !run_file_exists(path)) status = report_loss_script(run_folder);
  }
  int drawn = 0;
  for (int i = 0; REPORT_PICTURES[i] && status == NOPROP_OK; i++) {
    char script[64], line[RUN_PATH + 64];
    bool missing;
    snprintf(script, sizeof script, "%s.gp", REPORT_PICTURES[i]);
    status = run_path(path, run_folder, script);
    if (status != NOPROP_OK || !run_file_exists(path)) continue;
    status = report_run_script(run_folder, REPORT_PICTURES[i], &missing);
    if (status == NOPROP_OK && missing)
      return status_set(NOPROP_UNSUPPORTED,
                        "gnuplot is not installed (Debian: gnuplot-nox); the data and scripts of the "
                        "pictures are in %s",
                        run_folder);
    if (status != NOPROP_OK) break;
    drawn++;
    snprintf(line, sizeof line, "drawn: %s/%s.png", run_folder, REPORT_PICTURES[i]);
    if (log) log(line, user);
  }
  if (status == NOPROP_OK && drawn == 0)
    return status_set(NOPROP_FILE_ERROR, "%s holds nothing to draw: no history.csv and no scripts", run_folder);
  return status;
}

noprop_status report_loss_script(const char *folder) {
  char path[RUN_PATH], *text = NULL;
  noprop_status status = run_path(path, folder, "history.csv");
  if (status == NOPROP_OK) status = run_file_read(path, &text);
  if (status != NOPROP_OK) return status;
  /* Terms that are 0 throughout are not drawn; a range of more than a factor of 20 is drawn to a logarithmic scale. */
  double least = HUGE_VAL, most = -HUGE_VAL;
  /* Columns of history.csv that are terms of the loss; the first is drawn if another is. */
  static const struct {
    int column, dashes;
    const char *name, *colour;
  } terms[] = {{4, 2, "flow", "#009E73"},
               {5, 3, "reconstruction", "#CC79A7"},
               {6, 4, "regularisation", "#E69F00"},
               {13, 5, "vae", "#56B4E9"},
               {14, 6, "kl of z(0)", "#666666"}};
  enum { TERMS = sizeof terms / sizeof terms[0], COLUMNS = 14 };
  bool present[TERMS] = {false}, validation = false;
  double smallest = HUGE_VAL, largest = 0; /* of all terms */
  for (char *line = strchr(text, '\n'); line && line[1]; line = strchr(line + 1, '\n')) {
    char *cell = line + 1;
    for (int column = 1; column <= COLUMNS && *cell && *cell != '\n'; column++) {
      size_t length = strcspn(cell, ",\n");
      double value = length ? strtod(cell, NULL) : 0;
      if (length && (column == 3 || column == 7)) {
        least = value < least ? value : least;
        most = value > most ? value : most;
      }
      for (int term = 0; term < TERMS; term++)
        if (column == terms[term].column && value != 0) {
          present[term] = true;
          smallest = value < smallest ? value : smallest;
          largest = value > largest ? value : largest;
        }
      if (column == 7 && length) validation = true;
      cell += length + (cell[length] == ',');
    }
  }
  free(text);
  bool several = false;
  for (int term = 1; term < TERMS; term++) several = several || present[term];
  /* Terms are shown from a ten-thousandth of the loss to a hundred times of it. */
  if (several && smallest > 0) least = fmin(least, fmax(smallest, 1e-4 * least));
  if (several) most = fmax(most, fmin(largest, 100 * most));
  struct text script = {0};
  report_script_begin(&script, "loss", 900, 540);
  text_add(&script, "set title 'Loss over training' font ',14'\nset xlabel 'epoch'\nset ylabel 'loss%s'\n",
           several ? "; terms without their weights" : "");
  if (least > 0 && most > 20 * least) {
    text_add(&script, "set logscale y\nset yrange [%.3g:%.3g]\n", 0.8 * least, 1.25 * most);
    report_script_log_tics(&script, "y", least, most);
  }
  text_add(&script, "set key %s\nplot ", several ? "outside right top vertical" : "inside top right vertical");
  for (int term = 0; several && term < TERMS; term++)
    if (present[term])
      text_add(&script,
               "'history.csv' skip 1 using 1:%d with lines linewidth 1.5 dashtype %d linecolor rgb '%s' title '%s', "
               "\\\n     ",
               terms[term].column, terms[term].dashes, terms[term].colour, terms[term].name);
  text_add(&script, "'history.csv' skip 1 using 1:3 with lines linewidth 2 linecolor rgb '#0072B2' title 'training'");
  if (validation)
    text_add(&script,
             ", \\\n     'history.csv' skip 1 using 1:7 with linespoints linewidth 2 pointtype 7 pointsize 0.7 "
             "linecolor rgb '#D55E00' title 'validation'");
  text_add(&script, "\n");
  return text_write(&script, folder, "loss.gp");
}
