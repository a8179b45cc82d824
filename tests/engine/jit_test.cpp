/* Promises of engine/jit.h, the on-disk cache above all. */
#include <sys/stat.h>

#include <fstream>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include "tests/engine/support.h"

extern "C" {
#include "engine/embedded.h"
#include "engine/jit.h"
}

namespace fs = std::filesystem;

static const char kSource[] = "extern \"C\" __global__ void one(int *p) { *p = 1; }";

class JitTest : public ::testing::Test {
 protected:
  void SetUp() override { setenv("NOPROP_CACHE", folder.path().c_str(), 1); }
  void TearDown() override { unsetenv("NOPROP_CACHE"); }

  /* The compiled text; `from_cache` tells where it came from. */
  std::string compile(const char *source = kSource, int minor = 6) {
    struct jit_image image;
    EXPECT_OK(jit_compile(source, "one.cu", 8, minor, false, &image));
    std::string text(image.data, image.size);
    from_cache = image.from_cache;
    free(image.data);
    return text;
  }
  std::vector<fs::path> entries() {
    std::vector<fs::path> found;
    for (const auto &entry : fs::directory_iterator(folder.path())) found.push_back(entry.path());
    return found;
  }
  TemporaryFolder folder;
  bool from_cache = false;
};

static std::string read(const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

static void write(const fs::path &path, const std::string &text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

TEST_F(JitTest, TheSecondTimeComesFromTheCache) {
  std::string first = compile();
  EXPECT_FALSE(from_cache);
  EXPECT_NE(first.find(".target sm_86"), std::string::npos);
  EXPECT_NE(first.find(".entry one"), std::string::npos);
  EXPECT_NE(first.find(".loc"), std::string::npos) << "line numbers are for error messages";
  EXPECT_EQ(compile(), first);
  EXPECT_TRUE(from_cache);
  EXPECT_EQ(entries().size(), 1u);
}

TEST_F(JitTest, SourceAndArchitectureDecideTheEntry) {
  compile();
  std::string other = compile("extern \"C\" __global__ void one(int *p) { *p = 2; }");
  EXPECT_FALSE(from_cache);
  std::string newer = compile(kSource, 9);
  EXPECT_FALSE(from_cache);
  EXPECT_NE(newer.find(".target sm_89"), std::string::npos);
  EXPECT_EQ(entries().size(), 3u);
}

TEST_F(JitTest, DamagedEntriesAreMadeAnew) {
  std::string good = compile();
  fs::path path = entries().at(0);
  std::string stored = read(path);
  std::vector<std::string> damaged = {"", "x", stored.substr(0, 20), stored.substr(0, stored.size() - 1), stored + "x"};
  for (size_t at : {size_t(0), size_t(9), size_t(20), stored.size() / 2, stored.size() - 1}) {
    damaged.push_back(stored);
    damaged.back()[at] = static_cast<char>(damaged.back()[at] ^ 1);
  }
  for (const std::string &text : damaged) {
    write(path, text);
    EXPECT_EQ(compile(), good);
    EXPECT_FALSE(from_cache) << text.size();
    EXPECT_EQ(read(path), stored) << "the entry is whole again";
  }
  EXPECT_EQ(entries().size(), 1u) << "no temporary file is left";
}

TEST_F(JitTest, ALengthThatClaimsTooMuchIsDamage) {
  std::string good = compile();
  fs::path path = entries().at(0);
  std::string stored = read(path);
  for (int byte = 8; byte < 16; ++byte) stored[byte] = '\xff';
  write(path, stored);
  EXPECT_EQ(compile(), good);
  EXPECT_FALSE(from_cache);
}

TEST_F(JitTest, WorksWithoutAFolder) {
  std::string good = compile();
  /* A file where the folder should be: nobody can write there, not even root. */
  std::string file = folder.path() + "/file";
  write(file, "");
  setenv("NOPROP_CACHE", file.c_str(), 1);
  EXPECT_EQ(compile(), good);
  EXPECT_FALSE(from_cache);
  setenv("NOPROP_CACHE", (file + "/below").c_str(), 1);
  EXPECT_EQ(compile(), good);
  EXPECT_FALSE(from_cache);
}

TEST_F(JitTest, AFolderThatCannotBeWrittenIsNoError) {
  if (geteuid() == 0) GTEST_SKIP() << "root writes everywhere";
  chmod(folder.path().c_str(), 0500);
  compile();
  EXPECT_FALSE(from_cache);
  EXPECT_TRUE(entries().empty());
}

TEST_F(JitTest, FoldersAreCreated) {
  std::string deep = folder.path() + "/a/b/c";
  setenv("NOPROP_CACHE", deep.c_str(), 1);
  compile();
  EXPECT_FALSE(fs::is_empty(deep));
}

TEST_F(JitTest, TheFolderFollowsTheXdgRules) {
  unsetenv("NOPROP_CACHE");
  setenv("XDG_CACHE_HOME", folder.path().c_str(), 1);
  compile();
  EXPECT_FALSE(fs::is_empty(folder.path() + "/noprop"));
  unsetenv("XDG_CACHE_HOME");
  std::string home = getenv("HOME") != nullptr ? getenv("HOME") : "";
  std::string own = folder.path() + "/home";
  fs::create_directory(own);
  setenv("HOME", own.c_str(), 1);
  compile();
  EXPECT_FALSE(fs::is_empty(own + "/.cache/noprop"));
  setenv("HOME", home.c_str(), 1);
}

TEST_F(JitTest, ProcessesAtOnceAllGetTheWholeKernel) {
  enum { processes = 4, rounds = 3 };
  std::string expected = compile();
  fs::path path = entries().at(0);
  std::vector<pid_t> children;
  for (int i = 0; i < processes; ++i) {
    pid_t child = fork();
    if (child == 0) {
      bool right = true;
      for (int round = 0; round < rounds; ++round) {
        unlink(path.c_str());
        struct jit_image image;
        right = right && jit_compile(kSource, "one.cu", 8, 6, false, &image) == NOPROP_OK &&
                std::string(image.data, image.size) == expected;
      }
      _exit(right ? 0 : 1);
    }
    children.push_back(child);
  }
  for (pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(compile(), expected);
  EXPECT_TRUE(from_cache);
  EXPECT_EQ(entries().size(), 1u);
}

TEST_F(JitTest, ThreadsAtOnceAllGetTheWholeKernel) {
  std::vector<std::thread> threads;
  std::vector<int> right(4, 0);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&right, i] {
      struct jit_image image;
      right[i] = jit_compile(kSource, "one.cu", 8, 6, false, &image) == NOPROP_OK && image.size > 0;
      free(image.data);
    });
  }
  for (std::thread &thread : threads) thread.join();
  EXPECT_EQ(right, std::vector<int>(4, 1));
  EXPECT_EQ(entries().size(), 1u);
}

TEST_F(JitTest, AnErrorIsOneSentenceAndTheLogIsKept) {
  struct jit_image image;
  EXPECT_EQ(jit_compile("__global__ void k() { a = 1; b = 2; }", "bad.cu", 8, 6, false, &image), NOPROP_COMPILE_ERROR);
  EXPECT_EQ(image.data, nullptr);
  std::string sentence = noprop_last_error(), log = jit_log();
  EXPECT_NE(sentence.find("bad.cu(1): error: identifier \"a\" is undefined"), std::string::npos) << sentence;
  EXPECT_EQ(sentence.find('\n'), std::string::npos);
  EXPECT_NE(log.find("identifier \"b\" is undefined"), std::string::npos) << log;
  EXPECT_TRUE(entries().empty()) << "failures are not remembered";
}

TEST_F(JitTest, KernelHeadersAreFoundByName) {
  int headers = 0;
  std::string source;
  for (int i = 0; embedded_at(i) != nullptr; ++i) {
    std::string name = embedded_at(i)->name;
    if (name == "arguments.h") {
      source += "#include \"" + name + "\"\n";
      ++headers;
    }
  }
  ASSERT_EQ(headers, 1) << "arguments.h is part of the library";
  source += "extern \"C\" __global__ void one(train_arguments a) { a.slots[0] = TILE_ROWS; }";
  EXPECT_NE(compile(source.c_str()).find(".entry one"), std::string::npos);
  struct jit_image image;
  EXPECT_EQ(jit_compile("#include \"absent.cuh\"\n", "one.cu", 8, 6, false, &image), NOPROP_COMPILE_ERROR);
}

TEST_F(JitTest, ACubinIsForExactlyTheArchitecture) {
  struct jit_image image;
  ASSERT_OK(jit_compile(kSource, "one.cu", 8, 6, true, &image));
  ASSERT_GT(image.size, 64u);
  EXPECT_EQ(std::string(image.data, 4), "\177ELF");
  free(image.data);
}
