/* Philox4x32-10 (Salmon et al., SC 2011): counter-based random numbers, the same on host and device.
 * Plain C; bits equal Random123's and cuRAND's. Which counter means what: arguments.h. */
#ifndef KERNELS_PHILOX_H
#define KERNELS_PHILOX_H

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define PHILOX_FUNCTION static __device__ __forceinline__
#else
#define PHILOX_FUNCTION static inline
#endif

typedef struct {
  unsigned word[4];
} philox_words;

PHILOX_FUNCTION philox_words philox(unsigned long long seed, unsigned c0, unsigned c1, unsigned c2, unsigned c3) {
  unsigned key0 = (unsigned)seed, key1 = (unsigned)(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const unsigned long long product0 = 0xD2511F53ull * c0, product1 = 0xCD9E8D57ull * c2;
    c0 = (unsigned)(product1 >> 32) ^ c1 ^ key0;
    c1 = (unsigned)product1;
    c2 = (unsigned)(product0 >> 32) ^ c3 ^ key1;
    c3 = (unsigned)product0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  const philox_words words = {{c0, c1, c2, c3}};
  return words;
}

/* Uniform in (0, 1]: the middle of one of 2^24 equal cells; the last one rounds to 1. Never 0. */
PHILOX_FUNCTION float philox_uniform(unsigned word) { return ((float)(word >> 8) + 0.5f) * 0x1p-24f; }

/* The third counter word: which stream, which layer (dropout), which draw. */
PHILOX_FUNCTION unsigned philox_stream(unsigned stream, unsigned layer, unsigned draw) {
  return stream | layer << 8 | draw << 16;
}

#endif
