/* Random PTX kernels. A statement is drawn with the knowledge whether all threads come here (`uniform_here`): only then
 * may it hold a barrier or an exchange. */
#include "tests/vgpu/random_program.h"

#include <random>

namespace random_program {

namespace {

using std::string;
using std::to_string;
using Lines = std::vector<string>;

/* How many registers of each kind. r: 32 bits, h: 16, l: 64, f: f32, d: f64, p: predicates, u: 32 bits, the same in all
 * threads of a block. */
enum { R = 12, H = 6, L = 6, F = 8, D = 5, P = 5, U = 3, THREAD_SHARED = 16, LOCAL = 64 };

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  Program program() {
    Program p;
    static const unsigned blocks[] = {32, 64, 96, 128, 1, 7, 33, 50, 100};
    p.block = blocks[below(9)];
    p.grid = 1 + below(3);
    full_warps_ = p.block % 32 == 0;
    exits_ = one_in(4);
    p.dynamic_shared = p.block * THREAD_SHARED;
    for (int i = 6 + static_cast<int>(below(14)); i > 0; i--) p.statements.push_back(statement(0, true));
    return p;
  }

 private:
  std::mt19937_64 random_;
  bool full_warps_ = false, exits_ = false;
  int next_number_ = 0;
  std::vector<int> loops_; /* that may be left from here */

  uint64_t below(uint64_t n) { return random_() % n; }
  bool one_in(unsigned n) { return below(n) == 0; }
  template <typename T>
  const T &pick(const std::vector<T> &list) {
    return list[below(list.size())];
  }
  string any(const char *kind, int count) {
    return "%" + string(kind) + to_string(below(static_cast<uint64_t>(count)));
  }
  string r() { return any("r", R); }
  string h() { return any("h", H); }
  string l() { return any("l", L); }
  string f() { return any("f", F); }
  string d() { return any("d", D); }
  string p() { return any("p", P); }
  string u() { return any("u", U); }

  /* ---- operands: mostly registers, sometimes constants ---- */

  uint64_t interesting() {
    static const uint64_t values[] = {0,      1,      2,      3,          7,          8,         15,  16,
                                      31,     32,     33,     63,         64,         127,       128, 255,
                                      0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff};
    return one_in(3) ? random_() >> below(64) : values[below(22)];
  }
  string r_in() {
    if (one_in(6)) return to_string(static_cast<uint32_t>(interesting()));
    return one_in(8) ? u() : r();
  }
  string h_in() { return one_in(6) ? to_string(interesting() & 0xffff) : h(); }
  string l_in() { return one_in(6) ? to_string(interesting()) : l(); }
  string f_in() {
    if (!one_in(6)) return f();
    static const char *const values[] = {"0f00000000", "0f80000000", "0f3F800000", "0fBF800000", "0f00000001",
                                         "0f807FFFFF", "0f7F800000", "0f4B7FFFFF", "0f3F000001", "0f7F7FFFFF"};
    return values[below(10)];
  }
  string d_in() {
    if (!one_in(6)) return d();
    static const char *const values[] = {"0d0000000000000000", "0d8000000000000000", "0d3FF0000000000000",
                                         "0dBFF8000000000000", "0d0000000000000001", "0d7FF0000000000000",
                                         "0d3FEFFFFFFFFFFFFF", "0d41DFFFFFFFC00000"};
    return values[below(8)];
  }

  /* The canonical NaN in the place of any: payloads are the executor's business. */
  static Lines and_canonical(const string &line, const string &result) {
    if (result[1] == 'f')
      return {line, "testp.notanumber.f32 %pn, " + result + ";", "@%pn mov.f32 " + result + ", 0f7FFFFFFF;"};
    return {line, "testp.notanumber.f64 %pn, " + result + ";", "@%pn mov.f64 " + result + ", 0d7FFFFFFFFFFFFFFF;"};
  }

  /* ---- one instruction ---- */

  string join(const Lines &operands) {
    string text;
    for (size_t i = 0; i < operands.size(); i++) text += (i ? ", " : " ") + operands[i];
    return text + ";";
  }

  struct Width {
    const char *bits, *sign, *unsign;
    string (Generator::*out)();
    string (Generator::*in)();
  };

  Width width(bool with16 = true) {
    static const Width widths[] = {{"b32", "s32", "u32", &Generator::r, &Generator::r_in},
                                   {"b64", "s64", "u64", &Generator::l, &Generator::l_in},
                                   {"b16", "s16", "u16", &Generator::h, &Generator::h_in}};
    return widths[one_in(2) ? 0 : below(with16 ? 3 : 2)];
  }

  Lines integer() {
    const Width w = width(), wide = width(false);
    const string type = one_in(2) ? w.sign : w.unsign, type_wide = one_in(2) ? wide.sign : wide.unsign;
    const auto out = [&] { return (this->*w.out)(); };
    const auto in = [&] { return (this->*w.in)(); };
    const auto out2 = [&] { return (this->*wide.out)(); };
    const auto in2 = [&] { return (this->*wide.in)(); };
    switch (below(28)) {
      case 0:
        return {pick<string>({"add.", "sub.", "mul.lo.", "min.", "max.", "mul.hi."}) + type +
                join({out(), in(), in()})};
      case 1:
        return {pick<string>({"mad.lo.", "sad.", "mad.hi."}) + type + join({out(), in(), in(), in()})};
      case 2: {
        const bool wide_result = one_in(2);
        const string kind = pick<string>({"s", "u"});
        if (wide_result) return {"mul.wide." + kind + "32" + join({l(), r_in(), r_in()})};
        return {"mul.wide." + kind + "16" + join({r(), h_in(), h_in()})};
      }
      case 3:
        if (one_in(2)) return {"mad.wide." + pick<string>({"s", "u"}) + "32" + join({l(), r_in(), r_in(), l_in()})};
        return {"mad.wide." + pick<string>({"s", "u"}) + "16" + join({r(), h_in(), h_in(), r_in()})};
      case 4: { /* a divisor that is not zero */
        const string t = string("%t") + w.bits[1] + w.bits[2];
        return {string("or.") + w.bits + join({t, in(), "1"}),
                pick<string>({"div.", "rem."}) + type + join({out(), in(), t})};
      }
      case 5:
        return {pick<string>({"abs.", "neg."}) + w.sign + join({out(), in()})};
      case 6:
        return {pick<string>({"and.", "or.", "xor."}) + w.bits + join({out(), in(), in()})};
      case 7:
        return {pick<string>({"not.", "cnot."}) + w.bits + join({out(), in()})};
      case 8:
        return {pick<string>({string("shl.") + w.bits, string("shr.") + w.bits, "shr." + type}) +
                join({out(), in(), one_in(2) ? to_string(below(70)) : r_in()})};
      case 9:
        return {pick<string>({"popc.", "clz."}) + wide.bits + join({r(), in2()})};
      case 10:
        return {pick<string>({"bfind.", "bfind.shiftamt."}) + type_wide + join({r(), in2()})};
      case 11:
        return {string("brev.") + wide.bits + join({out2(), in2()})};
      case 12:
        return {"bfe." + type_wide + join({out2(), in2(), small(), small()})};
      case 13:
        return {string("bfi.") + wide.bits + join({out2(), in2(), in2(), small(), small()})};
      case 14:
        return {pick<string>({"shf.l.wrap.b32", "shf.r.wrap.b32", "shf.l.clamp.b32", "shf.r.clamp.b32"}) +
                join({r(), r_in(), r_in(), small()})};
      case 15:
        return {pick<string>({"prmt.b32", "prmt.b32.f4e", "prmt.b32.b4e", "prmt.b32.rc8", "prmt.b32.ecl",
                              "prmt.b32.ecr", "prmt.b32.rc16"}) +
                join({r(), r_in(), r_in(), one_in(2) ? to_string(below(65536)) : r_in()})};
      case 16:
      case 17:
        return {"lop3.b32" + join({r(), r_in(), r_in(), r_in(), to_string(below(256))})};
      case 18:
        return {pick<string>({"mul24.lo.", "mul24.hi."}) + pick<string>({"s32", "u32"}) + join({r(), r_in(), r_in()})};
      case 19:
        return {pick<string>({"mad24.lo.", "mad24.hi."}) + pick<string>({"s32", "u32"}) +
                join({r(), r_in(), r_in(), r_in()})};
      case 20: { /* a sum of 96 or 128 bits */
        const string kind = pick<string>({"u32", "s32"}), a = r(), b = r(), c = r();
        const bool minus = one_in(2);
        return {(minus ? "sub.cc." : "add.cc.") + kind + join({a, r_in(), r_in()}),
                (minus ? "subc.cc." : "addc.cc.") + kind + join({b, r_in(), r_in()}),
                (minus ? "subc." : "addc.") + kind + join({c, r_in(), r_in()})};
      }
      case 21:
        return {pick<string>({"add.sat.s32", "sub.sat.s32"}) + join({r(), r_in(), r_in()})};
      case 22:
        return {"mov.b64" + join({l(), "{" + r() + ", " + r() + "}"})};
      case 23:
        return {"mov.b64 {%r1, %r2}, " + l() + ";"};
      case 24:
        return {"mov.b32" + join({r(), "{" + h() + ", " + h() + "}"})};
      case 25:
        return {"mov.b32 {%h0, %h1}, " + r() + ";"};
      case 26:
        return {"selp." + type + join({out(), in(), in(), p()})};
      default:
        return {"slct." + type + ".s32" + join({out(), in(), in(), r()})};
    }
  }
  string small() { return one_in(3) ? r_in() : to_string(below(one_in(4) ? 300 : 66)); }

  Lines floating() {
    const bool wide = one_in(3);
    const string type = wide ? "f64" : "f32", result = wide ? d() : f();
    const auto in = [&] { return wide ? d_in() : f_in(); };
    const string rounding = pick<string>({".rn", ".rn", ".rz", ".rm", ".rp"});
    const string ftz = !wide && one_in(4) ? ".ftz" : "", sat = !wide && one_in(6) ? ".sat" : "";
    string line;
    switch (below(10)) {
      case 0:
      case 1:
        line = pick<string>({"add", "sub", "mul"}) + rounding + ftz + sat + "." + type + join({result, in(), in()});
        break;
      case 2:
      case 3:
        line = "fma" + rounding + ftz + sat + "." + type + join({result, in(), in(), in()});
        break;
      case 4:
        line = "div" + rounding + ftz + "." + type + join({result, in(), in()});
        break;
      case 5:
        line = pick<string>({"sqrt", "rcp"}) + rounding + ftz + "." + type + join({result, in()});
        break;
      case 6:
        line = pick<string>({"min", "max"}) + ftz + "." + type + join({result, in(), in()});
        break;
      case 7:
        line = pick<string>({"abs", "neg"}) + ftz + "." + type + join({result, in()});
        break;
      case 8:
        line = "copysign." + type + join({result, in(), in()});
        break;
      default:
        line = "selp." + type + join({result, in(), in(), p()});
        break;
    }
    return and_canonical(line, result);
  }

  Lines compare() {
    static const std::vector<string> floats = {"eq",  "ne",  "lt",  "le",  "gt",  "ge",  "equ",
                                               "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};
    static const std::vector<string> integers = {"eq", "ne", "lt", "le", "gt", "ge"};
    static const std::vector<string> unsigned_too = {"eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs"};
    string how, type, a, b;
    switch (below(6)) {
      case 0:
        how = pick(floats), type = one_in(4) ? "ftz.f32" : "f32", a = f_in(), b = f_in();
        break;
      case 1:
        how = pick(floats), type = "f64", a = d_in(), b = d_in();
        break;
      case 2:
        how = pick(integers), type = "s16", a = h_in(), b = h_in();
        break;
      case 3:
        how = pick(unsigned_too), type = "u64", a = l_in(), b = l_in();
        break;
      default:
        if (one_in(2))
          how = pick(integers), type = "s32";
        else
          how = pick(unsigned_too), type = "u32";
        a = r_in(), b = r_in();
        break;
    }
    switch (below(6)) {
      case 0:
        return {"setp." + how + "." + pick<string>({"and", "or", "xor"}) + "." + type +
                join({p(), a, b, (one_in(2) ? "!" : "") + p()})};
      case 1:
        return {"setp." + how + "." + type + " %p0|%p1, " + a + ", " + b + ";"};
      case 2:
        return {"set." + how + "." + (type == "ftz.f32" ? "ftz.u32.f32" : "u32." + type) + join({r(), a, b})};
      default:
        return {"setp." + how + "." + type + join({p(), a, b})};
    }
  }

  Lines convert() {
    static const std::vector<string> whole = {".rni", ".rzi", ".rmi", ".rpi"}, to_near = {".rn", ".rz", ".rm", ".rp"};
    struct Integer {
      const char *type;
      string (Generator::*reg)();
    };
    /* Types narrower than 16 bits live in 16-bit registers, and may be read from and written to wider ones. */
    static const Integer integers[] = {{"u8", &Generator::h},  {"s8", &Generator::h},  {"u16", &Generator::h},
                                       {"s16", &Generator::h}, {"u32", &Generator::r}, {"s32", &Generator::r},
                                       {"u64", &Generator::l}, {"s64", &Generator::l}, {"u8", &Generator::r},
                                       {"s16", &Generator::r}, {"u16", &Generator::r}, {"s8", &Generator::r}};
    const Integer a = integers[below(12)], b = integers[below(12)];
    const bool wide = one_in(2);
    switch (below(6)) {
      case 0:
      case 1:
        return {string("cvt.") + (one_in(3) ? "sat." : "") + a.type + "." + b.type +
                join({(this->*a.reg)(), (this->*b.reg)()})};
      case 2: { /* not from NaN */
        const string source = wide ? d() : f(), type = wide ? "f64" : "f32", t = wide ? "%td" : "%tf";
        return {"testp.notanumber." + type + " %pn, " + source + ";",
                "selp." + type + join({t, wide ? "0d4059000000000000" : "0f42C80000", source, "%pn"}),
                "cvt" + pick(whole) + (!wide && one_in(4) ? ".ftz" : "") + "." + a.type + "." + type +
                    join({(this->*a.reg)(), t})};
      }
      case 3: {
        const string result = wide ? d() : f();
        return {"cvt" + pick(to_near) + (!wide && one_in(6) ? ".sat" : "") + (wide ? ".f64." : ".f32.") + b.type +
                join({result, (this->*b.reg)()})};
      }
      case 4: {
        const string result = wide ? d() : f();
        if (wide)
          return and_canonical("cvt" + string(one_in(4) ? ".ftz" : "") + ".f64.f32" + join({result, f()}), result);
        return and_canonical("cvt" + pick(to_near) + (one_in(4) ? ".ftz" : "") + (one_in(6) ? ".sat" : "") +
                                 ".f32.f64" + join({result, d()}),
                             result);
      }
      default: {
        const string result = wide ? d() : f();
        if (wide) return and_canonical("cvt" + pick(whole) + ".f64.f64" + join({result, d()}), result);
        return and_canonical("cvt" + pick(whole) + (one_in(4) ? ".ftz" : "") + (one_in(6) ? ".sat" : "") + ".f32.f32" +
                                 join({result, f()}),
                             result);
      }
    }
  }

  Lines predicates() {
    if (one_in(4)) return {"not.pred" + join({p(), p()})};
    return {pick<string>({"and.pred", "or.pred", "xor.pred"}) + join({p(), p(), p()})};
  }

  /* ---- memory ---- */

  struct Element {
    string type, reg;
    unsigned bytes;
  };
  Element element(bool load) {
    switch (below(9)) {
      case 0:
        return {load ? pick<string>({"u8", "s8", "b8"}) : "u8", one_in(2) ? h() : r(), 1};
      case 1:
        return {load ? pick<string>({"u16", "s16"}) : "b16", one_in(2) ? h() : r(), 2};
      case 2:
      case 3:
        return {pick<string>({"u32", "s32", "b32"}), r(), 4};
      case 4:
        return {"s32", l(), 4};
      case 5:
        return {"u64", l(), 8};
      case 6:
      case 7:
        return {"f32", f(), 4};
      default:
        return {"f64", d(), 8};
    }
  }

  /* ld or st of one to four elements; the address is `base` plus a constant below `bytes`. */
  Lines access(bool load, const string &space, const string &base, unsigned bytes) {
    Element e = element(load);
    unsigned count = one_in(4) ? 2 : one_in(6) && e.bytes <= 4 ? 4 : 1;
    while (count * e.bytes > bytes) count /= 2;
    const unsigned size = count * e.bytes;
    const string where = "[" + base + "+" + to_string(below(bytes / size) * size) + "]";
    string list = e.reg;
    Lines lines;
    if (count > 1) {
      list = "{" + e.reg;
      for (unsigned i = 1; i < count; i++) { /* different registers of one kind */
        const string more = e.reg.substr(0, 2) + to_string((static_cast<unsigned>(e.reg[2] - '0') + i) % 5);
        list += ", " + more;
      }
      list += "}";
      if (e.reg.size() > 3) return {}; /* %r10, %r11 would repeat */
      if (static_cast<unsigned>(e.reg[2] - '0') >= 5) return {};
    }
    const string op = string(load ? "ld" : "st") + space + (count > 1 ? ".v" + to_string(count) : "") + "." + e.type;
    lines.push_back(load ? op + " " + list + ", " + where + ";" : op + " " + where + ", " + list + ";");
    if (load && (e.type == "f32" || e.type == "f64")) {
      for (unsigned i = 0; i < count; i++) {
        const string reg =
            count == 1 ? e.reg : e.reg.substr(0, 2) + to_string((static_cast<unsigned>(e.reg[2] - '0') + i) % 5);
        const Lines more = and_canonical("", reg);
        lines.insert(lines.end(), more.begin() + 1, more.end());
      }
    }
    return lines;
  }

  static Lines operator_plus(Lines a, const Lines &b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }

  Lines memory() {
    switch (below(8)) {
      case 0: /* anywhere in the input, by a value that differs between threads */
        return operator_plus({"and.b32 %tr, " + r() + ", 254;", "mul.wide.u32 %tl, %tr, 8;", "add.s64 %tl, %tl, %in;"},
                             access(true, pick<string>({".global", ".global.nc", ""}), "%tl", 64));
      case 1:
        return access(true, ".global", "%mine_in", 64);
      case 2:
        return access(true, ".global", "%in", 64); /* the same in all threads */
      case 3:
        return access(false, pick<string>({".global", ""}), "%out", 256);
      case 4:
        return access(true, ".global", "%out", 256);
      case 5:
        return operator_plus({"and.b32 %tr, " + r() + ", 31;", "and.b32 %tr, %tr, 16;", "add.u32 %tr, %tr, %local;"},
                             access(one_in(2), ".local", "%tr", 32));
      default:
        return access(one_in(2), ".local", "%local", 64);
    }
  }

  /* The thread's own piece of shared memory. */
  Lines own_shared() {
    const bool load = one_in(2), generic = one_in(3);
    return access(load, generic ? "" : ".shared", generic ? "%mine_generic" : "%mine", THREAD_SHARED);
  }

  Lines atomics() {
    /* Sums over all threads: one kind of update for every place, its result not looked at. */
    static const char *const places[] = {"add.u32 [%sums]",    "min.s32 [%sums+4]", "max.u32 [%sums+8]",
                                         "and.b32 [%sums+12]", "or.b32 [%sums+16]", "xor.b32 [%sums+20]",
                                         "max.s32 [%sums+24]", "min.u32 [%sums+28]"};
    static const char *const wide[] = {"add.u64 [%sums+32]", "xor.b64 [%sums+40]", "max.s64 [%sums+48]",
                                       "min.u64 [%sums+56]"};
    switch (below(5)) {
      case 0:
        return {string("red.global.") + places[below(8)] + ", " + r_in() + ";"};
      case 1:
        return {string("red.global.") + wide[below(4)] + ", " + l_in() + ";"};
      case 2: {
        const string place = places[below(8)];
        const size_t bracket = place.find('[');
        return {"atom.global." + place.substr(0, bracket) + "%unused, " + place.substr(bracket) + ", " + r_in() + ";"};
      }
      case 3: /* a place of the thread's own: the result counts */
        return {"atom.global." +
                pick<string>({"add.u32", "add.s32", "min.u32", "min.s32", "max.u32", "max.s32", "and.b32", "or.b32",
                              "xor.b32", "exch.b32", "inc.u32", "dec.u32"}) +
                join({r(), "[%out+256]", r_in()})};
      default:
        if (one_in(2))
          return {"atom." + pick<string>({"global.", ""}) + "cas.b32" + join({r(), "[%out+260]", r_in(), r_in()})};
        return {"atom.global." + pick<string>({"add.u64", "exch.b64", "max.s64", "min.u64", "xor.b64"}) +
                join({l(), "[%out+264]", l_in()})};
    }
  }

  /* ---- where all threads come ---- */

  Lines together() {
    if (full_warps_ && !exits_ && !one_in(3)) {
      switch (below(4)) {
        case 0: {
          const string how = pick<string>({"up", "down", "bfly", "idx"});
          return {"shfl.sync." + how + ".b32" +
                  join({r() + (one_in(2) ? "|" + p() : ""), r(), one_in(2) ? to_string(below(32)) : r(),
                        how == "up" ? "0"
                        : one_in(2) ? "31"
                                    : "0x1c1f",
                        "0xffffffff"})};
        }
        case 1:
          return {"vote.sync.ballot.b32" + join({r(), p(), "0xffffffff"})};
        case 2:
          return {"vote.sync." + pick<string>({"any", "all", "uni"}) + ".pred" + join({p(), p(), "0xffffffff"})};
        default:
          return {"redux.sync." +
                  pick<string>({"add.u32", "add.s32", "min.s32", "max.u32", "and.b32", "or.b32", "xor.b32"}) +
                  join({r(), r(), "0xffffffff"})};
      }
    }
    /* Writes, a barrier, a look at another thread's piece, a barrier. */
    Lines lines = access(false, ".shared", "%mine", THREAD_SHARED);
    lines.push_back(one_in(8) ? "bar.sync 3;" : one_in(2) ? "barrier.sync 0;" : "bar.sync 0;");
    const string step = to_string(1 + below(40));
    lines = operator_plus(lines, {"add.u32 %tr, %thread, " + step + ";", "rem.u32 %tr, %tr, %threads;",
                                  "mad.lo.u32 %tr, %tr, " + to_string(THREAD_SHARED) + ", %shared;"});
    lines = operator_plus(lines, access(true, ".shared", "%tr", THREAD_SHARED));
    lines.push_back("bar.sync 0;");
    return lines;
  }

  Lines uniform() {
    return {pick<string>({"add.u32", "mul.lo.u32", "xor.b32", "shr.u32"}) +
            join({u(), u(), one_in(2) ? to_string(1 + below(5)) : u()})};
  }

  Lines instruction() {
    Lines lines;
    switch (below(20)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
      case 5:
        lines = integer();
        break;
      case 6:
      case 7:
      case 8:
      case 9:
        lines = floating();
        break;
      case 10:
      case 11:
        lines = compare();
        break;
      case 12:
      case 13:
        lines = convert();
        break;
      case 14:
        lines = predicates();
        break;
      case 15:
      case 16:
        lines = memory();
        break;
      case 17:
        lines = own_shared();
        break;
      case 18:
        lines = atomics();
        break;
      default:
        lines = floating();
        break;
    }
    if (lines.size() == 1 && one_in(6)) lines[0] = (one_in(2) ? "@" : "@!") + p() + " " + lines[0];
    return lines;
  }

  std::vector<Statement> block(int depth, bool uniform_here) {
    std::vector<Statement> list;
    for (int i = 1 + static_cast<int>(below(6)); i > 0; i--) list.push_back(statement(depth + 1, uniform_here));
    return list;
  }

  Statement statement(int depth, bool uniform_here) {
    Statement s;
    const string n = to_string(next_number_++);
    const unsigned kind = static_cast<unsigned>(below(depth < 3 ? 24 : 17));
    if (kind < 14 || (kind < 17 && !uniform_here)) {
      s.before = instruction();
    } else if (kind < 16) {
      s.before = together();
    } else if (kind == 16) {
      s.before = uniform();
    } else if (kind < 21) { /* if */
      const bool same = uniform_here && one_in(3), both = one_in(2);
      const string guard = same ? "%pu" : p();
      if (same)
        s.before.push_back("setp." + pick<string>({"lt", "gt", "ne"}) + ".u32 %pu, " + u() + ", " +
                           to_string(below(64)) + ";");
      s.before.push_back((one_in(2) ? "@" : "@!") + guard + " bra" + (same && one_in(2) ? ".uni" : "") + " ELSE" + n +
                         ";");
      s.body = block(depth, same);
      if (both) s.between.push_back("bra" + string(one_in(2) ? ".uni" : "") + " END" + n + ";");
      s.between.push_back("ELSE" + n + ":");
      if (both) {
        s.otherwise = block(depth, same);
        s.after = {"END" + n + ":"};
      }
    } else if (kind < 23) { /* loop */
      const bool same = uniform_here && one_in(2);
      const string counter = "%c" + n, limit = "%n" + n;
      s.before = {".reg .b32 " + counter + ", " + limit + ";", "and.b32 " + limit + ", " + (same ? u() : r()) + ", 3;",
                  "mov.u32 " + counter + ", 0;", "LOOP" + n + ":"};
      loops_.push_back(same ? -1 : std::stoi(n));
      s.body = block(depth, same);
      loops_.pop_back();
      s.after = {"add.u32 " + counter + ", " + counter + ", 1;", "setp.le.u32 %pl, " + counter + ", " + limit + ";",
                 "@%pl bra LOOP" + n + ";", "END" + n + ":"};
    } else if (!loops_.empty() && loops_.back() >= 0) { /* leave the loop */
      s.before = {"@" + p() + " bra END" + to_string(loops_.back()) + ";"};
    } else if (exits_ && !uniform_here && one_in(3)) {
      s.before = {"@" + p() + " " + pick<string>({"exit;", "ret;"})};
    } else { /* a table of branches */
      s.before = {"and.b32 %tr, " + r() + ", 1;", "T" + n + ": .branchtargets A" + n + ", B" + n + ";",
                  "brx.idx %tr, T" + n + ";", "A" + n + ":"};
      s.body = block(depth, false);
      s.between = {"bra END" + n + ";", "B" + n + ":"};
      s.otherwise = block(depth, false);
      s.after = {"END" + n + ":"};
    }
    return s;
  }
};

void render(const std::vector<Statement> &list, string *text, int depth) {
  const auto lines = [&](const Lines &more) {
    for (const string &line : more)
      if (!line.empty()) *text += string(static_cast<size_t>(2 * depth + 2), ' ') + line + "\n";
  };
  for (const Statement &s : list) {
    lines(s.before);
    render(s.body, text, depth + 1);
    lines(s.between);
    render(s.otherwise, text, depth + 1);
    lines(s.after);
  }
}

}  // namespace

string head() { return ".version 8.0\n.target sm_86\n.address_size 64\n.extern .shared .align 16 .b8 dynamic[];\n"; }

string Program::kernel(const string &name) const {
  const auto number = [](int n) { return to_string(n); };
  string text =
      ".visible .entry " + name + "(.param .u64 in, .param .u64 out, .param .u64 sums, .param .u32 uniform)\n{\n";
  text += "  .reg .b32 %r<" + number(R) + ">, %u<" + number(U) +
          ">, %tr, %t32, %unused, %thread, %threads, %shared, %mine, %local, %gid, %bid;\n";
  text += "  .reg .b16 %h<" + number(H) + ">, %t16;\n  .reg .b64 %l<" + number(L) +
          ">, %t64, %tl, %in, %out, %sums, %mine_in, %mine_generic;\n";
  text += "  .reg .f32 %f<" + number(F) + ">, %tf;\n  .reg .f64 %d<" + number(D) + ">, %td;\n  .reg .pred %p<" +
          number(P) + ">, %pn, %pu, %pl;\n";
  text += "  .local .align 16 .b8 own[" + number(LOCAL) + "];\n";
  text +=
      "  ld.param.u64 %in, [in]; ld.param.u64 %out, [out]; ld.param.u64 %sums, [sums]; ld.param.u32 %u0, [uniform];\n"
      "  mov.u32 %thread, %tid.x; mov.u32 %threads, %ntid.x; mov.u32 %bid, %ctaid.x; mad.lo.u32 %gid, %bid, %threads, "
      "%thread;\n"
      "  add.u32 %u1, %u0, %bid; mul.lo.u32 %u2, %u1, 5;\n"
      "  cvta.to.global.u64 %in, %in; cvta.to.global.u64 %out, %out;\n"
      "  mul.wide.u32 %tl, %gid, 512; add.s64 %out, %out, %tl;\n"
      "  and.b32 %tr, %gid, 15; mul.wide.u32 %tl, %tr, 64; add.s64 %mine_in, %in, %tl;\n"
      "  mov.u32 %shared, dynamic; mad.lo.u32 %mine, %thread, 16, %shared;\n"
      "  cvt.u64.u32 %tl, %mine; cvta.shared.u64 %mine_generic, %tl;\n"
      "  mov.u32 %local, own;\n";
  /* Registers begin with values of the input: integers of the first half, numbers of the second. */
  for (int i = 0; i < R; i++) text += "  ld.global.b32 %r" + number(i) + ", [%mine_in+" + number(4 * i) + "];\n";
  for (int i = 0; i < L; i++) text += "  ld.global.b64 %l" + number(i) + ", [%mine_in+" + number(8 * i) + "];\n";
  for (int i = 0; i < H; i++) text += "  ld.global.b16 %h" + number(i) + ", [%mine_in+" + number(2 * i + 16) + "];\n";
  for (int i = 0; i < F; i++) text += "  ld.global.f32 %f" + number(i) + ", [%mine_in+" + number(2048 + 4 * i) + "];\n";
  for (int i = 0; i < D; i++) text += "  ld.global.f64 %d" + number(i) + ", [%mine_in+" + number(3072 + 8 * i) + "];\n";
  for (int i = 0; i < P; i++)
    text += "  setp.gt.s32 %p" + number(i) + ", %r" + number(2 * i) + ", %r" + number(2 * i + 1) + ";\n";
  render(statements, &text, 0);
  int at = 320;
  const auto store = [&](const string &kind, const string &type, int count, int bytes) {
    at = (at + bytes - 1) / bytes * bytes;
    for (int i = 0; i < count; i++, at += bytes)
      text += "  st.global." + type + " [%out+" + number(at) + "], %" + kind + number(i) + ";\n";
  };
  store("r", "b32", R, 4);
  store("l", "b64", L, 8);
  store("f", "f32", F, 4);
  store("d", "f64", D, 8);
  store("h", "b16", H, 2);
  for (int i = 0; i < P; i++)
    text += "  selp.b32 %tr, 1, 0, %p" + number(i) + "; st.global.u8 [%out+" + number(at++) + "], %tr;\n";
  return text + "  ret;\n}\n";
}

string Program::module() const { return head() + kernel("k"); }

Program generate(uint64_t seed) { return Generator(seed).program(); }

}  // namespace random_program
