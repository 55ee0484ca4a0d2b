// Kernels that are compiled at run time, for the GPU that is there.
#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <string>
#include <vector>

namespace patchwork {

// CUDA's driver has such a type for a kernel; this is its pointer.
using Kernel = void*;

// How a kernel is started.
struct Launch {
  unsigned int blocks;
  unsigned int threads;
  unsigned int shared_bytes;
};

// The kernels of these names in a CUDA source, in their order. The source is asked for and compiled once for each device
// and `key`.
const std::vector<Kernel>& kernels(
    c10::Device device,
    const std::string& key,
    const std::function<std::string()>& source,
    const std::vector<const char*>& names);

// Starts a kernel whose only parameter lies at `argument`, on the device's current stream.
void launch(c10::Device device, Kernel kernel, const Launch& how, const void* argument);

} // namespace patchwork
