// PyTorch's fused optimisers, which tch does not show. The Rust side is src/optimizer.rs.

#include "boundary.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

using patchwork::guarded;

extern "C" {

// In place. All of one shape and one element type, `step` a float32 scalar on their device: the number of this step,
// from 1 on.
int pw_fused_adam(
    at::Tensor* values,
    at::Tensor* gradients,
    at::Tensor* first_moment,
    at::Tensor* second_moment,
    at::Tensor* step,
    double learning_rate,
    double beta1,
    double beta2,
    double epsilon) noexcept {
  return guarded([&] {
    for (const auto* tensor : {gradients, first_moment, second_moment}) {
      TORCH_CHECK(
          tensor->sizes() == values->sizes() && tensor->scalar_type() == values->scalar_type() &&
              tensor->device() == values->device(),
          "the tensors of a fused update are not alike");
    }
    c10::NoGradGuard no_grad;
    at::_fused_adam_(
        {*values},
        {*gradients},
        {*first_moment},
        {*second_moment},
        {},
        {*step},
        learning_rate,
        beta1,
        beta2,
        /*weight_decay=*/0.0,
        epsilon,
        /*amsgrad=*/false,
        /*maximize=*/false);
  });
}

} // extern "C"
