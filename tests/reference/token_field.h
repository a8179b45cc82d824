/* A field that is a transformer over the positions of the state, one row at a time, from its definition (Vaswani et
 * al., "Attention is all you need", 2017; pre-norm as Xiong et al., 2020; rotary places Su et al., 2021): the
 * condition's positions that are there   c = x W + b, layers, e = norm(c) the state's positions                      h
 * = z W + b + e(t) W_t, layers with attention to e, norm(h) W + b Positions that are not there are left out altogether:
 * nothing here knows of masks. */
#ifndef TESTS_REFERENCE_TOKEN_FIELD_H
#define TESTS_REFERENCE_TOKEN_FIELD_H

#include "tests/reference/network.h"

namespace reference {

struct TokenLayer {
  Array qkv, qkv_bias, out, out_bias;
  Array query, query_bias, keys, keys_bias, mix, mix_bias; /* attention to the condition */
  Array feed0, feed0_bias, feed1, feed1_bias;
};

struct TokenField {
  long tokens, channels;  /* of the state */
  long positions, inputs; /* of the condition; positions 0: none */
  bool masked;            /* a position's last number: 1 where it is there */
  long width, heads, feed;
  bool rotary; /* else sinusoidal */
  std::string activation;
  Array condition_embed, condition_embed_bias, embed, embed_bias, time, output, output_bias;
  std::vector<TokenLayer> condition_layers, layers;
};

/* `shape`: without arrays and layers; time: width of e(t). A network whose output this field is. */
Network make_token_network(TokenField shape, long layers, long condition_layers, long time);

/* Output [tokens * channels] of z likewise, x [positions * (inputs + masked)] and e(t); without_condition: attention
 * to the condition meets nothing. */
template <typename Real>
Vector<Real> token_forward(const TokenField &field, const Vector<Real> &parameters, const Vector<Real> &z,
                           const Vector<Real> &x, const Vector<Real> &e, bool without_condition);

/* Adds d/dparameters of cotangent . output to `gradient`; d/dz overwrites *z_bar unless null. */
template <typename Real>
void token_backward(const TokenField &field, const Vector<Real> &parameters, const Vector<Real> &z,
                    const Vector<Real> &x, const Vector<Real> &e, bool without_condition, const Vector<Real> &cotangent,
                    Vector<Real> &gradient, Vector<Real> *z_bar);

}  // namespace reference

#endif
