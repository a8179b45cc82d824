/* Device code may use what CUDA C++ has of the language: classes with virtual functions, pointers to functions,
 * recursion, switches, arrays on the stack, integers of 128 bits, memory from the device's heap, managed variables,
 * printf, assert. */
#include "tests/foreign/programs/language.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <random>
#include <string>

namespace {

constexpr int kCount = 1000;

std::vector<int> for_all(int (*value)(int), int count = kCount) {
  std::vector<int> values(count);
  for (int i = 0; i < count; ++i) values[i] = value(i);
  return values;
}

TEST(LanguageTest, VirtualFunctions) {
  EXPECT_EQ(language::areas_by_virtual_functions(kCount), for_all([](int i) {
              return i % 3 == 0 ? 2 * i * i : i % 3 == 1 ? 3 * i : 0;
            }));
}

TEST(LanguageTest, PointersToFunctions) {
  EXPECT_EQ(language::results_by_function_pointers(kCount), for_all([](int i) {
              return i % 4 == 0 ? i * i : i % 4 == 1 ? -i : i % 4 == 2 ? i / 2 : (i * 31 ^ i >> 3);
            }));
}

TEST(LanguageTest, Switches) {
  EXPECT_EQ(language::days_by_switch(kCount), for_all([](int i) {
              const int cases[] = {31 + i, 28 * i, 31 - i, 30 ^ i, 31 | i, 30 & i,
                                   i * i,  i / 31, i % 30, i << 3, i >> 1, -i};
              return cases[i % 12];
            }));
}

TEST(LanguageTest, ArraysOnTheStack) {
  std::mt19937_64 generator(29);
  std::vector<int> x(kCount), counts(kCount);
  for (int &value : x) value = static_cast<int>(generator() % 256);
  for (int i = 0; i < kCount; ++i) {
    for (int j = 0; j < 64; ++j) counts[i] += (x[(i + j) % kCount] & 15) == (x[i] & 15);
  }
  EXPECT_EQ(language::counts_in_local_arrays(x), counts);
}

TEST(LanguageTest, IntegersOf128Bits) {
  std::mt19937_64 generator(31);
  std::vector<unsigned long long> x(kCount), expected(kCount);
  for (unsigned long long &value : x) value = generator() >> generator() % 64;
  __extension__ using Wide = unsigned __int128;
  for (unsigned long long m : {0xfffffffffffffff1ull, 1000000007ull, 3ull}) {
    for (int i = 0; i < kCount; ++i)
      expected[i] = static_cast<unsigned long long>(static_cast<Wide>(x[i]) * x[(i + 1) % kCount] % m);
    EXPECT_EQ(language::products_modulo(x, m), expected) << m;
  }
}

TEST(LanguageTest, ListsUnderContention) {
  std::vector<int> numbers = language::pushed_to_a_list(kCount), expected(kCount);
  std::sort(numbers.begin(), numbers.end());
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(numbers, expected);
}

TEST(LanguageTest, ManagedVariables) { EXPECT_EQ(language::counted_in_managed_variable(5), 5 * (1000 + 64)); }

TEST(LanguageTest, Printf) {
  testing::internal::CaptureStdout();
  language::print(2, 40);
  std::string printed = testing::internal::GetCapturedStdout();
  std::vector<std::string> lines, expected;
  for (size_t end; (end = printed.find('\n')) != std::string::npos; printed.erase(0, end + 1))
    lines.push_back(printed.substr(0, end));
  EXPECT_EQ(printed, "");
  for (unsigned i = 0; i < 80; ++i) {
    char line[100];
    std::snprintf(line, sizeof line, "thread %u of %u: x = %5.2f, %s%c", i % 40, i / 40, i % 40 * .25 + i / 40, "text",
                  '!');
    expected.emplace_back(line);
  }
  std::sort(lines.begin(), lines.end()); /* blocks may print in any order */
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(lines, expected);
}

/* In a process of its own, and begun anew, since the virtual GPU has threads: a failed assertion ends the context. */
TEST(LanguageDeathTest, Assertions) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EQ(language::assert_below(100, 100), 0);
  EXPECT_EXIT(
      {
        const int error = language::assert_below(99, 100);
        std::fprintf(stderr, "error: %d\n", error);
        std::exit(error == 710 /* cudaErrorAssert */ ? 0 : 1);
      },
      testing::ExitedWithCode(0), "language.cu.*i < bound && \"the bound\"");
}

}  // namespace
