// The program as a user starts it: arguments and environment in; exit code, standard output and standard error out.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

struct Outcome {
  int code = -1;  // exit code, or -signal
  std::string out, err;
};

struct Circumstances {
  std::string folder;                              // working folder; empty: this one's
  std::map<std::string, std::string> environment;  // added to this process's
  rlim_t largest_file = RLIM_INFINITY;             // as on a disk that is full
  int signal = 0;                                  // sent as soon as `signal_when` is true
  int signals = 1;                                 // so often, a tenth of a second apart
  std::function<bool()> signal_when;
};

Outcome noprop(const std::vector<std::string> &arguments, const Circumstances &circumstances = {});

// A folder of its own, removed with everything in it when the object goes.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch &) = delete;
  Scratch &operator=(const Scratch &) = delete;
  std::string operator/(const std::string &name) const { return path + "/" + name; }
  std::string path;
};

std::string read_file(const std::string &path);  // fails the test if it cannot be read
void write_file(const std::string &path, const std::string &text);
bool exists(const std::string &path);
std::vector<std::string> lines_of(const std::string &text);

// The flat object on one line: keys and the texts of their values. Fails the test if it is anything else.
std::map<std::string, std::string> parse_json_line(const std::string &line);
// All lines of standard output, each one such object.
std::vector<std::map<std::string, std::string>> parse_json(const std::string &out);
