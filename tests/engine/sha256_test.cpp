/* SHA-256 against the examples of FIPS 180-4 and of NIST's "SHA Test Vectors". */
#include <gtest/gtest.h>

#include <string>

extern "C" {
#include "engine/sha256.h"
}

static std::string digest(const std::string &text, size_t part) {
  struct sha256 hash;
  unsigned char bytes[SHA256_SIZE];
  sha256_begin(&hash);
  for (size_t at = 0; at < text.size(); at += part)
    sha256_add(&hash, text.data() + at, std::min(part, text.size() - at));
  sha256_end(&hash, bytes);
  std::string result;
  for (unsigned char byte : bytes) {
    char hex[3];
    snprintf(hex, sizeof hex, "%02x", byte);
    result += hex;
  }
  return result;
}

TEST(Sha256, PublishedVectors) {
  EXPECT_EQ(digest("", 1), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(digest("abc", 3), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(digest(std::string(1000000, 'a'), 1000000),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, DoesNotDependOnHowTheDataIsCut) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>(i * 7);
  for (size_t length = 50; length < 130; ++length) {
    std::string cut = text.substr(0, length);
    std::string whole = digest(cut, length);
    for (size_t part : {1, 3, 63, 64, 65}) EXPECT_EQ(digest(cut, part), whole) << length << " bytes by " << part;
  }
}
