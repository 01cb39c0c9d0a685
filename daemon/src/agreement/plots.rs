//! The report's plot, as SVG: kappa without and with the map, with intervals.

use anyhow::anyhow;
use plotters::prelude::*;

use super::{Comparison, Interval, Report, Weights};

const HEIGHT: u32 = 340;
/// Width of the axis and of each comparison, px.
const WIDTH: (u32, u32) = (90, 130);
/// Blue and orange that the colour-blind can tell apart (Okabe and Ito), and filled against open.
const BLIND: RGBColor = RGBColor(0, 114, 178);
const WITH_MAP: RGBColor = RGBColor(213, 94, 0);
/// How far the two sessions stand from their comparison's place.
const ASIDE: f64 = 0.12;

/// A plot with its caption.
pub(super) struct Plot {
    pub(super) caption: String,
    pub(super) svg: String,
}

/// One plot for each kind of weights.
pub(super) fn of(report: &Report) -> anyhow::Result<Vec<Plot>> {
    let kinds = Weights::ALL.into_iter();
    kinds.filter_map(|weights| plot(&report.comparisons, weights).transpose()).collect()
}

/// `None` where no kappa with these weights is defined.
fn plot(comparisons: &[Comparison], weights: Weights) -> anyhow::Result<Option<Plot>> {
    let mut points: Vec<(f64, f64, Option<Interval>, bool)> = Vec::new();
    for (at, comparison) in comparisons.iter().enumerate() {
        for figure in comparison.figures.iter().filter(|f| f.weights == weights) {
            for (kappa, with_map) in [(figure.blind, false), (figure.with_map, true)] {
                let x = at as f64 + if with_map { ASIDE } else { -ASIDE };
                points.extend(kappa.map(|k| (x, k.kappa.value, k.interval, with_map)));
            }
        }
    }
    if points.is_empty() {
        return Ok(None);
    }
    let lows = points.iter().map(|(_, value, interval, _)| interval.map_or(*value, |i| i.low));
    let lowest = lows.fold(0.0, f64::min);
    let caption = format!(
        "Kappa, {}: without the map (circles, blue) and with it (triangles, orange); 95 % intervals over studies",
        weights.as_str()
    );
    let svg = draw(comparisons, lowest, &points).map_err(|e| anyhow!("can't draw a plot: {e}"))?;
    Ok(Some(Plot { caption, svg }))
}

fn draw(
    comparisons: &[Comparison],
    lowest: f64,
    points: &[(f64, f64, Option<Interval>, bool)],
) -> Result<String, Box<dyn std::error::Error>> {
    let count = comparisons.len();
    let mut svg = String::new();
    {
        let size = (WIDTH.0 + WIDTH.1 * count as u32, HEIGHT);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .x_label_area_size(28)
            .y_label_area_size(52)
            .build_cartesian_2d(-0.5..count as f64 - 0.5, lowest..1.0)?;
        let name = |x: &f64| match comparisons.get(x.round() as usize) {
            Some(of) if x.fract().abs() < f64::EPSILON && *x >= 0.0 => of.name(),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .x_labels(2 * count + 1)
            .x_label_formatter(&name)
            .y_desc("kappa")
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (x, value, interval, with_map) in points {
            let colour = if *with_map { WITH_MAP } else { BLIND };
            if let Some(Interval { low, high }) = interval {
                let line = [(*x, *low), (*x, *high)];
                chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
            }
            if *with_map {
                chart.draw_series([TriangleMarker::new((*x, *value), 6, colour.filled())])?;
            } else {
                chart.draw_series([Circle::new((*x, *value), 4, colour.filled())])?;
            }
        }
        area.present()?;
    }
    Ok(svg)
}
