//! Self-attention over the pixels of a feature map.
//!
//! The 3c outputs of `qkv` are in the published order (head, channel, q / k / v).

use tch::{Kind, Tensor};

use crate::builder::Builder;
use crate::init::Initialization;
use crate::layers::{Conv2d, ConvOptions, GroupNorm};

/// `norm2`, `qkv` and `proj` of a U-Net block.
#[derive(Debug)]
pub(crate) struct Attention {
    norm: GroupNorm,
    qkv: Conv2d,
    projection: Conv2d,
    heads: i64,
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
        }
    }

    /// `[n, c, h, w]` → the same shape times `scale`, to be added to `x`.
    pub(crate) fn forward(&self, x: &Tensor, scale: f64) -> Tensor {
        let qkv = self.qkv.forward(&self.norm.forward(x));
        let attended = if qkv.is_contiguous() {
            self.attend_planes(&qkv)
        } else {
            self.attend_pixels(&qkv)
        };
        self.projection.forward_scaled(&attended, scale, 1.0)
    }

    /// For features in the order [n, c, h, w]: `[n, 3c, h, w]` → `[n, c, h, w]`. No tensor is copied to another order.
    fn attend_planes(&self, qkv: &Tensor) -> Tensor {
        let size = qkv.size();
        let (n, channels, pixels) = (size[0], size[1] / 3, size[2] * size[3]);
        let width = channels / self.heads;
        let parts = qkv.view([n * self.heads, width, 3, pixels]).unbind(2);
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

    /// For features in the order [n, h, w, c]: the same. The softmax accumulates in float32.
    fn attend_pixels(&self, qkv: &Tensor) -> Tensor {
        let size = qkv.size();
        let (n, channels, pixels) = (size[0], size[1] / 3, size[2] * size[3]);
        let parts = qkv
            .permute([0, 2, 3, 1])
            .reshape([n, pixels, self.heads, channels / self.heads, 3])
            .permute([4, 0, 2, 1, 3])
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
        .transpose(1, 2) // [n, pixels, heads, width]
        .reshape([n, size[2], size[3], channels])
        .permute([0, 3, 1, 2])
    }
}
