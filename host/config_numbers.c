/* Numbers of configurations to text and back, whatever the program's locale. */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/config_value.h"

static locale_t c_locale_enter(locale_t *c) {
  *c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  return *c == (locale_t)0 ? (locale_t)0 : uselocale(*c);
}

static void c_locale_leave(locale_t c, locale_t before) {
  if (c == (locale_t)0) return;
  uselocale(before);
  freelocale(c);
}

/* Decimal numbers only: no hexadecimal, nan or infinity, nothing behind the number. */
bool config_real_from_text(const char *text, double *value) {
  if (text[0] == '\0' || strspn(text, "+-.0123456789eE") != strlen(text)) return false;
  locale_t c;
  const locale_t before = c_locale_enter(&c);
  char *end;
  *value = strtod(text, &end);
  c_locale_leave(c, before);
  return *end == '\0' && end != text && isfinite(*value);
}

/* The shortest decimal that reads back as the same bits, in a form that every YAML reader takes for a number. */
void config_real_to_text(double value, char *buffer, size_t size) {
  char text[40];
  locale_t c;
  const locale_t before = c_locale_enter(&c);
  for (int digits = 1; digits <= 17; digits++) {
    (void)snprintf(text, sizeof text, "%.*g", digits, value);
    const bool plain = strchr(text, 'e') == NULL || fabs(value) < 1e-4 || fabs(value) >= 1e15;
    if (plain && strtod(text, NULL) == value) break;
  }
  c_locale_leave(c, before);
  const char *exponent = strchr(text, 'e');
  const int mantissa = exponent == NULL ? (int)strlen(text) : (int)(exponent - text);
  (void)snprintf(buffer, size, "%.*s%s%s", mantissa, text, memchr(text, '.', (size_t)mantissa) == NULL ? ".0" : "",
                 exponent == NULL ? "" : exponent);
}

bool config_integer_from_text(const char *text, int64_t *value) {
  const char *digits = text + (text[0] == '-' || text[0] == '+');
  if (digits[0] == '\0' || strspn(digits, "0123456789") != strlen(digits)) return false;
  errno = 0;
  *value = strtoll(text, NULL, 10);
  return errno == 0;
}

bool config_seed_from_text(const char *text, uint64_t *value) {
  if (text[0] == '\0' || strspn(text, "0123456789") != strlen(text)) return false;
  errno = 0;
  *value = strtoull(text, NULL, 10);
  return errno == 0;
}
