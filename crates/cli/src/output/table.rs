//! Tables for people: light, and no wider than what shows them.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

/// Columns of a table that no terminal shows.
const WIDTH: u16 = 120;

/// A header with a thin rule under it, and no other lines. Without junctions, no column is kept free for lines between columns.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─'));

/// The rows under their header: as wide as the terminal at most, or 120 columns. Columns of numbers are aligned to the right,
/// and long values wrapped.
pub(crate) fn table(header: &[String], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table
        .load_style(STYLE)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    if table.width().is_none() {
        table.set_width(WIDTH);
    }
    for row in rows {
        table.add_row(row);
    }
    for (position, column) in table.column_iter_mut().enumerate() {
        let mut values = rows.iter().filter_map(|row| row.get(position));
        let is_of_numbers = values.clone().any(|value| !value.is_empty())
            && values.all(|value| value.is_empty() || is_quantity(value));
        if is_of_numbers {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// Whether a value is a number, maybe with a unit: `12`, `3.5 MiB`, `3 h 02 min`.
fn is_quantity(value: &str) -> bool {
    let number = value.split(' ').next().unwrap_or_default();
    number.parse::<f64>().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_light_and_its_numbers_are_aligned() {
        let text = |cells: &[&str]| cells.iter().map(|&cell| cell.to_owned()).collect();
        let rows: [Vec<String>; 3] = [
            text(&["demo-1", "9 s", "3.250"]),
            text(&["demo-12", "1 min 04 s", ""]),
            text(&["x", "", "12.000"]),
        ];
        let shown = table(&text(&["run", "time", "value"]), &rows);
        let expected = [
            " run            time   value",
            "─────────────────────────────",
            " demo-1          9 s   3.250",
            " demo-12  1 min 04 s",
            " x                    12.000",
        ]
        .join("\n");
        assert_eq!(shown, expected, "\n{shown}");
    }

    #[test]
    fn a_table_in_a_pipe_is_120_columns_wide_at_most() {
        let long = vec![vec!["word ".repeat(60), "x".repeat(200)]];
        let shown = table(&["one".to_owned(), "two".to_owned()], &long);
        let widest = shown.lines().map(|line| line.chars().count()).max();
        assert!(
            widest.is_some_and(|widest| (100..=120).contains(&widest)),
            "{shown}"
        );
        assert_eq!(shown.matches('x').count(), 200, "nothing is cut");
    }
}
