/* Force the form of tiles (engine/tiles.h), or the tier (engine/staged.h), of the models made while they live. */
#ifndef TESTS_TILE_FORM_H
#define TESTS_TILE_FORM_H

#include <cstdlib>

class TileForm {
 public:
  explicit TileForm(const char *form) { setenv("NOPROP_TILE_FORM", form, 1); }
  ~TileForm() { unsetenv("NOPROP_TILE_FORM"); }
  TileForm(const TileForm &) = delete;
  TileForm &operator=(const TileForm &) = delete;
};

class Tier {
 public:
  explicit Tier(const char *tier) { setenv("NOPROP_TIER", tier, 1); }
  ~Tier() { unsetenv("NOPROP_TIER"); }
  Tier(const Tier &) = delete;
  Tier &operator=(const Tier &) = delete;
};

#endif
