/* What the two faces of `noprop compare` share: compare.c shows records of runs, compare_sweep.c solves anew. */
#ifndef HOST_CLI_COMPARE_H
#define HOST_CLI_COMPARE_H

#include "host/cli/cli.h"

/* Evaluates the models of `runs` at the network calls of --calls with the methods of --method; draws `picture`, unless
 * it is NULL, with its data in a .csv beside it. */
int compare_sweep(struct cli *cli, const char *const *runs, int count, const char *picture);

#endif
