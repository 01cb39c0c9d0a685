//! The report's plots, as SVG.

use std::ops::Range;

use anyhow::anyhow;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::figures::found_lesions;
use super::statistics::mean;
use super::{Exam, Reliability};

const SIZE: (u32, u32) = (440, 340);
/// Blue and orange that the colour-blind can tell apart (Okabe and Ito).
const DATA: RGBColor = RGBColor(0, 114, 178);
const OTHER: RGBColor = RGBColor(213, 94, 0);
/// Limits of agreement (Bland and Altman 1986), standard deviations.
const LIMITS: f64 = 1.96;

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A plot with its caption.
pub(super) struct Plot {
    pub(super) caption: String,
    pub(super) svg: String,
}

/// Those plots that the exams allow.
pub(super) fn of(exams: &[Exam], calibration: &[(&str, Reliability)]) -> anyhow::Result<Vec<Plot>> {
    let all: Vec<&Exam> = exams.iter().collect();
    let mut plots = Vec::new();
    for (what, reliability) in calibration {
        let points: Vec<_> = reliability.bins.iter().filter_map(|bin| bin.point()).collect();
        plots.push(Plot {
            caption: format!("Calibration, {what}: how often changed, by probability"),
            svg: draw(["probability", "share changed"], 0.0..1.0, 0.0..1.0, |chart| {
                chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], OTHER))?;
                chart.draw_series(LineSeries::new(points.iter().copied(), DATA))?;
                chart.draw_series(points.iter().map(|p| Circle::new(*p, 4, DATA.filled())))?;
                Ok(())
            })?,
        });
    }
    let scores: Vec<(bool, f64)> =
        all.iter().flat_map(|e| &e.discs).filter_map(|d| Some((d.grade? > 0, d.score))).collect();
    if let Some(curve) = roc(&scores) {
        plots.push(Plot {
            caption: "ROC curve of the discs' score; the cross is Gao et al. 2022".to_owned(),
            svg: draw(["1 - specificity", "sensitivity"], 0.0..1.0, 0.0..1.0, |chart| {
                chart.draw_series(LineSeries::new(curve, DATA))?;
                chart.draw_series([Cross::new((0.05, 0.71), 6, OTHER.stroke_width(2))])?;
                Ok(())
            })?,
        });
    }
    let volumes = found_lesions(&all).map(|(t, f)| (t.volume_mm3, f.volume_mm3)).collect();
    plots.extend(bland_altman("volume, mm³", volumes)?);
    let heights = found_lesions(&all).map(|(t, f)| (t.height_percent, f.height_percent)).collect();
    plots.extend(bland_altman("height, % of the body", heights)?);
    let mut dice: Vec<f64> = all.iter().filter_map(|e| e.bodies.as_ref()).map(|b| b.dice).collect();
    dice.sort_by(f64::total_cmp);
    if dice.len() > 1 {
        let low = dice[0].min(0.8);
        plots.push(Plot {
            caption: "Dice of vertebral bodies, exams from worst to best".to_owned(),
            svg: draw(["exam", "Dice"], 0.0..dice.len() as f64, low..1.0, |chart| {
                let points = dice.iter().enumerate().map(|(i, d)| (i as f64 + 0.5, *d));
                chart.draw_series(points.map(|p| Circle::new(p, 3, DATA.filled())))?;
                Ok(())
            })?,
        });
    }
    Ok(plots)
}

/// Points of (1 - specificity, sensitivity) from the strictest threshold to the loosest.
fn roc(scores: &[(bool, f64)]) -> Option<Vec<(f64, f64)>> {
    let there = scores.iter().filter(|s| s.0).count();
    let not = scores.len() - there;
    if there == 0 || not == 0 {
        return None;
    }
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut curve = vec![(0.0, 0.0)];
    let (mut hit, mut wrong) = (0usize, 0usize);
    for (i, (is_there, score)) in sorted.iter().enumerate() {
        hit += usize::from(*is_there);
        wrong += usize::from(!is_there);
        // Equal scores are one threshold.
        if sorted.get(i + 1).is_none_or(|next| next.1 < *score) {
            curve.push((wrong as f64 / not as f64, hit as f64 / there as f64));
        }
    }
    Some(curve)
}

/// Difference against mean of (true, found), with the mean difference and the limits of agreement.
fn bland_altman(what: &str, pairs: Vec<(f64, f64)>) -> anyhow::Result<Option<Plot>> {
    let points: Vec<(f64, f64)> = pairs.iter().map(|(t, f)| ((t + f) / 2.0, f - t)).collect();
    let Some(bias) = mean(points.iter().map(|p| p.1)).filter(|_| points.len() > 2) else {
        return Ok(None);
    };
    let squares = points.iter().map(|p| (p.1 - bias).powi(2)).sum::<f64>();
    let sd = (squares / (points.len() - 1) as f64).sqrt();
    let (low, high) = (bias - LIMITS * sd, bias + LIMITS * sd);
    let right = points.iter().map(|p| p.0).fold(0.0, f64::max) * 1.05;
    let reach = points.iter().map(|p| p.1.abs()).fold(high.abs().max(low.abs()), f64::max) * 1.05;
    let lines = [bias, low, high];
    Ok(Some(Plot {
        caption: format!(
            "Bland-Altman, {what}: mean difference {bias:.1}, limits of agreement {low:.1} to {high:.1}, \
             {} lesions",
            points.len()
        ),
        svg: draw(
            ["mean of found and true", "found - true"],
            0.0..right,
            -reach..reach,
            |chart| {
                chart.draw_series(points.iter().map(|p| Circle::new(*p, 2, DATA.filled())))?;
                for y in lines {
                    chart.draw_series(LineSeries::new([(0.0, y), (right, y)], OTHER))?;
                }
                Ok(())
            },
        )?,
    }))
}

fn draw(
    axes: [&str; 2],
    x: Range<f64>,
    y: Range<f64>,
    content: impl FnOnce(
        &mut Chart<'_, '_>,
    ) -> Result<
        (),
        DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>,
    >,
) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .x_label_area_size(38)
            .y_label_area_size(52)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_desc(axes[0])
            .y_desc(axes[1])
            .light_line_style(TRANSPARENT)
            .draw()?;
        content(&mut chart).map_err(|e| anyhow!("can't draw a plot: {e}"))?;
        area.present()?;
    }
    Ok(svg)
}
