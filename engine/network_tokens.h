/* Networks that are transformers over the positions of the state (kernels/token_field.cuh): shape and parameters. */
#ifndef ENGINE_NETWORK_TOKENS_H
#define ENGINE_NETWORK_TOKENS_H

#include "engine/network.h"

/* Sets network->tokens for network.type transformer; does nothing for others. Fails with a sentence where target or
 * condition are no sequences. */
noprop_status network_plan_tokens(const struct settings *settings, const noprop_model_shape *shape,
                                  struct network *network);
/* Adds the parameters, at most TOKEN_PARAMETERS, and the output op. */
void network_add_tokens(struct network *network);
/* Multiply-adds of a row, forward: of its condition, once per row and solve, and of one evaluation. */
double network_token_condition_products(const struct network *network);
double network_token_products(const struct network *network);
/* Part `part` of a description in words; false behind the last one. */
bool network_describe_tokens(const struct network *network, int part, char *line, size_t size);

#endif
