/* Forces the form of tiles (engine/tiles.h) of the models made while it lives. */
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

#endif
