//! Line plots as PNG, with the same bytes for the same numbers, from a font that ships with the program.
//!
//! Must not know what is plotted.

mod lines;

pub use lines::{Labels, Line, PlotError, line_plot};
