//! The presets that ship with the program, and which of them suits.

/// Images below which a network is kept from learning them by heart, as published for sets of some 5,000 images.
const SMALL_SET: usize = 20_000;

/// The sides that images are brought to unless another is asked for, from small to large.
const USUAL_SIDES: [u32; 3] = [16, 32, 64];

/// What every resolution is a multiple of: the smallest patches, a fourth of the image, are halved twice.
const MULTIPLE: u32 = 16;

/// The largest resolution.
const MOST: u32 = 1024;

/// A preset, and the one that it extends.
struct Preset {
    name: &'static str,
    text: &'static str,
    extends: Option<&'static str>,
    /// Levels of its network: the side is halved once less.
    levels: u32,
    /// The side of the level with attention.
    attention: u32,
}

macro_rules! preset {
    ($name:literal, $extends:expr, $levels:literal, $attention:literal) => {
        Preset {
            name: $name,
            text: include_str!(concat!("../../../../../configs/", $name, ".toml")),
            extends: $extends,
            levels: $levels,
            attention: $attention,
        }
    };
}

const PRESETS: [Preset; 5] = [
    preset!("cpu-32", None, 3, 8),
    preset!("cpu-64", Some("cpu-32"), 4, 8),
    preset!("pixel-32", None, 3, 16),
    preset!("pixel-64", None, 4, 16),
    preset!("pixel-64-small", Some("pixel-64"), 4, 16),
];

fn named(name: &str) -> &'static Preset {
    let found = PRESETS.iter().find(|preset| preset.name == name);
    found.expect("only presets of the list are chosen")
}

/// What a preset's file holds.
pub(super) fn text(name: &str) -> &'static str {
    named(name).text
}

/// A preset and what it extends.
pub(super) fn chain(name: &'static str) -> impl Iterator<Item = &'static str> {
    std::iter::successors(Some(name), |name| named(name).extends)
}

/// A resolution that was typed, or what is wrong with it, as the rest of a sentence.
pub(super) fn resolution(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(side) if (MULTIPLE..=MOST).contains(&side) && side.is_multiple_of(MULTIPLE) => Ok(side),
        _ => Err(format!(
            "is `{text}`; a resolution is a multiple of {MULTIPLE} from {MULTIPLE} to {MOST} pixels: a fourth of it, the \
             smallest patch, has to pass the levels of the network"
        )),
    }
}

/// The resolution that suits images of a shorter side: the largest usual one that enlarges few, and on a CPU not above 32.
pub(super) fn suiting_resolution(median_side: u32, device: &str) -> u32 {
    let most = if device == "cpu" { 32 } else { 64 };
    let fitting = USUAL_SIDES.iter().rev();
    let mut fitting = fitting.filter(|side| **side <= u32::min(most, median_side));
    fitting.next().copied().unwrap_or(USUAL_SIDES[0])
}

/// The preset for so many images of a resolution on a device.
pub(super) fn suiting(device: &str, resolution: u32, images: usize) -> &'static str {
    let has_four_levels = resolution >= 64 && resolution.is_multiple_of(2 * MULTIPLE);
    match (device == "cpu", has_four_levels) {
        (true, false) => "cpu-32",
        (true, true) => "cpu-64",
        (false, false) => "pixel-32",
        (false, true) if images < SMALL_SET => "pixel-64-small",
        (false, true) => "pixel-64",
    }
}

/// The side of the level with attention at a resolution, where the preset's own is not among the levels.
pub(super) fn attention(name: &str, resolution: u32) -> Option<u32> {
    let Preset {
        levels, attention, ..
    } = *named(name);
    let mut sides = (0..levels).map(|level| resolution >> level);
    let smallest = resolution >> (levels - 1);
    let largest_below = sides.find(|side| *side <= attention).unwrap_or(smallest);
    (largest_below != attention).then_some(largest_below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_suits_number_and_size_of_images() {
        for (device, side, images, expected) in [
            ("cpu", 16, 100, "cpu-32"),
            ("cpu", 48, 100, "cpu-32"),
            ("cpu", 64, 100, "cpu-64"),
            ("cuda", 32, 50_000, "pixel-32"),
            ("cuda:0", 64, 5_000, "pixel-64-small"),
            ("cuda:0", 64, 200_000, "pixel-64"),
            ("cuda:0", 80, 200_000, "pixel-32"),
        ] {
            assert_eq!(suiting(device, side, images), expected);
        }
        for (side, device, expected) in [
            (8, "cpu", 16),
            (24, "cpu", 16),
            (480, "cpu", 32),
            (480, "cuda", 64),
            (60, "cuda", 32),
        ] {
            assert_eq!(suiting_resolution(side, device), expected);
        }
        for (preset, side, expected) in [
            ("cpu-32", 32, None),
            ("cpu-32", 16, None),
            ("cpu-32", 48, Some(12)),
            ("cpu-64", 64, None),
            ("cpu-64", 128, Some(16)),
            ("pixel-64", 128, None),
            ("pixel-32", 48, Some(12)),
        ] {
            assert_eq!(attention(preset, side), expected, "{preset} {side}");
        }
        assert!(
            ["0", "8", "24", "2048", "-16", "x", ""]
                .iter()
                .all(|text| resolution(text).is_err())
        );
        assert_eq!(resolution("48"), Ok(48));
    }
}
