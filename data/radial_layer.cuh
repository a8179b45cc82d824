// A layer of one's own: radial basis functions, out_j = exp(-(s_j |in - c_j|)^2). Of network.layers with
//   {type: source, file: radial_layer.cuh, function: radial, width: J, parameters: J (I + 1)}
// for I inputs: parameters of output j are s_j, then the I numbers of c_j.

// What is left of the exponent but for its sign: |in - c_j|^2.
__device__ float squared_distance(int j, layer_input in, const float *p) {
  float sum = 0.0f;
  for (int i = 0; i < in.size; ++i) {
    const float difference = in[i] - p[j * (in.size + 1) + 1 + i];
    sum += difference * difference;
  }
  return sum;
}

// Output j.
__device__ float radial(int j, layer_input in, const float *p) {
  const float s = p[j * (in.size + 1)];
  return expf(-s * s * squared_distance(j, in, p));
}

// The sum over outputs j of adjoint[j] d out_j / d in_i.
__device__ float radial_vjp(int i, layer_input in, const float *p, layer_input adjoint) {
  float sum = 0.0f;
  for (int j = 0; j < adjoint.size; ++j) {
    const float s = p[j * (in.size + 1)], c = p[j * (in.size + 1) + 1 + i];
    sum += adjoint[j] * radial(j, in, p) * -2.0f * s * s * (in[i] - c);
  }
  return sum;
}

// The sum over outputs j of adjoint[j] d out_j / d p_k: parameter k belongs to one output.
__device__ float radial_parameter_vjp(int k, layer_input in, const float *p, layer_input adjoint) {
  const int j = k / (in.size + 1), i = k % (in.size + 1) - 1;
  const float s = p[j * (in.size + 1)], slope = adjoint[j] * radial(j, in, p);
  if (i < 0) return slope * -2.0f * s * squared_distance(j, in, p);
  return slope * 2.0f * s * s * (in[i] - p[k]);
}
