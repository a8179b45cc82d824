/* A transformer over the positions of a condition, one row at a time, from its definition (Vaswani et al., "Attention
 * is all you need", 2017; pre-norm as Xiong et al., 2020; rotary places Su et al., 2021): tokens are the positions that
 * are there and one that reads out, whose place is one past the last of them. Positions that are not there are left out
 * altogether: nothing here knows of masks. The way back is written as sums over all pairs of tokens. */
#ifndef TESTS_REFERENCE_TRANSFORMER_H
#define TESTS_REFERENCE_TRANSFORMER_H

#include "tests/reference/token_layers.h"

namespace reference {

struct TransformerLayer {
  Array qkv, qkv_bias, out, out_bias, feed0, feed0_bias, feed1, feed1_bias;
};

struct Transformer {
  long channels, width, heads, feed;
  bool rotary; /* else sinusoidal */
  std::string activation;
  Array embed, embed_bias; /* [channels + 1][width]: the last row is the vector of the token that reads out */
  std::vector<TransformerLayer> layers;
  std::vector<Array> arrays;
  long parameters = 0;
};

Transformer make_transformer(long channels, long width, long heads, long feed, long layers, bool rotary,
                             const std::string &activation);

template <typename Real>
struct TransformerTrace {
  Tokens<Real> input; /* [token][channels + 1] */
  std::vector<long> places;
  struct Layer {
    Tokens<Real> stream, norm0, q, k, v, attention, middle, norm1, before, after; /* q and k: turned */
    std::vector<std::vector<Vector<Real>>> probability;                           /* [head][query][key] */
  };
  std::vector<Layer> layers;
  Vector<Real> last; /* the reading token's stream behind all layers */
  Vector<Real> features;
};

/* positions: [length][channels]; there: which of them are (empty: all). `parameters` begin with those of the branch. */
template <typename Real>
TransformerTrace<Real> transformer_forward(const Transformer &transformer, const Vector<Real> &parameters,
                                           const Tokens<Real> &positions, const std::vector<bool> &there);

/* Adds d/dparameters of cotangent . features to `gradient`. */
template <typename Real>
void transformer_backward(const Transformer &transformer, const Vector<Real> &parameters,
                          const TransformerTrace<Real> &trace, const Vector<Real> &cotangent, Vector<Real> &gradient);

}  // namespace reference

#endif
