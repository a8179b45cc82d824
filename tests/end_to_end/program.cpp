#include "program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

namespace {

std::string program_path() {
  const char *given = std::getenv("NOPROP_PROGRAM");
  return given != nullptr ? given : NOPROP_BINARY_DIR "/noprop";
}

[[noreturn]] void become_program(const std::vector<std::string> &arguments, const Circumstances &circumstances, int out,
                                 int err) {
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  if (!circumstances.folder.empty() && chdir(circumstances.folder.c_str()) != 0) _exit(126);
  for (const auto &[name, value] : circumstances.environment) setenv(name.c_str(), value.c_str(), 1);
  if (circumstances.largest_file != RLIM_INFINITY) {
    const rlimit limit = {circumstances.largest_file, circumstances.largest_file};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  const std::string path = program_path();
  std::vector<char *> words = {const_cast<char *>(path.c_str())};
  for (const std::string &word : arguments) words.push_back(const_cast<char *>(word.c_str()));
  words.push_back(nullptr);
  execv(path.c_str(), words.data());
  _exit(127);
}

}  // namespace

Outcome noprop(const std::vector<std::string> &arguments, const Circumstances &circumstances) {
  int out[2], err[2];
  Outcome outcome;
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
    ADD_FAILURE() << "no pipes";
    return outcome;
  }
  const pid_t child = fork();
  if (child == 0) become_program(arguments, circumstances, out[1], err[1]);
  close(out[1]);
  close(err[1]);
  bool signalled = circumstances.signal == 0;
  pollfd channels[2] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
  while (channels[0].fd >= 0 || channels[1].fd >= 0) {
    poll(channels, 2, signalled ? -1 : 2);
    if (!signalled && circumstances.signal_when()) {
      for (int i = 0; i < circumstances.signals; i++) {
        if (i > 0) usleep(100000);
        kill(child, circumstances.signal);
      }
      signalled = true;
    }
    for (int i = 0; i < 2; i++) {
      if (channels[i].fd < 0 || channels[i].revents == 0) continue;
      char buffer[4096];
      const ssize_t got = read(channels[i].fd, buffer, sizeof buffer);
      if (got > 0)
        (i == 0 ? outcome.out : outcome.err).append(buffer, static_cast<size_t>(got));
      else
        channels[i].fd = -1;
    }
  }
  close(out[0]);
  close(err[0]);
  int status = 0;
  waitpid(child, &status, 0);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return outcome;
}

Scratch::Scratch() {
  std::string pattern = testing::TempDir() + "noprop_XXXXXX";
  path = mkdtemp(pattern.data()) != nullptr ? pattern : "";
  EXPECT_FALSE(path.empty()) << "no folder for the test's files";
}

Scratch::~Scratch() {
  std::error_code ignored;
  if (!path.empty()) std::filesystem::remove_all(path, ignored);
}

std::string read_file(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path << " cannot be read";
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_file(const std::string &path, const std::string &text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  EXPECT_TRUE(file.good()) << path << " cannot be written";
}

bool exists(const std::string &path) { return access(path.c_str(), F_OK) == 0; }

std::vector<std::string> lines_of(const std::string &text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::map<std::string, std::string> parse_json_line(const std::string &line) {
  static const std::regex member(
      R"re("((?:[^"\\]|\\.)*)": ("(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null)(, |$))re");
  std::map<std::string, std::string> values;
  if (line.size() < 2 || line.front() != '{' || line.back() != '}') {
    ADD_FAILURE() << "no JSON object: " << line;
    return values;
  }
  std::string rest = line.substr(1, line.size() - 2);
  while (!rest.empty()) {
    std::smatch found;
    if (!std::regex_search(rest, found, member, std::regex_constants::match_continuous)) {
      ADD_FAILURE() << "no flat JSON from here: " << rest;
      return values;
    }
    EXPECT_TRUE(values.emplace(found[1], found[2]).second) << "key twice: " << found[1];
    const bool more = found[3].length() > 0;
    rest = found.suffix();
    EXPECT_EQ(more, !rest.empty()) << line;
  }
  return values;
}

std::vector<std::map<std::string, std::string>> parse_json(const std::string &out) {
  std::vector<std::map<std::string, std::string>> objects;
  EXPECT_TRUE(out.empty() || out.back() == '\n');
  for (const std::string &line : lines_of(out)) objects.push_back(parse_json_line(line));
  return objects;
}
