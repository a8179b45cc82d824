/* noprop help: usage, options and examples of every command, on the terminal or as man pages. */
#include <string.h>

#include "host/cli/cli.h"

static void print_lines(const char *text, const char *indent) {
  while (text && *text) {
    int length = (int)strcspn(text, "\n");
    printf("%s%.*s\n", indent, length, text);
    text += length + (text[length] == '\n');
  }
}

static void option_name_text(const struct argument *a, char *text, size_t size) {
  char letter[8] = "";
  if (a->letter) snprintf(letter, sizeof letter, "-%c, ", a->letter);
  snprintf(text, size, "%s%s%s%s", letter, a->name, a->value ? " " : "", a->value ? a->value : "");
}

static void print_arguments(const struct argument *arguments) {
  for (const struct argument *a = arguments; a->name; a++) {
    char name[80];
    option_name_text(a, name, sizeof name);
    printf("  %-22s %s\n", name, a->help);
  }
}

static void print_help(const struct command *command) {
  if (!command) {
    usage_print(stdout, NULL);
    printf("\noptions of every command:\n");
    print_arguments(GLOBAL_ARGUMENTS);
    printf(
        "\nexit code: 0 done, 1 could not be done, 2 wrong usage\n\nto begin with:\n"
        "  noprop data two-moons moons.h5\n  noprop train data/two_moons.yaml --data moons.h5\n");
    return;
  }
  printf("noprop %s: %s\n\n", command->name, command->summary);
  usage_print(stdout, command);
  if (command->details) {
    putchar('\n');
    print_lines(command->details, "");
  }
  if (command->arguments[0].name) {
    printf("\narguments:\n");
    print_arguments(command->arguments);
  }
  printf("\noptions of every command:\n");
  print_arguments(GLOBAL_ARGUMENTS);
  printf("\nexamples:\n");
  print_lines(command->examples, "  ");
}

/* ---- man pages --------------------------------------------------------------------------------------------------- */

/* Text with roff's own characters made harmless. */
static void man_text(const char *text) {
  bool line_start = true;
  for (; *text; text++) {
    if (line_start && (*text == '.' || *text == '\'')) fputs("\\&", stdout);
    if (*text == '\\')
      fputs("\\e", stdout);
    else if (*text == '-')
      fputs("\\-", stdout);
    else
      putchar(*text);
    line_start = *text == '\n';
  }
}

static void man_arguments(const struct argument *arguments) {
  for (const struct argument *a = arguments; a->name; a++) {
    char name[80];
    option_name_text(a, name, sizeof name);
    fputs(".TP\n.B ", stdout);
    man_text(name);
    putchar('\n');
    man_text(a->help);
    putchar('\n');
  }
}

static void print_man(const struct command *command) {
  const char *name = command ? command->name : NULL;
  printf(".TH NOPROP%s%s 1 \"\" \"noprop %s\" \"User Commands\"\n.SH NAME\n", name ? "\\-" : "", name ? name : "",
         noprop_version());
  printf("noprop%s%s \\- ", name ? "\\-" : "", name ? name : "");
  man_text(command ? command->summary : "trains and runs NoProp and flow-matching models");
  printf("\n.SH SYNOPSIS\n.nf\n");
  usage_print(stdout, command);
  printf(".fi\n");
  if (command && command->details) {
    printf(".SH DESCRIPTION\n");
    man_text(command->details);
    putchar('\n');
  }
  printf(".SH OPTIONS\n");
  if (command) man_arguments(command->arguments);
  man_arguments(GLOBAL_ARGUMENTS);
  printf(".SH \"EXIT STATUS\"\n0 done, 1 could not be done, 2 wrong usage.\n");
  if (command) {
    printf(".SH EXAMPLES\n.nf\n");
    man_text(command->examples);
    printf("\n.fi\n");
  }
}

/* ---- keys of the configuration ----------------------------------------------------------------------------------- */

static void print_keys(bool as_json) {
  for (int i = 0;; i++) {
    noprop_config_key key = noprop_config_key_at(i);
    if (!key.path) return;
    if (as_json) {
      struct json json = {0};
      json_text(&json, "key", key.path);
      json_text(&json, "default", key.default_value);
      json_text(&json, "allowed", key.allowed);
      json_text(&json, "meaning", key.meaning);
      json_end(&json);
      continue;
    }
    printf("%s: %s\n    %s; allowed: %s\n", key.path, key.default_value, key.meaning, key.allowed);
  }
}

/* ---- for programs ------------------------------------------------------------------------------------------------ */

static void json_arguments(const char *command, const struct argument *arguments) {
  for (const struct argument *a = arguments; a->name; a++) {
    struct json json = {0};
    if (command) json_text(&json, "command", command);
    json_text(&json, "argument", a->name);
    if (a->value) json_text(&json, "value", a->value);
    json_text(&json, "help", a->help);
    json_end(&json);
  }
}

static void json_help(const struct command *command) {
  if (command) {
    json_arguments(command->name, command->arguments);
    json_arguments(command->name, GLOBAL_ARGUMENTS);
    return;
  }
  for (int i = 0; COMMANDS[i]; i++) {
    struct json json = {0};
    json_text(&json, "command", COMMANDS[i]->name);
    json_text(&json, "summary", COMMANDS[i]->summary);
    json_end(&json);
  }
}

static int run(struct cli *cli) {
  const char *name = argument_text(cli, "COMMAND", 0);
  const struct command *command = NULL;
  if (name && strcmp(name, "config") == 0) {
    print_keys(cli->json);
    return EXIT_DONE;
  }
  const char *names[64];
  int count = 0;
  for (; count < 64 && COMMANDS[count]; count++) {
    names[count] = COMMANDS[count]->name;
    if (name && strcmp(name, names[count]) == 0) command = COMMANDS[count];
  }
  if (name && !command) {
    const char *near = nearest_name(name, names, count);
    return fail(cli, EXIT_USAGE, "there is no command \"%s\"%s%s%s", name, near ? "; did you mean \"" : "",
                near ? near : "", near ? "\"?" : "; noprop help lists them");
  }
  if (cli->json)
    json_help(command);
  else if (argument_given(cli, "--man"))
    print_man(command);
  else
    print_help(command);
  return EXIT_DONE;
}

static const struct argument ARGUMENTS[] = {
    {ARGUMENT_OPERAND, "COMMAND", 0, NULL, "the command to explain; config: every configuration key", 0, 1},
    {ARGUMENT_FLAG, "--man", 0, NULL, "as a man page", 0, 0},
    {0}};

const struct command COMMAND_HELP = {"help",
                                     "explains a command, or lists the configuration's keys",
                                     ARGUMENTS,
                                     NULL,
                                     "noprop help train\nnoprop help config\nnoprop help --man train | man -l -",
                                     run,
                                     false};
