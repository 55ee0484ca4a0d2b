//! Features `[n, c, h, w]` whose memory has the channels of a pixel side by side (PyTorch's *channels-last*): the order
//! itself, and group normalisation with SiLU in it, both with gradients.
//!
//! Normalisation reads features twice on the way forward, twice with their gradients on the way back, and writes once each
//! way: 16 bytes a feature of bfloat16, where libtorch's operations one after the other move 66. Its kernels are CUDA
//! compiled at run time; on a CPU the same text, compiled for the host, goes through their threads one by one, which is
//! slow and there for tests and rehearsals. Statistics, sums and the gradients of weights are float32 (float64 of float64);
//! features are rounded once each way.

use std::ffi::c_int;
use std::ptr;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::error::{LibtorchError, check};

#[expect(
    unsafe_code,
    reason = "declares the functions of csrc/normalization.cpp, with their very signatures; `at::Tensor` is torch-sys's \
              `C_tensor`, and is not written to"
)]
unsafe extern "C" {
    fn pw_channels_last(x: *const C_tensor, out: *mut *mut C_tensor) -> c_int;
    fn pw_group_norm(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        groups: i64,
        epsilon: f64,
        silu: bool,
        out: *mut *mut C_tensor,
    ) -> c_int;
}

/// Whether `x` has four dimensions and the channels of a pixel side by side. Of tensors that lie in both orders, such as
/// those of one pixel, it is true.
pub fn is_channels_last(x: &Tensor) -> bool {
    let [Ok(size), Ok(strides)] = [x.size(), x.stride()].map(<[i64; 4]>::try_from) else {
        return false;
    };
    let [_, channels, height, width] = size;
    let wanted = [height * width * channels, 1, width * channels, channels];
    (0..4).all(|place| size[place] == 1 || strides[place] == wanted[place])
}

/// `x` `[n, c, h, w]` with the channels of a pixel side by side: a copy unless it has them so.
///
/// # Errors
/// What libtorch says of tensors of another number of dimensions.
#[expect(
    unsafe_code,
    reason = "the tensor is borrowed until the call returns, and the place for the result is on this stack"
)]
pub fn channels_last(x: &Tensor) -> Result<Tensor, LibtorchError> {
    output(|out| unsafe { pw_channels_last(x.as_ptr(), out) })
}

/// A group normalisation.
#[derive(Clone, Copy, Debug)]
pub struct GroupNorm<'a> {
    /// `[c]`, float32 (float64 for features of float64).
    pub weight: &'a Tensor,
    /// `[c]`, like `weight`.
    pub bias: &'a Tensor,
    /// They divide the channels.
    pub groups: i64,
    /// Added to the variance.
    pub epsilon: f64,
}

/// Group normalisation (Wu and He, arXiv 1803.08494), and SiLU of it where `silu` is set.
///
/// # Shapes
/// - `x`: `[n, c, h, w]` in bfloat16 or float32, on a CPU in float64 too; c a multiple of 4. Copied where it is not in
///   channels-last.
/// - returns the same shape and element type, in channels-last
///
/// # Errors
/// Another element type, shape or device; on a GPU a runtime compiler that cannot be loaded or refuses the kernels.
/// # Determinism
/// The same numbers give the same result on the same device, whatever the order in which its threads run.
#[expect(
    unsafe_code,
    reason = "the tensors are borrowed until the call returns, and the place for the result is on this stack"
)]
pub fn group_norm(x: &Tensor, norm: &GroupNorm, silu: bool) -> Result<Tensor, LibtorchError> {
    output(|out| unsafe {
        pw_group_norm(
            x.as_ptr(),
            norm.weight.as_ptr(),
            norm.bias.as_ptr(),
            norm.groups,
            norm.epsilon,
            silu,
            out,
        )
    })
}

/// The tensor that a function of `csrc/` gives out.
#[expect(
    unsafe_code,
    reason = "a call that succeeds gives out a tensor of its own, which this one frees"
)]
fn output(call: impl FnOnce(*mut *mut C_tensor) -> c_int) -> Result<Tensor, LibtorchError> {
    let mut out = ptr::null_mut();
    check(call(&raw mut out))?;
    Ok(unsafe { Tensor::from_ptr(out) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    /// Numbers without a pattern that normalisation would find.
    fn numbers(shape: &[i64], factor: f64) -> Tensor {
        let count = shape.iter().product::<i64>();
        let places = Tensor::arange(count, (Kind::Double, Device::Cpu));
        ((places * factor).sin() * 1000.0).sin().reshape(shape)
    }

    /// The result and the gradients of features, weight and bias, in float64.
    fn both_ways(
        kind: Kind,
        [x, weight, bias]: [&Tensor; 3],
        forward: impl Fn(&Tensor, &Tensor, &Tensor) -> Tensor,
    ) -> Vec<Tensor> {
        let real = if kind == Kind::Double {
            kind
        } else {
            Kind::Float
        };
        let leaf = |given: &Tensor, kind| given.to_kind(kind).copy().set_requires_grad(true);
        let leaves = [leaf(x, kind), leaf(weight, real), leaf(bias, real)];
        let y = forward(&leaves[0], &leaves[1], &leaves[2]);
        let probe = numbers(&x.size(), 2.3).to_kind(kind);
        (&y * probe).sum(kind).backward();
        let found = [y.detach()]
            .into_iter()
            .chain(leaves.iter().map(Tensor::grad));
        found.map(|tensor| tensor.to_kind(Kind::Double)).collect()
    }

    fn relative_error(found: &Tensor, expected: &Tensor) -> f64 {
        let error = (found - expected).norm() / expected.norm();
        error.double_value(&[])
    }

    /// Channels that share vectors and groups that do not, rows of threads that are not filled, single pixels, several
    /// parts of an image, one group.
    const SHAPES: [([i64; 4], i64); 7] = [
        ([2, 32, 16, 16], 8),
        ([3, 20, 7, 5], 5),
        ([2, 24, 5, 3], 4),
        ([2, 128, 4, 4], 32),
        ([2, 48, 1, 1], 3),
        ([1, 4, 33, 17], 1),
        ([1, 12, 64, 64], 3),
    ];

    #[test]
    fn normalisation_and_its_gradients_are_libtorchs() {
        for (shape, groups) in SHAPES {
            for silu in [false, true] {
                // Far from zero, where squares lose the digits of a variance.
                let x = numbers(&shape, 0.37) * 2.0 + 5.0;
                let weight = numbers(&[shape[1]], 0.91) + 1.5;
                let bias = numbers(&[shape[1]], 0.53) * 0.3;
                let inputs = [&x, &weight, &bias];
                let expected = both_ways(Kind::Double, inputs, |x, weight, bias| {
                    let y = x.group_norm(groups, Some(weight), Some(bias), 1e-6, false);
                    if silu { y.silu() } else { y }
                });
                for (kind, limit) in [
                    (Kind::Double, 1e-11),
                    (Kind::Float, 2e-6),
                    (Kind::BFloat16, 0.01),
                ] {
                    // The rounded input is another input.
                    let x = x.to_kind(kind).to_kind(Kind::Double);
                    let rounded = [&x, &weight, &bias];
                    let expected = match kind {
                        Kind::BFloat16 => &both_ways(Kind::Double, rounded, |x, weight, bias| {
                            let y = x.group_norm(groups, Some(weight), Some(bias), 1e-6, false);
                            if silu { y.silu() } else { y }
                        }),
                        _ => &expected,
                    };
                    let found = both_ways(kind, rounded, |x, weight, bias| {
                        let norm = GroupNorm {
                            weight,
                            bias,
                            groups,
                            epsilon: 1e-6,
                        };
                        let y = group_norm(x, &norm, silu).unwrap();
                        assert!(is_channels_last(&y) && y.kind() == kind);
                        y
                    });
                    for (what, (found, expected)) in found.iter().zip(expected).enumerate() {
                        let error = relative_error(found, expected);
                        // The variance of one pixel's few channels magnifies what is rounded.
                        assert!(error < limit, "{shape:?} {silu} {kind:?} {what}: {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn equal_numbers_and_bad_ones_go_through() {
        let (weight, bias) = (
            Tensor::ones([4], (Kind::Float, Device::Cpu)),
            Tensor::zeros([4], (Kind::Float, Device::Cpu)),
        );
        let norm = GroupNorm {
            weight: &weight,
            bias: &bias,
            groups: 2,
            epsilon: 1e-6,
        };
        let equal = Tensor::full([1, 4, 3, 3], 0.1, (Kind::BFloat16, Device::Cpu));
        let y = group_norm(&equal, &norm, false).unwrap();
        assert!(y.abs().max().double_value(&[]) < 1e-3);
        // One image's infinity is its own.
        let bad = Tensor::ones([2, 4, 3, 3], (Kind::BFloat16, Device::Cpu));
        let _ = bad.get(0).get(0).get(1).get(1).fill_(f64::INFINITY);
        let y = group_norm(&bad, &norm, true).unwrap();
        assert!(y.get(0).isnan().any().int64_value(&[]) == 1);
        assert!(y.get(1).isfinite().all().int64_value(&[]) == 1);
        let none = Tensor::zeros([0, 4, 3, 3], (Kind::Float, Device::Cpu));
        assert_eq!(group_norm(&none, &norm, true).unwrap().size(), [0, 4, 3, 3]);
    }

    #[test]
    fn what_it_is_not_for_is_refused() {
        let constant = |kind| Tensor::ones([6], (kind, Device::Cpu));
        let refuse = |shape: &[i64], kind, weight: &Tensor, groups, word: &str| {
            let x = Tensor::zeros(shape, (kind, Device::Cpu));
            let norm = GroupNorm {
                weight,
                bias: weight,
                groups,
                epsilon: 1e-6,
            };
            let error = group_norm(&x, &norm, true).unwrap_err();
            assert!(error.text().contains(word), "{error}");
        };
        refuse(
            &[1, 6, 2],
            Kind::Float,
            &constant(Kind::Float),
            2,
            "[n, c, h, w]",
        );
        refuse(
            &[1, 6, 2, 2],
            Kind::Half,
            &constant(Kind::Float),
            2,
            "bfloat16 and float32",
        );
        refuse(
            &[1, 6, 2, 2],
            Kind::Float,
            &constant(Kind::BFloat16),
            2,
            "one Float",
        );
        refuse(
            &[1, 6, 2, 2],
            Kind::Float,
            &constant(Kind::Float),
            2,
            "multiple of 4",
        );
    }

    #[test]
    fn the_order_of_memory_changes_and_the_numbers_stay() {
        let x = numbers(&[2, 8, 3, 5], 0.7);
        assert!(!is_channels_last(&x));
        let last = channels_last(&x).unwrap();
        assert!(is_channels_last(&last) && last.equal(&x));
        assert_eq!(channels_last(&last).unwrap().data_ptr(), last.data_ptr());
        assert!(channels_last(&x.get(0)).is_err());
    }
}
