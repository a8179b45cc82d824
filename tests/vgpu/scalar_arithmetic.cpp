/* The scalar interpreter's arithmetic, written from the descriptions in the PTX manual, one thread and one value at a
 * time. Directed roundings are the host's own rounding modes. */
#include <algorithm>
#include <cfenv>
#include <cmath>
#include <limits>
#include <type_traits>

#include "tests/vgpu/scalar_machine.h"

namespace scalar {

namespace {

__extension__ typedef __int128 Wide;
__extension__ typedef unsigned __int128 UnsignedWide;

#define HANDLER(...)                    \
  [](Thread &t, const Instruction &i) { \
    (void)i;                            \
    __VA_ARGS__                         \
  }
#define A get<T>(t, i.a)
#define B get<T>(t, i.b)
#define C get<T>(t, i.c)

template <typename F>
Handler by_integer(const std::string &type, F make) {
  if (type == "u16" || type == "b16") return make(uint16_t{});
  if (type == "u32" || type == "b32") return make(uint32_t{});
  if (type == "u64" || type == "b64") return make(uint64_t{});
  if (type == "s16") return make(int16_t{});
  if (type == "s32") return make(int32_t{});
  if (type == "s64") return make(int64_t{});
  return nullptr;
}
template <typename F>
Handler by_float(const std::string &type, F make) {
  if (type == "f32") return make(float{});
  if (type == "f64") return make(double{});
  return nullptr;
}
template <typename F>
Handler by_number(const std::string &type, F make) {
  const Handler found = by_integer(type, make);
  return found ? found : by_float(type, make);
}
/* f(tag) is called with a value of the type; the handler knows the type as T, its unsigned form as U. */
#define INTEGER(...)                                    \
  by_integer(type, [](auto tag) -> Handler {            \
    using T = decltype(tag);                            \
    using U [[maybe_unused]] = std::make_unsigned_t<T>; \
    return HANDLER(__VA_ARGS__);                        \
  })
#define FLOAT(...)                         \
  by_float(type, [](auto tag) -> Handler { \
    using T = decltype(tag);               \
    return HANDLER(__VA_ARGS__);           \
  })

/* ---- integers ---- */

template <typename T>
constexpr int width = 8 * sizeof(T);

template <typename T>
T divide(T a, T b) {
  if (b == 0) return static_cast<T>(-1);
  if (std::is_signed<T>::value && b == static_cast<T>(-1)) return static_cast<T>(0 - static_cast<uint64_t>(a));
  return static_cast<T>(a / b);
}
template <typename T>
T remainder(T a, T b) {
  if (b == 0) return a;
  if (std::is_signed<T>::value && b == static_cast<T>(-1)) return 0;
  return static_cast<T>(a % b);
}

/* Bits [from, from + length) of a, the PTX manual's loop. */
template <typename T>
T extract(T a, uint32_t from, uint32_t length) {
  const uint32_t most = width<T> - 1, pos = from & 0xff, len = length & 0xff;
  const uint64_t bits = static_cast<std::make_unsigned_t<T>>(a);
  bool sign = false;
  if (std::is_signed<T>::value && len > 0) sign = bits >> std::min(pos + len - 1, most) & 1;
  uint64_t d = 0;
  for (uint32_t k = 0; k <= most; k++) {
    const bool bit = k < len && pos + k <= most ? bits >> (pos + k) & 1 : sign;
    d |= static_cast<uint64_t>(bit) << k;
  }
  return static_cast<T>(d);
}
template <typename T>
T insert(T a, T b, uint32_t from, uint32_t length) {
  const uint32_t pos = from & 0xff, len = length & 0xff;
  T d = b;
  for (uint32_t k = 0; k < len && pos + k < static_cast<uint32_t>(width<T>); k++) {
    const T one = static_cast<T>(T{1} << (pos + k));
    d = static_cast<T>((a >> k & 1) ? (d | one) : (d & ~one));
  }
  return d;
}
template <typename T>
T reverse(T a) {
  T d = 0;
  for (int k = 0; k < width<T>; k++) d = static_cast<T>(d | (a >> k & 1) << (width<T> - 1 - k));
  return d;
}
template <typename T>
uint32_t leading_zeros(T a) {
  uint32_t count = 0;
  while (count < static_cast<uint32_t>(width<T>) && !(a >> (width<T> - 1 - count) & 1)) count++;
  return count;
}
template <typename T>
uint32_t find_leading(T a, bool shift_amount) {
  const uint64_t bits = static_cast<std::make_unsigned_t<T>>(a < 0 ? ~a : a);
  for (int k = width<T> - 1; k >= 0; k--)
    if (bits >> k & 1) return static_cast<uint32_t>(shift_amount ? width<T> - 1 - k : k);
  return 0xffffffff;
}

uint32_t permute(uint32_t a, uint32_t b, uint32_t selector, int mode) {
  const uint64_t both = static_cast<uint64_t>(b) << 32 | a;
  const uint32_t s = selector & 3;
  static const uint8_t picks[7][4][4] = {{},
                                         {{0, 1, 2, 3}, {1, 2, 3, 4}, {2, 3, 4, 5}, {3, 4, 5, 6}},  /* f4e */
                                         {{0, 7, 6, 5}, {1, 0, 7, 6}, {2, 1, 0, 7}, {3, 2, 1, 0}},  /* b4e */
                                         {{0, 0, 0, 0}, {1, 1, 1, 1}, {2, 2, 2, 2}, {3, 3, 3, 3}},  /* rc8 */
                                         {{0, 1, 2, 3}, {1, 1, 2, 3}, {2, 2, 2, 3}, {3, 3, 3, 3}},  /* ecl */
                                         {{0, 0, 0, 0}, {0, 1, 1, 1}, {0, 1, 2, 2}, {0, 1, 2, 3}},  /* ecr */
                                         {{0, 1, 0, 1}, {2, 3, 2, 3}, {0, 1, 0, 1}, {2, 3, 2, 3}}}; /* rc16 */
  uint32_t d = 0;
  for (int k = 0; k < 4; k++) {
    const uint32_t pick = mode ? picks[mode][s][k] : selector >> (4 * k) & 15;
    uint32_t byte = both >> (8 * (pick & 7)) & 0xff;
    if (pick & 8) byte = byte & 0x80 ? 0xff : 0;
    d |= byte << (8 * k);
  }
  return d;
}

Handler integer_arithmetic(const Opcode &op, const std::string &type, Instruction *instruction) {
  const std::string &name = op.name;
  const bool hi = op.has("hi"), wide = op.has("wide"), lo = op.has("lo");
  if (name == "add" && op.has("cc"))
    return INTEGER(const U sum = static_cast<U>(A + B); t.carry = sum < static_cast<U>(A); put(t, i.d, sum););
  if (name == "addc")
    return INTEGER(const UnsignedWide sum = static_cast<UnsignedWide>(static_cast<U>(A)) + static_cast<U>(B) + t.carry;
                   if (i.mode) t.carry = sum >> width<T> & 1; put(t, i.d, static_cast<U>(sum)););
  if (name == "sub" && op.has("cc")) /* The flag is that of a + ~b + 1: clear where it borrows. */
    return INTEGER(t.carry = static_cast<U>(A) >= static_cast<U>(B); put(t, i.d, static_cast<U>(A - B)););
  if (name == "subc")
    return INTEGER(const Wide difference = static_cast<Wide>(static_cast<U>(A)) - static_cast<U>(B) - !t.carry;
                   if (i.mode) t.carry = difference >= 0; put(t, i.d, static_cast<U>(difference)););
  if ((name == "add" || name == "sub") && op.has("sat")) {
    instruction->mode = name == "sub";
    return HANDLER(const int64_t a = get<int32_t>(t, i.a), b = get<int32_t>(t, i.b), sum = i.mode ? a - b : a + b;
                   put(t, i.d, static_cast<int32_t>(std::max<int64_t>(INT32_MIN, std::min<int64_t>(INT32_MAX, sum)))););
  }
  if (name == "add") return INTEGER(put(t, i.d, static_cast<U>(static_cast<U>(A) + static_cast<U>(B))););
  if (name == "sub") return INTEGER(put(t, i.d, static_cast<U>(static_cast<U>(A) - static_cast<U>(B))););
  if (name == "mul" && lo)
    return INTEGER(put(t, i.d, static_cast<U>(static_cast<uint64_t>(A) * static_cast<uint64_t>(B))););
  if (name == "mul" && hi)
    return INTEGER(put(t, i.d, static_cast<U>(static_cast<Wide>(A) * static_cast<Wide>(B) >> width<T>)););
  if (name == "mad" && lo)
    return INTEGER(
        put(t, i.d, static_cast<U>(static_cast<uint64_t>(A) * static_cast<uint64_t>(B) + static_cast<uint64_t>(C))););
  if (name == "mad" && hi)
    return INTEGER(put(t, i.d, static_cast<U>((static_cast<Wide>(A) * static_cast<Wide>(B) >> width<T>)+C)););
  if (wide && type == "u16")
    return HANDLER(
        put(t, i.d, get<uint16_t>(t, i.a) * uint32_t{get<uint16_t>(t, i.b)} + (i.c ? get<uint32_t>(t, i.c) : 0)););
  if (wide && type == "s16")
    return HANDLER(
        put(t, i.d,
            static_cast<uint32_t>(get<int16_t>(t, i.a) * get<int16_t>(t, i.b)) + (i.c ? get<uint32_t>(t, i.c) : 0)););
  if (wide && type == "u32")
    return HANDLER(put(t, i.d, get<uint32_t>(t, i.a) * uint64_t{get<uint32_t>(t, i.b)} + (i.c ? t.r[i.c] : 0)););
  if (wide && type == "s32")
    return HANDLER(
        put(t, i.d,
            static_cast<uint64_t>(int64_t{get<int32_t>(t, i.a)} * get<int32_t>(t, i.b)) + (i.c ? t.r[i.c] : 0)););
  if (name == "mul24" || name == "mad24") {
    instruction->mode = static_cast<uint8_t>((hi ? 1 : 0) | (type == "s32" ? 2 : 0));
    return HANDLER(
        const uint32_t a = get<uint32_t>(t, i.a), b = get<uint32_t>(t, i.b);
        const auto factor = [&i](uint32_t v) -> int64_t {
          v &= 0xffffff;
          return i.mode & 2 && v & 0x800000 ? int64_t{v} - 0x1000000 : int64_t{v};
        };
        const int64_t product = factor(a) * factor(b);
        put(t, i.d, static_cast<uint32_t>(i.mode & 1 ? product >> 16 : product) + (i.c ? get<uint32_t>(t, i.c) : 0)););
  }
  if (name == "sad")
    return INTEGER(put(t, i.d,
                       static_cast<U>(static_cast<U>(C) + (A < B ? static_cast<U>(B) - static_cast<U>(A)
                                                                 : static_cast<U>(A) - static_cast<U>(B)))););
  if (name == "div") return INTEGER(put(t, i.d, divide<T>(A, B)););
  if (name == "rem") return INTEGER(put(t, i.d, remainder<T>(A, B)););
  if (name == "abs") return INTEGER(put(t, i.d, static_cast<U>(A < 0 ? U{0} - static_cast<U>(A) : static_cast<U>(A))););
  if (name == "neg") return INTEGER(put(t, i.d, static_cast<U>(U{0} - static_cast<U>(A))););
  if (name == "min") return INTEGER(put(t, i.d, std::min<T>(A, B)););
  if (name == "max") return INTEGER(put(t, i.d, std::max<T>(A, B)););
  if (name == "popc")
    return INTEGER(uint32_t n = 0; for (int k = 0; k < width<T>; k++) n += A >> k & 1; put(t, i.d, n););
  if (name == "clz") return INTEGER(put(t, i.d, leading_zeros(A)););
  if (name == "bfind") {
    instruction->mode = op.has("shiftamt");
    return INTEGER(put(t, i.d, find_leading(A, i.mode)););
  }
  if (name == "brev") return INTEGER(put(t, i.d, reverse<U>(static_cast<U>(A))););
  if (name == "bfe") return INTEGER(put(t, i.d, extract(A, get<uint32_t>(t, i.b), get<uint32_t>(t, i.c))););
  if (name == "bfi")
    return INTEGER(
        put(t, i.d, insert<U>(static_cast<U>(A), static_cast<U>(B), get<uint32_t>(t, i.c), get<uint32_t>(t, i.e))););
  if (name == "shl")
    return INTEGER(const uint32_t n = get<uint32_t>(t, i.b);
                   put(t, i.d, static_cast<U>(n >= width<T> ? 0 : static_cast<U>(A) << n)););
  if (name == "shr")
    return INTEGER(const uint32_t n = std::min<uint32_t>(get<uint32_t>(t, i.b), width<T>);
                   put(t, i.d, n == width<T> ? static_cast<T>(A < 0 ? -1 : 0) : static_cast<T>(A >> n)););
  if (name == "shf") {
    instruction->mode = static_cast<uint8_t>((op.has("l") ? 1 : 0) | (op.has("clamp") ? 2 : 0));
    return HANDLER(const uint64_t both = static_cast<uint64_t>(get<uint32_t>(t, i.b)) << 32 | get<uint32_t>(t, i.a);
                   uint32_t n = get<uint32_t>(t, i.c); n = i.mode & 2 ? std::min(n, 32u) : n & 31;
                   put(t, i.d, static_cast<uint32_t>(i.mode & 1 ? (both << n) >> 32 : both >> n)););
  }
  if (name == "prmt") {
    static const char *const modes[] = {"", "f4e", "b4e", "rc8", "ecl", "ecr", "rc16"};
    for (uint8_t m = 1; m < 7; m++)
      if (op.has(modes[m])) instruction->mode = m;
    return HANDLER(put(t, i.d, permute(get<uint32_t>(t, i.a), get<uint32_t>(t, i.b), get<uint32_t>(t, i.c), i.mode)););
  }
  if (name == "lop3")
    return HANDLER(const uint32_t a = get<uint32_t>(t, i.a), b = get<uint32_t>(t, i.b), c = get<uint32_t>(t, i.c);
                   const uint32_t table = get<uint32_t>(t, i.e); uint32_t d = 0;
                   for (uint32_t row = 0; row < 8; row++) if (table >> row & 1) d |=
                   (row & 4 ? a : ~a) & (row & 2 ? b : ~b) & (row & 1 ? c : ~c);
                   put(t, i.d, d););
  if (name == "cnot") return INTEGER(put(t, i.d, static_cast<U>(A == 0)););
  return nullptr;
}

Handler logic(const Opcode &op, const std::string &type) {
  if (type == "pred" && op.name == "not") return HANDLER(t.r[i.d] = !t.r[i.a];);
  if (op.name == "and") return HANDLER(t.r[i.d] = t.r[i.a] & t.r[i.b];);
  if (op.name == "or") return HANDLER(t.r[i.d] = t.r[i.a] | t.r[i.b];);
  if (op.name == "xor") return HANDLER(t.r[i.d] = t.r[i.a] ^ t.r[i.b];);
  if (op.name == "not") return INTEGER(put(t, i.d, static_cast<T>(~A)););
  return nullptr;
}

/* ---- floating point ---- */

enum Rounding { nearest, towards_zero, down, up };

Rounding rounding_of(const Opcode &op) {
  if (op.has("rz") || op.has("rzi")) return towards_zero;
  if (op.has("rm") || op.has("rmi")) return down;
  if (op.has("rp") || op.has("rpi")) return up;
  return nearest;
}

/* The host's rounding mode for as long as it lives. Values pass through volatile objects, so that the compiler moves no
 * operation out of it. */
struct Directed {
  explicit Directed(int rounding) {
    static const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
    std::fesetround(modes[rounding]);
  }
  ~Directed() { std::fesetround(FE_TONEAREST); }
};

enum { FTZ = 4, SAT = 8 }; /* in Instruction::mode, above the rounding */

template <typename T>
T flushed(T x) {
  return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(T{0}, x) : x;
}
template <typename T>
T clamped(T x) {
  return x > 0 ? (x < 1 ? x : T{1}) : T{0}; /* NaN too becomes +0 */
}

template <typename T, char operation>
T compute(T a, T b, T c) {
  volatile T x = a, y = b, z = c, r;
  switch (operation) {
    case '+':
      r = x + y;
      break;
    case '-':
      r = x - y;
      break;
    case '*':
      r = x * y;
      break;
    case '/':
      r = x / y;
      break;
    case 's':
      r = std::sqrt(x);
      break;
    default:
      r = std::fma(x, y, z);
      break;
  }
  return r;
}

template <typename T, char operation>
void general(Thread &t, const Instruction &i) {
  T a = A, b = B, c = C;
  if (i.mode & FTZ) a = flushed(a), b = flushed(b), c = flushed(c);
  T r;
  {
    Directed directed(i.mode & 3);
    r = compute<T, operation>(a, b, c);
  }
  if (i.mode & FTZ) r = flushed(r);
  if (i.mode & SAT) r = clamped(r);
  put(t, i.d, r);
}

#if defined(__x86_64__)
__attribute__((target("fma"))) void fused_by_hardware(Thread &t, const Instruction &i) {
  put(t, i.d, __builtin_fmaf(get<float>(t, i.a), get<float>(t, i.b), get<float>(t, i.c)));
}
#endif

Handler fused() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("fma")) return fused_by_hardware;
#endif
  return HANDLER(put(t, i.d, std::fma(get<float>(t, i.a), get<float>(t, i.b), get<float>(t, i.c))););
}

template <char operation>
Handler rounded(const std::string &type, const Instruction &instruction) {
  if (type == "f64") return general<double, operation>;
  if (instruction.mode) return general<float, operation>;
  switch (operation) { /* the common ones without detour: this interpreter is a baseline, too */
    case '+':
      return HANDLER(put(t, i.d, get<float>(t, i.a) + get<float>(t, i.b)););
    case '-':
      return HANDLER(put(t, i.d, get<float>(t, i.a) - get<float>(t, i.b)););
    case '*':
      return HANDLER(put(t, i.d, get<float>(t, i.a) * get<float>(t, i.b)););
    case 'f':
      return fused();
    default:
      return general<float, operation>;
  }
}

template <typename T>
T lesser(T a, T b) {
  if (std::isnan(a)) return b;
  if (std::isnan(b)) return a;
  return a < b || (a == b && std::signbit(a)) ? a : b;
}

/* Approximations: the exact function, rounded. */
template <double (*function)(double)>
void approximate(Thread &t, const Instruction &i) {
  float a = get<float>(t, i.a);
  if (i.mode & FTZ) a = flushed(a);
  float r = static_cast<float>(function(a));
  if (i.mode & FTZ) r = flushed(r);
  put(t, i.d, r);
}
double reciprocal(double x) { return 1 / x; }
double reciprocal_root(double x) { return 1 / std::sqrt(x); }
double two_to_the(double x) { return std::exp2(x); }
double logarithm(double x) { return std::log2(x); }
double root(double x) { return std::sqrt(x); }
double sine(double x) { return std::sin(x); }
double cosine(double x) { return std::cos(x); }
double tangent(double x) { return std::tanh(x); }

Handler float_arithmetic(const Opcode &op, const std::string &type, Instruction *instruction) {
  const std::string &name = op.name;
  instruction->mode = static_cast<uint8_t>(rounding_of(op) | (op.has("ftz") ? FTZ : 0) | (op.has("sat") ? SAT : 0));
  if (op.has("approx") || op.has("full")) {
    if (type != "f32") return nullptr;
    if (name == "rcp") return approximate<reciprocal>;
    if (name == "rsqrt") return approximate<reciprocal_root>;
    if (name == "sqrt") return approximate<root>;
    if (name == "ex2") return approximate<two_to_the>;
    if (name == "lg2") return approximate<logarithm>;
    if (name == "sin") return approximate<sine>;
    if (name == "cos") return approximate<cosine>;
    if (name == "tanh") return approximate<tangent>;
    if (name == "div") return general<float, '/'>;
    return nullptr;
  }
  if (name == "add") return rounded<'+'>(type, *instruction);
  if (name == "sub") return rounded<'-'>(type, *instruction);
  if (name == "mul") return rounded<'*'>(type, *instruction);
  if (name == "fma" || name == "mad") return rounded<'f'>(type, *instruction);
  if (name == "div") return rounded<'/'>(type, *instruction);
  if (name == "sqrt") return rounded<'s'>(type, *instruction);
  if (name == "rcp")
    return FLOAT(T a = A; if (i.mode & FTZ) a = flushed(a); T r; {
      Directed directed(i.mode & 3);
      r = compute<T, '/'>(T{1}, a, T{0});
    } if (i.mode & FTZ) r = flushed(r);
                 put(t, i.d, r););
  if (name == "abs") return FLOAT(T r = std::fabs(A); put(t, i.d, i.mode & FTZ ? flushed(r) : r););
  if (name == "neg") return FLOAT(T r = -A; put(t, i.d, i.mode & FTZ ? flushed(r) : r););
  if ((name == "min" || name == "max") && !op.has("NaN")) {
    if (name == "min")
      return FLOAT(T a = A; T b = B; if (i.mode & FTZ) a = flushed(a), b = flushed(b); put(t, i.d, lesser(a, b)););
    return FLOAT(T a = A; T b = B; if (i.mode & FTZ) a = flushed(a), b = flushed(b); put(t, i.d, -lesser(-a, -b)););
  }
  if (name == "copysign") return FLOAT(put(t, i.d, std::copysign(B, A)););
  if (name == "testp") {
    static const char *const tests[] = {"finite", "infinite", "number", "notanumber", "normal", "subnormal"};
    for (uint8_t k = 0; k < 6; k++)
      if (op.has(tests[k])) instruction->mode = k;
    return FLOAT(const int kind = std::fpclassify(A);
                 const bool results[] = {kind != FP_NAN && kind != FP_INFINITE, kind == FP_INFINITE, kind != FP_NAN,
                                         kind == FP_NAN, kind == FP_NORMAL, kind == FP_SUBNORMAL};
                 t.r[i.d] = results[i.mode];);
  }
  return nullptr;
}

/* ---- comparisons and choices ---- */

enum Comparison { EQ, NE, LT, LE, GT, GE, EQU, NEU, LTU, LEU, GTU, GEU, NUM, NAN_ };
const char *const comparison_names[] = {"eq",  "ne",  "lt",  "le",  "gt",  "ge",  "equ",
                                        "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};

template <typename T>
bool compare(T a, T b, int how) {
  const bool ordered = a == a && b == b;
  switch (how) {
    case EQ:
      return ordered && a == b;
    case NE:
      return ordered && a != b;
    case LT:
      return ordered && a < b;
    case LE:
      return ordered && a <= b;
    case GT:
      return ordered && a > b;
    case GE:
      return ordered && a >= b;
    case NUM:
      return ordered;
    case NAN_:
      return !ordered;
    default:
      return !ordered || compare(a, b, how - EQU);
  }
}

enum { COMBINE_AND = 16, COMBINE_OR = 32, COMBINE_XOR = 48, COMPARE_FTZ = 64 };

template <typename T>
bool condition(Thread &t, const Instruction &i, bool opposite) {
  bool holds;
  T a = A, b = B;
  if constexpr (std::is_floating_point<T>::value) {
    if (i.mode & COMPARE_FTZ) a = flushed(a), b = flushed(b);
  }
  holds = compare(a, b, i.mode & 15) != opposite;
  const bool other = (t.r[i.c] != 0) != i.negate_c;
  switch (i.mode & 48) {
    case COMBINE_AND:
      return holds && other;
    case COMBINE_OR:
      return holds || other;
    case COMBINE_XOR:
      return holds != other;
    default:
      return holds;
  }
}

Handler comparison(const Opcode &op, Instruction *instruction) {
  int how = -1;
  for (int k = 0; k < 14; k++)
    if (op.has(comparison_names[k])) how = k;
  if (op.has("lo")) how = LT;
  if (op.has("ls")) how = LE;
  if (op.has("hi")) how = GT;
  if (op.has("hs")) how = GE;
  if (how < 0) return nullptr;
  instruction->mode = static_cast<uint8_t>(how |
                                           (op.has("and")   ? COMBINE_AND
                                            : op.has("or")  ? COMBINE_OR
                                            : op.has("xor") ? COMBINE_XOR
                                                            : 0) |
                                           (op.has("ftz") ? COMPARE_FTZ : 0));
  const std::vector<std::string> types = op.types();
  const std::string &type = types.back();
  if (op.name == "setp") {
    return by_number(type, [](auto tag) -> Handler {
      using T = decltype(tag);
      return HANDLER(const bool p = condition<T>(t, i, false); if (i.e) t.r[i.e] = condition<T>(t, i, true);
                     t.r[i.d] = p;);
    });
  }
  instruction->bits = types[0] == "f32";
  return by_number(type, [](auto tag) -> Handler {
    using T = decltype(tag);
    return HANDLER(t.r[i.d] = condition<T>(t, i, false) ? (i.bits ? 0x3f800000u : 0xffffffffu) : 0;);
  });
}

/* ---- conversions ---- */

template <typename To>
To limited(Wide value) {
  const Wide low = std::numeric_limits<To>::min(), high = std::numeric_limits<To>::max();
  return static_cast<To>(value < low ? low : value > high ? high : value);
}

/* Into a register that may be wider than the type: sign or zero extended. */
template <typename To>
void put_extended(Thread &t, const Instruction &i, To value) {
  const uint64_t bits = static_cast<uint64_t>(static_cast<int64_t>(value));
  t.r[i.d] = i.bits >= 64 ? bits : bits & ((uint64_t{1} << i.bits) - 1);
}

template <typename From>
double integral(From x, int rounding) {
  switch (rounding) {
    case towards_zero:
      return std::trunc(x);
    case down:
      return std::floor(x);
    case up:
      return std::ceil(x);
    default: {
      const double below = std::floor(x), part = x - below;
      const bool odd = std::fmod(below, 2) != 0;
      const double whole = part > 0.5 || (part == 0.5 && odd) ? below + 1 : below;
      return std::copysign(whole, x);
    }
  }
}

enum { INTEGRAL = 16 }; /* rni and the like between floats of one type */

template <typename To, typename From>
void convert(Thread &t, const Instruction &i) {
  From x = get<From>(t, i.a);
  if constexpr (std::is_integral<From>::value && std::is_integral<To>::value) {
    put_extended(t, i, i.mode & SAT ? limited<To>(x) : static_cast<To>(x));
  } else if constexpr (std::is_integral<To>::value) {
    if (i.mode & FTZ) x = flushed(x);
    if (std::isnan(x)) { /* CUDA's __float2int, __double2int, ...: 0 from float to 32 bits, else the lowest */
      const bool zero = sizeof(From) == 4 && sizeof(To) <= 4;
      put_extended(t, i, zero ? To{0} : static_cast<To>(To{1} << (8 * sizeof(To) - 1)));
      return;
    }
    const double whole = std::fmax(-1e30, std::fmin(1e30, integral(x, i.mode & 3)));
    put_extended(t, i, limited<To>(static_cast<Wide>(whole)));
  } else {
    To r;
    if constexpr (std::is_floating_point<From>::value) {
      if (i.mode & FTZ && sizeof(From) == 4) x = flushed(x);
    }
    if (i.mode & INTEGRAL) {
      r = static_cast<To>(integral(static_cast<double>(x), i.mode & 3));
    } else {
      volatile From exact = x;
      volatile To narrow;
      {
        Directed directed(i.mode & 3);
        narrow = static_cast<To>(exact);
      }
      r = narrow;
    }
    if (i.mode & FTZ && sizeof(To) == 4) r = flushed(r);
    if (i.mode & SAT) r = clamped(r);
    put(t, i.d, r);
  }
}

template <typename F>
Handler by_any(const std::string &type, F make) {
  if (type == "u8") return make(uint8_t{});
  if (type == "s8") return make(int8_t{});
  return by_number(type, make);
}

/* Ten bits of fraction, ties away from zero. */
float nearest_tf32(float x) {
  if (std::isnan(x) || std::isinf(x) || x == 0) return x;
  const double spacing = std::ldexp(1.0, std::max(std::ilogb(x), -126) - 10);
  return std::copysign(static_cast<float>(std::floor(std::fabs(double{x}) / spacing + 0.5) * spacing), x);
}

Handler conversion(const Opcode &op, Instruction *instruction) {
  const std::vector<std::string> types = op.types();
  if (types.size() != 2) return nullptr;
  const bool integral_form = op.has("rni") || op.has("rzi") || op.has("rmi") || op.has("rpi");
  const bool between_floats = types[0][0] == 'f' && types[1][0] == 'f';
  instruction->mode = static_cast<uint8_t>(rounding_of(op) | (op.has("ftz") ? FTZ : 0) | (op.has("sat") ? SAT : 0) |
                                           (integral_form && between_floats ? INTEGRAL : 0));
  return by_any(types[0], [&types](auto to) -> Handler {
    return by_any(types[1], [](auto from) -> Handler { return convert<decltype(to), decltype(from)>; });
  });
}

}  // namespace

Handler arithmetic(const Opcode &op, Instruction *instruction) {
  const std::vector<std::string> types = op.types();
  if (types.empty()) return nullptr;
  const std::string &type = types[0], &name = op.name;
  if (name == "setp" || name == "set") return comparison(op, instruction);
  if (name == "cvt" && op.has("tf32")) {
    if (!op.has("rna")) return nullptr;
    return HANDLER(put(t, i.d, nearest_tf32(get<float>(t, i.a))););
  }
  if (name == "cvt") return conversion(op, instruction);
  if (name == "cvta") return nullptr; /* memory's */
  if (name == "mov") return HANDLER(t.r[i.d] = t.r[i.a];);
  if (name == "pack")
    return HANDLER(uint64_t bits = 0;
                   for (size_t k = 0; k < i.list.size(); k++) bits |=
                   (i.bits >= 64 ? t.r[i.list[k]] : t.r[i.list[k]] & ((uint64_t{1} << i.bits) - 1)) << (k * i.bits);
                   t.r[i.d] = bits;);
  if (name == "unpack")
    return HANDLER(uint64_t bits = t.r[i.a]; const unsigned each = i.bits; for (uint32_t element
                                                                                : i.list) {
      t.r[element] = bits & ((uint64_t{1} << each) - 1);
      bits >>= each;
    });
  if (name == "selp") return HANDLER(t.r[i.d] = t.r[i.c] ? t.r[i.a] : t.r[i.b];);
  if (name == "slct") {
    if (types.size() != 2) return nullptr;
    if (types[1] == "s32") return HANDLER(t.r[i.d] = get<int32_t>(t, i.c) >= 0 ? t.r[i.a] : t.r[i.b];);
    instruction->mode = op.has("ftz") ? FTZ : 0;
    return HANDLER(float c = get<float>(t, i.c); if (i.mode & FTZ) c = flushed(c);
                   t.r[i.d] = c >= 0 ? t.r[i.a] : t.r[i.b];);
  }
  if (name == "and" || name == "or" || name == "xor" || name == "not") return logic(op, type);
  if (name == "addc" || name == "subc") instruction->mode = op.has("cc");
  if (type == "f32" || type == "f64") return float_arithmetic(op, type, instruction);
  return integer_arithmetic(op, type, instruction);
}

}  // namespace scalar
