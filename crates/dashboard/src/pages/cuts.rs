//! The images of a data set with the patches that a training takes from them drawn on them.

use maud::{Markup, html};

use crate::address::{self, encode};
use crate::patches::{Cut, Patch, Patches};
use crate::text;

/// The section of a data set's page; `asked` is the run that the address names.
pub(super) fn cuts(
    fingerprint: &str,
    runs: &[String],
    asked: &str,
    patches: Option<&Patches>,
) -> Markup {
    let address = address::data(fingerprint);
    let shown = patches.map_or(asked, |patches| patches.training.run.as_str());
    html! { section #patches { h2 { "Patches" }
        @if runs.len() > 1 {
            form.filters method="get" action={ (address) "#patches" } {
                label { "Training of " select name="run" { @for run in runs {
                    option value=(run) selected[run == shown] { (run) }
                } } }
                button type="submit" { "Show" }
            }
        }
        @if let Some(patches) = patches { (drawn(&address, patches)) }
        @else { p.muted { "No training " @if !asked.is_empty() { "of " (asked) " " } "cuts patches out of these images." } }
    } }
}

fn drawn(address: &str, patches: &Patches) -> Markup {
    let sheet = format!(
        "{address}/patches.png?run={}",
        encode(&patches.training.run)
    );
    html! {
        p { "Stage " code { (patches.training.stage) } " of "
            a href=(address::run(&patches.training.run)) { (patches.training.run) }
            ", seed " (patches.training.seed) ", uses one patch size a step:" }
        ul.keys { @for (number, size) in patches.sizes.iter().enumerate() {
            @let is_whole = (size.width, size.height) == (patches.width, patches.height);
            li { @if !is_whole { span.mark.{ "mark-" (number) } aria-hidden="true" {} " " }
                (size.width) " × " (size.height) " px in " (text::percent(size.probability)) " of the steps"
                @if is_whole { ", the whole image" } }
        } }
        p.muted { "The first " (patches.images.len()) " images of its first epoch, each with the patch that a step of each size takes from it"
            @if patches.training.mirror_probability > 0.0 { ", mirrored where training mirrors it" }
            @if patches.training.is_augmented { "; augmentation, which comes before cutting, is not shown" }
            ". x and y are the coordinates of the patch's first and last pixel, from −1 to 1 over the whole image"
            @if patches.training.position_channels { ", two further channels of the network's input." }
            @else { "; this network is not given them." } }
        div.cuts { @for (place, cut) in patches.images.iter().enumerate() { (image(&sheet, patches, place, cut)) } }
    }
}

/// One image, cut out of the sheet of all.
fn image(sheet: &str, patches: &Patches, place: usize, cut: &Cut) -> Markup {
    let (width, height) = (patches.width, patches.height);
    let columns = patches.columns();
    let (left, top) = (place % columns * width, place / columns * height);
    let lines = patches.images.len().div_ceil(columns);
    let flip = cut
        .mirrored
        .then(|| format!("translate({width} 0) scale(-1 1)"));
    html! { figure.cut {
        svg viewBox={ "0 0 " (width) " " (height) } role="img" aria-label={ "image " (cut.image) } {
            g transform=[flip] {
                image href=(sheet) x={ "-" (left) } y={ "-" (top) } width=(columns * width) height=(lines * height) preserveAspectRatio="none" {}
            }
            @for (number, patch) in cut.patches.iter().enumerate() { (outline(number, patch)) }
        }
        figcaption {
            "image " (cut.image)
            @if let Some(class) = &cut.class { ", " (class) }
            @if cut.mirrored { ", mirrored" }
            @for (number, patch) in cut.patches.iter().enumerate() {
                div { span.mark.{ "mark-" (number) } aria-hidden="true" {} " x " (range(patch.x)) " y " (range(patch.y)) }
            }
        }
    } }
}

/// Seen on light and on dark pixels.
fn outline(number: usize, patch: &Patch) -> Markup {
    let (left, top, width, height) = (patch.left, patch.top, patch.width, patch.height);
    html! {
        rect.halo x=(left) y=(top) width=(width) height=(height) {}
        rect.outline.{ "outline-" (number) } x=(left) y=(top) width=(width) height=(height) {
            title { (width) " × " (height) " px: x " (range(patch.x)) ", y " (range(patch.y)) }
        }
    }
}

fn range([first, last]: [f64; 2]) -> String {
    let number = |value: f64| format!("{value:.2}").replace('-', "−");
    format!("{}…{}", number(first), number(last))
}
