//! Agreement: do readers agree, and do they agree better with the map?
//!
//! Owns: the table of gradings, what counts as the same, kappa and its uncertainty, and the report. Knows nothing of how
//! gradings came about: [`reading`](crate::reading) collects them, other programs may too.
//!
//! The unit that is resampled is the study. Without and with the map the same endplates are compared, by the same readers.

mod bootstrap;
mod categories;
mod compare;
mod gradings;
mod html;
mod kappa;
mod plots;
mod text;

use std::path::Path;

use anyhow::Context;
use serde::Serialize;

pub(crate) use bootstrap::resample;
pub use bootstrap::{Difference, Interval, Resampling};
pub use categories::{By, Categories, NotGradable};
pub use compare::{Comparison, Figure, SessionKappa, Statistic, Times};
pub use gradings::{Grade, Grading, Gradings, GradingsError, HEADER, Session, read, write};
pub(crate) use kappa::cohen_value;
pub use kappa::{Kappa, Weights, cohen, fleiss};

/// All that is said about the gradings of an experiment.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// This program's version.
    pub program: &'static str,
    /// What readers agree on.
    pub by: By,
    /// What became of endplates that a reader couldn't grade.
    pub not_gradable: NotGradable,
    /// The categories, in their order where they have one.
    pub categories: Vec<String>,
    /// How the intervals were drawn; the unit is the study.
    pub resampling: Resampling,
    /// Each pair of readers by Cohen's kappa, then all by Fleiss' where there are more than two.
    pub comparisons: Vec<Comparison>,
    /// Each reader's times, then those of all.
    pub times: Vec<Times>,
}

impl Report {
    /// Compares all readers.
    ///
    /// # Errors
    /// There are fewer than two.
    pub fn new(
        gradings: &Gradings,
        categories: Categories,
        resampling: Resampling,
    ) -> anyhow::Result<Report> {
        let readers: Vec<&str> = gradings.readers().into_iter().collect();
        anyhow::ensure!(
            readers.len() > 1,
            "agreement needs two readers, here is {}",
            readers.len()
        );
        let compare = |statistic, readers: &[&str]| {
            Comparison::new(statistic, readers, gradings, categories, resampling)
        };
        let mut comparisons = Vec::new();
        for (i, first) in readers.iter().enumerate() {
            for second in &readers[i + 1..] {
                comparisons.push(compare(Statistic::Cohen, &[first, second]));
            }
        }
        if readers.len() > 2 {
            comparisons.push(compare(Statistic::Fleiss, &readers));
        }
        let each = readers.iter().map(|reader| Some(*reader)).chain([None]);
        Ok(Report {
            program: env!("CARGO_PKG_VERSION"),
            by: categories.by,
            not_gradable: categories.not_gradable,
            categories: categories.names(),
            resampling,
            comparisons,
            times: each.map(|reader| Times::new(reader, gradings, resampling)).collect(),
        })
    }

    /// Writes `agreement.json` and `agreement.html` (plots included) into a folder.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("can't make {}", folder.display()))?;
        let json = serde_json::to_vec_pretty(self)?;
        for (name, content) in [("agreement.json", json), ("agreement.html", self.html()?.into())] {
            let path = folder.join(name);
            crate::store::write_atomically(&path, &content)
                .with_context(|| format!("can't write {}", path.display()))?;
        }
        Ok(())
    }

    /// The report as one page without any other file.
    ///
    /// # Errors
    /// The template is broken.
    pub fn html(&self) -> anyhow::Result<String> {
        html::page(self)
    }
}
