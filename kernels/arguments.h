/* What host and kernels agree on: constants, the device-resident state, and the argument structs of every kernel.
 * Plain C; included by engine/ and by the kernels. Structs are passed by value as the only kernel parameter. */
#ifndef KERNELS_ARGUMENTS_H
#define KERNELS_ARGUMENTS_H

/* A tile is 32 rows, one per lane; a block of 4 warps carries it through the whole program. Generated kernels for small
 * batches have tiles of 8 or 16 rows (TILE_FORM_ROWS): what is called a warp of the tile, TILE_WARPS and tile_warp(),
 * is then a group of so many lanes. TILE_OUTPUTS: outputs of a layer that a thread sums at a time. */
#ifdef TILE_FORM_ROWS
enum { TILE_ROWS = TILE_FORM_ROWS, TILE_THREADS = 128, TILE_WARPS = TILE_THREADS / TILE_ROWS };
enum { TILE_OUTPUTS = TILE_FORM_OUTPUTS };
#else
enum { TILE_ROWS = 32, TILE_WARPS = 4, TILE_THREADS = 128, TILE_OUTPUTS = 8 };
#endif

/* Streams of random numbers (frozen: model files depend on them).
 * Philox4x32-10, key = seed (low, high word), counter = {index, row, stream | layer << 8 | draw << 16, step}.
 * time:    index 0; uniform: u = word 0 (row = position in the batch); low_discrepancy: row 0
 * noise:   index = element / 4, the four words make four normals
 * dropout: index = feature / 8, eight 16-bit numbers (low half of word 0 first); layer = network op number
 * row_order: index = 0..1, row = 0, step = epoch: round keys of the permutation (row_order.h)
 * sde:     index = element / 4, row of the request, step of the solve
 * probe:   index = element / 128, row of the request, step 0, draw = probe: a sign in each of the 128 bits
 * condition_dropout: index 0, row = position in the batch: word 0 is below round(p 2^32) where the condition is left
 * out start:   z(0) of a solve: index = element / 4, step = 0; initialise: parameters, row = parameter array number */
enum random_stream {
  STREAM_TIME = 0,
  STREAM_NOISE = 1,
  STREAM_ENCODER_NOISE = 2,
  STREAM_DROPOUT = 3,
  STREAM_ROW_ORDER = 4,
  STREAM_INITIALISE = 5,
  STREAM_PROBE = 6,
  STREAM_SDE = 7,
  STREAM_CONDITION_DROPOUT = 8,
  STREAM_AUGMENTATION = 9,
  STREAM_COUPLING = 10,
  STREAM_START = 11
};
/* Validation draws its times and noise at this step, with row = row of the data set: the same at every call. */
#define VALIDATION_STEP 0xffffffffu

/* Factors of products on tensor cores (kernels/warp_operands.cuh). */
enum operand_form { OPERANDS_TF32, OPERANDS_BF16, OPERANDS_TF32X3 };

/* The last SLOT_TERMS floats of a slot (at slot_stride - SLOT_TERMS) are sums over its rows, already multiplied by
 * 1/(rows of the batch x draws); the gradients of all parameters stand at its front. */
enum slot_term {
  SLOT_LOSS = 0,
  SLOT_FLOW = 1,
  SLOT_RECON = 2,
  SLOT_REG = 3,
  SLOT_VAE = 4,
  SLOT_KL_Z0 = 5,
  SLOT_TERMS = 8
};

/* One per model, in device memory: everything that changes from step to step. */
typedef struct {
  unsigned completed; /* optimizer steps finished; written by the update kernel */
  unsigned running;   /* the step in flight; written by the train kernel */
  unsigned halted;    /* 1 once a loss or gradient was not finite: later updates change nothing */
  unsigned bad_step;  /* the step at which that happened */
  unsigned bad_term;  /* enum slot_term, or SLOT_TERMS for the gradient */
  unsigned steps_summed;
  unsigned long long rows_summed;
  double sums[SLOT_TERMS]; /* of the slot terms over the steps summed */
  float gradient_norm, learning_rate;
} train_state;

/* The train kernel (forward, loss, backward into slots) and the loss kernel (forward only). grid = slots. */
typedef struct {
  const float *parameters;        /* padded layout of network.h */
  const unsigned *fragments;      /* tensor-core kernels: weights as network_fragment_sources orders them */
  float *slots;                   /* [slot_count][slot_stride] */
  float *workspace;               /* [slot_count][workspace_stride], for what does not fit shared memory */
  const void *condition, *target; /* resident rows, or the rows of a streamed chunk */
  const float *condition_scale, *condition_shift; /* [C]: value = raw * scale + shift */
  const float *target_scale, *target_shift;       /* [Y] */
  const float *frequencies;                       /* time embedding, network_frequencies() */
  const float *given_time, *given_noise;          /* [rows], [rows][d], or NULL: drawn */
  float *out_prediction, *out_z, *out_row_loss;   /* [rows][d], [rows][d], [rows], or NULL */
  train_state *state;
  unsigned long long seed;
  unsigned long long slot_stride, workspace_stride; /* in floats */
  unsigned rows;                                    /* rows of the whole data set (training), or of this request */
  unsigned batch;                                   /* rows of a full batch; of a request: its rows */
  unsigned steps_per_epoch;
  unsigned slot_count, tiles_per_slot;             /* slot s owns tiles [s * tiles_per_slot, (s+1) * tiles_per_slot) */
  unsigned dropout_epochs;                         /* dropout while epoch < this; 0xffffffff: always; 0: never */
  unsigned first_position;                         /* streamed: position within the epoch of the first row in memory */
  unsigned fixed_step;                             /* of a request: the step whose random numbers are used */
  unsigned row_base, row_total;                    /* of a request: random-number row of its first row; rows in all */
  unsigned char request;                           /* 1: rows 0..rows-1 in order at fixed_step; 0: training */
  unsigned char streamed;                          /* 1: rows in memory already stand in epoch order */
  float *out_state_gradient, *out_target_gradient; /* [rows][d] or NULL: d loss/d z_t of draw 0, d loss/d z1 */
  unsigned pair_ring;                              /* coupling: step s reads slice s mod pair_ring of `pairs` */
  const unsigned *pairs; /* coupling: [pair_ring, or 1][draws][batch], coupling.cu; NULL: own noise */
  float *out_latent;     /* [rows][d] or NULL: z1, of models with an encoder */
  /* Variant dt, part by part of the model: T blocks and, on labels, the classifier. Blocks of threads slot_count * i
   * and on train part first_block + i. */
  float *tails; /* [parts][slot_count][classes * stride or 0][SLOT_TERMS]: gradients of learned embeddings, and what
                   stands at the end of a slot otherwise */
  const float *embedding; /* [classes][d rounded up to 8]; one-hot: not used */
  unsigned first_block;
  unsigned block_count; /* that a launch takes at most */
  unsigned out_block;   /* whose prediction, states and losses of rows are wanted */
  /* Models whose condition is an image (branch_arguments.h): [parts][batch][x_width] of this launch. */
  const float *features;
  float *feature_gradients;
  /* Models whose target is an image with an encoder of its own (image_coder_arguments.h): of this launch's rows. */
  const float *image_latents; /* [rows][d] */
  const float *image_losses;  /* [rows] */
} train_arguments;

/* How a row's solve ended, and what it took. */
enum solve_outcome { SOLVE_DONE, SOLVE_STEP_CAP, SOLVE_STEP_TOO_SMALL, SOLVE_NOT_FINITE, SOLVE_STOPPED_EARLY };
typedef struct {
  unsigned outcome; /* enum solve_outcome */
  unsigned calls, steps, rejections;
  float elapsed; /* part of the way that was gone: 1 if done */
} solve_record;

/* The integrate kernel: grid = tiles of 32 rows, or of what the program says. */
typedef struct {
  const float *parameters;
  const unsigned *fragments; /* tensor-core kernels: weights as network_fragment_sources orders them */
  const void *condition;
  const float *condition_scale, *condition_shift;
  const float *output_scale, *output_shift; /* [d]: output = z * scale + shift */
  const float *frequencies;
  const float *times;     /* [steps + 1] */
  const float *start;     /* [rows][d], or NULL */
  float *latent, *output; /* [rows][d] or [steps + 1][rows][d]; NULL: not wanted */
  float *workspace;       /* [grid][workspace_stride] */
  unsigned long long seed, workspace_stride;
  unsigned rows, steps;
  unsigned row_base;          /* random-number row of the first row */
  unsigned char normal_start; /* z(0) ~ N(0, I) if start is NULL, else 0 */
  unsigned char trajectory;
  unsigned char reverse; /* from t = 1 to 0; fixed steps: `times` are in that order already */
  float churn;           /* of stochastic solves */
  float guidance;        /* scale of classifier-free guidance */
  float rtol, atol;      /* of adaptive solves */
  unsigned max_steps;    /* of adaptive solves: attempts of a row */
  unsigned probes;       /* of Hutchinson's estimate of the trace */
  float *density;        /* [rows]: log density of the end (reverse: of the start), less its constants */
  solve_record *records; /* [rows], or NULL; adaptive solves */
  /* A schedule that is a trained monotone network, as schedule.h has it: rows of its table, their number, its mix. */
  const float *schedule_rows;
  unsigned schedule_knots;
  float schedule_mix;
} integrate_arguments;

/* Weights in fragment order: number i is parameters[sources[i]] in the form's precision (OPERANDS_BF16: 16 bits;
 * OPERANDS_TF32: 32; OPERANDS_TF32X3: two times 32, 128 numbers' first parts and then their second ones), 0 where
 * sources[i] is negative. */
typedef struct {
  const float *parameters;
  const int *sources;
  unsigned *to;
  unsigned count; /* numbers */
  int form;       /* enum operand_form */
} fragments_arguments;

/* The reduce-and-update kernels. */
typedef struct {
  float *parameters, *gradient;       /* [count]; gradient: only with clipping or for requests */
  float *moment1, *moment2, *average; /* [count]; NULL where the optimizer or EMA has none */
  const float *slots;
  float *norm_partials;       /* [blocks of the reduce kernel] */
  unsigned *fragments;        /* tensor cores: the weights' copies in fragment order, or NULL */
  const int *fragment_places; /* [count][2]: where among the numbers a parameter's copies stand, or -1 */
  train_state *state;
  unsigned long long slot_stride;
  unsigned count, slot_count;
  unsigned rows_in_epoch, batch, steps_per_epoch; /* to count the rows of a step */
  int optimizer, rate_schedule;                   /* enum optimizer, enum rate_schedule of options.h */
  float learning_rate, weight_decay, clip, ema;
  float beta1, beta2, epsilon, momentum;
  unsigned warmup_steps, total_steps;
  int fragment_form; /* enum operand_form */
  unsigned char nesterov;
  unsigned char coder_terms; /* 1: the slots' terms vae and kl_z0 are summed too */
  unsigned decayed;          /* kernels ..._exempt: parameters from here on are not subject to weight decay */
  /* Kernels ..._blocks (variant dt): block k owns parameters [k * block_floats, (k+1) * block_floats); then come the
   * classifier's, and those of learned embeddings. */
  const float *tails; /* of train_arguments; tail_stride floats each */
  double *block_sums; /* [blocks]: of the blocks' losses over the steps summed */
  float *block_norms; /* [blocks]: of the last step's gradients, before clipping; only with clipping */
  unsigned blocks, block_floats, classifier_floats, embedding_floats, tail_stride;
  unsigned first_block, block_count; /* parts of this launch; slots hold their gradients alone, from offset 0 */
  unsigned char finish;              /* 1: the last launch of a step, which updates the embeddings too */
} update_arguments;

/* A barrier of all blocks of a launch (kernels/persistent.cuh), zeros at first. */
typedef struct {
  unsigned arrived;    /* blocks of the present round */
  unsigned generation; /* rounds that are over */
} grid_barrier_state;

/* The persistent kernel: `steps` training steps in one cooperative launch. grid = slots. */
typedef struct {
  train_arguments train;
  update_arguments update;
  grid_barrier_state *barrier;
  unsigned steps;
  unsigned update_blocks; /* that the update kernels would have */
} persistent_arguments;

#endif
