//! The report as one page without any other file.

use anyhow::Context;
use minijinja::{AutoEscape, Environment, Value, context};

use super::{DiscOutcome, Exam, Report, plots};

/// The page.
pub(super) fn page(report: &Report) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_filter("fixed", |value: f64| format!("{value:.3}"));
    let template = environment
        .template_from_str(include_str!("report.html"))
        .context("the report's template is broken")?;
    let plots: Vec<Value> = plots::of(&report.exams, &report.calibration)?
        .into_iter()
        .map(|p| context! { caption => p.caption, svg => Value::from_safe_string(p.svg) })
        .collect();
    let groups: Vec<Value> = groups(report);
    template
        .render(context! {
            report => Value::from_serialize(report),
            groups,
            plots,
            refused => refused(&report.exams),
            rare => rare_discs(&report.exams),
            worst => worst(&report.exams),
            wrong_levels => wrong_levels(&report.exams),
        })
        .context("the report can't be written")
}

/// The figures by group, in their order.
fn groups(report: &Report) -> Vec<Value> {
    let mut names: Vec<&str> = Vec::new();
    for figure in &report.figures {
        if !names.contains(&figure.group) {
            names.push(figure.group);
        }
    }
    names
        .into_iter()
        .map(|name| {
            let of: Vec<_> = report.figures.iter().filter(|f| f.group == name).collect();
            context! { name, figures => Value::from_serialize(of) }
        })
        .collect()
}

fn refused(exams: &[Exam]) -> Vec<Value> {
    exams
        .iter()
        .filter_map(|e| Some(context! { patient => e.patient, reason => e.refused.as_ref()? }))
        .collect()
}

/// Discs graded 1 or 3, one by one: too few for a rate.
fn rare_discs(exams: &[Exam]) -> Vec<Value> {
    exams
        .iter()
        .flat_map(|e| e.discs.iter().map(move |d| (e, d)))
        .filter(|(_, d)| matches!(d.grade, Some(1 | 3..)))
        .map(|(e, d)| {
            context! {
                patient => e.patient, disc => d.number, grade => d.grade,
                found => d.found.as_deref().unwrap_or("none"), score => d.score, seen => d.seen,
            }
        })
        .collect()
}

/// How many exams [`worst`] names.
const WORST: usize = 10;

/// The exams with most graded discs that were missed or wrongly found.
fn worst(exams: &[Exam]) -> Vec<Value> {
    let numbers = |exam: &Exam, graded: bool| -> Vec<usize> {
        let differs = |d: &&DiscOutcome| {
            d.grade.is_some_and(|g| (g > 0) == graded) && d.found.is_some() != graded
        };
        exam.discs.iter().filter(differs).map(|d| d.number).collect()
    };
    let mut all: Vec<_> = exams.iter().map(|e| (e, numbers(e, true), numbers(e, false))).collect();
    all.retain(|(_, missed, wrong)| !missed.is_empty() || !wrong.is_empty());
    all.sort_by_key(|(_, missed, wrong)| std::cmp::Reverse(missed.len() + wrong.len()));
    all.truncate(WORST);
    all.into_iter()
        .map(|(e, missed, wrong)| {
            let quality = e.quality.join(", ");
            context! { patient => e.patient, missed, wrong, quality }
        })
        .collect()
}

/// Discs whose place is known and that got another number or none.
fn wrong_levels(exams: &[Exam]) -> Vec<Value> {
    exams
        .iter()
        .flat_map(|e| e.discs.iter().map(move |d| (e, d)))
        .filter(|(_, d)| d.placed && d.counted != Some(d.number))
        .map(|(e, d)| context! { patient => e.patient, disc => d.number, counted => d.counted })
        .collect()
}
