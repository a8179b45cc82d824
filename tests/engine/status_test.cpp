/* Promises of engine/status.h. */
#include <gtest/gtest.h>

#include <string>
#include <thread>

extern "C" {
#include "engine/status.h"
}

TEST(Status, KeepsTheSentenceAndReturnsTheStatus) {
  EXPECT_EQ(status_set(NOPROP_FILE_ERROR, "%s: line %d", "a.yaml", 7), NOPROP_FILE_ERROR);
  EXPECT_STREQ(noprop_last_error(), "a.yaml: line 7");
}

TEST(Status, PrefixStandsInFrontOfTheSentence) {
  status_set(NOPROP_INVALID_ARGUMENT, "too small");
  EXPECT_EQ(status_prefix(NOPROP_INVALID_ARGUMENT, "rows %d", 0), NOPROP_INVALID_ARGUMENT);
  EXPECT_STREQ(noprop_last_error(), "rows 0: too small");
}

TEST(Status, TheSentenceItselfMayBeAnArgument) {
  status_set(NOPROP_NO_DEVICE, "no driver");
  status_set(NOPROP_NO_DEVICE, "virtual, because %s", noprop_last_error());
  EXPECT_STREQ(noprop_last_error(), "virtual, because no driver");
}

TEST(Status, LongSentencesAreCutNotOverrun) {
  std::string longest(20000, 'x');
  status_set(NOPROP_DEVICE_ERROR, "%s", longest.c_str());
  for (int i = 0; i < 5; ++i) status_prefix(NOPROP_DEVICE_ERROR, "%s", longest.c_str());
  std::string kept = noprop_last_error();
  EXPECT_GT(kept.size(), 1000u);
  EXPECT_EQ(kept.find_first_not_of('x'), std::string::npos);
}

TEST(Status, EachThreadHasItsOwnSentence) {
  status_set(NOPROP_DEVICE_ERROR, "mine");
  std::string other = "not empty";
  std::thread([&] {
    other = noprop_last_error();
    status_set(NOPROP_DEVICE_ERROR, "theirs");
  }).join();
  EXPECT_EQ(other, "");
  EXPECT_STREQ(noprop_last_error(), "mine");
}

TEST(Status, EveryStatusHasItsName) {
  EXPECT_STREQ(noprop_status_name(NOPROP_OK), "ok");
  EXPECT_STREQ(noprop_status_name(NOPROP_STOPPED), "stopped by the caller");
  EXPECT_STREQ(noprop_status_name(static_cast<noprop_status>(999)), "unknown status");
}
