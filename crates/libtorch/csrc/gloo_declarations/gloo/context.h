// c10d holds contexts by pointer alone, and calls this one function of theirs, which libtorch defines.
#pragma once
#include <chrono>
namespace gloo {
class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};
} // namespace gloo
