//! From the features of a set of images and a reference to scores.
//!
//! `scoring` goes through the kinds of features; what the setting `metrics` names is a module each in `metric`.

mod comparison;
mod metric;
mod scoring;

pub(crate) use comparison::{Comparison, RAW, ReferenceIdentity};
