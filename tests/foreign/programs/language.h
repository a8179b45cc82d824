/* What device code may use of C++, on arrays of the host. */
#ifndef TESTS_FOREIGN_PROGRAMS_LANGUAGE_H
#define TESTS_FOREIGN_PROGRAMS_LANGUAGE_H

#include <vector>

namespace language {

/* Shapes of three kinds behind one base class, made by new on the device: twice the area of the i-th, of size i. */
std::vector<int> areas_by_virtual_functions(int count);
/* Operation i % 4 of i, out of a table of functions. */
std::vector<int> results_by_function_pointers(int count);
/* A switch with many cases: the days of the month i % 12. */
std::vector<int> days_by_switch(int count);
/* An array on each thread's own stack, indexed by data: how often the i-th byte's low digit occurs up to i + 64. */
std::vector<int> counts_in_local_arrays(const std::vector<int> &x);
/* Products of 128 bits modulo m. */
std::vector<unsigned long long> products_modulo(const std::vector<unsigned long long> &x, unsigned long long m);
/* Lists that threads push to under contention, by compare and swap: each node's number once. */
std::vector<int> pushed_to_a_list(int threads);
/* A __managed__ variable that host and device add to in turn. */
long long counted_in_managed_variable(int turns);
/* Prints "thread T of B: x = X.XX, text" for each of some threads. */
void print(int blocks, int threads);
/* The error (a cudaError_t) of a kernel which asserts that each of `count` numbers is below the bound. */
int assert_below(int bound, int count);

}  // namespace language

#endif
