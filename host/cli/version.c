/* noprop version. */
#include "host/cli/cli.h"

static int run(struct cli *cli) {
  if (cli->json) {
    struct json json = {0};
    json_text(&json, "version", noprop_version());
    json_end(&json);
  } else {
    printf("noprop %s\n", noprop_version());
  }
  return EXIT_DONE;
}

static const struct argument ARGUMENTS[] = {{0}};

const struct command COMMAND_VERSION = {"version", "says which version this is", ARGUMENTS, NULL, "noprop version", run,
                                        false};
