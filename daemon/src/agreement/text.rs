//! The report as a table for a terminal.

use super::{Difference, Figure, Report, SessionKappa, Statistic, Times};

/// A p-value as journals print it.
pub(super) fn p(value: f64) -> String {
    if value < 0.001 { "< 0.001".to_owned() } else { format!("{value:.3}") }
}

impl Report {
    /// Kappa without and with the map, their difference, and the reading times.
    pub fn table(&self) -> String {
        let mut lines = vec![format!(
            "{:<26}{:<12}{:>24}{:>24}{:>26}  p",
            "readers", "weights", "without the map", "with the map", "difference"
        )];
        for comparison in &self.comparisons {
            for (i, figure) in comparison.figures.iter().enumerate() {
                let name = if i == 0 { comparison.name() } else { String::new() };
                lines.push(format!("{name:<26}{}", row(figure)));
            }
            let statistic = match comparison.statistic {
                Statistic::Cohen => "Cohen",
                Statistic::Fleiss => "Fleiss",
            };
            lines.push(format!(
                "  {statistic}, {} endplates of {} studies, {} left out",
                comparison.endplates, comparison.studies, comparison.left_out
            ));
        }
        lines.push(String::new());
        lines.push(format!(
            "{:<26}{:<12}{:>24}{:>24}{:>26}  p",
            "seconds an exam", "studies", "without the map", "with the map", "difference"
        ));
        lines.extend(self.times.iter().map(times));
        lines.push(format!(
            "95 % intervals and p by bootstrap over studies, {} samples, seed {}; p is not adjusted for several pairs",
            self.resampling.samples, self.resampling.seed
        ));
        lines.join("\n")
    }
}

fn row(figure: &Figure) -> String {
    let kappa = |of: Option<SessionKappa>| match of {
        Some(SessionKappa { kappa, interval: Some(i) }) => {
            format!("{:.3} [{:.3}, {:.3}]", kappa.value, i.low, i.high)
        }
        Some(SessionKappa { kappa, interval: None }) => format!("{:.3}", kappa.value),
        None => "not defined".to_owned(),
    };
    format!(
        "{:<12}{:>24}{:>24}{}",
        figure.weights.as_str(),
        kappa(figure.blind),
        kappa(figure.with_map),
        difference(figure.difference, 3)
    )
}

fn times(of: &Times) -> String {
    let mean = |of: Option<f64>| of.map_or("-".to_owned(), |mean| format!("{mean:.1}"));
    format!(
        "{:<26}{:<12}{:>24}{:>24}{}",
        of.reader.as_deref().unwrap_or("all"),
        of.studies,
        mean(of.blind),
        mean(of.with_map),
        difference(of.difference, 1)
    )
}

fn difference(of: Option<Difference>, digits: usize) -> String {
    let Some(Difference { value, low, high, p, .. }) = of else { return format!("{:>26}", "-") };
    let p = p.map_or("-".to_owned(), self::p);
    let interval = format!("{value:+.digits$} [{low:+.digits$}, {high:+.digits$}]");
    format!("{interval:>26}  {p}")
}
