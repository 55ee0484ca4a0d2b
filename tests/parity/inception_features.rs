//! `inception_features`: Inception-v3 with weights from a formula, under pytorch-fid's parameter names.

use std::collections::BTreeMap;

use patchwork_core::Digest;
use patchwork_metrics::Extractor;
use patchwork_metrics::inception_v3::InceptionV3;
use patchwork_weights::Resize;
use tch::{Kind, Tensor};

use crate::device::device;
use crate::runner::{Case, Tensors};

/// How pytorch-fid resizes, as the cases write it.
const RESIZE: &str =
    "bilinear, half-pixel centres, align_corners=false, to 299x299; then 2*x-1 on [0,1] pixels";

pub(crate) fn run(case: &mut Case) -> Result<Tensors, String> {
    if case.settings["weights"] != "formula" || case.settings["resize"] != RESIZE {
        return Err("the case has other weights than the formula's, or another resize".to_owned());
    }
    let weights = weights(case)?;
    for (name, expected) in case.after("check/") {
        let same = weights.get(&name).is_some_and(|ours| ours.equal(&expected));
        if !same {
            return Err(format!("the formula gives another `{name}`"));
        }
    }
    let digest = Digest::of(b"formula");
    let classifier = weights.get("fc.weight").map(Tensor::shallow_clone);
    let extractor = InceptionV3::from_tensors(weights, digest, Resize::Torch, device())
        .map_err(|error| error.to_string())?;
    let mut ours = Tensors::new();
    for (name, images) in case.after("input/images") {
        // Stored as `[batch, height, width, 3]`.
        let features = (extractor.features(&images.permute([0, 3, 1, 2])))
            .map_err(|error| error.to_string())?;
        let expected = (classifier.as_ref()).map(|weight| features.pooled.matmul(&weight.tr()));
        let logits = extractor.class_logits(&features.pooled);
        match (logits, expected) {
            (Some(logits), Some(expected)) if logits.allclose(&expected, 1e-4, 1e-4, false) => {}
            _ => return Err("the class logits are not those of `fc.weight`".to_owned()),
        }
        ours.insert(format!("output/features{name}"), features.pooled);
    }
    Ok(ours)
}

/// Every parameter that the case names, by its formula.
fn weights(case: &Case) -> Result<BTreeMap<String, Tensor>, String> {
    let parameters: Vec<(String, Vec<i64>)> =
        serde_json::from_value(case.settings["parameters"].clone())
            .map_err(|error| format!("parameters: {error}"))?;
    Ok(parameters
        .into_iter()
        .map(|(name, shape)| {
            let tensor = by_formula(&name, &shape);
            (name, tensor)
        })
        .collect())
}

fn by_formula(name: &str, shape: &[i64]) -> Tensor {
    let count: i64 = shape.iter().product();
    let fan: i64 = shape.iter().skip(1).product();
    let of = |u: f64| {
        if name.ends_with("running_var") {
            0.5 + u
        } else if name.ends_with("running_mean") || name.ends_with("bias") {
            (u - 0.5) * 0.2
        } else if name.ends_with("bn.weight") {
            0.8 + 0.4 * u
        } else {
            (2.0 * u - 1.0) * (6.0 / fan as f64).sqrt()
        }
    };
    let start = u64::from(crc32(name.as_bytes()));
    let values: Vec<f32> = (1..=count as u64)
        .map(|element| {
            let state = start.wrapping_add(element.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            of((splitmix64(state) >> 11) as f64 / (1_u64 << 53) as f64) as f32
        })
        .collect();
    Tensor::from_slice(&values)
        .to_kind(Kind::Float)
        .reshape(shape)
}

/// Steele et al. 2014's finaliser.
fn splitmix64(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The checksum of zip and PNG.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |checksum, byte| {
        (0..8).fold(checksum ^ u32::from(*byte), |checksum, _| {
            (checksum >> 1) ^ (0xEDB8_8320 * (checksum & 1))
        })
    })
}
