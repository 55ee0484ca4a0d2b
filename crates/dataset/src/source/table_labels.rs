//! The labels of tables, from file to file.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, Schema};
use serde_json::Value;

use super::columns::{LabelColumn, LabelKind};
use super::files::UNLABELLED;
use super::store::{MOST_CLASSES, StoreLabels};

/// The labels of the rows so far. What is wrong with them matters where they are asked for.
#[derive(Default)]
pub(super) struct TableLabels {
    column: Option<LabelColumn>,
    /// A class a row, in the order of `texts` where labels are texts.
    labels: Vec<i32>,
    texts: HashMap<String, i32>,
    /// The names that the Hub's library leaves in the files.
    names: Option<Vec<String>>,
    problem: Option<String>,
}

impl TableLabels {
    /// Begins the rows of a file.
    pub(super) fn begin_file(&mut self, schema: &Schema, column: Option<&LabelColumn>) {
        let Some(column) = column else {
            return;
        };
        if let LabelKind::Other(kind) = &column.kind {
            self.wrong(format!(
                "the column `{}` is of the type {kind}, and labels are numbers or texts",
                column.name
            ));
        }
        match &self.column {
            None => self.column = Some(column.clone()),
            Some(other) if other == column => {}
            Some(other) => {
                let problem = format!(
                    "labels are in the column `{}` of one file and in `{}` of another, or of other types",
                    other.name, column.name
                );
                self.wrong(problem);
            }
        }
        if let Some(names) = class_names(schema, &column.name) {
            match &self.names {
                None => self.names = Some(names),
                Some(known) if *known == names => {}
                Some(_) => self.wrong(format!(
                    "the files give the classes of the column `{}` other names, or another order",
                    column.name
                )),
            }
        }
    }

    /// Adds the labels of a batch of so many rows.
    pub(super) fn add(&mut self, labels: Option<&ArrayRef>, rows: usize) {
        let is_text = matches!(&self.column, Some(column) if column.kind == LabelKind::Text);
        let kind = if is_text {
            DataType::Utf8
        } else {
            DataType::Int64
        };
        let labels = labels
            .filter(|_| self.problem.is_none())
            .and_then(|labels| cast(labels, &kind).ok());
        let Some(labels) = labels else {
            self.labels.resize(self.labels.len() + rows, UNLABELLED);
            return;
        };
        for row in 0..rows {
            let label = match labels.is_valid(row) {
                false => UNLABELLED,
                true if is_text => self.text(labels.as_string::<i32>().value(row)),
                true => self.number(labels.as_primitive::<Int64Type>().value(row)),
            };
            self.labels.push(label);
        }
    }

    fn text(&mut self, text: &str) -> i32 {
        if text.is_empty() {
            return UNLABELLED;
        }
        if let Some(known) = self.texts.get(text) {
            return *known;
        }
        let number = self.texts.len() as i32;
        if i64::from(number) >= MOST_CLASSES {
            self.wrong(format!("the labels are more than {MOST_CLASSES} texts"));
            return UNLABELLED;
        }
        self.texts.insert(text.to_owned(), number);
        number
    }

    /// A class by its number; what is below 0 has none.
    fn number(&mut self, number: i64) -> i32 {
        if number >= MOST_CLASSES {
            let column = self.column.as_ref().map_or("", |column| &column.name);
            self.wrong(format!(
                "the column `{column}` holds {number}, and class numbers are below {MOST_CLASSES}"
            ));
        }
        if (0..MOST_CLASSES).contains(&number) {
            number as i32
        } else {
            UNLABELLED
        }
    }

    fn wrong(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }

    /// A class a row, and the classes' names; none without a column of labels.
    pub(super) fn finished(&self) -> Result<Option<StoreLabels>, String> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        let Some(column) = &self.column else {
            return Ok(None);
        };
        let (labels, class_names) = match column.kind {
            LabelKind::Text => self.sorted_texts(),
            _ => (self.labels.clone(), self.numbered()),
        };
        Ok(Some(StoreLabels {
            labels,
            class_names,
            by: format!("column `{}`", column.name),
            reads_more: column.kind != LabelKind::Number,
        }))
    }

    /// Names by number: those that the files give, if they are enough, or the numbers themselves.
    fn numbered(&self) -> Vec<String> {
        let most = self.labels.iter().copied().max().unwrap_or(UNLABELLED);
        match &self.names {
            Some(names) if names.len() as i64 > i64::from(most) => names.clone(),
            _ => (0..=most).map(|label| label.to_string()).collect(),
        }
    }

    /// Classes in the order of their names.
    fn sorted_texts(&self) -> (Vec<i32>, Vec<String>) {
        let sorted: BTreeMap<&str, i32> = self
            .texts
            .iter()
            .map(|(text, number)| (text.as_str(), *number))
            .collect();
        let mut ranks = vec![UNLABELLED; sorted.len()];
        for (rank, number) in sorted.values().enumerate() {
            ranks[*number as usize] = rank as i32;
        }
        let rank = |label: &i32| match usize::try_from(*label) {
            Ok(label) => ranks[label],
            Err(_) => UNLABELLED,
        };
        (
            self.labels.iter().map(rank).collect(),
            sorted.into_keys().map(str::to_owned).collect(),
        )
    }
}

/// The names in the description that the Hub's library leaves in the file.
fn class_names(schema: &Schema, label: &str) -> Option<Vec<String>> {
    let description: Value = serde_json::from_str(schema.metadata().get("huggingface")?).ok()?;
    let names = &description["info"]["features"][label]["names"];
    names
        .as_array()?
        .iter()
        .map(|name| name.as_str().map(str::to_owned))
        .collect()
}
