// Group normalisation with SiLU for features in channels-last, and the order of memory itself. The Rust side is
// src/channels_last.rs; what a thread of a kernel does is in normalization_kernels.h.

#include "boundary.h"
#include "kernels.h"
#include "normalization_kernels.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using at::Tensor;
using patchwork::guarded;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

const char* const kSource =
#include "normalization_source.inc"
    ;

// The order in which they are looked up.
enum Name { kMoments, kStatistics, kApply, kGradientSums, kGradientStatistics, kGradientApply };
const std::vector<const char*> kNames = {
    "pw_moments", "pw_statistics", "pw_apply", "pw_gradient_sums", "pw_gradient_statistics", "pw_gradient_apply"};

constexpr auto kChannelsLast = at::MemoryFormat::ChannelsLast;
constexpr int64_t kThreads = 256;
// What a GPU of 132 multiprocessors, 8 blocks each, is busy with twice over.
constexpr int64_t kBlocks = 2048;
// A thread takes at least so many pixels, or there are no more to take.
constexpr int64_t kPixels = 4;
// For which the sums of a block fit into the shared memory that every GPU gives it.
constexpr int64_t kMostColumns = 512;

int64_t divided_up(int64_t number, int64_t by) {
  return (number + by - 1) / by;
}

// Channels that a thread reads at once: 16 bytes where that divides them. The host's are compiled for 4.
int64_t vector_of(const Tensor& x) {
  const int64_t channels = x.size(1);
  const bool is_wide = x.is_cuda() && x.scalar_type() == at::kBFloat16 && channels % 8 == 0;
  return is_wide ? 8 : 4;
}

// Features as the kernels read them: in channels-last, and at a place from which 16 bytes can be read at once.
Tensor readable(const Tensor& x) {
  Tensor last = x.contiguous(kChannelsLast);
  const bool is_aligned = reinterpret_cast<uintptr_t>(last.const_data_ptr()) % 16 == 0;
  return is_aligned ? last : last.clone(kChannelsLast);
}

// What each kernel needs to know, but for its tensors.
template <typename Arguments>
Arguments shape_of(const Tensor& x, int64_t groups, double epsilon, bool silu) {
  const int64_t images = x.size(0), channels = x.size(1), pixels = x.size(2) * x.size(3);
  const int64_t columns = channels / vector_of(x);
  const int64_t rows = std::clamp<int64_t>(kThreads / columns, 1, pixels);
  const int64_t chunks = std::clamp<int64_t>(divided_up(kBlocks, images), 1, divided_up(pixels, rows * kPixels));
  TORCH_CHECK(images * chunks <= INT32_MAX && pixels <= INT32_MAX, "there are too many features for one normalisation");
  Arguments all{};
  all.epsilon = epsilon;
  all.pixels = static_cast<int>(pixels);
  all.channels = static_cast<int>(channels);
  all.groups = static_cast<int>(groups);
  all.columns = static_cast<int>(columns);
  all.rows = static_cast<int>(rows);
  all.chunks = static_cast<int>(chunks);
  all.silu = silu ? 1 : 0;
  return all;
}

// Runs kernels one after the other.
template <typename Arguments>
class Runner {
 public:
  Runner(const Tensor& x, const Arguments& all) : device_(x.device()), images_(x.size(0)), all_(all) {
    if (x.is_cuda()) {
      const bool is_half = x.scalar_type() == at::kBFloat16;
      const auto key = std::string(is_half ? "bfloat16 by " : "float32 by ") + std::to_string(vector_of(x));
      const auto source = [&] {
        return std::string("#define PW_GPU\n#define PW_REAL float\n") +
            (is_half ? "#define PW_ELEMENT unsigned short\n#define PW_BFLOAT16 1\n"
                     : "#define PW_ELEMENT float\n#define PW_BFLOAT16 0\n") +
            "#define PW_VECTOR " + std::to_string(vector_of(x)) + "\n" + kSource;
      };
      kernels_ = &patchwork::kernels(device_, key, source, kNames);
    }
  }

  // A kernel whose blocks have a part of an image each.
  template <typename Host>
  void by_chunks(Name name, Host&& host) {
    const int64_t threads = static_cast<int64_t>(all_.columns) * all_.rows;
    run(name, images_ * all_.chunks, threads, 2 * all_.rows * all_.channels, host);
  }

  // A kernel whose blocks have an image each.
  template <typename Host>
  void by_images(Name name, Host&& host) {
    run(name, images_, kThreads, 2 * all_.channels, host);
  }

 private:
  using Real = std::remove_const_t<std::remove_pointer_t<decltype(Arguments::weight)>>;

  template <typename Host>
  void run(Name name, int64_t blocks, int64_t threads, int64_t shared, Host&& host) {
    if (kernels_ != nullptr) {
      const patchwork::Launch how = {
          static_cast<unsigned int>(blocks),
          static_cast<unsigned int>(threads),
          static_cast<unsigned int>(shared * sizeof(Real))};
      patchwork::launch(device_, (*kernels_)[name], how, &all_);
      return;
    }
    at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
      std::vector<Real> memory(shared);
      for (int64_t block = begin; block < end; ++block) {
        host(all_, static_cast<int>(block), static_cast<int>(threads), memory.data());
      }
    });
  }

  c10::Device device_;
  int64_t images_;
  const Arguments& all_;
  const std::vector<patchwork::Kernel>* kernels_ = nullptr;
};

// Calls `work` with the kernels for an element type; a GPU runs the same ones, compiled for it.
#define PW_WITH_KERNELS(kind, work)                                     \
  switch (kind) {                                                       \
    case at::kBFloat16: {                                               \
      namespace kernels = patchwork::bfloat16;                          \
      work;                                                             \
      break;                                                            \
    }                                                                   \
    case at::kFloat: {                                                  \
      namespace kernels = patchwork::float32;                           \
      work;                                                             \
      break;                                                            \
    }                                                                   \
    default: {                                                          \
      namespace kernels = patchwork::float64;                           \
      work;                                                             \
    }                                                                   \
  }

struct GroupNorm : torch::autograd::Function<GroupNorm> {
  static Tensor forward(
      AutogradContext* context,
      const Tensor& given,
      const Tensor& weight,
      const Tensor& bias,
      int64_t groups,
      double epsilon,
      bool silu) {
    const Tensor x = readable(given);
    const Tensor scale = weight.contiguous(), shift = bias.contiguous();
    const int64_t images = x.size(0), channels = x.size(1);
    Tensor y = at::empty_like(x, x.options(), kChannelsLast);
    Tensor mean = at::empty({images, groups}, weight.options());
    Tensor deviation = at::empty_like(mean);
    if (x.numel() > 0) {
      PW_WITH_KERNELS(x.scalar_type(), {
        auto all = shape_of<kernels::Arguments>(x, groups, epsilon, silu);
        Tensor partial = at::empty({images, all.chunks, 2, channels}, weight.options());
        all.x = static_cast<const kernels::Pack*>(x.const_data_ptr());
        all.out = static_cast<kernels::Pack*>(y.mutable_data_ptr());
        all.weight = scale.const_data_ptr<kernels::Real>();
        all.bias = shift.const_data_ptr<kernels::Real>();
        all.partial = partial.mutable_data_ptr<kernels::Real>();
        all.mean = mean.mutable_data_ptr<kernels::Real>();
        all.deviation = deviation.mutable_data_ptr<kernels::Real>();
        Runner<kernels::Arguments> runner(x, all);
        runner.by_chunks(kMoments, kernels::moments);
        runner.by_images(kStatistics, kernels::statistics);
        runner.by_chunks(kApply, kernels::apply);
      })
    }
    context->save_for_backward({x, scale, shift, mean, deviation});
    context->saved_data["groups"] = groups;
    context->saved_data["epsilon"] = epsilon;
    context->saved_data["silu"] = silu;
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    TORCH_CHECK(!c10::GradMode::is_enabled(), "fused normalisation has no second derivative");
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &bias = saved[2], &mean = saved[3], &deviation = saved[4];
    const int64_t groups = context->saved_data["groups"].toInt();
    const double epsilon = context->saved_data["epsilon"].toDouble();
    const bool silu = context->saved_data["silu"].toBool();
    const int64_t images = x.size(0), channels = x.size(1);
    const Tensor dy = readable(gradients[0]);
    Tensor dx = at::empty_like(x, x.options(), kChannelsLast);
    // One row an image; summed below.
    Tensor of_weight = at::empty({images, channels}, weight.options());
    Tensor of_bias = at::empty_like(of_weight);
    Tensor means = at::empty({images, groups, 2}, weight.options());
    if (x.numel() > 0) {
      PW_WITH_KERNELS(x.scalar_type(), {
        auto all = shape_of<kernels::Arguments>(x, groups, epsilon, silu);
        Tensor partial = at::empty({images, all.chunks, 2, channels}, weight.options());
        all.x = static_cast<const kernels::Pack*>(x.const_data_ptr());
        all.dy = static_cast<const kernels::Pack*>(dy.const_data_ptr());
        all.out = static_cast<kernels::Pack*>(dx.mutable_data_ptr());
        all.weight = weight.const_data_ptr<kernels::Real>();
        all.bias = bias.const_data_ptr<kernels::Real>();
        all.partial = partial.mutable_data_ptr<kernels::Real>();
        all.mean = mean.mutable_data_ptr<kernels::Real>();
        all.deviation = deviation.mutable_data_ptr<kernels::Real>();
        all.weight_gradient = of_weight.mutable_data_ptr<kernels::Real>();
        all.bias_gradient = of_bias.mutable_data_ptr<kernels::Real>();
        all.means = means.mutable_data_ptr<kernels::Real>();
        Runner<kernels::Arguments> runner(x, all);
        runner.by_chunks(kGradientSums, kernels::gradient_sums);
        runner.by_images(kGradientStatistics, kernels::gradient_statistics);
        runner.by_chunks(kGradientApply, kernels::gradient_apply);
      })
    }
    return {dx, of_weight.sum(0), of_bias.sum(0), Tensor(), Tensor(), Tensor()};
  }
};

void check(const Tensor& x, const Tensor& weight, const Tensor& bias, int64_t groups) {
  const auto kind = x.scalar_type();
  TORCH_CHECK(x.dim() == 4, "fused normalisation is for features [n, c, h, w], not for ", x.sizes());
  TORCH_CHECK(x.is_cuda() || x.is_cpu(), "fused normalisation is for a CUDA device or a CPU, not for ", x.device());
  TORCH_CHECK(
      kind == at::kBFloat16 || kind == at::kFloat || (kind == at::kDouble && x.is_cpu()),
      "fused normalisation is for bfloat16 and float32, not for ",
      kind);
  const auto real = kind == at::kDouble ? at::kDouble : at::kFloat;
  const int64_t channels = x.size(1);
  for (const auto* constants : {&weight, &bias}) {
    TORCH_CHECK(
        constants->dim() == 1 && constants->size(0) == channels && constants->scalar_type() == real &&
            constants->device() == x.device(),
        "the weights of a fused normalisation are one ",
        real,
        " a channel, on the device of its features");
  }
  TORCH_CHECK(
      groups > 0 && channels % groups == 0 && channels % 4 == 0,
      channels,
      " channels in ",
      groups,
      " groups: fused normalisation wants a multiple of 4, and groups that divide it");
  TORCH_CHECK(
      channels / vector_of(x) <= kMostColumns,
      channels,
      " channels are more than fused normalisation has memory for");
}

} // namespace

extern "C" {

// A copy in channels-last, unless `x` is.
int pw_channels_last(at::Tensor* x, at::Tensor** out) noexcept {
  return guarded([&] { *out = new Tensor(x->contiguous(kChannelsLast)); });
}

int pw_group_norm(
    at::Tensor* x,
    at::Tensor* weight,
    at::Tensor* bias,
    int64_t groups,
    double epsilon,
    bool silu,
    at::Tensor** out) noexcept {
  return guarded([&] {
    check(*x, *weight, *bias, groups);
    *out = new Tensor(GroupNorm::apply(*x, *weight, *bias, groups, epsilon, silu));
  });
}

} // extern "C"
