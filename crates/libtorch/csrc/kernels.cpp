// CUDA's runtime compiler and driver, by the library that libtorch itself opens them by: no toolkit is needed when this is
// built, and a program that computes on a CPU needs neither of them.

#include "kernels.h"

#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include <dlfcn.h>

#include <map>
#include <mutex>
#include <utility>

namespace patchwork {
namespace {

// Their interfaces in C, which are stable: https://docs.nvidia.com/cuda/nvrtc, https://docs.nvidia.com/cuda/cuda-driver-api.
// Enumerations are passed as the int that they are, handles as pointers.
using Handle = void*;

struct Libraries {
  // libtorch's library of stubs, which is linked to both, and finds them where libtorch was installed with them.
  void* opened = open();

  int (*create_program)(Handle*, const char*, const char*, int, const char* const*, const char* const*);
  int (*compile_program)(Handle, int, const char* const*);
  int (*program_log_size)(Handle, size_t*);
  int (*program_log)(Handle, char*);
  int (*cubin_size)(Handle, size_t*);
  int (*cubin)(Handle, char*);
  int (*destroy_program)(Handle*);
  const char* (*compiler_error)(int);

  int (*get_device)(int*, int);
  int (*device_attribute)(int*, int, int);
  int (*current_context)(Handle*);
  int (*set_context)(Handle);
  int (*retain_primary_context)(Handle*, int);
  int (*load_module)(Handle*, const void*);
  int (*module_function)(Handle*, Handle, const char*);
  int (*launch_kernel)(
      Handle,
      unsigned int,
      unsigned int,
      unsigned int,
      unsigned int,
      unsigned int,
      unsigned int,
      unsigned int,
      Handle,
      void**,
      void**);
  int (*driver_error)(int, const char**);

  Libraries() {
    find(create_program, "nvrtcCreateProgram");
    find(compile_program, "nvrtcCompileProgram");
    find(program_log_size, "nvrtcGetProgramLogSize");
    find(program_log, "nvrtcGetProgramLog");
    find(cubin_size, "nvrtcGetCUBINSize");
    find(cubin, "nvrtcGetCUBIN");
    find(destroy_program, "nvrtcDestroyProgram");
    find(compiler_error, "nvrtcGetErrorString");
    find(get_device, "cuDeviceGet");
    find(device_attribute, "cuDeviceGetAttribute");
    find(current_context, "cuCtxGetCurrent");
    find(set_context, "cuCtxSetCurrent");
    find(retain_primary_context, "cuDevicePrimaryCtxRetain");
    find(load_module, "cuModuleLoadData");
    find(module_function, "cuModuleGetFunction");
    find(launch_kernel, "cuLaunchKernel");
    find(driver_error, "cuGetErrorString");
  }

  static void* open() {
    void* opened = dlopen("libcaffe2_nvrtc.so", RTLD_NOW | RTLD_LOCAL);
    if (opened == nullptr) {
      const char* problem = dlerror();
      TORCH_CHECK(false, "CUDA's runtime compiler cannot be loaded: ", problem == nullptr ? "" : problem);
    }
    return opened;
  }

  // In the library or in those that it is linked to.
  template <typename Function>
  void find(Function& function, const char* name) {
    void* found = dlsym(opened, name);
    TORCH_CHECK(found != nullptr, "`", name, "` is in neither CUDA's runtime compiler nor its driver");
    function = reinterpret_cast<Function>(found);
  }

  void check_compiler(int status, const char* what) const {
    TORCH_CHECK(status == 0, "CUDA's runtime compiler, ", what, ": ", compiler_error(status));
  }

  // The words by which libtorch's own CUDA errors are known.
  void check_driver(int status, const char* what) const {
    if (status != 0) {
      const char* text = nullptr;
      driver_error(status, &text);
      TORCH_CHECK(false, "CUDA driver error: ", text == nullptr ? "unknown" : text, " (", what, ")");
    }
  }
};

const Libraries& libraries() {
  static const Libraries found;
  return found;
}

// Not every thread has the context of the device that CUDA's runtime gives it at its first call: a thread of autograd may
// come here before that call.
void have_context(int index) {
  const auto& cuda = libraries();
  Handle context = nullptr;
  cuda.check_driver(cuda.current_context(&context), "cuCtxGetCurrent");
  if (context == nullptr) {
    int device = 0;
    cuda.check_driver(cuda.get_device(&device, index), "cuDeviceGet");
    cuda.check_driver(cuda.retain_primary_context(&context, device), "cuDevicePrimaryCtxRetain");
    cuda.check_driver(cuda.set_context(context), "cuCtxSetCurrent");
  }
}

// Machine code for the device of an index.
std::string compile(int index, const std::string& source) {
  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR.
  constexpr int kMajor = 75;
  constexpr int kMinor = 76;
  const auto& cuda = libraries();
  int device = 0;
  int major = 0;
  int minor = 0;
  cuda.check_driver(cuda.get_device(&device, index), "cuDeviceGet");
  cuda.check_driver(cuda.device_attribute(&major, kMajor, device), "cuDeviceGetAttribute");
  cuda.check_driver(cuda.device_attribute(&minor, kMinor, device), "cuDeviceGetAttribute");
  Handle program = nullptr;
  cuda.check_compiler(
      cuda.create_program(&program, source.c_str(), "patchwork.cu", 0, nullptr, nullptr), "nvrtcCreateProgram");
  const auto architecture = "--gpu-architecture=sm_" + std::to_string(major) + std::to_string(minor);
  const char* options[] = {architecture.c_str(), "--std=c++17"};
  const int status = cuda.compile_program(program, 2, options);
  std::string text;
  size_t size = 0;
  if (status != 0 && cuda.program_log_size(program, &size) == 0 && size > 0) {
    text.resize(size);
    cuda.program_log(program, text.data());
  } else if (status == 0 && cuda.cubin_size(program, &size) == 0) {
    text.resize(size);
    cuda.cubin(program, text.data());
  }
  cuda.destroy_program(&program);
  TORCH_CHECK(
      status == 0, "CUDA's runtime compiler, for ", architecture, ": ", cuda.compiler_error(status), "\n", text.c_str());
  return text;
}

int index_of(c10::Device device) {
  TORCH_CHECK(device.is_cuda() && device.has_index(), "kernels run on a CUDA device, not on ", device);
  return device.index();
}

} // namespace

const std::vector<Kernel>& kernels(
    c10::Device device,
    const std::string& key,
    const std::function<std::string()>& source,
    const std::vector<const char*>& names) {
  static std::mutex lock;
  // Never taken down: when a process ends, the driver may have gone before.
  static auto& known = *new std::map<std::pair<int, std::string>, std::vector<Kernel>>;
  const int index = index_of(device);
  const std::lock_guard<std::mutex> guard(lock);
  auto [place, is_new] = known.try_emplace({index, key});
  if (is_new) {
    try {
      const auto& cuda = libraries();
      const c10::DeviceGuard of_device(device);
      have_context(index);
      const auto code = compile(index, source());
      Handle loaded = nullptr;
      cuda.check_driver(cuda.load_module(&loaded, code.data()), "cuModuleLoadData");
      for (const char* name : names) {
        Handle kernel = nullptr;
        cuda.check_driver(cuda.module_function(&kernel, loaded, name), name);
        place->second.push_back(kernel);
      }
    } catch (...) {
      known.erase(place);
      throw;
    }
  }
  return place->second;
}

void launch(c10::Device device, Kernel kernel, const Launch& how, const void* argument) {
  const auto& cuda = libraries();
  const c10::DeviceGuard of_device(device);
  have_context(index_of(device));
  const c10::impl::VirtualGuardImpl streams(device.type());
  void* const stream = streams.getStreamNativeHandle(streams.getStream(device));
  // The driver copies the argument before it returns.
  void* arguments[] = {const_cast<void*>(argument)};
  cuda.check_driver(
      cuda.launch_kernel(kernel, how.blocks, 1, 1, how.threads, 1, 1, how.shared_bytes, stream, arguments, nullptr),
      "cuLaunchKernel");
}

} // namespace patchwork
