//! Self-attention over the pixels of a feature map.
//!
//! The 3c outputs of `qkv` are in the published order (head, channel, q / k / v).

use tch::{Device, Kind, Tensor};

use crate::builder::Builder;
use crate::features::Features;
use crate::init::Initialization;
use crate::layers::{Conv2d, ConvOptions, GroupNorm};

/// `norm2`, `qkv` and `proj` of a U-Net block.
#[derive(Debug)]
pub(crate) struct Attention {
    norm: GroupNorm,
    qkv: Conv2d,
    projection: Conv2d,
    heads: i64,
    features: Features,
}

/// How the two convolutions begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttentionInit {
    pub(crate) qkv: Initialization,
    pub(crate) projection: Initialization,
}

impl Attention {
    pub(crate) fn new(
        builder: &mut Builder,
        block: &str,
        channels: i64,
        heads: i64,
        epsilon: f64,
        init: &AttentionInit,
    ) -> Self {
        let pointwise = ConvOptions::plain(1);
        Self {
            norm: GroupNorm::new(builder, &format!("{block}.norm2"), channels, epsilon),
            qkv: Conv2d::new(
                builder,
                &format!("{block}.qkv"),
                channels,
                channels * 3,
                &pointwise,
                &init.qkv,
            ),
            projection: Conv2d::new(
                builder,
                &format!("{block}.proj"),
                channels,
                channels,
                &pointwise,
                &init.projection,
            ),
            heads,
            features: builder.features(),
        }
    }

    /// `[n, c, h, w]` → the same shape times `scale`, to be added to `x`.
    pub(crate) fn forward(&self, x: &Tensor, scale: f64) -> Tensor {
        let qkv = self.qkv.forward(&self.norm.forward(x));
        let attended = match qkv.device() {
            Device::Cpu => attend_by_products(&qkv.contiguous(), self.heads),
            _ => attend_fused(&qkv, self.heads),
        };
        // Of one head it is so already where it comes from the fused kernel.
        let attended = match self.features {
            Features::Plain => attended,
            _ => self.features.arrange(&attended),
        };
        self.projection.forward_scaled(&attended, scale, 1.0)
    }
}

/// `[n, 3c, h, w]` → `[n, c, h, w]`, where every product takes the features as they lie in memory. On a CPU.
fn attend_by_products(qkv: &Tensor, heads: i64) -> Tensor {
    let size = qkv.size();
    let (n, channels, pixels) = (size[0], size[1] / 3, size[2] * size[3]);
    let width = channels / heads;
    let parts = qkv.view([n * heads, width, 3, pixels]).unbind(2);
    let query = &parts[0] * (1.0 / (width as f64).sqrt());
    let weights = query
        .transpose(1, 2)
        .bmm(&parts[1])
        .softmax(-1, Kind::Float)
        .to_kind(qkv.kind());
    parts[2]
        .bmm(&weights.transpose(1, 2))
        .view([n, channels, size[2], size[3]])
}

/// The same by libtorch's fused kernel, which never holds all weights and wants the channels of a pixel side by side.
/// The softmax accumulates in float32.
fn attend_fused(qkv: &Tensor, heads: i64) -> Tensor {
    let size = qkv.size();
    let (n, channels, pixels) = (size[0], size[1] / 3, size[2] * size[3]);
    let parts = qkv
        .reshape([n, heads, channels / heads, 3, pixels])
        .permute([3, 0, 1, 4, 2])
        .contiguous() // [3, n, heads, pixels, width]
        .unbind(0);
    let [query, key, value] = [&parts[0], &parts[1], &parts[2]];
    Tensor::scaled_dot_product_attention(
        query,
        key,
        value,
        None::<&Tensor>,
        0.0,
        false,
        None::<f64>,
        false,
    )
    .transpose(2, 3) // [n, heads, width, pixels]
    .reshape([n, channels, size[2], size[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fused_kernel_does_what_the_products_do_both_ways() {
        let (heads, shape) = (3, [2, 3 * 12, 4, 6]);
        let results = [attend_by_products, attend_fused].map(|attend| {
            let count = shape.iter().product::<i64>();
            let qkv = (Tensor::arange(count, (Kind::Float, Device::Cpu)) * 0.7).sin() * 2.0;
            let qkv = qkv.reshape(shape).set_requires_grad(true);
            let attended = attend(&qkv, heads);
            let weights = Tensor::arange(count / 3, (Kind::Float, Device::Cpu)).cos();
            (&attended * weights.view(attended.size().as_slice()))
                .sum(Kind::Float)
                .backward();
            (attended.detach(), qkv.grad())
        });
        let [(products, products_back), (fused, fused_back)] = results;
        assert_eq!(products.size(), [2, 12, 4, 6]);
        assert!(products.allclose(&fused, 1e-5, 1e-6, false));
        assert!(products_back.allclose(&fused_back, 1e-5, 1e-6, false));
    }
}
