//! What a pixel of a set holds.

use image::ExtendedColorType;
pub use patchwork_terms::Channels;

/// Each channel's name, and what the names of its columns in the index end with.
pub(crate) fn channel_names(channels: Channels) -> &'static [(&'static str, &'static str)] {
    match channels {
        Channels::Grey => &[("grey", "l")],
        Channels::Rgb => &[("red", "r"), ("green", "g"), ("blue", "b")],
    }
}

/// What a PNG file calls them.
pub(crate) fn color_type(channels: Channels) -> ExtendedColorType {
    match channels {
        Channels::Grey => ExtendedColorType::L8,
        Channels::Rgb => ExtendedColorType::Rgb8,
    }
}
