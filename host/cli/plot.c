/* noprop plot: draws a run's pictures again. */
#include "host/cli/cli.h"

static void on_line(const char *line, void *user) { say(user, "%s", line); }

static int run(struct cli *cli) {
  const char *folder = argument_text(cli, "RUN", 0);
  noprop_status status = noprop_report_draw(folder, on_line, cli);
  if (status != NOPROP_OK) {
    fail_status(cli, status);
    return EXIT_FAILED;
  }
  if (cli->json) {
    struct json json = {0};
    json_text(&json, "run", folder);
    json_end(&json);
  }
  return EXIT_DONE;
}

static const struct argument ARGUMENTS[] = {{ARGUMENT_OPERAND, "RUN", 0, NULL, "a run folder", 1, 1}, {0}};

const struct command COMMAND_PLOT = {"plot",
                                     "draws a run's pictures again from its record",
                                     ARGUMENTS,
                                     "Every picture has its data (.csv) and its gnuplot script (.gp) beside it in the "
                                     "run folder; a script that was changed by\n"
                                     "hand is used as it stands.",
                                     "noprop plot runs/two_moons-ct-001",
                                     run,
                                     false};
