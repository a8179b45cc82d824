/* Parsing of the command line and its usage text, both from the commands' argument tables. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/cli.h"

const struct argument GLOBAL_ARGUMENTS[] = {
    {ARGUMENT_TEXT, "--device", 0, "DEVICE", "auto (default), gpu, gpu:N or virtual; one that is not there is an error",
     0, 0},
    {ARGUMENT_FLAG, "--quiet", 'q', NULL, "no messages but errors", 0, 0},
    {ARGUMENT_FLAG, "--json", 0, NULL, "results as one JSON object per line on standard output, nothing else there", 0,
     0},
    {ARGUMENT_FLAG, "--help", 'h', NULL, "help for the command", 0, 0},
    {ARGUMENT_FLAG, "--version", 0, NULL, "version of the program", 0, 0},
    {0}};

/* ---- nearest names ----------------------------------------------------------------------------------------------- */

/* Letters to insert, delete, change or swap with a neighbour; words longer than the table count as far apart. */
static int edit_distance(const char *a, const char *b) {
  enum { LONGEST = 40 };
  int distance[LONGEST + 1][LONGEST + 1];
  int m = (int)strlen(a), n = (int)strlen(b);
  if (m > LONGEST || n > LONGEST) return LONGEST;
  for (int i = 0; i <= m; i++) distance[i][0] = i;
  for (int j = 0; j <= n; j++) distance[0][j] = j;
  for (int i = 1; i <= m; i++)
    for (int j = 1; j <= n; j++) {
      int best = distance[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      if (distance[i - 1][j] + 1 < best) best = distance[i - 1][j] + 1;
      if (distance[i][j - 1] + 1 < best) best = distance[i][j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && distance[i - 2][j - 2] + 1 < best)
        best = distance[i - 2][j - 2] + 1;
      distance[i][j] = best;
    }
  return distance[m][n];
}

const char *nearest_name(const char *word, const char *const *names, int count) {
  const char *best = NULL;
  int length = (int)strlen(word);
  int nearest = length < 4 ? 2 : 1 + (length + 1) / 3; /* from here on a guess is no help */
  for (int i = 0; i < count; i++) {
    int distance = edit_distance(word, names[i]);
    if (length >= 2 && strncmp(word, names[i], (size_t)length) == 0) distance = distance < 1 ? distance : 1;
    if (distance < nearest) {
      nearest = distance;
      best = names[i];
    }
  }
  return best;
}

static const struct command *find_command(const char *name) {
  for (int i = 0; COMMANDS[i]; i++)
    if (strcmp(COMMANDS[i]->name, name) == 0) return COMMANDS[i];
  return NULL;
}

static int unknown_command(struct cli *cli, const char *word) {
  const char *names[64];
  int count = 0;
  for (; count < 64 && COMMANDS[count]; count++) names[count] = COMMANDS[count]->name;
  const char *near = nearest_name(word, names, count);
  if (near)
    return fail(cli, EXIT_USAGE, "there is no command \"%s\"; did you mean \"%s\"? (noprop help lists them)", word,
                near);
  return fail(cli, EXIT_USAGE, "there is no command \"%s\"; noprop help lists them", word);
}

static int unknown_option(struct cli *cli, const char *word) {
  const char *names[64];
  int count = 0;
  const struct argument *tables[2] = {cli->command ? cli->command->arguments : NULL, GLOBAL_ARGUMENTS};
  for (int t = 0; t < 2; t++)
    for (const struct argument *a = tables[t]; a && a->name && count < 64; a++)
      if (a->name[0] == '-') names[count++] = a->name;
  const char *near = nearest_name(word, names, count);
  const char *command = cli->command ? cli->command->name : "noprop";
  if (near) return fail(cli, EXIT_USAGE, "%s has no option %s; did you mean %s?", command, word, near);
  if (cli->command) return fail(cli, EXIT_USAGE, "%s has no option %s; see noprop help %s", command, word, command);
  return fail(cli, EXIT_USAGE, "there is no option %s before a command; see noprop help", word);
}

/* ---- parsing ----------------------------------------------------------------------------------------------------- */

/* The option that a word names. "--name=value" leaves *value behind the sign. */
static const struct argument *find_option(const struct argument *table, const char *word, const char **value) {
  size_t length = strcspn(word, "=");
  for (const struct argument *a = table; a && a->name; a++) {
    if (a->name[0] != '-') continue;
    if (word[1] != '-' && word[1] == a->letter && word[2] == 0) return a;
    if (strlen(a->name) == length && strncmp(a->name, word, length) == 0) {
      if (word[length] == '=') *value = word + length + 1;
      return a;
    }
  }
  return NULL;
}

static int check_value(struct cli *cli, const struct argument *argument, const char *text) {
  char *end;
  if (argument->kind != ARGUMENT_INTEGER && argument->kind != ARGUMENT_NUMBER) return EXIT_DONE;
  bool integer = argument->kind == ARGUMENT_INTEGER;
  errno = 0;
  double value = strtod(text, &end);
  if (integer) {
    /* Integers are read as such, but 1e5 is one too. */
    char *integer_end;
    (void)strtoll(text, &integer_end, 10);
    if (*integer_end != 0 && value != floor(value)) end = (char *)text;
  }
  if (end == text || *end != 0 || isnan(value))
    return fail(cli, EXIT_USAGE, "%s must be a%s, not \"%s\"", argument->name, integer ? " whole number" : " number",
                text);
  if (value < argument->least || value > argument->most)
    return fail(cli, EXIT_USAGE, "%s must be from %.15g to %.15g, not %s", argument->name, argument->least,
                argument->most, text);
  return EXIT_DONE;
}

static void add_given(struct cli *cli, const struct argument *argument, const char *text) {
  struct given *larger = realloc(cli->given, (size_t)(cli->given_count + 1) * sizeof *larger);
  if (!larger) exit(fail(cli, EXIT_FAILED, "no memory for the command line"));
  cli->given = larger;
  cli->given[cli->given_count++] = (struct given){argument, text};
}

/* KEY=VALUE as a configuration key would stand there: begins with a letter, only key characters before the sign. */
static bool is_setting(const char *word) {
  size_t length = strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.");
  return length > 0 && word[length] == '=';
}

static int take_operand(struct cli *cli, const char *word) {
  const struct argument *arguments = cli->command->arguments;
  for (const struct argument *a = arguments; a->name; a++)
    if (a->kind == ARGUMENT_SETTING && is_setting(word)) {
      add_given(cli, a, word);
      return EXIT_DONE;
    }
  for (const struct argument *a = arguments; a->name; a++) {
    if (a->kind != ARGUMENT_OPERAND) continue;
    if (a->most == 0 || argument_count(cli, a->name) < (int)a->most) {
      add_given(cli, a, word);
      return EXIT_DONE;
    }
  }
  for (const struct argument *a = arguments; a->name; a++)
    if (a->kind == ARGUMENT_SETTING)
      return fail(cli, EXIT_USAGE, "\"%s\" is not of the form KEY=VALUE; see noprop help %s", word, cli->command->name);
  return fail(cli, EXIT_USAGE, "%s does not take \"%s\"; see noprop help %s", cli->command->name, word,
              cli->command->name);
}

static int check_counts(struct cli *cli) {
  for (const struct argument *a = cli->command->arguments; a->name; a++)
    if (a->kind == ARGUMENT_OPERAND && argument_count(cli, a->name) < (int)a->least) {
      int code = fail(cli, EXIT_USAGE, "%s needs %s", cli->command->name, a->name);
      usage_print(stderr, cli->command);
      return code;
    }
  return EXIT_DONE;
}

int arguments_parse(struct cli *cli, int count, char **words) {
  bool only_operands = false, help = false;
  for (int i = 0; i < count; i++) {
    const char *word = words[i], *value = NULL;
    if (!only_operands && strcmp(word, "--") == 0) {
      only_operands = true;
      continue;
    }
    if (only_operands || word[0] != '-' || word[1] == 0) {
      if (!cli->command) {
        cli->command = find_command(word);
        if (!cli->command) return unknown_command(cli, word);
      } else {
        int code = take_operand(cli, word);
        if (code != EXIT_DONE) return code;
      }
      continue;
    }
    const struct argument *option = find_option(GLOBAL_ARGUMENTS, word, &value);
    bool global = option != NULL;
    if (!option && cli->command) option = find_option(cli->command->arguments, word, &value);
    if (!option) return unknown_option(cli, word);
    if (option->kind == ARGUMENT_FLAG) {
      if (value) return fail(cli, EXIT_USAGE, "%s takes no value", option->name);
    } else if (!value) {
      if (i + 1 == count) return fail(cli, EXIT_USAGE, "%s needs a value: %s %s", word, option->name, option->value);
      value = words[++i];
    }
    int code = value ? check_value(cli, option, value) : EXIT_DONE;
    if (code != EXIT_DONE) return code;
    if (!global)
      add_given(cli, option, value);
    else if (strcmp(option->name, "--device") == 0)
      cli->device = value;
    else if (strcmp(option->name, "--quiet") == 0)
      cli->quiet = true;
    else if (strcmp(option->name, "--json") == 0)
      cli->json = true;
    else if (strcmp(option->name, "--help") == 0)
      help = true;
    else
      cli->command = cli->command ? cli->command : find_command("version");
  }
  if (help) {
    /* The same as `noprop help COMMAND`. */
    const struct command *command = cli->command;
    cli->command = find_command("help");
    cli->given_count = 0;
    if (command) add_given(cli, &cli->command->arguments[0], command->name);
    return EXIT_DONE;
  }
  if (!cli->command) {
    usage_print(stderr, NULL);
    return EXIT_USAGE;
  }
  return check_counts(cli);
}

/* ---- what was given ---------------------------------------------------------------------------------------------- */

const char *argument_text(const struct cli *cli, const char *name, int index) {
  /* The last of options given twice wins; operands are counted from the first. */
  bool option = name[0] == '-';
  const char *found = NULL;
  for (int i = 0; i < cli->given_count; i++) {
    if (strcmp(cli->given[i].argument->name, name) != 0) continue;
    if (!option && index-- > 0) continue;
    found = cli->given[i].text;
    if (!option) return found;
  }
  return found;
}

int argument_count(const struct cli *cli, const char *name) {
  int count = 0;
  for (int i = 0; i < cli->given_count; i++) count += strcmp(cli->given[i].argument->name, name) == 0;
  return count;
}

bool argument_given(const struct cli *cli, const char *name) { return argument_count(cli, name) > 0; }

long argument_integer(const struct cli *cli, const char *name, long otherwise) {
  const char *text = argument_text(cli, name, 0);
  if (!text) return otherwise;
  char *end;
  long value = strtol(text, &end, 10);
  return *end == 0 ? value : (long)strtod(text, NULL);
}

double argument_number(const struct cli *cli, const char *name, double otherwise) {
  const char *text = argument_text(cli, name, 0);
  return text ? strtod(text, NULL) : otherwise;
}

/* ---- usage ------------------------------------------------------------------------------------------------------- */

void usage_print(FILE *file, const struct command *command) {
  if (!command) {
    fprintf(file, "usage: noprop [--device auto|gpu[:N]|virtual] [--quiet] [--json] COMMAND ...\n\ncommands:\n");
    for (int i = 0; COMMANDS[i]; i++) fprintf(file, "  %-10s %s\n", COMMANDS[i]->name, COMMANDS[i]->summary);
    fprintf(file, "\nnoprop help COMMAND explains one.\n");
    return;
  }
  fprintf(file, "usage: noprop %s", command->name);
  for (const struct argument *a = command->arguments; a->name; a++) {
    bool optional = a->kind != ARGUMENT_OPERAND || a->least == 0;
    bool repeated = (a->kind == ARGUMENT_OPERAND || a->kind == ARGUMENT_SETTING) && a->most == 0;
    fprintf(file, " %s", optional ? "[" : "");
    if (a->letter)
      fprintf(file, "-%c", a->letter);
    else
      fprintf(file, "%s", a->name);
    if (a->value) fprintf(file, " %s", a->value);
    fprintf(file, "%s%s", repeated ? " ..." : "", optional ? "]" : "");
  }
  fprintf(file, "\n");
}
