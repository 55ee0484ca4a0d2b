//! Lines over one another in one pair of axes.

use std::sync::Once;

use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

const WIDTH: u32 = 900;
const HEIGHT: u32 = 500;
const FONT: &str = "sans-serif";

/// What is wrong with a plot.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// The drawing failed.
    #[error("cannot draw the plot `{title}`: {cause}")]
    Draw {
        /// The plot.
        title: String,
        /// What the drawing library says.
        cause: String,
    },
    /// The encoding failed.
    #[error("cannot encode a plot as PNG: {0}")]
    Encode(#[from] image::ImageError),
}

/// A named line of points.
#[derive(Default)]
pub struct Line<'a> {
    /// Its name in the legend, which is drawn where there are several lines.
    pub name: &'a str,
    /// Its points, (x, y), in the order in which they are joined.
    pub points: Vec<(f64, f64)>,
    /// How far a bar reaches above and below each point; empty for a line without bars, 0 or NaN for a point without.
    pub deviations: Vec<f64>,
}

impl Line<'_> {
    /// The ends of the bars, (x, low, y, high).
    fn bars(&self) -> impl Iterator<Item = (f64, f64, f64, f64)> {
        let bars = self.points.iter().zip(&self.deviations);
        bars.filter(|(_, deviation)| **deviation > 0.0)
            .map(|(&(x, y), deviation)| (x, y - deviation, y, y + deviation))
    }
}

/// How a plot is labelled.
pub struct Labels<'a> {
    /// Above the plot.
    pub title: &'a str,
    /// Below the horizontal axis.
    pub x: &'a str,
    /// Beside the vertical axis.
    pub y: &'a str,
}

/// Draws lines over one another; points that are not finite are left out, as are empty lines.
///
/// With `logarithmic`, the y axis is logarithmic where the values span a decade; below that a logarithmic axis
/// would have no labels.
pub fn line_plot(
    labels: &Labels<'_>,
    lines: &[Line<'_>],
    logarithmic: bool,
) -> Result<Vec<u8>, PlotError> {
    let mut pixels = vec![255; (WIDTH * HEIGHT * 3) as usize];
    draw(&mut pixels, labels, lines, logarithmic).map_err(|cause| PlotError::Draw {
        title: labels.title.to_owned(),
        cause,
    })?;
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(&pixels, WIDTH, HEIGHT, ExtendedColorType::Rgb8)?;
    Ok(png)
}

fn draw(
    pixels: &mut [u8],
    labels: &Labels<'_>,
    lines: &[Line<'_>],
    logarithmic: bool,
) -> Result<(), String> {
    static FONT_REGISTERED: Once = Once::new();
    FONT_REGISTERED.call_once(|| {
        // Fails only for a file that is not a font, which the shipped one is.
        let _ = register_font(FONT, FontStyle::Normal, dejavu::sans::regular());
    });
    let root = BitMapBackend::with_buffer(pixels, (WIDTH, HEIGHT)).into_drawing_area();
    root.fill(&WHITE).map_err(|error| error.to_string())?;
    let kept = |point: &&(f64, f64)| {
        point.0.is_finite() && point.1.is_finite() && (!logarithmic || point.1 > 0.0)
    };
    let ends = (lines.iter().flat_map(Line::bars))
        .flat_map(|(x, low, _, high)| [(x, low), (x, high)])
        .collect::<Vec<_>>();
    let points = lines.iter().flat_map(|line| &line.points);
    let Some((x_range, y_range)) = ranges(points.chain(&ends).filter(kept)) else {
        return Ok(());
    };
    let (x_range, (low, high)) = (with_margins(x_range, 0.02), y_range);
    let logarithmic = logarithmic && high >= 10.0 * low;
    let y_range = if logarithmic {
        (low / 1.1, high * 1.1)
    } else {
        with_margins(y_range, 0.05)
    };
    let (x_label, y_label) = (Ticks::along(x_range), Ticks::along(y_range));
    let mut builder = ChartBuilder::on(&root);
    builder
        .caption(labels.title, (FONT, 22))
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(70);
    // The axes' types differ, so that the drawing is written once for either.
    macro_rules! draw_lines {
        ($chart:expr) => {{
            let mut chart = $chart.map_err(|error| error.to_string())?;
            chart
                .configure_mesh()
                .x_desc(labels.x)
                .y_desc(labels.y)
                .label_style((FONT, 14))
                .axis_desc_style((FONT, 16))
                .x_label_formatter(&|value| x_label.label(*value))
                .y_label_formatter(&|value| match logarithmic {
                    true => Ticks::along((0.0, *value)).label(*value),
                    false => y_label.label(*value),
                })
                .light_line_style(RGBColor(240, 240, 240))
                .draw()
                .map_err(|error| error.to_string())?;
            for (position, line) in lines.iter().enumerate() {
                let color = Palette99::pick(position).to_rgba();
                let points: Vec<(f64, f64)> = line.points.iter().filter(kept).copied().collect();
                if points.len() < 30 {
                    chart
                        .draw_series(
                            points
                                .iter()
                                .map(|point| Circle::new(*point, 4, color.filled())),
                        )
                        .map_err(|error| error.to_string())?;
                }
                let bars = (line.bars())
                    .filter(|&(x, low, _, high)| kept(&&(x, low)) && kept(&&(x, high)));
                chart
                    .draw_series(bars.map(|(x, low, _, high)| {
                        PathElement::new([(x, low), (x, high)], color.stroke_width(1))
                    }))
                    .map_err(|error| error.to_string())?;
                chart
                    .draw_series(LineSeries::new(points, color.stroke_width(2)))
                    .map_err(|error| error.to_string())?
                    .label(line.name)
                    .legend(move |(x, y)| {
                        PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3))
                    });
            }
            if lines.len() > 1 {
                chart
                    .configure_series_labels()
                    .label_font((FONT, 14))
                    .background_style(WHITE.mix(0.85))
                    .border_style(RGBColor(200, 200, 200))
                    .draw()
                    .map_err(|error| error.to_string())?;
            }
        }};
    }
    let (x_axis, y_axis) = (x_range.0..x_range.1, y_range.0..y_range.1);
    if logarithmic {
        draw_lines!(builder.build_cartesian_2d(x_axis, y_axis.log_scale()));
    } else {
        draw_lines!(builder.build_cartesian_2d(x_axis, y_axis));
    }
    root.present().map_err(|error| error.to_string())
}

type Range = (f64, f64);

/// The ranges of both coordinates.
fn ranges<'a>(points: impl Iterator<Item = &'a (f64, f64)>) -> Option<(Range, Range)> {
    points.fold(None, |ranges: Option<(Range, Range)>, &(x, y)| {
        let ((x_low, x_high), (y_low, y_high)) = ranges.unwrap_or(((x, x), (y, y)));
        Some(((x_low.min(x), x_high.max(x)), (y_low.min(y), y_high.max(y))))
    })
}

/// A range widened on both sides by a share of its length, or of its value where it has a single one.
fn with_margins((low, high): Range, share: f64) -> Range {
    let size = if high > low {
        high - low
    } else if low.abs() > 0.0 {
        low.abs()
    } else {
        1.0
    };
    (low - size * share, high + size * share)
}

/// How the ticks of an axis are labelled: alike, and with digits enough that no two are the same.
struct Ticks {
    unit: f64,
    suffix: &'static str,
    decimals: usize,
}

impl Ticks {
    /// For some ten ticks along a range: thousands as k, millions as M.
    fn along((low, high): Range) -> Self {
        let (unit, suffix) = match low.abs().max(high.abs()) {
            size if size >= 1e6 => (1e6, "M"),
            size if size >= 1e4 => (1e3, "k"),
            _ => (1.0, ""),
        };
        let step = (high - low) / unit / 10.0;
        Self {
            unit,
            suffix,
            decimals: (-step.log10()).ceil().clamp(0.0, 9.0) as usize,
        }
    }

    fn label(&self, value: f64) -> String {
        let decimals = self.decimals;
        format!("{:.decimals$}{}", value / self.unit, self.suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_ticks_have_labels_of_their_own() {
        let ranges = [
            (140.9, 142.4),
            (0.0, 36_000.0),
            (35_990.0, 36_010.0),
            (-3e-4, 2e-4),
            (9_800.0, 10_300.0),
            (2.0e6, 2.6e6),
            (0.0, 1.0),
        ];
        for (low, high) in ranges {
            let ticks = Ticks::along((low, high));
            let step = (high - low) / 10.0;
            let labels: Vec<String> = (0..=10)
                .map(|index| ticks.label(low + step * f64::from(index)))
                .collect();
            assert!(
                labels.windows(2).all(|pair| pair[0] != pair[1]),
                "{labels:?}"
            );
        }
        assert_eq!(Ticks::along((0.0, 36_000.0)).label(5_000.0), "5k");
        assert_eq!(Ticks::along((140.9, 142.4)).label(141.2), "141.2");
    }

    #[test]
    fn a_single_value_lies_in_the_middle() {
        for value in [142.0, -3.0, 0.0] {
            let (low, high) = with_margins((value, value), 0.05);
            assert!(low < value && value < high);
            assert!((f64::midpoint(low, high) - value).abs() < 1e-9);
        }
    }
}
