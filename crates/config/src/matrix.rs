//! `[matrix]`: one run for each combination of values.

use crate::error::{ConfigError, Problem};
use crate::overrides;
use crate::tree::{Data, Entry, Table, plain};

const SECTION: &str = "matrix";

/// So many combinations at most.
const MOST_COMBINATIONS: usize = 10_000;

/// A combination: each dotted key with its value as text, and the pipeline's table with these values.
pub(crate) type Combination = (Vec<(String, String)>, Table);

/// Every combination of the values in the table's `[matrix]`, the last key varying fastest; the table itself,
/// with no values, where there is none.
pub(crate) fn combinations(
    mut table: Table,
    overridden: &[String],
) -> Result<Vec<Combination>, ConfigError> {
    let Some(matrix) = table.remove(SECTION) else {
        return Ok(vec![(Vec::new(), table)]);
    };
    let Data::Table(matrix) = matrix.value.data else {
        let problem = format!("must be a table, not {}", matrix.value.data);
        return Err(refused(&matrix, problem));
    };
    // Each combination is a copy of the whole pipeline: they are counted before the first is made.
    let mut count = 1_usize;
    for entry in &matrix.entries {
        count = count.saturating_mul(values(entry)?.len());
        if count > MOST_COMBINATIONS {
            let problem = format!(
                "makes it more than {MOST_COMBINATIONS} combinations, each of which is a run"
            );
            return Err(refused(entry, problem));
        }
    }
    let mut combinations: Vec<Combination> = vec![(Vec::new(), table)];
    for entry in &matrix.entries {
        let values = values(entry)?;
        let is_set = |text: &String| {
            text.split_once('=')
                .is_some_and(|(key, _)| key.trim() == entry.key)
        };
        if overridden.iter().any(is_set) {
            let problem = "is set on the command line too; take it out of one of both".to_owned();
            return Err(refused(entry, problem));
        }
        let mut wider = Vec::with_capacity(combinations.len() * values.len());
        for (named, table) in combinations {
            for value in values {
                let mut table = table.clone();
                overrides::lay(&mut table, &entry.key, value.clone(), &entry.value.location)?;
                let mut named = named.clone();
                named.push((entry.key.clone(), plain(value)));
                wider.push((named, table));
            }
        }
        combinations = wider;
    }
    Ok(combinations)
}

fn values(entry: &Entry) -> Result<&[Data], ConfigError> {
    match &entry.value.data {
        Data::List(values) if !values.is_empty() => Ok(values),
        Data::List(_) => Err(refused(entry, "has no values".to_owned())),
        Data::Table(_) => Err(refused(
            entry,
            "must be a dotted key in quotes, such as \"stages.train.batch_size\"".to_owned(),
        )),
        other => Err(refused(
            entry,
            format!("must be a list of values, not {other}"),
        )),
    }
}

fn refused(entry: &Entry, problem: String) -> ConfigError {
    let (key, section) = (entry.key.clone(), SECTION.to_owned());
    ConfigError::at(
        &entry.location,
        Problem::Invalid {
            key,
            section,
            problem,
        },
    )
}
