//! Evaluate: how good is the program on a labelled data set?
//!
//! Owns: running the shipped way (the stages from volumes on) over a data set, comparing what comes out with what
//! is known, figures with intervals over patients, and the report as JSON and HTML. Chooses nothing: thresholds and
//! bundles are those that the daemon uses. What a data set doesn't know isn't said.

mod bodies;
mod calibration;
mod changes;
mod figures;
mod html;
mod plots;
mod robustness;
mod statistics;

use std::path::Path;

use anyhow::Context;
use ndarray::Array3;
use serde::Serialize;

pub use bodies::{Bodies, Body};
pub use calibration::Reliability;
pub use changes::{Change, DiscOutcome, EndplateOutcome, MIN_LESION_MM3};
pub use figures::{Confusion, Figure};
pub use robustness::{Disturbance, Robustness};
pub use statistics::{Estimate, TwoByTwo};

use crate::analysis::Analyser;
use crate::dataset::{Case, Dataset, UNKNOWN};
use crate::domain::{Endplate, Level};
use crate::modic::{Spine, Vertebra};
use crate::report::{self, BundleUsed};
use crate::segment::SegmentError;

/// What became of one patient's exam.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Exam {
    /// As the data set names the patient.
    pub patient: String,
    /// Why there is no result, if there is none.
    pub refused: Option<String>,
    /// That the networks ran again, without rounding, since the type of a finding hung on little.
    pub unrounded: bool,
    /// Vertebral bodies, where the truth marks them.
    pub bodies: Option<Bodies>,
    /// Dice of all changed voxels, of whatever type, where the truth marks them and there are any; of a refused exam 0.
    pub modic_dice: Option<f64>,
    /// Endplates of the truth's whole bodies, where all Modic changes are known.
    pub endplates: Vec<EndplateOutcome>,
    /// Other endplates with a finding where the truth has no change.
    pub false_beyond: Vec<Endplate>,
    /// Discs that are graded or whose place is known.
    pub discs: Vec<DiscOutcome>,
    /// The program's vertebrae from the lowest up, with the middles of their bodies, LPS mm.
    pub vertebrae: Vec<(Level, [f64; 3])>,
    /// What was found: the largest finding of each endplate.
    pub findings: Vec<(Endplate, String)>,
    /// How findings fared under disturbances, where that was asked for.
    pub robustness: Vec<Robustness>,
    /// What other bundles make of it, where they were asked.
    pub against: Option<Against>,
    /// The result's quality flags.
    pub quality: Vec<String>,
    /// Probabilities of the voxels of vertebral bodies against the truth.
    #[serde(skip)]
    pub voxels: Reliability,
}

/// What other bundles make of an exam: first theirs, then these.
#[derive(Debug, Clone, Serialize)]
pub struct Against {
    /// Findings side by side.
    pub findings: Robustness,
    /// Their Dice of vertebral bodies.
    pub bodies_dice: Option<f64>,
    /// Their Dice of changed voxels.
    pub modic_dice: Option<f64>,
}

/// All that is said about a data set.
#[derive(Debug, Serialize)]
pub struct Report {
    /// This program's version.
    pub program: &'static str,
    /// The networks that were used.
    pub bundles: Vec<BundleUsed>,
    /// Those that they were compared with, if any were.
    pub against: Option<Vec<BundleUsed>>,
    /// The data set's folder, its last component only.
    pub dataset: String,
    /// The split that was evaluated; all patients where none was chosen.
    pub split: Option<String>,
    /// Figures, in groups.
    pub figures: Vec<Figure>,
    /// Tables of truth against found.
    pub confusions: Vec<Confusion>,
    /// Probability against frequency: of voxels, of discs.
    pub calibration: Vec<(&'static str, Reliability)>,
    /// Patient by patient.
    pub exams: Vec<Exam>,
}

/// What is done beyond comparing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Draw each result in this folder, as `{patient}.png`.
    pub pictures: Option<&'a Path>,
    /// Analyse each exam under every [`Disturbance`] too.
    pub robustness: bool,
}

/// Runs the program over one case and compares.
///
/// # Errors
/// A network fails or the picture can't be written; an exam in which no spine is seen is an outcome, not an error.
pub fn examine(analyser: &mut Analyser, case: &Case, options: Options<'_>) -> anyhow::Result<Exam> {
    let Case { patient, t1, t2, truth } = case;
    let mut exam = Exam { patient: patient.clone(), ..Exam::default() };
    let examined = match analyser.examine(t1, t2) {
        Ok(examined) => examined,
        Err(refused @ (SegmentError::NoVertebrae | SegmentError::Marrow { .. })) => {
            exam.refused = Some(refused.to_string());
            exam.endplates = changes::endplates(truth, &[]);
            exam.discs = changes::discs(truth, None);
            let none = Spine::none(t1.data.dim());
            exam.bodies =
                truth.bodies.as_ref().map(|truth| bodies::compare(truth.view(), &none, &t1.grid));
            let found = Array3::zeros(t1.data.dim());
            exam.modic_dice = truth.modic.as_ref().and_then(|truth| changes::dice(truth, &found));
            return Ok(exam);
        }
        Err(error) => return Err(error.into()),
    };
    exam.unrounded = examined.unrounded;
    if let Some(folder) = options.pictures {
        let path = folder.join(format!("{}.png", exam.patient));
        report::write_picture(&path, t1, &examined.segmentation.t2, &examined.result)?;
    }
    exam.findings = robustness::by_endplate(&examined.result.findings);
    if options.robustness {
        exam.robustness = robustness::measure(analyser, t1, t2, &exam.findings)?;
    }
    let (segmentation, result) = (&examined.segmentation, &examined.result);
    let place = |v: &Vertebra| {
        t1.grid.to_patient(std::array::from_fn(|k| v.centre[k] / t1.grid.spacing[k]))
    };
    exam.vertebrae = result.spine.vertebrae.iter().map(|v| (v.level, place(v))).collect();
    exam.quality = result.quality.iter().map(|flag| flag.as_str().to_owned()).collect();
    if let Some(bodies) = &truth.bodies {
        exam.bodies = Some(bodies::compare(bodies.view(), &result.spine, &t1.grid));
        if let Some(modic) = &truth.modic {
            for ((body, modic), p) in bodies.iter().zip(modic).zip(&segmentation.modic_probability)
            {
                if ![0, UNKNOWN].contains(body) {
                    exam.voxels.add(f64::from(*p), *modic != 0);
                }
            }
        }
    }
    exam.modic_dice = truth.modic.as_ref().and_then(|truth| changes::dice(truth, &result.map));
    exam.endplates = changes::endplates(truth, &result.findings);
    exam.false_beyond =
        changes::false_beyond(truth, &exam.endplates, &result.findings, &result.finding_numbers);
    exam.discs = changes::discs(truth, Some((segmentation, result)));
    Ok(exam)
}

/// Runs the program over a data set, and with `other` bundles too; `on_exam` is called after each exam.
///
/// # Errors
/// A file of the data set is missing or damaged, a network fails, or a picture can't be written.
pub fn evaluate(
    dataset: &Dataset,
    analyser: &mut Analyser,
    mut other: Option<&mut Analyser>,
    options: Options<'_>,
    on_exam: &mut dyn FnMut(),
) -> anyhow::Result<Vec<Exam>> {
    let mut exams = Vec::new();
    for patient in &dataset.patients {
        let failed = || format!("can't analyse patient {patient}");
        let case = dataset.case(patient)?;
        let mut exam = examine(analyser, &case, options).with_context(failed)?;
        if let Some(other) = &mut other {
            let theirs = examine(other, &case, Options::default()).with_context(failed)?;
            exam.against = Some(Against {
                findings: Robustness::compare(&theirs.findings, &exam.findings),
                bodies_dice: theirs.bodies.map(|b| b.dice),
                modic_dice: theirs.modic_dice,
            });
        }
        exams.push(exam);
        on_exam();
    }
    Ok(exams)
}

impl Report {
    /// Sums the exams up.
    pub fn new(
        bundles: Vec<BundleUsed>,
        dataset: &Path,
        split: Option<String>,
        exams: Vec<Exam>,
    ) -> Report {
        Report {
            program: env!("CARGO_PKG_VERSION"),
            bundles,
            against: None,
            dataset: dataset.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            split,
            figures: figures::of(&exams),
            confusions: figures::confusions(&exams),
            calibration: calibration::of(&exams),
            exams,
        }
    }

    /// A figure's estimate by its group and name.
    pub fn estimate(&self, group: &str, name: &str) -> Option<Estimate> {
        self.figures.iter().find(|f| f.group == group && f.name == name).map(|f| f.estimate)
    }

    /// Writes `report.json` and `report.html` (plots included) into a folder.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("can't make {}", folder.display()))?;
        let json = serde_json::to_vec_pretty(self)?;
        for (name, content) in [("report.json", json), ("report.html", html::page(self)?.into())] {
            let path = folder.join(name);
            crate::store::write_atomically(&path, &content)
                .with_context(|| format!("can't write {}", path.display()))?;
        }
        Ok(())
    }
}
