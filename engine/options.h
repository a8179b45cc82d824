/* The named choices of every option: one X-macro list each, X(ENUMERATOR, "name", "meaning").
 * The enum, the parser, the printer and the documentation are all made from these lists. */
#ifndef ENGINE_OPTIONS_H
#define ENGINE_OPTIONS_H

#define VARIANT_LIST(X)                                                                                             \
  X(VARIANT_FM, "fm", "flow matching: velocity on the linear path")                                                 \
  X(VARIANT_DF, "df", "diffusion: noise on the VP path")                                                            \
  X(VARIANT_CT, "ct", "continuous time: target on the VP path")                                                     \
  X(VARIANT_SUPERVISED, "supervised", "the ordinary twin: condition straight to target, back-propagated, one call") \
  X(VARIANT_DT, "dt", "discrete time: a network of its own for each of dt.blocks steps, target on the VP path")

#define TASK_LIST(X)                                       \
  X(TASK_CLASSIFY, "classify", "condition to class label") \
  X(TASK_REGRESS, "regress", "condition to vector")        \
  X(TASK_GENERATE, "generate", "samples, given a condition or nothing")

#define PRESET_LIST(X)                                                                          \
  X(PRESET_NONE, "none", "the mathematically right forms")                                      \
  X(PRESET_JAX_HEAD, "jax-head", "the JAX library at its last public revision")                 \
  X(PRESET_JAX_2025_11, "jax-2025-11", "the JAX library as its later README says")              \
  X(PRESET_JAX_2025_10, "jax-2025-10", "the JAX library as its earlier README says: fm and ct") \
  X(PRESET_NOTEBOOK, "notebook", "the PyTorch notebook on MNIST: dt, ct and fm, labels")        \
  X(PRESET_ALIGNMENT_NOTE, "alignment-note", "the note on PyTorch alignment: ct")               \
  X(PRESET_YHGON_MNIST, "yhgon-mnist", "the PyTorch script nopropct_mnist: ct, labels")         \
  X(PRESET_YHGON_SIMPLE, "yhgon-simple", "the PyTorch script noprop_simple: ct, labels")

#define PREDICTION_LIST(X)                                                                    \
  X(PREDICTION_AUTO, "auto", "by variant")                                                    \
  X(PREDICTION_VELOCITY, "velocity", "dz/dt along the path")                                  \
  X(PREDICTION_NOISE, "noise", "the noise e")                                                 \
  X(PREDICTION_TARGET, "target", "the clean latent")                                          \
  X(PREDICTION_V, "v", "(a noise - b target)/sqrt(a^2 + b^2): well conditioned at both ends") \
  X(PREDICTION_STATE, "state", "the state z_t itself: preset alignment-note (D-12)")

#define PRECISION_LIST(X)                                                                                 \
  X(PRECISION_AUTO, "auto", "tf32 where there are tensor cores and kernels for them, else fp32")          \
  X(PRECISION_FP32, "fp32", "float32 throughout; as tf32x3 does where it was counted to be faster")       \
  X(PRECISION_TF32, "tf32", "tensor cores: factors with 10-bit fractions, float32 sums, weights, losses") \
  X(PRECISION_BF16, "bf16", "tensor cores: factors with 7-bit fractions, float32 sums, weights, losses")  \
  X(PRECISION_TF32X3, "tf32x3", "tensor cores: float32 factors as sums of two tf32 numbers, three products")

#define SCHEDULE_LIST(X)                                                             \
  X(SCHEDULE_LINEAR, "linear", "alpha_bar linear in t")                              \
  X(SCHEDULE_COSINE, "cosine", "sin^2 of a linear angle")                            \
  X(SCHEDULE_SIGMOID, "sigmoid", "logistic in t")                                    \
  X(SCHEDULE_LOGISTIC, "logistic", "the same as sigmoid")                            \
  X(SCHEDULE_EXPONENTIAL, "exponential", "1 - exp(-beta t)")                         \
  X(SCHEDULE_CAUCHY, "cauchy", "distribution function of a Cauchy variable")         \
  X(SCHEDULE_LAPLACE, "laplace", "distribution function of a Laplace variable")      \
  X(SCHEDULE_QUADRATIC, "quadratic", "t^2")                                          \
  X(SCHEDULE_POLYNOMIAL, "polynomial", "t^power")                                    \
  X(SCHEDULE_SINE, "sine", "sin(pi t/2): an early version's cosine (D-17)")          \
  X(SCHEDULE_TABULATED, "tabulated", "gamma at given times, monotone cubic between") \
  X(SCHEDULE_NETWORK, "network", "gamma by a network that increases with t")         \
  X(SCHEDULE_MONOTONIC_NN, "monotonic_nn", "the same as network")                    \
  X(SCHEDULE_LEARNABLE, "learnable", "the same as network")

#define WEIGHT_LIST(X)                                                                                       \
  X(WEIGHT_UNIFORM, "uniform", "1")                                                                          \
  X(WEIGHT_ELBO, "elbo", "the exact bound's weight for the predicted quantity")                              \
  X(WEIGHT_T, "t", "t: preset jax-head, fm (D-06)")                                                          \
  X(WEIGHT_DRIFT, "drift", "1/((1-alpha_bar) gamma'): preset jax-head, df (D-05)")                           \
  X(WEIGHT_VP_VELOCITY, "vp_velocity", "1/((1-alpha_bar) alpha_bar gamma'): preset jax-2025-11, fm (D-07)")  \
  X(WEIGHT_MIN_SNR, "min_snr", "min(SNR, loss.cap) of the target's error, as published for each prediction") \
  X(WEIGHT_SNR_PRIME, "snr_prime", "min(SNR', loss.cap) of the target's error")                              \
  X(WEIGHT_INVERSE_SNR, "inverse_snr", "1/SNR, whatever is predicted: preset alignment-note (D-12)")         \
  X(WEIGHT_NOTEBOOK, "notebook", "alpha_bar/(1-alpha_bar+1e-8)^2: preset notebook, ct, its half included (D-29)")

/* How the weight w(t) enters the reconstruction and regularisation terms. */
#define TERM_WEIGHT_LIST(X)                                  \
  X(TERM_WEIGHT_NONE, "none", "1")                           \
  X(TERM_WEIGHT_SAME, "same", "the weight of the main term") \
  X(TERM_WEIGHT_SNR_PRIME, "snr_prime", "SNR'")

#define NORMALIZE_LIST(X)                                                 \
  X(NORMALIZE_NONE, "none", "weights as they are")                        \
  X(NORMALIZE_BATCH, "batch", "divided by their batch mean")              \
  X(NORMALIZE_ANALYTIC, "analytic", "divided by their exact mean over t") \
  X(NORMALIZE_PRODUCT, "product", "every row has the batch's mean weight: preset notebook (D-29)")

/* How the errors of a row's latent dimensions become one. */
#define LOSS_SCALE_LIST(X)                                  \
  X(LOSS_SCALE_MEAN, "mean", "summed over d, divided by d") \
  X(LOSS_SCALE_BOUND, "bound", "half the sum over d, as in the bound: preset yhgon-mnist")

/* Paths z_t = a z1 + b e of variant ct. */
#define PATH_LIST(X)                                                                           \
  X(PATH_AUTO, "auto", "by variant")                                                           \
  X(PATH_SIGNAL_MEAN, "signal_mean", "a = alpha_bar, not its root: preset yhgon-mnist (D-23)") \
  X(PATH_ROOT_NOISE, "root_noise", "a = t, b = sqrt(1 - t), without a schedule: preset alignment-note (D-13)")

#define KL_FORM_LIST(X)                                      \
  X(KL_EXACT, "exact", "KL divergence of z(0) from N(0, I)") \
  X(KL_NORM, "norm", "half the latent's square, what two earlier systems call KL: preset notebook (D-10)")

#define DT_FORM_LIST(X)                                                                    \
  X(DT_FORM_BRIDGE, "bridge", "levels of the schedule, and the exact bridge between them") \
  X(DT_FORM_NOTEBOOK, "notebook", "levels in the order of the PyTorch notebook: its preset (D-25, D-26)")

#define T_SAMPLING_LIST(X)                                                               \
  X(T_SAMPLING_UNIFORM, "uniform", "independent uniform times")                          \
  X(T_SAMPLING_LOW_DISCREPANCY, "low_discrepancy", "t_i = frac(u + i/B)")                \
  X(T_SAMPLING_GAMMA, "gamma", "uniform in gamma: another mean over t, not divided out") \
  X(T_SAMPLING_IMPORTANCE, "importance", "with a density proportional to the weight, which is divided out")

#define LOSS_ERROR_LIST(X)                                                                                     \
  X(LOSS_ERROR_SQUARED, "squared", "squared error summed over d, divided by d")                                \
  X(LOSS_ERROR_CROSS_ENTROPY, "cross_entropy", "cross-entropy of the predicted one-hot target (classify, ct)") \
  X(LOSS_ERROR_SOFTMAX_SQUARED, "softmax_squared",                                                             \
    "squared error of softmax(output): presets yhgon-mnist, yhgon-simple")

#define RECON_LIST(X)                                                                                             \
  X(RECON_MSE, "mse", "mean squared error of the decoded target")                                                 \
  X(RECON_NONE, "none", "no reconstruction term")                                                                 \
  X(RECON_CROSS_ENTROPY, "cross_entropy", "cross-entropy of the label from the decoder's logits (classify)")      \
  X(RECON_LOG, "log", "-mean of y ln(y^ + 1e-8) over classes: presets (P-11)")                                    \
  X(RECON_END_LOGITS, "end_logits",                                                                               \
    "cross-entropy of the label from the network's logits at t = 1, with noise of its own: presets yhgon-mnist, " \
    "yhgon-simple")

#define EMBEDDING_LIST(X)                                                                              \
  X(EMBEDDING_ONE_HOT, "one_hot", "labels as unit vectors")                                            \
  X(EMBEDDING_ORTHONORMAL, "orthonormal", "fixed orthonormal vectors drawn from the seed: variant dt") \
  X(EMBEDDING_LEARNED, "learned",                                                                      \
    "vectors trained with the loss, orthonormal at first: variant dt, preset yhgon-simple")            \
  X(EMBEDDING_PROTOTYPE, "prototype", "of each class the training row in the middle of the others: variant dt")

#define COUPLING_LIST(X)                                                      \
  X(COUPLING_INDEPENDENT, "independent", "noise drawn independently of data") \
  X(COUPLING_OT, "ot", "minibatch optimal transport: noise permuted within every 256 rows of a batch")

#define NETWORK_LIST(X)                                                                                              \
  X(NETWORK_MLP, "mlp", "x-branch, concat-squash, hidden layers")                                                    \
  X(NETWORK_RESNET, "resnet", "pre-activation residual blocks that condition and time enter")                        \
  X(NETWORK_BILINEAR, "bilinear", "product of a layer of the state and one of state, condition and time")            \
  X(NETWORK_CONVEX, "convex", "an earlier system's three blocks of input-convex layers; not convex in z as a whole") \
  X(NETWORK_ICNN, "icnn", "convex in z: non-negative weights from layer to layer, z, x and t enter each")            \
  X(NETWORK_CUSTOM, "custom", "the layers of network.layers")                                                        \
  X(NETWORK_TRANSFORMER, "transformer", "attention among the state's positions and to the condition's: sequences")

#define WRAPPER_LIST(X)                                                                                    \
  X(WRAPPER_NONE, "none", "the network's output is the field")                                             \
  X(WRAPPER_POTENTIAL, "potential", "minus the gradient with respect to z of V, the sum of the outputs")   \
  X(WRAPPER_NATURAL, "natural", "S S^T x / d, the network's d^2 outputs being S; condition as wide as z")  \
  X(WRAPPER_GEOMETRIC, "geometric", "the Hessian of V with respect to z, times x; condition as wide as z") \
  X(WRAPPER_HAMILTONIAN, "hamiltonian", "z = (q, p): (dV/dp, -dV/dq); an even latent size")

#define BATCH_NORM_LIST(X)                                                  \
  X(BATCH_NORM_NONE, "none", "no batch norm beside that of network.layers") \
  X(BATCH_NORM_STORED, "stored",                                            \
    "by mean and variance that are parameters and trained: an earlier system's form (P-22)")

#define ACTIVATION_LIST(X)                                                                             \
  X(ACTIVATION_LINEAR, "linear", "p")                                                                  \
  X(ACTIVATION_RELU, "relu", "max(p, 0)")                                                              \
  X(ACTIVATION_LEAKY_RELU, "leaky_relu", "p if p > 0, else 0.01 p")                                    \
  X(ACTIVATION_GELU, "gelu", "p/2 (1 + tanh(sqrt(2/pi) (p + 0.044715 p^3)))")                          \
  X(ACTIVATION_SWISH, "swish", "p sigmoid(p)")                                                         \
  X(ACTIVATION_SIGMOID, "sigmoid", "1/(1 + exp(-p))")                                                  \
  X(ACTIVATION_TANH, "tanh", "tanh(p)")                                                                \
  X(ACTIVATION_SOFTPLUS, "softplus", "ln(1 + exp(p))")                                                 \
  X(ACTIVATION_ELU, "elu", "p if p > 0, else exp(p) - 1")                                              \
  X(ACTIVATION_SELU, "selu", "1.0507 (p if p > 0, else 1.67326 (exp(p) - 1))")                         \
  X(ACTIVATION_SOFTMAX, "softmax", "exp(p) over its sum over features")                                \
  X(ACTIVATION_LOG_SOFTMAX, "log_softmax", "p minus the logarithm of the sum of exp(p) over features") \
  X(ACTIVATION_SWITANH, "switanh", "swish of the first half of features times tanh of the second")     \
  X(ACTIVATION_SWIGLU, "swiglu", "swish of the first half of features times sigmoid of the second")    \
  X(ACTIVATION_SOFTPLUSGLU, "softplusglu", "softplus times sigmoid of the other half's feature")

#define TIME_EMBEDDING_LIST(X)                                                                                   \
  X(TIME_EMBEDDING_HARMONIC, "harmonic", "sin and cos of pi k t, k = 1..n/2")                                    \
  X(TIME_EMBEDDING_SINUSOIDAL, "sinusoidal", "sin and cos of (pi/2) 10000^(-k/(n/2-1)) t")                       \
  X(TIME_EMBEDDING_FOURIER, "fourier", "sin and cos of 2 pi f t, f log-spaced 0.1 to 10")                        \
  X(TIME_EMBEDDING_LOG_FREQ, "log_freq", "the same as fourier")                                                  \
  X(TIME_EMBEDDING_CYCLICAL_FOURIER, "cyclical_fourier", "sin and cos of 2 pi k t, k = 0..n/2-1: periodic in t") \
  X(TIME_EMBEDDING_LINEAR, "linear", "max(t - j/n, 0), j = 0..n-1")                                              \
  X(TIME_EMBEDDING_SIMPLE, "simple", "the same as linear")                                                       \
  X(TIME_EMBEDDING_CONSTANT, "constant", "ones")                                                                 \
  X(TIME_EMBEDDING_SINUSOIDAL_UNIT, "sinusoidal_unit", "sin and cos of 10000^(-k/(n/2-1)) t: preset yhgon-mnist")

/* Decoders have the first five of the encoders' types. */
#define DECODER_LIST(X)                                                                                        \
  X(CODER_IDENTITY, "identity", "passes through")                                                              \
  X(CODER_LINEAR, "linear", "one layer without activation")                                                    \
  X(CODER_MLP, "mlp", "hidden layers and one without activation")                                              \
  X(CODER_RESNET, "resnet", "pre-activation residual blocks between a first layer and one without activation") \
  X(CODER_CONV, "conv", "images: 3 x 3 convolutions with ReLU, and a latent of length sqrt(d); encoder and decoder")

#define ENCODER_LIST(X)                                                                          \
  DECODER_LIST(X)                                                                                \
  X(CODER_MLP_NORMAL, "mlp_normal", "mlp that gives mean and log variance of a Gaussian latent") \
  X(CODER_RESNET_NORMAL, "resnet_normal", "resnet that gives mean and log variance of a Gaussian latent")

#define DECODER_OUTPUT_LIST(X)                                                                                         \
  X(DECODER_OUTPUT_AUTO, "auto", "softmax behind an encoder or decoder with loss.recon.type cross_entropy, else none") \
  X(DECODER_OUTPUT_NONE, "none", "nothing more")                                                                       \
  X(DECODER_OUTPUT_LINEAR, "linear", "one more linear layer")                                                          \
  X(DECODER_OUTPUT_SOFTMAX, "softmax", "probabilities of classes")

#define OPTIMIZER_LIST(X)                                                     \
  X(OPTIMIZER_ADAM, "adam", "Adam; weight decay as an L2 gradient")           \
  X(OPTIMIZER_ADAMW, "adamw", "Adam with decoupled weight decay")             \
  X(OPTIMIZER_SGD, "sgd", "gradient descent, momentum and Nesterov optional") \
  X(OPTIMIZER_ADAGRAD, "adagrad", "per-parameter rates from summed squares")

#define RATE_SCHEDULE_LIST(X)                            \
  X(RATE_CONSTANT, "constant", "constant after warm-up") \
  X(RATE_COSINE, "cosine", "half a cosine down to 0")    \
  X(RATE_LINEAR, "linear", "straight down to 0")

#define METHOD_LIST(X)                                                                                        \
  X(METHOD_AUTO, "auto", "fm: midpoint (euler below 10 calls); df, ct: dpm2m")                                \
  X(METHOD_EULER, "euler", "first order")                                                                     \
  X(METHOD_MIDPOINT, "midpoint", "second order, two calls a step")                                            \
  X(METHOD_HEUN, "heun", "second order, two calls a step")                                                    \
  X(METHOD_RK4, "rk4", "classical fourth order, four calls a step")                                           \
  X(METHOD_EXPONENTIAL, "exponential", "DDIM: exact for a constant target")                                   \
  X(METHOD_DPM2M, "dpm2m", "second-order multistep exponential, one call a step")                             \
  X(METHOD_MIDPOINT_TIME, "midpoint_time", "earlier systems' midpoint: time in the middle, state not (D-44)") \
  X(METHOD_EULER_MARUYAMA, "euler_maruyama", "first order, drift sde: Euler's step and its noise")            \
  X(METHOD_BOSH3, "bosh3", "adaptive Bogacki-Shampine 3(2), an error control for every row")                  \
  X(METHOD_DOPRI5, "dopri5", "adaptive Dormand-Prince 5(4), an error control for every row")                  \
  X(METHOD_ADAPTIVE_COMPAT, "adaptive_compat", "earlier systems' adaptive steps, which may end before t = 1 (P-25)")

#define GRID_LIST(X)                                              \
  X(GRID_AUTO, "auto", "gamma for dpm2m and exponential, else t") \
  X(GRID_T, "t", "uniform in t")                                  \
  X(GRID_GAMMA, "gamma", "uniform in gamma")                      \
  X(GRID_USER, "user", "times given by the caller")

#define INIT_LIST(X)                                                   \
  X(INIT_AUTO, "auto", "generate: normal; classify and regress: zero") \
  X(INIT_ZERO, "zero", "z(0) = 0")                                     \
  X(INIT_NORMAL, "normal", "z(0) ~ N(0, I)")                           \
  X(INIT_GIVEN, "given", "z(0) from the caller")

#define BRANCH_LIST(X)                                                                                         \
  X(BRANCH_NONE, "none", "the condition's numbers as they are")                                                \
  X(BRANCH_CNN, "cnn",                                                                                         \
    "images: 3 x 3 convolutions, ReLU, max-pool between them, the mean over pixels behind the last")           \
  X(BRANCH_TRANSFORMER, "transformer", "sequences: attention among positions, read out by a token of its own") \
  X(BRANCH_RESNET, "resnet",                                                                                   \
    "images: 3 x 3 convolutions with GroupNorm, ReLU and max-pool, residual blocks behind each")

#define POSITIONS_LIST(X)                                                                                      \
  X(POSITIONS_ROTARY, "rotary", "queries and keys turned by angles that grow with the place (Su et al. 2021)") \
  X(POSITIONS_SINUSOIDAL, "sinusoidal", "sines and cosines of the place added to the tokens (Vaswani et al. 2017)")

#define DOWNSAMPLE_LIST(X)                                                                                \
  X(DOWNSAMPLE_POOL, "pool", "a convolution with a 2 x 2 max-pool in front of the blocks of every entry") \
  X(DOWNSAMPLE_STRIDE, "stride",                                                                          \
    "every entry's first block but the first's: convolution of stride 2, and of 1 x 1 on the skip (ResNet-18)")

#define DRIFT_LIST(X)                                                                            \
  X(DRIFT_ODE, "ode", "probability-flow velocity")                                               \
  X(DRIFT_OU_MEAN, "ou_mean", "the SDE's drift without its noise: presets (D-01)")               \
  X(DRIFT_SDE, "sde", "the reverse SDE with its noise, times sample.churn")                      \
  X(DRIFT_RELAX, "relax", "target - z: presets notebook and alignment-note (D-31, D-12)")        \
  X(DRIFT_RELAX_NOISE, "relax_noise", "(target - z)/(1 - alpha_bar): preset yhgon-mnist (D-24)") \
  X(DRIFT_OUTPUT, "output", "the network's output, for loss.reg alone: presets (D-20)")

#define OPTION_ENUMERATOR(enumerator, name, meaning) enumerator,
enum variant { VARIANT_LIST(OPTION_ENUMERATOR) VARIANT_COUNT };
enum task { TASK_LIST(OPTION_ENUMERATOR) TASK_COUNT };
enum preset { PRESET_LIST(OPTION_ENUMERATOR) PRESET_COUNT };
enum prediction { PREDICTION_LIST(OPTION_ENUMERATOR) PREDICTION_COUNT };
enum precision { PRECISION_LIST(OPTION_ENUMERATOR) PRECISION_COUNT };
enum schedule_type { SCHEDULE_LIST(OPTION_ENUMERATOR) SCHEDULE_COUNT };
enum weight { WEIGHT_LIST(OPTION_ENUMERATOR) WEIGHT_COUNT };
enum term_weight { TERM_WEIGHT_LIST(OPTION_ENUMERATOR) TERM_WEIGHT_COUNT };
enum normalize { NORMALIZE_LIST(OPTION_ENUMERATOR) NORMALIZE_COUNT };
enum loss_scale { LOSS_SCALE_LIST(OPTION_ENUMERATOR) LOSS_SCALE_COUNT };
enum loss_path { PATH_LIST(OPTION_ENUMERATOR) PATH_COUNT };
enum kl_form { KL_FORM_LIST(OPTION_ENUMERATOR) KL_FORM_COUNT };
enum dt_form { DT_FORM_LIST(OPTION_ENUMERATOR) DT_FORM_COUNT };
enum t_sampling { T_SAMPLING_LIST(OPTION_ENUMERATOR) T_SAMPLING_COUNT };
enum loss_error { LOSS_ERROR_LIST(OPTION_ENUMERATOR) LOSS_ERROR_COUNT };
enum recon { RECON_LIST(OPTION_ENUMERATOR) RECON_COUNT };
enum embedding { EMBEDDING_LIST(OPTION_ENUMERATOR) EMBEDDING_COUNT };
enum coupling { COUPLING_LIST(OPTION_ENUMERATOR) COUPLING_COUNT };
enum network_type { NETWORK_LIST(OPTION_ENUMERATOR) NETWORK_COUNT };
enum wrapper { WRAPPER_LIST(OPTION_ENUMERATOR) WRAPPER_COUNT };
enum activation { ACTIVATION_LIST(OPTION_ENUMERATOR) ACTIVATION_COUNT };
enum time_embedding { TIME_EMBEDDING_LIST(OPTION_ENUMERATOR) TIME_EMBEDDING_COUNT };
enum coder { ENCODER_LIST(OPTION_ENUMERATOR) CODER_COUNT };
enum decoder_output { DECODER_OUTPUT_LIST(OPTION_ENUMERATOR) DECODER_OUTPUT_COUNT };
enum optimizer { OPTIMIZER_LIST(OPTION_ENUMERATOR) OPTIMIZER_COUNT };
enum rate_schedule { RATE_SCHEDULE_LIST(OPTION_ENUMERATOR) RATE_SCHEDULE_COUNT };
enum method { METHOD_LIST(OPTION_ENUMERATOR) METHOD_COUNT };
enum grid { GRID_LIST(OPTION_ENUMERATOR) GRID_COUNT };
enum init { INIT_LIST(OPTION_ENUMERATOR) INIT_COUNT };
enum drift { DRIFT_LIST(OPTION_ENUMERATOR) DRIFT_COUNT };
enum branch_type { BRANCH_LIST(OPTION_ENUMERATOR) BRANCH_COUNT };
enum batch_norm { BATCH_NORM_LIST(OPTION_ENUMERATOR) BATCH_NORM_COUNT };
enum positions { POSITIONS_LIST(OPTION_ENUMERATOR) POSITIONS_COUNT };
enum downsample { DOWNSAMPLE_LIST(OPTION_ENUMERATOR) DOWNSAMPLE_COUNT };
#undef OPTION_ENUMERATOR

#endif
