/* A mutator that knows the lines of PTX: besides libFuzzer's changes of bytes, lines are moved, repeated, removed, and
 * taken from other inputs, and words are exchanged, so that more of what comes out is near to PTX. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t limit);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t limit, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size, uint8_t *out,
                                 size_t limit, unsigned seed);

struct part {
  size_t at, size;
};

static unsigned next(unsigned *state) { /* xorshift */
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return *state;
}

static bool ends_line(uint8_t c) { return c == '\n' || c == ';' || c == '{' || c == '}'; }

static bool is_word(uint8_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("_$%.:", c) != NULL;
}

/* The line (or statement) around a random place, with its end. */
static struct part random_line(const uint8_t *data, size_t size, unsigned *state) {
  size_t at = next(state) % size, end = at;
  while (at > 0 && !ends_line(data[at - 1])) at--;
  while (end < size && !ends_line(data[end])) end++;
  return (struct part){at, (end < size ? end + 1 : end) - at};
}

static struct part random_word(const uint8_t *data, size_t size, unsigned *state) {
  size_t at = next(state) % size;
  while (at < size && (data[at] == 0 || !is_word(data[at]))) at++;
  size_t end = at;
  while (at > 0 && data[at - 1] != 0 && is_word(data[at - 1])) at--;
  while (end < size && data[end] != 0 && is_word(data[end])) end++;
  return (struct part){at, end - at};
}

/* Puts `what` in the place of data[from, from + removed). The size is unchanged if there is no room. */
static size_t replace(uint8_t *data, size_t size, size_t limit, size_t from, size_t removed, const uint8_t *what,
                      size_t added) {
  if (size - removed + added > limit) return size;
  memmove(data + from + added, data + from + removed, size - from - removed);
  memcpy(data + from, what, added);
  return size - removed + added;
}

static uint8_t line[4096];

static size_t keep(const uint8_t *data, struct part part) {
  const size_t size = part.size < sizeof line ? part.size : sizeof line;
  memcpy(line, data + part.at, size);
  return size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t limit, unsigned seed) {
  unsigned state = seed * 2654435761u | 1;
  if (size == 0) return LLVMFuzzerMutate(data, size, limit);
  switch (next(&state) % 8) {
    case 0: { /* a line once more, elsewhere */
      const size_t kept = keep(data, random_line(data, size, &state));
      return replace(data, size, limit, random_line(data, size, &state).at, 0, line, kept);
    }
    case 1: { /* a line less */
      const struct part gone = random_line(data, size, &state);
      return gone.size == size ? size : replace(data, size, limit, gone.at, gone.size, line, 0);
    }
    case 2: { /* one word in the place of another */
      const size_t kept = keep(data, random_word(data, size, &state));
      const struct part gone = random_word(data, size, &state);
      return replace(data, size, limit, gone.at, gone.size, line, kept);
    }
    case 3: { /* a line moves */
      const struct part from = random_line(data, size, &state);
      if (from.size == size || from.size > sizeof line) return size;
      const size_t kept = keep(data, from);
      size = replace(data, size, limit, from.at, from.size, line, 0);
      return replace(data, size, limit, random_line(data, size, &state).at, 0, line, kept);
    }
    default:
      return LLVMFuzzerMutate(data, size, limit);
  }
}

/* `a` with some lines of `b` at one place. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size, uint8_t *out,
                                 size_t limit, unsigned seed) {
  unsigned state = seed * 2654435761u | 1;
  if (a_size == 0 || b_size == 0 || a_size > limit) return 0;
  memcpy(out, a, a_size);
  size_t size = a_size;
  for (unsigned lines = 1 + next(&state) % 4; lines > 0; lines--) {
    const size_t kept = keep(b, random_line(b, b_size, &state));
    size = replace(out, size, limit, random_line(out, size, &state).at, 0, line, kept);
  }
  return size;
}
