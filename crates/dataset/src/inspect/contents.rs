//! What is in a set: counts, classes, duplicates, rejected images.

use std::path::Path;

use polars::prelude::*;
use serde_json::json;

use super::frame::read_columns;
use super::table::{Table, rounded};
use super::{failed, rows_of};
use crate::error::DatasetError;
use crate::shards::{Channels, INDEX_FILE, REJECTED_FILE, ShardSpec, channel_names, read_index};

/// The most ids that are named of images with the same pixels.
const MOST_IDS: usize = 5;

/// Tables on a prepared data set: `overview`, `classes`, `channels`, `duplicates`, `rejected images`.
///
/// The last two have no rows where nothing is to be reported.
pub fn inspect(folder: &Path) -> Result<[Table; 5], DatasetError> {
    let index_path = folder.join(INDEX_FILE);
    let rejected_path = folder.join(REJECTED_FILE);
    let spec = read_index::<ShardSpec>(&index_path)?.spec;
    let index = read_columns(&index_path, |_| true)?;
    let rejected = read_columns(&rejected_path, |_| true)?;
    let classes = classes(&index, &spec).map_err(|error| failed(&index_path, error))?;
    let channels = channels(&index, spec.channels).map_err(|error| failed(&index_path, error))?;
    let duplicates = duplicates(&index).map_err(|error| failed(&index_path, error))?;
    let rejected = rejections(&rejected).map_err(|error| failed(&rejected_path, error))?;
    let overview = overview(&index, &spec, &duplicates, &rejected);
    Ok([overview, classes, channels, duplicates, rejected])
}

fn overview(index: &DataFrame, spec: &ShardSpec, duplicates: &Table, rejected: &Table) -> Table {
    let mut rows = vec![
        vec![json!("images"), json!(index.height())],
        vec![
            json!("resolution"),
            json!(format!("{}x{}", spec.width, spec.height)),
        ],
        vec![json!("channels"), json!(spec.channels.count())],
        vec![json!("classes"), json!(spec.class_names.len())],
        vec![
            json!("pictures that occur more than once"),
            json!(duplicates.rows.len()),
        ],
        vec![json!("rejected images"), json!(rejected.rows.len())],
    ];
    rows.extend(
        spec.metadata
            .iter()
            .map(|(name, value)| vec![json!(name), json!(value)]),
    );
    Table::new("overview", &["what", "value"], rows)
}

/// Images by class, in the order of the labels; images without one come first.
fn classes(index: &DataFrame, spec: &ShardSpec) -> PolarsResult<Table> {
    let labels = index.column("label")?.i32()?;
    let groups = index.group_by(["label"])?;
    let mut counts: Vec<(Option<i32>, usize)> = groups
        .get_groups()
        .iter()
        .map(|group| (labels.get(group.first() as usize), group.len()))
        .collect();
    counts.sort_unstable();
    let rows = counts
        .into_iter()
        .map(|(label, images)| {
            let name = label.and_then(|label| spec.class_names.get(label as usize));
            vec![json!(label), json!(name), json!(images)]
        })
        .collect();
    Ok(Table::new("classes", &["label", "class", "images"], rows))
}

/// Mean and standard deviation over all pixels of all images, by channel, in 0..=255.
fn channels(index: &DataFrame, channels: Channels) -> PolarsResult<Table> {
    let rows = channel_moments(index, channels)?
        .into_iter()
        .map(|(name, mean, deviation)| vec![json!(name), rounded(mean, 2), rounded(deviation, 2)])
        .collect();
    let columns = ["channel", "mean", "deviation"];
    Ok(Table::new("channels", &columns, rows))
}

/// Name, mean and standard deviation of each channel over all images.
pub(super) fn channel_moments(
    index: &DataFrame,
    channels: Channels,
) -> PolarsResult<Vec<(&'static str, f64, f64)>> {
    let mut moments = Vec::new();
    for (name, short) in channel_names(channels) {
        let means = index
            .column(&format!("mean_{short}"))?
            .cast(&DataType::Float64)?;
        let deviations = index
            .column(&format!("std_{short}"))?
            .cast(&DataType::Float64)?;
        let (means, deviations) = (means.f64()?, deviations.f64()?);
        let squares = &(means * means) + &(deviations * deviations);
        let mean = means.mean().unwrap_or_default();
        // The second moment of the whole is the mean of the images' second moments; rounding may bring the
        // variance of a set of one colour below 0.
        let variance = f64::max(0.0, squares.mean().unwrap_or_default() - mean * mean);
        moments.push((*name, mean, variance.sqrt()));
    }
    Ok(moments)
}

/// Images whose pixels occur more than once, by digest: how often, and which.
fn duplicates(index: &DataFrame) -> PolarsResult<Table> {
    let ids = index.column("id")?.u64()?;
    let groups = index.group_by_stable(["digest"])?;
    let rows = groups
        .get_groups()
        .iter()
        .filter(|group| group.len() > 1)
        .map(|group| {
            let named: Vec<String> = rows_of(&group)
                .into_iter()
                .take(MOST_IDS)
                .filter_map(|row| Some(ids.get(row)?.to_string()))
                .collect();
            let more = if group.len() > MOST_IDS { ", ..." } else { "" };
            vec![json!(group.len()), json!(named.join(", ") + more)]
        })
        .collect();
    Ok(Table::new("duplicates", &["times", "ids"], rows))
}

fn rejections(rejected: &DataFrame) -> PolarsResult<Table> {
    let keys = rejected.column("key")?.str()?;
    let causes = rejected.column("cause")?.str()?;
    let rows = keys
        .iter()
        .zip(causes.iter())
        .map(|(key, cause)| vec![json!(key), json!(cause)])
        .collect();
    Ok(Table::new("rejected images", &["image", "cause"], rows))
}
