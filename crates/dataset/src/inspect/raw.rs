//! What a raw source holds, before anything is made of it.

use serde_json::json;

use super::table::Table;
use crate::decode::{FULL_DEPTH, MemoryGate, decode};
use crate::error::DatasetError;
use crate::prepare::DepthSeen;
use crate::source::{Payload, Source, class_counts};

/// The most images that are read.
const LOOKED_AT: usize = 256;

/// What was seen of some images of a source.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// How many were read.
    pub images: usize,
    /// Name and cause of each that cannot be used.
    pub unusable: Vec<(String, String)>,
    /// Widths and heights in pixels.
    pub sizes: Vec<(u32, u32)>,
    /// Their 16-bit samples.
    pub depth: DepthSeen,
}

/// Reads images that lie evenly in a source, 256 at the most.
pub fn look(source: &dyn Source) -> Result<Look, DatasetError> {
    // One decoder alone waits for nobody.
    let gate = MemoryGate::new(0);
    let images = usize::min(source.len(), LOOKED_AT);
    let mut look = Look {
        images,
        ..Look::default()
    };
    for number in 0..images {
        let index = number * source.len() / images;
        let payload = source.fetch(index..index + 1)?.pop();
        let image = match payload {
            Some(Ok(Payload::Pixels(image))) => Ok(image),
            Some(Ok(Payload::File(bytes))) => decode(&bytes, &gate),
            Some(Err(rejection)) => Err(rejection),
            None => continue,
        };
        match image {
            Ok(image) => {
                look.sizes.push((image.width(), image.height()));
                if let Some(largest) = image.largest_sample() {
                    look.depth.images += 1;
                    look.depth.largest = u16::max(look.depth.largest, largest);
                }
            }
            Err(rejection) => {
                let key = source.entry(index).key.to_owned();
                look.unusable.push((key, rejection.cause().to_owned()));
            }
        }
    }
    Ok(look)
}

/// Tables on a raw source: `overview`, `passed over`, `classes`, `unusable images`, `warnings`.
///
/// Every entry of it is counted; of the images, those that lie evenly in it are read, 256 at the most.
pub fn inspect_source(source: &dyn Source) -> Result<[Table; 5], DatasetError> {
    let look = look(source)?;
    let account = source.account();
    let mut rows = vec![
        vec![json!("reading"), json!(account.reading())],
        vec![json!("entries"), json!(account.entries)],
        vec![json!("images"), json!(source.len())],
        vec![json!("passed over"), json!(account.passed_over.total())],
        vec![json!("classes"), json!(source.class_names().len())],
    ];
    if let Some(by) = &account.classes_by {
        rows.push(vec![json!("classes by"), json!(by)]);
    }
    rows.push(vec![json!("images looked at"), json!(look.images)]);
    rows.push(vec![json!("unusable of these"), json!(look.unusable.len())]);
    let mut sides: Vec<u32> = look
        .sizes
        .iter()
        .map(|(width, height)| u32::min(*width, *height))
        .collect();
    sides.sort_unstable();
    if let (Some(smallest), Some(largest)) = (sides.first(), sides.last()) {
        let text = format!("{smallest} to {largest}, median {}", sides[sides.len() / 2]);
        rows.push(vec![json!("shorter side in pixels"), json!(text)]);
    }
    let mut warnings = account.warnings.clone();
    if let Some(bits) = look.depth.unused(FULL_DEPTH) {
        warnings.push(format!(
            "16-bit samples reach {}: they seem to have {bits} bits, and come out dark without `depth = {bits}`",
            look.depth.largest
        ));
    }
    let counts = class_counts(source);
    let classes = source.class_names().iter().zip(counts);
    Ok([
        Table::new("overview", &["what", "value"], rows),
        Table::new(
            "passed over",
            &["reason", "entries"],
            (account.passed_over.iter())
                .map(|(reason, entries)| vec![json!(reason), json!(entries)])
                .collect(),
        ),
        Table::new(
            "classes",
            &["label", "class", "images"],
            (classes.enumerate())
                .map(|(label, (class, images))| vec![json!(label), json!(class), json!(images)])
                .collect(),
        ),
        Table::new(
            "unusable images",
            &["image", "cause"],
            (look.unusable.iter())
                .map(|(image, cause)| vec![json!(image), json!(cause)])
                .collect(),
        ),
        Table::new(
            "warnings",
            &["warning"],
            warnings.iter().map(|text| vec![json!(text)]).collect(),
        ),
    ])
}
