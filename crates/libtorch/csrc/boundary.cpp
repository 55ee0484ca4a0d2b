#include "boundary.h"

extern "C" const char* pw_last_error() noexcept {
  return patchwork::last_error.c_str();
}
