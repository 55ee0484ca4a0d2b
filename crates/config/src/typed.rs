//! A table read as a type: what is unknown, missing, of a wrong type or out of range is refused with its place.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{ConfigError, Problem};
use crate::nearest::nearest;
use crate::read::{Fault, Reader, Trouble};
use crate::schema::{UNIT, number_in_words, property, shape, type_in_words};
use crate::section::Section;
use crate::tree::Data;

impl Section<'_> {
    /// Reads the keys that `T` has; others are left to whoever reads them ([`Section::check_keys`]).
    ///
    /// # Errors
    /// The first value of a wrong type, unknown key of a table below, missing key, or value that is out of its range.
    pub fn read<T: DeserializeOwned + JsonSchema + 'static>(&self) -> Result<T, ConfigError> {
        let shape = shape::<T>();
        let value = T::deserialize(Reader::of(self.table, shape.keys))
            .map_err(|fault| self.place(fault))?;
        check(&shape.schema, self)?;
        Ok(value)
    }

    /// A reader's fault with its place.
    fn place(&self, mut fault: Fault) -> ConfigError {
        if fault.path.len() > fault.problem.depth() {
            let key = fault.path.remove(0);
            return match self.table(&key) {
                Ok(Some(section)) => section.place(fault),
                // The way goes through something that is not a table, such as a list: its own place is the nearest.
                _ => self.invalid(&key, fault.problem.to_string()),
            };
        }
        let key = fault.path.pop().unwrap_or_default();
        match fault.problem {
            Trouble::Unknown { key, known } => self.unknown(&key, known),
            Trouble::Missing { key } => self.missing(key, "a value".to_owned()),
            Trouble::Wrong(wrong) => {
                let problem = Problem::WrongType {
                    key: key.clone(),
                    section: self.name.clone(),
                    nearest: (wrong.typed.as_deref())
                        .and_then(|typed| nearest(typed, wrong.words.iter().copied())),
                    expected: wrong.expected,
                    found: wrong.found.unwrap_or_else(|| "this value".to_owned()),
                };
                ConfigError::at(self.location_of(&key), problem)
            }
            Trouble::Invalid(problem) => self.invalid(&key, problem),
        }
    }
}

/// Checks that every key is there that must be, and that numbers lie in their ranges.
fn check(schema: &Value, section: &Section<'_>) -> Result<(), ConfigError> {
    let required = schema.get("required").and_then(Value::as_array);
    for key in required.into_iter().flatten().filter_map(Value::as_str) {
        if !section.has(key) {
            let expected =
                property(schema, key).map_or_else(|| "a value".to_owned(), type_in_words);
            return Err(section.missing(key, expected));
        }
    }
    for key in section.keys() {
        let below = property(schema, key).or_else(|| schema.get("additionalProperties"));
        let (Some(below), Some(value)) = (below, section.value(key)) else {
            continue;
        };
        match value {
            Data::Table(_) => {
                if let Some(table) = section.table(key)? {
                    check(below, &table)?;
                }
            }
            Data::List(items) => {
                let range = below.get("items");
                let mut problems = range
                    .into_iter()
                    .flat_map(|range| items.iter().filter_map(move |item| problem(range, item)));
                if let Some((value, problem)) = problems.next() {
                    return Err(section.invalid(key, format!("has {value}, {problem}")));
                }
            }
            other => {
                if let Some((value, problem)) = problem(below, other) {
                    return Err(section.invalid(key, format!("is {value}, {problem}")));
                }
            }
        }
    }
    Ok(())
}

/// A number that is out of its range, as text with its unit, and which range that is.
fn problem(schema: &Value, value: &Data) -> Option<(String, String)> {
    let (number, text) = match value {
        Data::Integer(number) => (*number as f64, number.to_string()),
        Data::Number(number) => (*number, number.to_string()),
        _ => return None,
    };
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let low = bound("minimum").is_none_or(|low| number >= low);
    let high = bound("maximum").is_none_or(|high| number <= high);
    let above = bound("exclusiveMinimum").is_none_or(|low| number > low);
    if low && high && above && number.is_finite() {
        return None;
    }
    let in_words = |key: &str| schema.get(key).map(number_in_words);
    let range = match (
        in_words("minimum"),
        in_words("maximum"),
        in_words("exclusiveMinimum"),
    ) {
        (Some(low), Some(high), _) => format!("not between {low} and {high}"),
        (_, Some(high), Some(low)) => format!("not above {low} and up to {high}"),
        (_, _, Some(low)) => format!("not a number above {low}"),
        (Some(low), None, _) => format!("not {low} or above"),
        _ => "not a finite number".to_owned(),
    };
    let unit = schema.get(UNIT).and_then(Value::as_str);
    let text = unit.map_or_else(|| text.clone(), |unit| format!("{text} {unit}"));
    Some((text, range))
}
