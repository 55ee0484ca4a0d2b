//! What an evaluation found: the summary of its scores, the signatures of a training that failed, the curve.

use std::collections::BTreeMap;
use std::path::Path;

use patchwork_artifacts::worker::StageError;
use patchwork_artifacts::{Score, Subject};
use patchwork_core::durable;
use patchwork_plot::{Labels, Line, line_plot};
use patchwork_signatures::{NearCopies, of_scores};
use serde_json::{Value, json};

use crate::variants::Variants;

/// The distances by what was measured, and the best of the one that curves and listings show.
pub(crate) fn summary(scores: &[Score], variants: &Variants, primary: &str) -> Value {
    let best = scores
        .iter()
        .filter(|score| score.images_seen.is_some() && score.metric == primary)
        .min_by(|left, right| left.value.total_cmp(&right.value));
    let distances: Vec<Value> = scores
        .iter()
        .map(|score| {
            let of = of(score, variants.of(&score.subject));
            let mut distance = json!({ "of": of, "metric": score.metric, "value": score.value });
            if let Some(deviation) = score.deviation {
                distance["deviation"] = json!(deviation);
            }
            distance
        })
        .collect();
    json!({
        "report": report_line(scores, variants),
        "distances": distances,
        "best": best.map(|best| best.value),
    })
}

/// Names in a summary the signatures that scores and near-copies have, and returns them.
pub(crate) fn add_signatures(
    summary: &mut Value,
    scores: &[Score],
    variants: &Variants,
    near_copies: NearCopies,
) -> Vec<String> {
    let signatures = signatures(scores, variants, near_copies);
    if !signatures.is_empty() {
        summary["signatures"] = json!(signatures);
    }
    if near_copies.samples > 0 {
        summary["near_copies"] = json!({
            "copies": near_copies.copies,
            "samples": near_copies.samples,
        });
    }
    signatures
}

fn signatures(scores: &[Score], variants: &Variants, near_copies: NearCopies) -> Vec<String> {
    let subjects: Vec<String> = (scores.iter())
        .map(|score| match &score.subject {
            Subject::Baseline(name) => name.clone(),
            Subject::Input(_) => of(score, variants.of(&score.subject)),
        })
        .collect();
    let recorded: Vec<patchwork_signatures::Score<'_>> = (scores.iter().zip(&subjects))
        .map(|(score, subject)| patchwork_signatures::Score {
            subject,
            metric: &score.metric,
            value: score.value,
            images_seen: score.images_seen.map(|images| images as i64),
        })
        .collect();
    let mut found = of_scores(&recorded);
    found.extend(near_copies.signature());
    found
}

/// The curve of distance against training images seen, one a variant, where there are several points.
pub(crate) fn plot_curve(
    scores: &[Score],
    variants: &Variants,
    primary: &str,
    folder: &Path,
) -> Result<(), StageError> {
    let mut curves: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for score in scores.iter().filter(|score| score.metric == primary) {
        if let Some(images) = score.images_seen {
            let curve = curves.entry(variants.of(&score.subject)).or_default();
            curve.push((images as f64, score.value));
        }
    }
    if curves.values().map(Vec::len).sum::<usize>() < 2 {
        return Ok(());
    }
    let lines: Vec<Line<'_>> = curves
        .into_iter()
        .map(|(variant, mut points)| {
            points.sort_by(|left, right| left.0.total_cmp(&right.0));
            Line {
                name: if variant.is_empty() { primary } else { variant },
                points,
                ..Line::default()
            }
        })
        .collect();
    let labels = Labels {
        title: "distance to the real images",
        x: "training images seen",
        y: primary,
    };
    durable::write(
        &folder.join("curve.png"),
        &line_plot(&labels, &lines, true)?,
    )?;
    Ok(())
}

/// The first scores, and how many more there are.
fn report_line(scores: &[Score], variants: &Variants) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<String> = (scores.iter().take(SHOWN))
        .map(|score| {
            let of = of(score, variants.of(&score.subject));
            format!("{} of {of} {:.3}", score.metric, score.value)
        })
        .collect();
    let more = match scores.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

fn of(score: &Score, variant: &str) -> String {
    let network = match score.images_seen {
        Some(0) => "the untrained network".to_owned(),
        Some(images) => format!("the network after {images} images"),
        None => return of_subject(&score.subject),
    };
    if variant.is_empty() {
        network
    } else {
        format!("{network} ({variant})")
    }
}

fn of_subject(subject: &Subject) -> String {
    match subject {
        Subject::Baseline(name) => name.clone(),
        Subject::Input(_) => "the images".to_owned(),
    }
}
