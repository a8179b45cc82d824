/* Networks that are graphs (engine/field_graph.h): which they are, and their description and parameters. */
#ifndef ENGINE_NETWORK_FIELD_H
#define ENGINE_NETWORK_FIELD_H

#include "engine/field_graph.h"
#include "engine/network.h"

/* Whether a configuration's network is no chain of dense layers. */
bool network_is_field(const struct settings *settings);

/* Adds the x-branch, as ops where it can be one, the graph and the output op. Fails with a sentence where latent or
 * condition do not suit. */
noprop_status network_build_field(struct network *network, const struct settings *settings);

/* Of network.c: appends a parameter array [rows][columns] and gives its number; the x-branch as ops, whose last one it
 * gives, -1 without a condition; `first_alone`: its first layer without activation. */
int network_add_parameter(struct network *network, const char *name, int rows, int columns, int initialiser);
int network_add_x_branch(struct network *network, const struct settings *settings, bool first_alone);

/* Whether an activation works on all features of a layer, as a gate or a softmax does; and whether it halves them. */
bool activation_is_gate(int activation);
bool activation_halves(int activation);

#endif
