/* Matrix instructions on a warp's registers: what mma computes, in which order, and where its elements lie.
 *
 * Order. Every element of D is one chain: d = c; for k = 0 .. K-1: d = fma(a[k], b[k], d). For f16, bf16, tf32 and
 * 8-bit floating-point elements the chain is in single precision, nearest even, subnormals kept; their products are
 * exact inside the fma. An accumulator of f16 is widened first and the sum rounded once at the end. f64: the same chain
 * in double precision. The low 13 bits of tf32 operands are not read. A NaN result is 0x7fffffff (f16: 0x7fff; f64:
 * any). Integers: the exact sum of products and C, wrapped to 32 bits, or clamped to them with PTX_SATFINITE.
 * (Hardware's order and intermediate precision are not documented: results agree within rounding, integers exactly.)
 *
 * Places, by the PTX manual. With g = lane / 4, t = lane % 4, and p elements in a register:
 *  A: register r, element i: row g + 8 (r mod M/8), column p t + i + 4 p (r / (M/8)).
 *  B: register r, element i: row p t + i + 4 p r, column g.
 *  C, D: element e: row g + 8 (e / 2), column 2 t + e mod 2; f16: elements 2r and 2r + 1 in register r.
 * m8n8k4 of f16 differs: lanes 4q..4q+3 and 16+4q..16+4q+3 compute a product of their own, for q = 0..3. */
#ifndef VGPU_MATRIX_H
#define VGPU_MATRIX_H

#include "engine/vgpu/ir.h"

enum { MATRIX_REGISTERS = 24 }; /* at most, of all sources */

/* D = A B + C for one warp. A register is its 32 lanes, 4 bytes each (f64: 8), aligned to 64; sources in the order of
 * the instruction's operands. Results may be the sources' own registers. */
typedef void vgpu_mma_function(const struct ptx_instruction *mma, const void *const *sources, void *const *results);
/* For the CPU's instruction set; all give the same bits. */
vgpu_mma_function vgpu_mma;

/* Registers of matrices of 8 x 8 elements of 16 bits. Row r is in lanes 4r..4r+3, two elements each; rows[r]: its eight
 * elements in memory. */
void vgpu_matrix_load(uint32_t *result, const void *const rows[8], bool transpose);
void vgpu_matrix_store(const uint32_t *source, void *const rows[8], bool transpose);

#endif
