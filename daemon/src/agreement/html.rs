//! The report as one page without any other file.

use anyhow::Context;
use minijinja::{AutoEscape, Environment, Value, context};

use super::{Report, plots};

/// The page.
pub(super) fn page(report: &Report) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_filter("fixed", |value: f64| format!("{value:.3}"));
    environment.add_filter("seconds", |value: f64| format!("{value:.1}"));
    environment.add_filter("p", super::text::p);
    let template = environment
        .template_from_str(include_str!("report.html"))
        .context("the report's template is broken")?;
    let plots: Vec<Value> = plots::of(report)?
        .into_iter()
        .map(|p| context! { caption => p.caption, svg => Value::from_safe_string(p.svg) })
        .collect();
    let comparisons = report.comparisons.iter();
    let comparisons: Vec<Value> = comparisons
        .map(|of| context! { name => of.name(), of => Value::from_serialize(of) })
        .collect();
    template
        .render(context! { report => Value::from_serialize(report), comparisons, plots })
        .context("the report can't be written")
}
