/* The program `noprop`: reads the command line and runs one command. */
#include <stdlib.h>
#include <unistd.h>

#include "host/cli/cli.h"

extern const struct command COMMAND_DEVICES, COMMAND_DATA, COMMAND_TRAIN, COMMAND_EVALUATE, COMMAND_PREDICT,
    COMMAND_SAMPLE, COMMAND_LOGPROB, COMMAND_COMPARE, COMMAND_PLOT, COMMAND_SCHEDULE, COMMAND_INSPECT, COMMAND_BENCH,
    COMMAND_HELP, COMMAND_VERSION;

const struct command *const COMMANDS[] = {
    &COMMAND_DEVICES, &COMMAND_DATA,    &COMMAND_TRAIN,   &COMMAND_EVALUATE, &COMMAND_PREDICT,
    &COMMAND_SAMPLE,  &COMMAND_LOGPROB, &COMMAND_COMPARE, &COMMAND_PLOT,     &COMMAND_SCHEDULE,
    &COMMAND_INSPECT, &COMMAND_BENCH,   &COMMAND_HELP,    &COMMAND_VERSION,  NULL};

int main(int count, char **words) {
  struct cli cli = {.on_terminal = isatty(STDERR_FILENO) != 0};
  /* A file-size limit is then a write error with a sentence and a clean end, not a killed program. */
  signal(SIGXFSZ, SIG_IGN);
  int code = arguments_parse(&cli, count - 1, words + 1);
  if (code == EXIT_DONE) {
    /* JSON is for programs: they ask for nothing else on standard output, and messages stay on standard error. */
    noprop_device *device = NULL;
    if (cli.device && !cli.command->opens_device) code = open_device(&cli, &device);
    noprop_device_close(device);
    if (code == EXIT_DONE) code = cli.command->run(&cli);
    progress_clear(&cli);
    const unsigned long long findings = noprop_device_findings();
    if (findings > 0 && code == EXIT_DONE)
      code = fail(&cli, EXIT_FAILED, "the virtual GPU found %llu faults in the kernels (NOPROP_VGPU_MODE=check)",
                  findings);
    /* A result that could not be written out was not delivered. */
    if (fflush(stdout) != 0 && code == EXIT_DONE)
      code = fail(&cli, EXIT_FAILED, "standard output could not be written");
  }
  free(cli.given);
  return code;
}
