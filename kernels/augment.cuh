// Augmentation of a condition that is an image, in training: mirrored or not, and moved by up to so many pixels, whose
// place 0 takes before standardisation. An image's draw is named by its position in the batch and the step.
#pragma once

#include "conv.cuh"

// What is done to an image.
struct augmentation {
  int down, right;  // pixels by which it moves, after
  bool mirrored;    // left and right change places
};

// word mod 2 SHIFT + 1 by the high half of a product; requests are augmented if they have dropout.
template <int SHIFT, bool FLIP>
__device__ __forceinline__ augmentation augmentation_of(const train_arguments &args, const tile_row &row) {
  augmentation what = {0, 0, false};
  if (args.request && args.dropout_epochs == 0) return what;
  const unsigned step = args.request ? args.fixed_step : args.state->completed;
  const philox_words words = philox(args.seed, 0, row.number, philox_stream(STREAM_AUGMENTATION, 0, 0), step);
  what.down = (int)__umulhi(words.word[0], 2 * SHIFT + 1) - SHIFT;
  what.right = (int)__umulhi(words.word[1], 2 * SHIFT + 1) - SHIFT;
  what.mirrored = FLIP && words.word[2] >> 31;
  return what;
}

// conv_gather of the augmented image.
template <typename L, int KIND, int SHIFT, bool FLIP>
__device__ __forceinline__ void augment_gather(float *plane, const train_arguments &args, const tile_row &row) {
  constexpr int SIZE = L::HEIGHT * L::WIDTH;
  const augmentation what = augmentation_of<SHIFT, FLIP>(args, row);
  const unsigned long long base = (unsigned long long)row.data * (SIZE * L::INPUTS);
  for (int i = threadIdx.x; i < SIZE * L::INPUTS; i += CONV_THREADS) {
    const int channel = i / SIZE, y = i % SIZE / L::WIDTH, x = i % L::WIDTH;
    const int from_y = y - what.down, at = x - what.right, from_x = what.mirrored ? L::WIDTH - 1 - at : at;
    float raw = 0.0f;
    if (from_y >= 0 && from_y < L::HEIGHT && at >= 0 && at < L::WIDTH) {
      const unsigned long long from = base + (unsigned)((channel * L::HEIGHT + from_y) * L::WIDTH + from_x);
      raw = KIND == ROW_FLOAT ? __ldg((const float *)args.condition + from)
                              : (float)__ldg((const unsigned char *)args.condition + from);
    }
    plane[plane_pixel<L::PITCH>(y, x) * L::INPUTS + channel] =
        fmaf(raw, __ldg(args.condition_scale + i), __ldg(args.condition_shift + i));
  }
}
