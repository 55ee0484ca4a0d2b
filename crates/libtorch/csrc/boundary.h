// What every function that Rust calls has in common: no exception leaves it, and its text waits for whoever asks.
#pragma once

#include <c10/util/Exception.h>

#include <exception>
#include <string>
#include <utility>

namespace patchwork {

// The text of the last failure on this thread.
inline thread_local std::string last_error;

// Runs `work`; returns 0, or 1 where it throws.
template <typename Work>
int guarded(Work&& work) noexcept {
  try {
    std::forward<Work>(work)();
    return 0;
  } catch (const c10::Error& error) {
    last_error = error.what_without_backtrace();
  } catch (const std::exception& error) {
    last_error = error.what();
  } catch (...) {
    last_error = "an exception of an unknown type";
  }
  return 1;
}

} // namespace patchwork
