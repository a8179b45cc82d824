/* Integer and SIMD-within-a-word intrinsics of CUDA that are checked, each with its definition in plain C. In the
 * definitions of SIMD forms, `sa`, `sb` are a lane's two numbers signed, `ua`, `ub` unsigned, all as int; `bits` is a
 * lane's width; what goes beyond a lane is cut off. */
#ifndef TESTS_FOREIGN_KERNELS_INTRINSICS_LIST_H
#define TESTS_FOREIGN_KERNELS_INTRINSICS_LIST_H

#define SIMD_INTRINSICS(X)                  \
  X(vadd, ua + ub)                          \
  X(vaddss, signed_clamp(sa + sb, bits))    \
  X(vaddus, unsigned_clamp(ua + ub, bits))  \
  X(vsub, ua - ub)                          \
  X(vsubss, signed_clamp(sa - sb, bits))    \
  X(vsubus, unsigned_clamp(ua - ub, bits))  \
  X(vavgs, (sa + sb + (sa + sb >= 0)) >> 1) \
  X(vavgu, (ua + ub + 1) >> 1)              \
  X(vhaddu, (ua + ub) >> 1)                 \
  X(vabsdiffs, sa < sb ? sb - sa : sa - sb) \
  X(vabsdiffu, ua < ub ? ub - ua : ua - ub) \
  X(vmaxs, sa < sb ? sb : sa)               \
  X(vmaxu, ua < ub ? ub : ua)               \
  X(vmins, sa < sb ? sa : sb)               \
  X(vminu, ua < ub ? ua : ub)               \
  X(vcmpeq, -(ua == ub))                    \
  X(vcmpne, -(ua != ub))                    \
  X(vcmpges, -(sa >= sb))                   \
  X(vcmpgeu, -(ua >= ub))                   \
  X(vcmpgts, -(sa > sb))                    \
  X(vcmpgtu, -(ua > ub))                    \
  X(vcmples, -(sa <= sb))                   \
  X(vcmpleu, -(ua <= ub))                   \
  X(vcmplts, -(sa < sb))                    \
  X(vcmpltu, -(ua < ub))                    \
  X(vseteq, ua == ub)                       \
  X(vsetne, ua != ub)                       \
  X(vsetges, sa >= sb)                      \
  X(vsetgeu, ua >= ub)                      \
  X(vsetgts, sa > sb)                       \
  X(vsetgtu, ua > ub)                       \
  X(vsetles, sa <= sb)                      \
  X(vsetleu, ua <= ub)                      \
  X(vsetlts, sa < sb)                       \
  X(vsetltu, ua < ub)

#define SIMD_UNARY_INTRINSICS(X)                   \
  X(vabs, sa < 0 ? -sa : sa)                       \
  X(vabsss, signed_clamp(sa < 0 ? -sa : sa, bits)) \
  X(vneg, -sa)                                     \
  X(vnegss, signed_clamp(-sa, bits))

/* Sums over the lanes. */
#define SIMD_SUM_INTRINSICS(X)          \
  X(vsads, sa < sb ? sb - sa : sa - sb) \
  X(vsadu, ua < ub ? ub - ua : ua - ub)

/* Of words a, b, c: name, call, and definition; `wide` and `uwide` widen to 64 bits, signed or not. */
#define WORD_INTRINSICS(X)                                                                                     \
  X(brev, __brev(a), reversed(a, 32))                                                                          \
  X(clz, __clz(a), leading_zeros(a, 32))                                                                       \
  X(ffs, __ffs(a), first_set(a))                                                                               \
  X(popc, __popc(a), bits_set(a))                                                                              \
  X(byte_perm, __byte_perm(a, b, c & 0x7777), permuted(a, b, c & 0x7777))                                      \
  X(funnelshift_l, __funnelshift_l(a, b, c), (uwide(b) << 32 | a) << (c & 31) >> 32)                           \
  X(funnelshift_lc, __funnelshift_lc(a, b, c), c < 32 ? (uwide(b) << 32 | a) << (c & 31) >> 32 : a)            \
  X(funnelshift_r, __funnelshift_r(a, b, c), (uwide(b) << 32 | a) >> (c & 31))                                 \
  X(funnelshift_rc, __funnelshift_rc(a, b, c), c < 32 ? (uwide(b) << 32 | a) >> (c & 31) : b)                  \
  X(mulhi, __mulhi(int(a), int(b)), wide(a) * wide(b) >> 32)                                                   \
  X(umulhi, __umulhi(a, b), uwide(a) * uwide(b) >> 32)                                                         \
  X(mul24, __mul24(int(a), int(b)), (wide(a << 8) >> 8) * (wide(b << 8) >> 8))                                 \
  X(umul24, __umul24(a, b), uwide(a & 0xffffff) * uwide(b & 0xffffff))                                         \
  X(sad, __sad(int(a), int(b), c), (wide(a) < wide(b) ? wide(b) - wide(a) : wide(a) - wide(b)) + uwide(c))     \
  X(usad, __usad(a, b, c), (a < b ? b - a : a - b) + uwide(c))                                                 \
  X(hadd, __hadd(int(a), int(b)), (wide(a) + wide(b)) >> 1)                                                    \
  X(rhadd, __rhadd(int(a), int(b)), (wide(a) + wide(b) + 1) >> 1)                                              \
  X(uhadd, __uhadd(a, b), (uwide(a) + uwide(b)) >> 1)                                                          \
  X(urhadd, __urhadd(a, b), (uwide(a) + uwide(b) + 1) >> 1)                                                    \
  X(dp4a_s, __dp4a(int(a), int(b), int(c)), dot(a, b, true) + wide(c))                                         \
  X(dp4a_u, __dp4a(a, b, c), dot(a, b, false) + uwide(c))                                                      \
  X(vimax3, __vimax3_s32(int(a), int(b), int(c)), largest(wide(a), largest(wide(b), wide(c))))                 \
  X(vimin3, __vimin3_u32(a, b, c), -largest(-wide_unsigned(a), largest(-wide_unsigned(b), -wide_unsigned(c)))) \
  X(vimax_relu, __vimax_s32_relu(int(a), int(b)), largest(0, largest(wide(a), wide(b))))                       \
  X(viaddmax, __viaddmax_s32(int(a), int(b), int(c)), largest(wide(a + b), wide(c)))                           \
  X(viaddmin, __viaddmin_u32(a, b, c), uwide(a + b) < c ? a + b : c)

/* Of doublewords. */
#define DOUBLEWORD_INTRINSICS(X)                                                                               \
  X(brevll, __brevll(a), reversed(a, 64))                                                                      \
  X(clzll, static_cast<unsigned long long>(__clzll(a)), leading_zeros(a, 64))                                  \
  X(ffsll, static_cast<unsigned long long>(__ffsll(a)), first_set(a))                                          \
  X(popcll, static_cast<unsigned long long>(__popcll(a)), bits_set(a))                                         \
  X(mul64hi, static_cast<unsigned long long>(__mul64hi(static_cast<long long>(a), static_cast<long long>(b))), \
    high_product(a, b, true))                                                                                  \
  X(umul64hi, __umul64hi(a, b), high_product(a, b, false))

/* Arithmetic in each of the four roundings: name, number of operands, and the expression. */
#define ROUNDED_INTRINSICS(X) \
  X(add, 2, a + b)            \
  X(sub, 2, a - b)            \
  X(mul, 2, a *b)             \
  X(div, 2, a / b)            \
  X(rcp, 1, one / a)          \
  X(sqrt, 1, std::sqrt(a))

#endif
