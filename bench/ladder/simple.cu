// The simplest correct form of each hot kernel: a thread per row (or per number), everything in device memory, sizes at
// run time, nothing shared between threads. Compiled behind simple.h by the ladder.

static __device__ float simple_time(int size, int feature, float t) {
  const int half = size / 2;
  return feature < half ? sinpif((feature + 1) * t) : cospif((feature - half + 1) * t);
}

static __device__ float simple_input(const simple_arguments &a, const simple_op &op, int i, int k, unsigned row,
                                     const float *z, float t, const float *activations) {
  switch (op.input[i].kind) {
    case SIMPLE_Z:
      return z[k];
    case SIMPLE_X:
      return a.x[row * a.network.c + k];
    case SIMPLE_TIME:
      return simple_time(a.network.time, k, t);
    default:
      return activations[a.network.ops[op.input[i].op].at + k];
  }
}

static __device__ void simple_forward(const simple_arguments &a, unsigned row, const float *z, float t, float *sums,
                                      float *activations) {
  for (int o = 0; o < a.network.count; ++o) {
    const simple_op &op = a.network.ops[o];
    for (int n = 0; n < op.width; ++n) {
      float sum = op.bias >= 0 ? a.weights[op.bias + n] : 0.0f;
      for (int i = 0; i < op.inputs; ++i)
        for (int k = 0; k < op.input[i].width; ++k)
          sum += simple_input(a, op, i, k, row, z, t, activations) * a.weights[op.input[i].weight + k * op.width + n];
      sums[op.at + n] = sum;
      activations[op.at + n] = op.swish ? sum / (1.0f + expf(-sum)) : sum;
    }
  }
}

// Flow matching on the straight path: the network says the velocity target - noise at z = t target + (1 - t) noise.
extern "C" __global__ void simple_train(const simple_arguments a) {
  const unsigned row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= a.rows) return;
  const simple_network &net = a.network;
  float *sums = a.scratch + (size_t)row * 3 * net.values, *activations = sums + net.values;
  float *deltas = activations + net.values, *slab = a.slabs + (size_t)row * net.parameters;
  float z[16];
  const float t = a.t[row];
  for (int j = 0; j < net.d; ++j) z[j] = t * a.target[row * net.d + j] + (1.0f - t) * a.noise[row * net.d + j];
  simple_forward(a, row, z, t, sums, activations);
  for (int v = 0; v < net.values; ++v) deltas[v] = 0.0f;
  const simple_op &last = net.ops[net.count - 1];
  for (int j = 0; j < net.d; ++j) {
    const float velocity = a.target[row * net.d + j] - a.noise[row * net.d + j];
    deltas[last.at + j] = 2.0f / (a.rows * net.d) * (sums[last.at + j] - velocity);
  }
  for (int o = net.count - 1; o >= 0; --o) {
    const simple_op &op = net.ops[o];
    for (int n = 0; n < op.width; ++n) {
      float delta = deltas[op.at + n];
      if (op.swish) {
        const float sigmoid = 1.0f / (1.0f + expf(-sums[op.at + n]));
        delta *= sigmoid * (1.0f + sums[op.at + n] * (1.0f - sigmoid));
      }
      if (op.bias >= 0) slab[op.bias + n] = delta;
      for (int i = 0; i < op.inputs; ++i)
        for (int k = 0; k < op.input[i].width; ++k) {
          const int weight = op.input[i].weight + k * op.width + n;
          slab[weight] = delta * simple_input(a, op, i, k, row, z, t, activations);
          if (op.input[i].kind == SIMPLE_OP) deltas[net.ops[op.input[i].op].at + k] += delta * a.weights[weight];
        }
    }
  }
}

extern "C" __global__ void simple_solve(const simple_arguments a) {
  const unsigned row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= a.rows) return;
  const simple_network &net = a.network;
  float *sums = a.scratch + (size_t)row * 3 * net.values, *activations = sums + net.values;
  float z[16];
  for (int j = 0; j < net.d; ++j) z[j] = a.noise[row * net.d + j];
  for (unsigned step = 0; step < a.steps; ++step) {
    const float t = fminf(fmaxf((float)step / a.steps, a.margin), 1.0f - a.margin);
    simple_forward(a, row, z, t, sums, activations);
    for (int j = 0; j < net.d; ++j) z[j] += sums[net.ops[net.count - 1].at + j] / a.steps;
  }
  for (int j = 0; j < net.d; ++j) a.out[row * net.d + j] = z[j];
}

// A thread per parameter: the sum of the slabs, then Adam.
extern "C" __global__ void simple_update(const simple_update_arguments a) {
  const unsigned at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= a.count) return;
  float g = 0.0f;
  for (unsigned slab = 0; slab < a.slabs_count; ++slab) g += a.slabs[(size_t)slab * a.stride + at];
  a.moment1[at] = a.beta1 * a.moment1[at] + (1.0f - a.beta1) * g;
  a.moment2[at] = a.beta2 * a.moment2[at] + (1.0f - a.beta2) * g * g;
  const float mean = a.moment1[at] / (1.0f - powf(a.beta1, a.step));
  const float square = a.moment2[at] / (1.0f - powf(a.beta2, a.step));
  a.parameters[at] -= a.learning_rate * mean / (sqrtf(square) + a.epsilon);
}

// A thread per output.
extern "C" __global__ void simple_dense(const simple_dense_arguments a) {
  const unsigned at = blockIdx.x * blockDim.x + threadIdx.x, row = at / WIDTH, n = at % WIDTH;
  if (row >= a.rows) return;
  float sum = a.bias[n];
  for (int k = 0; k < WIDTH; ++k) sum += a.in[row * WIDTH + k] * a.weights[k * WIDTH + n];
  a.out[at] = sum;
}
