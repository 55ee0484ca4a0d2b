//! Line plots as PNG, with the same bytes for the same numbers.

use std::sync::Once;

use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

const WIDTH: u32 = 900;
const HEIGHT: u32 = 500;
const FONT: &str = "sans-serif";

/// What is wrong with a plot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlotError {
    #[error("cannot draw the plot `{title}`: {cause}")]
    Draw { title: String, cause: String },
    #[error("cannot encode a plot as PNG: {0}")]
    Encode(#[from] image::ImageError),
}

/// A named line of points.
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// How a plot is labelled.
pub(crate) struct Labels<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
}

/// Draws lines over one another; points that are not finite are left out, as are empty lines.
///
/// With `logarithmic`, the y axis is logarithmic where the values span a decade; below that a logarithmic axis
/// would have no labels.
pub(crate) fn line_plot(
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
        // Fails only for a file that is no font, which the shipped one is.
        let _ = register_font(FONT, FontStyle::Normal, dejavu::sans::regular());
    });
    let root = BitMapBackend::with_buffer(pixels, (WIDTH, HEIGHT)).into_drawing_area();
    root.fill(&WHITE).map_err(|error| error.to_string())?;
    let kept = |point: &&(f64, f64)| {
        point.0.is_finite() && point.1.is_finite() && (!logarithmic || point.1 > 0.0)
    };
    let points = lines.iter().flat_map(|line| &line.points).filter(kept);
    let Some((x_range, (low, high))) = ranges(points) else {
        return Ok(());
    };
    let logarithmic = logarithmic && high >= 10.0 * low;
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
                .x_label_formatter(&|value| short_number(*value))
                .y_label_formatter(&|value| short_number(*value))
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
    if logarithmic {
        draw_lines!(
            builder.build_cartesian_2d(x_range.0..x_range.1, (low / 1.1..high * 1.1).log_scale())
        );
    } else {
        let margin = (high - low) * 0.05;
        draw_lines!(builder.build_cartesian_2d(x_range.0..x_range.1, low - margin..high + margin));
    }
    root.present().map_err(|error| error.to_string())
}

type Range = (f64, f64);

/// The ranges of both coordinates, widened where a range is a single value.
fn ranges<'a>(points: impl Iterator<Item = &'a (f64, f64)>) -> Option<(Range, Range)> {
    let widen = |(low, high): Range| {
        if high > low {
            (low, high)
        } else {
            (low, low + low.abs().max(1.0))
        }
    };
    points
        .fold(None, |ranges: Option<(Range, Range)>, &(x, y)| {
            let ((x_low, x_high), (y_low, y_high)) = ranges.unwrap_or(((x, x), (y, y)));
            Some(((x_low.min(x), x_high.max(x)), (y_low.min(y), y_high.max(y))))
        })
        .map(|(x, y)| (widen(x), widen(y)))
}

/// A number in at most four significant digits, with k and M for thousands and millions.
fn short_number(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = if scaled.abs() >= 100.0 || scaled.fract() == 0.0 {
        0
    } else {
        2
    };
    format!("{scaled:.digits$}{unit}")
}
