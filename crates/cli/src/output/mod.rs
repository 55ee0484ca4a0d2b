//! What commands print: lines, and rows under named columns, for people and for programs.

pub(crate) mod lines;
pub(crate) mod moments;

mod report;
mod rows;
mod table;
mod values;

pub(crate) use lines::{error, exact_line, line, prompt, remark, text};
pub(crate) use report::Report;
pub(crate) use rows::{Rows, cell, field_names, quoted};
pub(crate) use values::{duration, moment, score_text};
