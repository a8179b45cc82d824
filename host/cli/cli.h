/* The program `noprop`: commands, their arguments, and how they speak.
 *
 * A command is a table of its arguments and a function; parsing, usage, help and man pages all come from the table.
 * Results go to standard output, as a table for people or (--json) one flat object per line; messages to standard
 * error. */
#ifndef HOST_CLI_CLI_H
#define HOST_CLI_CLI_H

#include <noprop/noprop.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum exit_code { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* ---- arguments --------------------------------------------------------------------------------------------------- */

enum argument_kind {
  ARGUMENT_OPERAND, /* name is its place in the usage line: "CONFIG.yaml" */
  ARGUMENT_SETTING, /* operands of the form KEY=VALUE */
  ARGUMENT_FLAG,    /* "--resume" */
  ARGUMENT_TEXT,    /* "--data F" */
  ARGUMENT_INTEGER, /* "--rows N", within [least, most] */
  ARGUMENT_NUMBER   /* "--noise S", within [least, most] */
};

struct argument {
  enum argument_kind kind;
  const char *name;
  char letter;       /* "-o" beside "--output"; 0: none */
  const char *value; /* what the option's value is called: "N" */
  const char *help;
  double least, most; /* integer, number: range of the value; operand, setting: how many (most 0: any number) */
};

struct cli;

struct command {
  const char *name, *summary;
  const struct argument *arguments; /* ends with a NULL name */
  const char *details;              /* paragraphs of help, or NULL */
  const char *examples;             /* lines "noprop ..." */
  int (*run)(struct cli *cli);      /* exit code */
  bool opens_device;                /* itself; for the others main sees that a device asked for is there */
};

/* All commands, ended by a NULL name. */
extern const struct command *const COMMANDS[];
/* --device, --quiet, --json, --help, --version: allowed before and after the command. */
extern const struct argument GLOBAL_ARGUMENTS[];

struct given {
  const struct argument *argument;
  const char *text;
};

struct cli {
  const char *device;
  bool quiet, json;
  const struct command *command;
  struct given *given;
  int given_count;
  bool on_terminal;  /* standard error is one */
  bool line_is_open; /* a progress line stands on it */
  double last_line;
};

/* Reads all arguments; EXIT_DONE, or EXIT_USAGE after a message. */
int arguments_parse(struct cli *cli, int count, char **words);

/* The text given for an option or operand: the index-th, or NULL. */
const char *argument_text(const struct cli *cli, const char *name, int index);
int argument_count(const struct cli *cli, const char *name);
bool argument_given(const struct cli *cli, const char *name);
long argument_integer(const struct cli *cli, const char *name, long otherwise);
double argument_number(const struct cli *cli, const char *name, double otherwise);

/* The name nearest to `word` among `count` names, or NULL if none is near. */
const char *nearest_name(const char *word, const char *const *names, int count);

/* "noprop train CONFIG.yaml [KEY=VALUE ...] [--data F]" */
void usage_print(FILE *file, const struct command *command);

/* ---- speaking ---------------------------------------------------------------------------------------------------- */

/* A message on standard error, unless quiet. */
void say(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A message on standard error, always; returns `code`. */
int fail(struct cli *cli, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The library's last sentence; returns the exit code that belongs to the status. */
int fail_status(struct cli *cli, noprop_status status);
/* A progress line: replaced in place on a terminal, else printed every ten seconds. */
void progress_line(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
void progress_clear(struct cli *cli);
void format_seconds(char *text, size_t size, double seconds);

/* One flat JSON object on one line of standard output. */
struct json {
  int count;
};
void json_text(struct json *json, const char *key, const char *value);
void json_number(struct json *json, const char *key, double value); /* not finite: null */
void json_integer(struct json *json, const char *key, long long value);
void json_bool(struct json *json, const char *key, bool value);
void json_end(struct json *json);

/* Rows of cells, printed with columns in line: numbers (and what looks like them) to the right. */
struct table;
struct table *table_create(int columns);
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_print(struct table *table); /* and frees it */

/* ---- shared steps of commands ------------------------------------------------------------------------------------ */

int open_device(struct cli *cli, noprop_device **device);
/* A model file, or the model of a run folder. */
int open_model(struct cli *cli, noprop_device *device, const char *path, noprop_model **model);
/* --data, or the file that the configuration names. */
int open_data(struct cli *cli, const noprop_config *config, noprop_dataset **dataset);
/* Rows of --split (or `otherwise`) for the roles of the model; has_target may be NULL if the target is needed. */
struct split_rows {
  const char *split;
  bool has_condition, has_target;
  noprop_array condition, target;
};
int open_split(struct cli *cli, const noprop_config *config, noprop_dataset *dataset, const char *otherwise,
               bool need_target, struct split_rows *rows);
/* Opens the device, MODEL, its data and a split ("test" if --split does not say), does `work` with them, closes all and
 * gives its exit code. `refusal` (or NULL) says why a model of this shape is of no use for the command, or NULL. */
int with_model_and_rows(struct cli *cli, bool need_target, const char *(*refusal)(const noprop_model_shape *shape),
                        int (*work)(struct cli *cli, noprop_model *model, const struct split_rows *rows));
/* What SOLVE_ARGUMENTS, --seed and --probes say, into the options of a solve. */
int solve_options(struct cli *cli, noprop_model *model, noprop_sampler_options *options);
void metrics_json(struct json *json, const noprop_metrics *metrics);
void metrics_table(struct table *table, const noprop_metrics *metrics);

/* KEY=VALUE operands into the configuration; `section` ("schedule.") is tried in front of keys without a dot, or NULL.
 */
int apply_settings(struct cli *cli, noprop_config *config, const char *section);

/* Counts Ctrl-C and SIGTERM once catch_stop has been called. The first asks for a stop after the step that runs; the
 * second ends the kernel that runs (on the virtual GPU), for one that takes too long; the third ends the program. */
extern volatile sig_atomic_t stop_requested;
void catch_stop(void);

/* The options of a solve, for the tables of commands. */
#define SOLVE_ARGUMENTS                                                                                                  \
  {ARGUMENT_INTEGER, "--steps", 0, "N", "steps of the solve (default: the model's sample.steps)", 1, 1e6},               \
      {ARGUMENT_INTEGER, "--calls", 0, "N", "at most so many network calls per row; sets the steps", 1, 1e6},            \
      {ARGUMENT_TEXT,                                                                                                    \
       "--method",                                                                                                       \
       0,                                                                                                                \
       "M",                                                                                                              \
       "euler, midpoint, heun, rk4, exponential, dpm2m, midpoint_time, euler_maruyama, bosh3, dopri5 or auto",           \
       0,                                                                                                                \
       0},                                                                                                               \
      {ARGUMENT_TEXT, "--grid", 0, "G", "times of the steps: auto, t (uniform in t) or gamma (uniform in gamma)", 0, 0}, \
      {ARGUMENT_TEXT, "--times", 0, "T,T,...", "times of the steps, increasing from 0 to 1", 0, 0},                      \
      {ARGUMENT_TEXT, "--drift", 0, "D", "ode, sde (with noise) or ou_mean", 0, 0},                                      \
      {ARGUMENT_NUMBER, "--churn", 0, "C", "drift sde: share of its noise, 0 to 1", 0, 1},                               \
      {ARGUMENT_NUMBER, "--guidance", 0, "S", "scale of classifier-free guidance; 1: none", 0, 1000},                    \
      {ARGUMENT_NUMBER, "--rtol", 0, "R", "bosh3, dopri5: relative tolerance of a step", 1e-7, 1},                       \
      {ARGUMENT_NUMBER, "--atol", 0, "A", "bosh3, dopri5: absolute tolerance of a step", 1e-8, 1}, {                     \
    ARGUMENT_INTEGER, "--max-steps", 0, "N", "bosh3, dopri5: steps that a row may try", 1, 1e6                           \
  }
/* How the trace of a log density is taken. */
#define PROBES_ARGUMENT \
  { ARGUMENT_INTEGER, "--probes", 0, "K", "0: exact traces; K: Hutchinson's estimate by K probes", 0, 65535 }

/* ---- reports of rows (solve_rows.c) ---- */

/* Adds how each row's solve went to a file's split, if `adaptive`: outcome, calls, steps, rejections [rows]; says how
 * many rows did not come to the end, and puts their number into *unfinished. */
noprop_status add_solve_rows(struct cli *cli, noprop_dataset *file, const char *split, const noprop_solve_row *rows,
                             long count, bool adaptive, long *unfinished);

#endif
