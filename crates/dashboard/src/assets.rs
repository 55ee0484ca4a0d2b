//! What pages load beside pictures: styles and scripts, which are in the program.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use patchwork_core::Digest;

use crate::error::DashboardError;

/// A file in the program.
struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! assets {
    ($($kind:ident $name:literal,)+) => {
        [$(Asset { name: $name, kind: $kind, text: include_str!(concat!("../assets/", $name)) },)+]
    };
}

/// In the order in which a page needs them.
const ASSETS: [Asset; 6] = assets![
    CSS "uPlot.min.css",
    CSS "style.css",
    JAVASCRIPT "uPlot.iife.min.js",
    JAVASCRIPT "charts.js",
    JAVASCRIPT "pictures.js",
    JAVASCRIPT "page.js",
];

fn of_kind(kind: &str) -> impl Iterator<Item = &'static Asset> {
    ASSETS.iter().filter(move |asset| asset.kind == kind)
}

/// The addresses of the styles.
pub(crate) fn style_addresses() -> impl Iterator<Item = String> {
    of_kind(CSS).map(|asset| format!("/assets/{}", asset.name))
}

/// The addresses of the scripts.
pub(crate) fn script_addresses() -> impl Iterator<Item = String> {
    of_kind(JAVASCRIPT).map(|asset| format!("/assets/{}", asset.name))
}

/// The styles themselves.
pub(crate) fn styles() -> impl Iterator<Item = &'static str> {
    of_kind(CSS).map(|asset| asset.text)
}

/// The scripts themselves.
pub(crate) fn scripts() -> impl Iterator<Item = &'static str> {
    of_kind(JAVASCRIPT).map(|asset| asset.text)
}

/// `/assets/NAME`.
pub(crate) async fn answer(
    Path(name): Path<String>,
    request_headers: HeaderMap,
) -> Result<Response, DashboardError> {
    let found = ASSETS.iter().find(|asset| asset.name == name);
    let asset = found.ok_or_else(|| DashboardError::Absent(format!("asset `{name}`")))?;
    let tag = format!("\"{}\"", Digest::of(asset.text.as_bytes()));
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    let known = request_headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    Ok((headers, asset.text).into_response())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    /// The colours of the light and of the dark scheme, by name.
    fn schemes() -> [BTreeMap<&'static str, [u8; 3]>; 2] {
        let css = include_str!("../assets/style.css");
        let mut blocks = css.split(":root {").skip(1);
        [(); 2].map(|()| {
            let block = blocks.next().unwrap_or_default();
            let block = block.split('}').next().unwrap_or_default();
            let colours = block.split(';').filter_map(|line| {
                let (name, value) = line.trim().strip_prefix("--")?.split_once(": #")?;
                let [_, red, green, blue] = u32::from_str_radix(value, 16).ok()?.to_be_bytes();
                Some((name, [red, green, blue]))
            });
            colours.collect()
        })
    }

    /// # Source
    /// WCAG 2.2, relative luminance and contrast ratio.
    fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
        let luminance = |colour: [u8; 3]| {
            let linear = colour.map(|part| {
                let part = f64::from(part) / 255.0;
                if part <= 0.04045 {
                    part / 12.92
                } else {
                    ((part + 0.055) / 1.055).powf(2.4)
                }
            });
            0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        };
        let (one, other) = (luminance(one), luminance(other));
        (f64::max(one, other) + 0.05) / (f64::min(one, other) + 0.05)
    }

    /// Level AA: 4.5 for text, 3 for what charts are drawn with.
    #[test]
    fn text_and_lines_stand_out_in_both_schemes() {
        for colours in schemes() {
            for name in ["text", "muted", "link", "good", "bad", "warn", "busy"] {
                for ground in ["page", "panel"] {
                    let ratio = contrast(colours[name], colours[ground]);
                    assert!(ratio >= 4.5, "{name} on {ground}: {ratio}");
                }
            }
            for number in 0..8 {
                let ratio = contrast(colours[&*format!("key-{number}")], colours["page"]);
                assert!(ratio >= 3.0, "line {number}: {ratio}");
            }
        }
    }
}
