/* The order of rows in an epoch: a permutation of [0, rows) that is computed, never stored.
 *
 * An alternating Feistel network on the smallest power of two that holds `rows`, keyed by Philox (seed, epoch); values
 * outside [0, rows) are mapped again until they fall inside (cycle walking), which keeps it a bijection. Plain C. */
#ifndef KERNELS_ROW_ORDER_H
#define KERNELS_ROW_ORDER_H

#include "arguments.h"
#include "philox.h"

typedef struct {
  unsigned rows, left_bits, left_mask, right_mask;
  unsigned keys[8];
} row_order;

PHILOX_FUNCTION row_order row_order_make(unsigned long long seed, unsigned epoch, unsigned rows) {
  row_order order;
  unsigned bits = 2;
  while (bits < 32 && (1ull << bits) < rows) ++bits;
  order.rows = rows;
  order.left_bits = bits / 2;
  order.left_mask = (1u << order.left_bits) - 1u;
  order.right_mask = (1u << (bits - order.left_bits)) - 1u;
  for (unsigned half = 0; half < 2; ++half) {
    const philox_words words = philox(seed, half, 0, philox_stream(STREAM_ROW_ORDER, 0, 0), epoch);
    for (int i = 0; i < 4; ++i) order.keys[4 * half + i] = words.word[i];
  }
  return order;
}

/* Round function: an avalanche of the half with the key (multiply-xorshift). */
PHILOX_FUNCTION unsigned row_order_mix(unsigned half, unsigned key) {
  unsigned x = (half ^ key) * 0x9E3779B1u;
  x ^= x >> 15;
  x *= 0x85EBCA77u;
  x ^= x >> 13;
  return x;
}

/* The row at `position` (both in [0, rows)). */
PHILOX_FUNCTION unsigned row_order_row(const row_order *order, unsigned position) {
  unsigned value = position;
  do {
    unsigned left = value & order->left_mask, right = value >> order->left_bits;
    for (int round = 0; round < 8; round += 2) {
      left ^= row_order_mix(right, order->keys[round]) & order->left_mask;
      right ^= row_order_mix(left, order->keys[round + 1]) & order->right_mask;
    }
    value = right << order->left_bits | left;
  } while (value >= order->rows);
  return value;
}

#endif
