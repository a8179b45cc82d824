/* cuRAND's device generators give the numbers of cuRAND's own host generators, bit for bit. */
#include "tests/foreign/support.h"

#if __has_include(<curand.h>)

#include <curand.h>
#include <dlfcn.h>

namespace {

/* The host's sequence is dealt out to this many subsequences in turn (the legacy ordering), so many words to each. */
struct Generator {
  const char *name;
  curandRngType_t type;
  size_t subsequences, words_at_once;
};
const Generator kXorwow = {"xorwow", CURAND_RNG_PSEUDO_XORWOW, 4096, 1};
const Generator kMrg32k3a = {"mrg32k3a", CURAND_RNG_PSEUDO_MRG32K3A, 4096, 1};
const Generator kPhilox = {"philox", CURAND_RNG_PSEUDO_PHILOX4_32_10, 65536, 4};

constexpr size_t kThreads = 4096, kPerThread = 8;

class CurandTest : public foreign::Test, public ::testing::WithParamInterface<const char *> {
 protected:
  void SetUp() override {
    NEEDS_MODULE(GetParam());
    library = dlopen(NOPROP_CURAND_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) GTEST_SKIP() << "the CUDA toolkit here has no libcurand";
    Test::SetUp();
  }

  /* cuRAND's host library: it computes on the CPU, and knows nothing of the virtual GPU. */
  template <typename Function, typename... Arguments>
  void host(const char *name, Arguments... arguments) {
    auto *function = reinterpret_cast<Function *>(dlsym(library, name));
    ASSERT_NE(function, nullptr) << name;
    ASSERT_EQ(function(arguments...), CURAND_STATUS_SUCCESS) << name;
  }

  /* `offset` is the device's, in words of each subsequence. */
  template <typename Number, typename Generate>
  void compare(const Generator &generator, const char *kernel, const char *generate, uint64_t seed, size_t offset) {
    const size_t turn = generator.words_at_once, group = generator.subsequences * turn;
    std::vector<Number> expected((offset + kPerThread + turn - 1) / turn * group);
    curandGenerator_t handle = nullptr;
    host<decltype(curandCreateGeneratorHost)>("curandCreateGeneratorHost", &handle, generator.type);
    host<decltype(curandSetPseudoRandomGeneratorSeed)>("curandSetPseudoRandomGeneratorSeed", handle, seed);
    host<decltype(curandSetGeneratorOrdering)>("curandSetGeneratorOrdering", handle, CURAND_ORDERING_PSEUDO_LEGACY);
    host<Generate>(generate, handle, expected.data(), expected.size());
    host<decltype(curandDestroyGenerator)>("curandDestroyGenerator", handle);

    foreign::Module module(GetParam());
    foreign::Array<Number> numbers(kThreads * kPerThread);
    module.launch(std::string(generator.name) + kernel, kThreads / 128, 128, numbers, seed,
                  static_cast<uint64_t>(offset), static_cast<int>(kPerThread));
    const std::vector<Number> actual = numbers.values();
    for (size_t i = 0; i < kPerThread; ++i) {
      for (size_t thread = 0; thread < kThreads; ++thread) {
        const size_t word = offset + i, at = word / turn * group + thread * turn + word % turn;
        ASSERT_EQ(std::memcmp(&actual[i * kThreads + thread], &expected[at], sizeof(Number)), 0)
            << generator.name << kernel << ", seed " << seed << ", subsequence " << thread << ", number " << word
            << ": " << actual[i * kThreads + thread] << ", the host says " << expected[at];
      }
    }
  }
  void *library = nullptr;
};

const uint64_t kSeed = 0x0123456789abcdefu;

TEST_P(CurandTest, XorwowWordsAreTheHosts) {
  for (uint64_t seed : {uint64_t{1234}, kSeed})
    compare<unsigned, decltype(curandGenerate)>(kXorwow, "_words", "curandGenerate", seed, 0);
  compare<unsigned, decltype(curandGenerate)>(kXorwow, "_words", "curandGenerate", kSeed, 37);
}

TEST_P(CurandTest, PhiloxWordsAreTheHosts) {
  for (uint64_t seed : {uint64_t{1234}, kSeed})
    compare<unsigned, decltype(curandGenerate)>(kPhilox, "_words", "curandGenerate", seed, 0);
  compare<unsigned, decltype(curandGenerate)>(kPhilox, "_words", "curandGenerate", kSeed, 6);
}

TEST_P(CurandTest, Mrg32k3aWordsAreTheHosts) {
  for (uint64_t seed : {uint64_t{1234}, kSeed})
    compare<unsigned, decltype(curandGenerate)>(kMrg32k3a, "_words", "curandGenerate", seed, 0);
  compare<unsigned, decltype(curandGenerate)>(kMrg32k3a, "_words", "curandGenerate", kSeed, 5);
}

TEST_P(CurandTest, SobolWordsAreTheHosts) {
  constexpr unsigned dimensions = 50, threads = 64, per = 20;
  curandDirectionVectors32_t *directions = nullptr;
  host<decltype(curandGetDirectionVectors32)>("curandGetDirectionVectors32", &directions,
                                              CURAND_DIRECTION_VECTORS_32_JOEKUO6);
  std::vector<unsigned> expected(size_t{dimensions} * threads * per);
  curandGenerator_t handle = nullptr;
  host<decltype(curandCreateGeneratorHost)>("curandCreateGeneratorHost", &handle, CURAND_RNG_QUASI_SOBOL32);
  host<decltype(curandSetQuasiRandomGeneratorDimensions)>("curandSetQuasiRandomGeneratorDimensions", handle,
                                                          dimensions);
  host<decltype(curandGenerate)>("curandGenerate", handle, expected.data(), expected.size());
  host<decltype(curandDestroyGenerator)>("curandDestroyGenerator", handle);

  const std::vector<unsigned> words(&directions[0][0], &directions[0][0] + size_t{dimensions} * 32);
  const foreign::Array<unsigned> device_directions(words), numbers(expected.size());
  foreign::Module module(GetParam());
  module.launch("sobol32_words", dimensions, threads, numbers, device_directions, static_cast<int>(per));
  EXPECT_EQ(numbers.values(), expected);
}

TEST_P(CurandTest, UniformNumbersAreTheHosts) {
  compare<float, decltype(curandGenerateUniform)>(kXorwow, "_uniform", "curandGenerateUniform", kSeed, 0);
  compare<float, decltype(curandGenerateUniform)>(kPhilox, "_uniform", "curandGenerateUniform", kSeed, 0);
  compare<float, decltype(curandGenerateUniform)>(kMrg32k3a, "_uniform", "curandGenerateUniform", kSeed, 0);
  compare<double, decltype(curandGenerateUniformDouble)>(kMrg32k3a, "_uniform_double", "curandGenerateUniformDouble",
                                                         kSeed, 0);
}

INSTANTIATE_TEST_SUITE_P(Architectures, CurandTest, ::testing::Values("curand", "curand_75", "curand_90"),
                         [](const auto &information) { return std::string(information.param); });

}  // namespace

#else
TEST(CurandTest, NumbersAreTheHosts) { GTEST_SKIP() << "the CUDA toolkit here has no curand.h"; }
#endif
