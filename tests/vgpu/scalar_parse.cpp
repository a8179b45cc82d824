/* The scalar interpreter's reader: from PTX text to instructions with handlers. */
#include <cctype>
#include <cstdlib>

#include "tests/vgpu/scalar_machine.h"

namespace scalar {

bool Opcode::has(const std::string &modifier) const {
  for (const std::string &m : modifiers)
    if (m == modifier) return true;
  return false;
}

unsigned bytes_of(const std::string &type) {
  static const std::map<std::string, unsigned> sizes = {
      {"pred", 1}, {"b8", 1},  {"u8", 1},  {"s8", 1},  {"b16", 2}, {"u16", 2}, {"s16", 2}, {"f16", 2},
      {"b32", 4},  {"u32", 4}, {"s32", 4}, {"f32", 4}, {"b64", 8}, {"u64", 8}, {"s64", 8}, {"f64", 8}};
  const auto found = sizes.find(type);
  return found == sizes.end() ? 0 : found->second;
}

std::vector<std::string> Opcode::types() const {
  std::vector<std::string> found;
  for (const std::string &m : modifiers)
    if (bytes_of(m)) found.push_back(m);
  return found;
}

namespace {

/* ---- tokens: words (with dots and percent signs) and single characters ---- */

struct Reader {
  std::string text;
  size_t at = 0;
  std::string token; /* the next one; empty at the end */

  [[noreturn]] void fail(const std::string &what) const {
    long line = 1;
    for (size_t i = 0; i < at && i < text.size(); i++) line += text[i] == '\n';
    throw Error("scalar interpreter, line " + std::to_string(line) + ": " + what);
  }
  static bool word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%'; }
  void skip_line() {
    while (at < text.size() && text[at] != '\n') at++;
  }
  void next() {
    for (;;) {
      while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at]))) at++;
      if (text.compare(at, 2, "//") == 0) {
        skip_line();
      } else if (text.compare(at, 2, "/*") == 0) {
        at = text.find("*/", at);
        if (at == std::string::npos) at = text.size() - 2;
        at += 2;
      } else {
        break;
      }
    }
    token.clear();
    if (at >= text.size()) return;
    if (text[at] == '"') {
      const size_t end = text.find('"', at + 1);
      if (end == std::string::npos) fail("a string does not end");
      token = text.substr(at, end + 1 - at);
      at = end + 1;
      return;
    }
    const auto part = [&](size_t i) {
      if (i >= text.size()) return false;
      if (word(text[i]) || (text[i] == '.' && i + 1 < text.size() && word(text[i + 1]))) return true;
      return text[i] == ':' && ((i + 1 < text.size() && text[i + 1] == ':') || (i > at && text[i - 1] == ':'));
    };
    const size_t begin = at;
    while (part(at)) at++;
    if (at == begin) at++;
    token = text.substr(begin, at - begin);
  }
  bool accept(const std::string &what) {
    if (token != what) return false;
    next();
    return true;
  }
  void expect(const std::string &what) {
    if (!accept(what)) fail("'" + what + "' expected before '" + token + "'");
  }
  std::string take() {
    std::string taken = token;
    if (taken.empty()) fail("the text ends too early");
    next();
    return taken;
  }
  uint64_t number() { return std::strtoull(take().c_str(), nullptr, 0); }
};

bool is_number(const std::string &token) {
  return !token.empty() && std::isdigit(static_cast<unsigned char>(token[0]));
}

/* ---- names ---- */

struct Name {
  enum { registers, variable } kind;
  uint32_t first = 0, count = 0; /* registers: count 0 for a single one */
  unsigned bits = 0;             /* of a register; 1: predicate */
  Space space = Space::generic;
  uint64_t address = 0; /* variable: pointer or offset */
};

using Scope = std::map<std::string, Name>;

struct Parser {
  Reader in;
  std::vector<Scope> scopes{1};
  std::map<std::string, Kernel> kernels;
  std::vector<std::unique_ptr<unsigned char[]>> *variables;
  Kernel *kernel = nullptr;
  std::vector<unsigned> widths; /* of the kernel's registers */
  std::map<uint64_t, uint32_t> constant_numbers;
  std::map<std::string, uint32_t> labels;
  std::vector<std::pair<size_t, std::string>> branches; /* instruction, label */
  std::map<std::string, std::vector<std::string>> tables;
  std::vector<std::pair<size_t, std::string>> table_branches;
  uint32_t module_shared = 0;  /* bytes of the module's shared variables, which every kernel has */
  std::vector<size_t> dynamic; /* constants that are offsets from where static shared memory ends */

  const Name *find(const std::string &name) const {
    for (size_t i = scopes.size(); i-- > 0;) {
      const auto found = scopes[i].find(name);
      if (found != scopes[i].end()) return &found->second;
    }
    return nullptr;
  }

  bool find_register(const std::string &name, uint32_t *index) const {
    const Name *exact = find(name);
    if (exact && exact->kind == Name::registers && exact->count == 0) {
      *index = exact->first;
      return true;
    }
    size_t digits = name.size();
    while (digits > 0 && std::isdigit(static_cast<unsigned char>(name[digits - 1]))) digits--;
    for (; digits < name.size(); digits++) {
      const Name *range = find(name.substr(0, digits));
      const unsigned long number = std::strtoul(name.c_str() + digits, nullptr, 10);
      if (range && range->kind == Name::registers && number < range->count) {
        *index = range->first + static_cast<uint32_t>(number);
        return true;
      }
    }
    return false;
  }

  /* Constants get provisional numbers with the top bit set; the end of the kernel puts them behind the registers. */
  uint32_t constant(uint64_t value) {
    const auto known = constant_numbers.find(value);
    if (known != constant_numbers.end()) return known->second;
    const uint32_t number = 0x80000000u | static_cast<uint32_t>(kernel->constants.size());
    kernel->constants.push_back(value);
    constant_numbers[value] = number;
    return number;
  }

  uint32_t new_register(unsigned bits) {
    widths.push_back(bits);
    return kernel->registers++;
  }

  /* ---- declarations ---- */

  void skip_to_semicolon() {
    while (!in.accept(";")) in.take();
  }

  void registers() { /* after ".reg" */
    const std::string type = in.take().substr(1);
    const unsigned bits = type == "pred" ? 1 : 8 * bytes_of(type);
    if (!bits) in.fail("registers of type ." + type);
    do {
      Name name{Name::registers, kernel->registers, 0, bits, Space::generic, 0};
      const std::string text = in.take();
      if (in.accept("<")) {
        name.count = static_cast<uint32_t>(in.number());
        in.expect(">");
      }
      for (uint32_t i = 0; i < (name.count ? name.count : 1); i++) new_register(bits);
      scopes.back()[text] = name;
    } while (in.accept(","));
    in.expect(";");
  }

  struct Declared {
    std::string name;
    uint64_t align = 1, bytes = 0;
    unsigned each = 1;
  };

  Declared declared() { /* after the state space */
    Declared d;
    unsigned vector = 1;
    uint64_t align = 0;
    for (;;) {
      if (in.accept(".align")) {
        align = in.number();
      } else if (in.accept(".v2")) {
        vector = 2;
      } else if (in.accept(".v4")) {
        vector = 4;
      } else {
        break;
      }
    }
    d.each = bytes_of(in.take().substr(1));
    if (!d.each) in.fail("a variable of an unknown type");
    while (in.token == ".ptr" || in.token == ".global" || in.token == ".shared" || in.token == ".align") {
      if (in.take() == ".align") in.take();
    }
    d.name = in.take();
    d.bytes = static_cast<uint64_t>(d.each) * vector;
    d.align = align ? align : d.bytes;
    while (in.accept("[")) {
      d.bytes *= in.token == "]" ? 0 : in.number();
      in.expect("]");
    }
    return d;
  }

  uint64_t immediate(const std::string &token, bool minus, const std::string &type) {
    if (token.size() == 10 && token[0] == '0' && (token[1] == 'f' || token[1] == 'F')) {
      const uint32_t bits = static_cast<uint32_t>(std::strtoul(token.c_str() + 2, nullptr, 16));
      return minus ? bits ^ 0x80000000u : bits;
    }
    if (token.size() == 18 && token[0] == '0' && (token[1] == 'd' || token[1] == 'D')) {
      const uint64_t bits = std::strtoull(token.c_str() + 2, nullptr, 16);
      return minus ? bits ^ (UINT64_C(1) << 63) : bits;
    }
    if (type == "f32" || type == "f64") {
      const double value = minus ? -std::strtod(token.c_str(), nullptr) : std::strtod(token.c_str(), nullptr);
      uint64_t bits = 0;
      if (type == "f64") {
        std::memcpy(&bits, &value, 8);
      } else {
        const float narrow = static_cast<float>(value);
        std::memcpy(&bits, &narrow, 4);
      }
      return bits;
    }
    const uint64_t value = std::strtoull(token.c_str(), nullptr, 0);
    return minus ? 0 - value : value;
  }

  void module_variable(Space space, bool external) {
    const Declared d = declared();
    Name name{Name::variable, 0, 0, 0, space, 0};
    if (space == Space::shared) {
      name.address = none; /* external: where static shared memory ends */
      if (!external) {
        name.address = (module_shared + d.align - 1) / d.align * d.align;
        module_shared = static_cast<uint32_t>(name.address + d.bytes);
      }
      scopes.front()[d.name] = name;
      in.expect(";");
      return;
    }
    std::vector<uint64_t> values;
    if (in.accept("=")) {
      in.accept("{");
      do {
        const bool minus = in.accept("-");
        if (!is_number(in.token)) in.fail("an initial value that is not a number");
        values.push_back(immediate(in.take(), minus, d.each == 4 ? "b32" : "b64"));
      } while (in.accept(","));
      in.accept("}");
    }
    in.expect(";");
    const uint64_t bytes = d.bytes ? d.bytes : values.size() * d.each;
    variables->push_back(std::make_unique<unsigned char[]>(bytes + d.align));
    const uint64_t start = reinterpret_cast<uint64_t>(variables->back().get());
    name.address = (start + d.align - 1) / d.align * d.align;
    for (size_t i = 0; i < values.size(); i++)
      std::memcpy(reinterpret_cast<unsigned char *>(name.address) + i * d.each, &values[i], d.each);
    scopes.front()[d.name] = name;
  }

  void kernel_variable(Space space) {
    const Declared d = declared();
    in.expect(";");
    uint32_t *used = space == Space::shared ? &kernel->shared_bytes : &kernel->local_bytes;
    const uint64_t address = (*used + d.align - 1) / d.align * d.align;
    *used = static_cast<uint32_t>(address + d.bytes);
    scopes.back()[d.name] = {Name::variable, 0, 0, 0, space, address};
  }

  /* ---- operands ---- */

  unsigned width(uint32_t index) const { return index & 0x80000000u ? 0 : widths[index]; }

  uint32_t operand(const std::string &type) {
    if (in.token == "-" || is_number(in.token)) {
      const bool minus = in.accept("-");
      return constant(immediate(in.take(), minus, type));
    }
    const std::string name = in.take();
    if (name == "_") return 0;
    uint32_t index;
    if (find_register(name, &index)) return index;
    if (name == "WARP_SZ") return constant(32);
    if (const unsigned number = special_number(name)) { /* through a register of its own */
      Instruction move;
      move.run = move_special();
      move.mode = static_cast<uint8_t>(number);
      move.d = new_register(64);
      kernel->code.push_back(move);
      return move.d;
    }
    const Name *variable = find(name);
    if (!variable || variable->kind != Name::variable) in.fail("'" + name + "' is not known");
    uint64_t address = variable->address;
    const uint64_t plus = in.accept("+") ? in.number() : 0;
    if (address != none) return constant(address + plus);
    /* Where static shared memory ends is known at the kernel's end: a constant of its own, corrected then. */
    dynamic.push_back(kernel->constants.size());
    kernel->constants.push_back(plus);
    return 0x80000000u | static_cast<uint32_t>(dynamic.back());
  }

  void address(Instruction *i, Space *space) {
    in.expect("[");
    const Name *variable = find(in.token);
    if (variable && variable->kind == Name::variable && *space == Space::generic) *space = variable->space;
    i->a = operand("u64");
    while (in.token == "+" || in.token == "-") {
      const bool minus = in.take() == "-";
      const bool also = in.accept("-");
      const int64_t part = static_cast<int64_t>(in.number());
      i->offset += minus != also ? -part : part;
    }
    in.expect("]");
  }

  std::vector<uint32_t> vector(const std::string &type) {
    std::vector<uint32_t> list;
    if (!in.accept("{")) return {operand(type)};
    do list.push_back(operand(type));
    while (in.accept(","));
    in.expect("}");
    return list;
  }

  /* ---- instructions ---- */

  void instruction() {
    Instruction i;
    if (in.accept("@")) {
      i.guard_negate = in.accept("!");
      if (!find_register(in.take(), &i.guard)) in.fail("a guard that is no register");
    }
    Opcode opcode;
    const std::string whole = in.take();
    for (size_t begin = 0; begin <= whole.size();) {
      size_t dot = whole.find('.', begin);
      if (dot == std::string::npos) dot = whole.size();
      if (begin == 0)
        opcode.name = whole.substr(0, dot);
      else
        opcode.modifiers.push_back(whole.substr(begin, dot - begin));
      begin = dot + 1;
    }
    const std::vector<std::string> types = opcode.types();
    const std::string type = types.empty() ? "" : types[0], source = types.size() > 1 ? types[1] : type;
    const std::string &name = opcode.name;

    if (name == "bra" || name == "brx") {
      if (name == "brx") i.a = operand("u32"), in.expect(",");
      (name == "bra" ? branches : table_branches).push_back({kernel->code.size(), in.take()});
      i.run = control(opcode, &i);
    } else if (name == "ld" || name == "ldu" || name == "st" || name == "atom" || name == "red") {
      static const std::pair<const char *, Space> spaces[] = {
          {"global", Space::global},  {"shared", Space::shared}, {"local", Space::local},
          {"const", Space::constant}, {"param", Space::param},   {"shared::cta", Space::shared}};
      Space space = Space::generic;
      for (const auto &s : spaces)
        if (opcode.has(s.first)) space = s.second;
      const bool load = name[0] == 'l', store = name == "st";
      if (load) i.list = vector(type), in.expect(",");
      if (name == "atom") i.d = operand(type), in.expect(",");
      address(&i, &space);
      if (!load) in.expect(",");
      if (store) i.list = vector(type);
      if (!load && !store) {
        i.b = operand(type);
        if (in.accept(",")) i.c = operand(type);
      }
      i.mode = static_cast<uint8_t>(space);
      i.bits = static_cast<uint8_t>(i.list.empty() ? 0 : width(i.list[0]));
      i.run = memory(opcode, &i);
    } else if (name == "mov") {
      i.list = vector(type);
      in.expect(",");
      if (i.list.size() > 1) {
        i.a = operand(type);
        i.bits = static_cast<uint8_t>(width(i.list[0]));
        opcode.name = "unpack";
      } else if (in.token == "{") {
        i.d = i.list[0];
        i.list = vector("");
        i.bits = static_cast<uint8_t>(8 * bytes_of(type) / i.list.size());
        opcode.name = "pack";
      } else {
        i.d = i.list[0];
        i.a = operand(type);
      }
      i.run = arithmetic(opcode, &i);
    } else {
      /* Results, then sources, each with an optional '!' or a second result after '|'. */
      std::vector<uint32_t> operands;
      bool second = false;
      while (in.token != ";") {
        if (!operands.empty()) {
          if (in.accept("|"))
            second = true;
          else
            in.expect(",");
        }
        const size_t number = operands.size() - (second ? 1 : 0);
        if (in.accept("!")) i.negate_c = true;
        const bool from = (name == "cvt" || name == "set" || name == "setp") && number > 0;
        operands.push_back(operand(from ? source : name == "slct" && number == 3 ? source : type));
      }
      if (second) {
        if (name == "shfl")
          i.list = {operands[1]};
        else
          i.e = operands[1];
        operands.erase(operands.begin() + 1);
      }
      if (name == "cvt") i.bits = static_cast<uint8_t>(width(operands.at(0)));
      uint32_t *const places[] = {&i.d, &i.a, &i.b, &i.c, &i.e};
      const bool without_result = name == "bar" || name == "barrier";
      for (size_t k = 0; k < operands.size(); k++) {
        const size_t place = k + (without_result ? 1 : 0);
        if (place > 4) in.fail("'" + whole + "' has many operands");
        *places[place] = operands[k];
      }
      i.run = control(opcode, &i);
      if (!i.run) i.run = arithmetic(opcode, &i);
    }
    if (!i.run) in.fail("'" + whole + "' is not in the subset");
    in.expect(";");
    kernel->code.push_back(i);
  }

  void body() {
    while (in.token != "}") {
      if (in.accept("{")) {
        scopes.emplace_back();
        body();
        in.expect("}");
        scopes.pop_back();
      } else if (in.accept(".reg")) {
        registers();
      } else if (in.accept(".shared")) {
        kernel_variable(Space::shared);
      } else if (in.accept(".local")) {
        kernel_variable(Space::local);
      } else if (in.token == ".loc") {
        in.skip_line();
        in.next();
      } else if (in.accept(".pragma")) {
        skip_to_semicolon();
      } else if (in.token == "@") {
        instruction();
      } else {
        /* a label is a word before a colon */
        size_t after = in.at;
        while (after < in.text.size() && std::isspace(static_cast<unsigned char>(in.text[after]))) after++;
        if (after < in.text.size() && in.text[after] == ':') {
          const std::string label = in.take();
          in.expect(":");
          if (in.accept(".branchtargets")) {
            do tables[label].push_back(in.take());
            while (in.accept(","));
            in.expect(";");
          } else {
            labels[label] = static_cast<uint32_t>(kernel->code.size());
          }
        } else if (in.token.empty() || in.token[0] == '.') {
          in.fail("'" + in.token + "' in a kernel");
        } else {
          instruction();
        }
      }
    }
  }

  uint32_t target(const std::string &label) {
    const auto found = labels.find(label);
    if (found == labels.end()) in.fail("label '" + label + "' is not defined");
    return found->second;
  }

  void finish_kernel() {
    Instruction end;
    Opcode ret;
    ret.name = "ret";
    end.run = control(ret, &end);
    kernel->code.push_back(end);
    for (const auto &branch : branches) kernel->code[branch.first].target = target(branch.second);
    for (const auto &branch : table_branches)
      for (const std::string &label : tables[branch.second]) kernel->code[branch.first].list.push_back(target(label));
    kernel->dynamic_start = (kernel->shared_bytes + 15) / 16 * 16;
    for (size_t k : dynamic) kernel->constants[k] += kernel->dynamic_start;
    for (Instruction &i : kernel->code) {
      for (uint32_t *index : {&i.d, &i.a, &i.b, &i.c, &i.e})
        if (*index & 0x80000000u) *index = kernel->registers + (*index & 0x7fffffffu);
      if (i.run == control(opcode_of("brx"), &i)) continue; /* its list holds targets */
      for (uint32_t &index : i.list)
        if (index & 0x80000000u) index = kernel->registers + (index & 0x7fffffffu);
    }
  }

  static Opcode opcode_of(const std::string &name) {
    Opcode opcode;
    opcode.name = name;
    return opcode;
  }

  void entry() {
    const std::string name = in.take();
    kernel = &kernels[name];
    kernel->name = name;
    kernel->shared_bytes = module_shared;
    widths.assign(1, 64);
    constant_numbers.clear();
    labels.clear();
    branches.clear();
    tables.clear();
    table_branches.clear();
    dynamic.clear();
    scopes.resize(1);
    scopes.emplace_back();
    in.expect("(");
    uint64_t offset = 0;
    while (!in.accept(")")) {
      in.accept(",");
      in.expect(".param");
      const Declared d = declared();
      offset = (offset + d.align - 1) / d.align * d.align;
      scopes.back()[d.name] = {Name::variable, 0, 0, 0, Space::param, offset};
      offset += d.bytes;
    }
    while (in.token != "{") in.take(); /* .maxntid and the like */
    in.expect("{");
    body();
    finish_kernel();
    in.expect("}");
  }

  void module() {
    in.next();
    while (!in.token.empty()) {
      bool external = false;
      while (in.token == ".visible" || in.token == ".extern" || in.token == ".weak") external |= in.take() == ".extern";
      if (in.accept(".version") || in.accept(".target")) {
        in.take();
        while (in.accept(",")) in.take();
      } else if (in.accept(".address_size")) {
        in.take();
      } else if (in.token == ".file" || in.token == ".loc") {
        in.skip_line();
        in.next();
      } else if (in.accept(".section")) {
        while (!in.accept("}")) in.take();
      } else if (in.accept(".global")) {
        module_variable(Space::global, external);
      } else if (in.accept(".const")) {
        module_variable(Space::constant, external);
      } else if (in.accept(".shared")) {
        module_variable(Space::shared, external);
      } else if (in.accept(".entry")) {
        entry();
      } else {
        in.fail("'" + in.token + "' in a module");
      }
    }
  }
};

}  // namespace

std::map<std::string, Kernel> parse(const std::string &text, std::vector<std::unique_ptr<unsigned char[]>> *variables) {
  Parser parser;
  parser.in.text = text;
  parser.variables = variables;
  parser.module();
  return std::move(parser.kernels);
}

}  // namespace scalar
