/* docs/ptx.md and the whitelist say the same: every form of the table is taken, names a test that exists, and every
 * form that is taken stands in the table. The latter is tried with the forms that differ from one of the table by one
 * modifier, which is left out, added or exchanged for another of the same opcode. */
#include <fstream>
#include <map>
#include <random>
#include <regex>
#include <set>

#include "tests/vgpu/ptx_support.h"

namespace {

struct Row {
  std::string form, operands, test;
};

std::vector<Row> read_table() {
  std::vector<Row> rows;
  std::ifstream file(NOPROP_SOURCE_DIR "/docs/ptx.md");
  static const std::regex pattern("\\| `([^`]+)` \\| (?:`((?:[^`])*)`)? ?\\| ([A-Za-z0-9.]+) \\|");
  for (std::string line; std::getline(file, line);) {
    std::smatch parts;
    if (!std::regex_match(line, parts, pattern)) continue;
    rows.push_back({parts[1], std::regex_replace(parts[2].str(), std::regex("\\\\\\|"), "|"), parts[3]});
  }
  return rows;
}

void expand(const std::string &form, std::vector<std::string> *list) {
  const size_t open = form.find('{');
  if (open == std::string::npos) {
    list->push_back(form);
    return;
  }
  const size_t close = form.find('}', open);
  for (size_t at = open + 1; at <= close;) {
    const size_t end = std::min(form.find(',', at), close);
    expand(form.substr(0, open) + form.substr(at, end - at) + form.substr(close + 1), list);
    at = end + 1;
  }
}

std::vector<std::string> pieces_of(const std::string &mnemonic) {
  std::vector<std::string> pieces;
  for (size_t at = 0; at <= mnemonic.size();) {
    const size_t dot = std::min(mnemonic.find('.', at), mnemonic.size());
    pieces.push_back(mnemonic.substr(at, dot - at));
    at = dot + 1;
  }
  return pieces;
}

std::string join(const std::vector<std::string> &pieces) {
  std::string text;
  for (size_t i = 0; i < pieces.size(); i++) text += (i ? "." : "") + pieces[i];
  return text;
}

/* Whether the front end takes the instruction. */
bool taken(const std::string &mnemonic, const std::string &operands, std::string *reason) {
  const std::string before = ".func function { ret; }\n.func (.param .b32 r) other(.param .b32 a) { ret; }\n";
  const std::string text = ptx::kernel(
      ".reg .pred %p<4>; .reg .b16 %h<16>; .reg .b32 %r<16>; .reg .b64 %x<16>;\n"
      "TARGETS: .branchtargets LABEL;\nPROTOTYPE: .callprototype _;\nLABEL:\n@%p0 " +
          mnemonic + " " + operands + ";",
      1, before);
  *reason = ptx::refusal(text);
  return reason->empty();
}

bool is_type(const std::string &piece) {
  static const std::regex pattern("pred|[bus](1|4|8|16|32|64)|[us]16x2|b?f16(x2)?|tf32|f32|f64|e[45]m[32](x2)?");
  return std::regex_match(piece, pattern);
}

/* The same for forms that differ in the order of their modifiers (but not of types and layouts). Cache hints of loads
 * and stores are left out, as in the table. */
std::string canonical(const std::vector<std::string> &pieces) {
  static const std::set<std::string> hints = {"ca", "cg", "cs", "lu", "cv", "wb", "wt", "nc"};
  const bool access = pieces[0] == "ld" || pieces[0] == "ldu" || pieces[0] == "st";
  std::vector<std::string> types;
  std::multiset<std::string> others;
  for (size_t i = 1; i < pieces.size(); i++) {
    const std::string &piece = pieces[i];
    if (access && (hints.count(piece) || piece.rfind("L1::", 0) == 0 || piece.rfind("L2::", 0) == 0)) continue;
    if (is_type(piece) || piece == "row" || piece == "col")
      types.push_back(piece);
    else
      others.insert(piece);
  }
  std::string text = pieces[0];
  for (const std::string &piece : others) text += "." + piece;
  text += ":";
  for (const std::string &type : types) text += "." + type;
  return text;
}

TEST(PtxTable, EveryFormIsTakenAndNamesATest) {
  const std::vector<Row> rows = read_table();
  ASSERT_GT(rows.size(), 300u);
  std::set<std::string> tests;
  const testing::UnitTest &all = *testing::UnitTest::GetInstance();
  for (int i = 0; i < all.total_test_suite_count(); i++)
    for (int j = 0; j < all.GetTestSuite(i)->total_test_count(); j++)
      tests.insert(std::string(all.GetTestSuite(i)->name()) + "." + all.GetTestSuite(i)->GetTestInfo(j)->name());
  size_t forms = 0;
  for (const Row &row : rows) {
    EXPECT_TRUE(tests.count(row.test)) << row.form << " names a test that does not exist: " << row.test;
    std::vector<std::string> list;
    expand(row.form, &list);
    forms += list.size();
    int shown = 0;
    for (const std::string &mnemonic : list) {
      std::string reason;
      if (taken(mnemonic, row.operands, &reason) || shown++ >= 3) continue;
      ADD_FAILURE() << mnemonic << " " << row.operands << " is refused: " << reason;
    }
  }
  RecordProperty("forms", static_cast<int>(forms));
}

TEST(PtxTable, EveryFormThatIsTakenStandsInIt) {
  std::map<std::string, std::vector<std::pair<std::string, std::string>>> by_opcode; /* form, operands */
  std::map<std::string, std::set<std::string>> vocabulary, operands;
  std::set<std::string> known;
  for (const Row &row : read_table()) {
    std::vector<std::string> list;
    expand(row.form, &list);
    for (const std::string &mnemonic : list) {
      const std::vector<std::string> pieces = pieces_of(mnemonic);
      known.insert(canonical(pieces));
      by_opcode[pieces[0]].emplace_back(mnemonic, row.operands);
      vocabulary[pieces[0]].insert(pieces.begin() + 1, pieces.end());
      operands[pieces[0]].insert(row.operands);
    }
  }
  /* Every opcode of the whitelist has a row. */
  std::ifstream source(NOPROP_SOURCE_DIR "/engine/vgpu/instruction.c");
  static const std::regex entry("^    \\{\"([a-z0-9]+)[a-z0-9_.]*\", PTX_[A-Z0-9_]+, \".*");
  size_t entries = 0;
  for (std::string line; std::getline(source, line);) {
    std::smatch parts;
    if (!std::regex_match(line, parts, entry)) continue;
    entries++;
    EXPECT_TRUE(by_opcode.count(parts[1])) << "opcode '" << parts[1] << "' has no row";
  }
  EXPECT_GT(entries, 100u);
  static const std::vector<std::string> common = {
      "rn",  "rz",  "rm",   "rp",   "rni",   "rna",    "ftz",  "sat",     "relu",  "NaN",  "satfinite",
      "u16", "s32", "u64",  "b32",  "f16",   "bf16",   "f32",  "f64",     "f16x2", "pred", "b8",
      "cc",  "uni", "sync", "wide", "noftz", "approx", "full", "xorsign", "v2"};
  std::mt19937_64 random(4);
  size_t tried = 0;
  for (const auto &opcode : by_opcode) {
    std::vector<std::string> words(vocabulary[opcode.first].begin(), vocabulary[opcode.first].end());
    words.insert(words.end(), common.begin(), common.end());
    const std::vector<std::string> lists(operands[opcode.first].begin(), operands[opcode.first].end());
    std::set<std::string> seen;
    int shown = 0;
    for (int i = 0; i < 2000; i++) {
      const auto &from = opcode.second[random() % opcode.second.size()];
      std::vector<std::string> pieces = pieces_of(from.first);
      const size_t at = 1 + random() % pieces.size();
      const std::string &word = words[random() % words.size()];
      if (at == pieces.size() || random() % 3 == 0)
        pieces.insert(pieces.begin() + static_cast<std::ptrdiff_t>(at), word);
      else if (random() % 2)
        pieces[at] = word;
      else
        pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(at));
      if (known.count(canonical(pieces))) continue;
      const std::string mnemonic = join(pieces), list = random() % 2 ? from.second : lists[random() % lists.size()];
      if (!seen.insert(mnemonic + " " + list).second) continue;
      tried++;
      std::string reason;
      if (taken(mnemonic, list, &reason) && shown++ < 3)
        ADD_FAILURE() << mnemonic << " " << list << " is taken and has no row";
    }
  }
  EXPECT_GT(tried, 50000u);
}

}  // namespace
