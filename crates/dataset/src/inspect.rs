//! What a data set holds, as small tables for people, computed by polars from its index.

use std::path::Path;

use patchwork_core::file_error;
use polars::prelude::*;

use crate::error::DatasetError;
use crate::shards::{INDEX_FILE, REJECTED_FILE, ShardSpec, read_index};

/// The most rows of duplicates and of rejected images that are shown.
const MOST_ROWS: usize = 20;

/// The most ids that are named of images with the same pixels.
const MOST_IDS: usize = 5;

/// A table of texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows, each with one text a column.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    fn new(title: &str, columns: &[&str], rows: Vec<Vec<String>>) -> Self {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        Self {
            title: title.to_owned(),
            columns,
            rows,
        }
    }

    fn cut(mut self) -> Self {
        if self.rows.len() > MOST_ROWS {
            self.title = format!("{}: first {MOST_ROWS} of {}", self.title, self.rows.len());
            self.rows.truncate(MOST_ROWS);
        }
        self
    }
}

/// Tables on a prepared data set: `overview`, `classes`, `channels`, `duplicates`, `rejected images`.
///
/// The last two have no rows where there is nothing to tell, and are cut where there is too much.
pub fn inspect(folder: &Path) -> Result<[Table; 5], DatasetError> {
    let index_path = folder.join(INDEX_FILE);
    let rejected_path = folder.join(REJECTED_FILE);
    let spec = read_index(&index_path)?.spec;
    let index = read_frame(&index_path)?;
    let rejected = read_frame(&rejected_path)?;
    let failed = |path: &Path, source| DatasetError::Table {
        path: path.to_owned(),
        source,
    };

    let classes = classes(&index, &spec).map_err(|error| failed(&index_path, error))?;
    let channels = channels(&index).map_err(|error| failed(&index_path, error))?;
    let duplicates = duplicates(&index).map_err(|error| failed(&index_path, error))?;
    let rejected = rejections(&rejected).map_err(|error| failed(&rejected_path, error))?;
    let overview = overview(&index, &spec, &duplicates, &rejected);
    Ok([
        overview,
        classes,
        channels,
        duplicates.cut(),
        rejected.cut(),
    ])
}

fn read_frame(path: &Path) -> Result<DataFrame, DatasetError> {
    ParquetReader::new(file_error::open(path)?)
        .finish()
        .map_err(|source| DatasetError::Table {
            path: path.to_owned(),
            source,
        })
}

fn overview(index: &DataFrame, spec: &ShardSpec, duplicates: &Table, rejected: &Table) -> Table {
    let mut rows = vec![
        vec!["images".to_owned(), index.height().to_string()],
        vec![
            "resolution".to_owned(),
            format!("{}x{}", spec.width, spec.height),
        ],
        vec!["classes".to_owned(), spec.class_names.len().to_string()],
        vec![
            "pictures that occur more than once".to_owned(),
            duplicates.rows.len().to_string(),
        ],
        vec![
            "rejected images".to_owned(),
            rejected.rows.len().to_string(),
        ],
    ];
    rows.extend(
        spec.metadata
            .iter()
            .map(|(name, value)| vec![name.clone(), value.clone()]),
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
            vec![
                label.map_or_else(String::new, |label| label.to_string()),
                name.map_or("none", String::as_str).to_owned(),
                images.to_string(),
            ]
        })
        .collect();
    Ok(Table::new("classes", &["label", "class", "images"], rows))
}

/// Mean and standard deviation over all pixels of all images, by channel, in 0..=255.
fn channels(index: &DataFrame) -> PolarsResult<Table> {
    let mut rows = Vec::new();
    for (name, short) in [("red", "r"), ("green", "g"), ("blue", "b")] {
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
        rows.push(vec![
            name.to_owned(),
            format!("{mean:.2}"),
            format!("{:.2}", variance.sqrt()),
        ]);
    }
    Ok(Table::new(
        "channels",
        &["channel", "mean", "deviation"],
        rows,
    ))
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
            let first = match group {
                GroupsIndicator::Idx((_, rows)) => rows
                    .iter()
                    .take(MOST_IDS)
                    .map(|row| *row as usize)
                    .collect(),
                GroupsIndicator::Slice([first, length]) => (first as usize
                    ..(first + length) as usize)
                    .take(MOST_IDS)
                    .collect::<Vec<_>>(),
            };
            let named: Vec<String> = first
                .into_iter()
                .filter_map(|row| Some(ids.get(row)?.to_string()))
                .collect();
            let more = if group.len() > MOST_IDS { ", ..." } else { "" };
            vec![group.len().to_string(), named.join(", ") + more]
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
        .map(|(key, cause)| {
            [key, cause]
                .map(|text| text.unwrap_or_default().to_owned())
                .to_vec()
        })
        .collect();
    Ok(Table::new("rejected images", &["image", "cause"], rows))
}
