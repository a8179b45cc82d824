/* The networks mlp and resnet, op by op, one row at a time, with reverse-mode gradients (survey 5.1, 5.6, 6.1).
 *
 * A network is a list of dense operations: pre = sum of inputs times weights + bias + residual, post =
 * dropout(activation(pre)). A weight is [in][out]. Parameters live in one flat array, in the order of `arrays`. */
#ifndef TESTS_REFERENCE_NETWORK_H
#define TESTS_REFERENCE_NETWORK_H

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/reference/settings.h"
#include "tests/reference/tracked.h"

namespace reference {

template <typename Real>
using Vector = std::vector<Real>;

/* Activation and its derivative by name (survey 5.6). */
template <typename Real>
Real activate(const std::string &name, Real p);
template <typename Real>
Real activate_prime(const std::string &name, Real p);

/* e(t); width time_width(). */
template <typename Real>
Vector<Real> embed_time(const Settings &settings, Real t);
long time_width(const Settings &settings);

struct Array {
  std::string name;   /* "x.0.weight" */
  long rows, columns; /* bias: 1 row */
  bool lecun;         /* initial distribution: variance 1/fan_in, else 2/(fan_in + fan_out) */
  long offset;        /* in the flat array */
  long size() const { return rows * columns; }
};

struct Source {
  enum Kind { kX, kZ, kTime, kOp } kind;
  long op; /* of kOp: whose post */
  long width;
  size_t weight;         /* array, or kNoWeight: the input itself, its width changed as survey 5.4 says */
  bool positive = false; /* in use is softplus(number + 1/2)/inputs */
  long at = -1;          /* without a weight: its features are those from here on, not the same ones */
};
constexpr size_t kNoWeight = static_cast<size_t>(-1);

struct Op {
  std::vector<Source> sources;
  long width = 0;
  long bias = -1;       /* array, or none */
  long residual = -1;   /* op whose pre is added, or none */
  long times = -1;      /* op whose post multiplies the sum, or none */
  long norm = -1;       /* array of scales, then one of biases: layer normalisation of the sum; or none */
  long batch = -1;      /* array of scales, then one of biases: batch norm of the sum; or none */
  long statistics = -1; /* of batch norm: array of means, then one of variances; `trained`: parameters like others */
  bool trained = false;
  double momentum = 0.1; /* of running statistics */
  std::string form;      /* activation, if not the network's */
  bool activation = true, dropout = false, x_branch = false;
  bool of_classes = false; /* reads the softmax of its source */
  long layer = -1;         /* number that its dropout is drawn with; -1: the op's */
  double rate = -1;        /* of dropout; below 0: the network's */
  long radial = -1;        /* array of data/radial_layer.cuh, which this op is of the features of its sources */
};

struct TokenField;

struct Network {
  std::shared_ptr<const TokenField> tokens; /* in place of ops: token_field.h */
  std::string activation;
  double dropout = 0;
  /* Tensor cores: bits of the fractions of products' factors (10: tf32, 7: bf16), where slopes are float16; 0: no. */
  int operand_bits = 0;
  /* Tensor cores: factors are sums of two tf32 numbers. Values are as without; errors are larger. */
  bool operand_pairs = false;
  long x = 0, latent = 0, time = 0; /* widths; 0: absent */
  bool mixture = false;             /* the last op mixes the classes' vectors, by the logits of the op before it */
  std::vector<Array> arrays;
  std::vector<Op> ops;
  /* Networks of their own over the same arrays, from their kZ source; no ops: the identity. Widths: target to latent
   * (or mean and log variance), latent to target. */
  std::vector<Op> encoder, decoder;
  std::string encoder_activation, decoder_activation;
  long target = 0;
  /* What is made of the output (survey 5.5): none, potential, natural, geometric, hamiltonian. */
  std::string wrapper = "none";
  long parameters = 0;
  long decayed = -1;                                /* weight decay ends before this one; -1: it does not end */
  std::vector<std::pair<std::string, long>> normal; /* batch norms of a list of layers: names and ops */
  const Array &array(const std::string &name) const;
};

/* The ops of network.type custom, behind arrays and ops that there are (layers.cpp). */
void add_custom_layers(Network &network, const std::string &layers, long output);

/* Running statistics of its batch norms, behind all other arrays. */
void add_running_statistics(Network &network);

/* The encoder or decoder as a network. */
Network encoder_of(const Network &network);
Network decoder_of(const Network &network);

/* latent: width of z; output: width of the result (usually the same). */
Network make_network(const Settings &settings, long x_width, long latent, long output);
inline Network make_network(const Settings &settings, long x_width, long latent) {
  /* The target has the latent's width, or settings.latent_size says the latent's. */
  return make_network(settings, x_width, settings.latent_size > 0 ? settings.latent_size : latent, -latent);
}

/* Factor on feature `feature` of op `op`'s activation: 0 or 1/(1-p); empty: no dropout. */
using Dropout = std::function<double(long op, long feature)>;

/* Beside the variance, of layer and batch normalisation. */
constexpr double kNormEpsilon = 1e-5;

/* Mean and variance of a batch norm's input over `count` rows. */
template <typename Real>
struct Statistics {
  Vector<Real> mean, variance;
  double count = 0;
};

/* What the forward pass leaves behind for the backward pass. */
template <typename Real>
struct Trace {
  Vector<Real> x, z, e;
  std::vector<Vector<Real>> pre, post;
  bool without_condition = false;
  std::vector<Vector<Real>> sums = {}; /* before `times` */
  /* Of a batch, by ops: batch norm takes these. Null: those among the parameters. */
  const std::vector<Statistics<Real>> *statistics = nullptr;
  Vector<Real> field = {}; /* what the wrapper makes of the output; empty: nothing */
  const Vector<Real> &output() const { return field.empty() ? post.back() : field; }
};

/* without_condition: zeros stand behind the branch of x. */
template <typename Real>
Trace<Real> forward(const Network &network, const Vector<Real> &parameters, const Vector<Real> &z,
                    const Vector<Real> &x, const Vector<Real> &e, const Dropout &dropout = {},
                    bool without_condition = false);

/* Adds d/dparameters of cotangent . output to `gradient` [parameters]; d/dz and d/dx overwrite z_bar and x_bar unless
 * null. */
template <typename Real>
void backward(const Network &network, const Vector<Real> &parameters, const Trace<Real> &trace,
              const Vector<Real> &cotangent, Vector<Real> &gradient, Vector<Real> *z_bar = nullptr,
              Vector<Real> *x_bar = nullptr, const Dropout &dropout = {});

}  // namespace reference

#endif
