//! Labelled exams on disk, in the layout of the SPIDER data set (van der Graaf et al., Scientific Data 2024).
//!
//! ```text
//! images/{patient}_t1.mha, {patient}_t2.mha   the two series, each on its own grid
//! masks/{patient}_t1.mha                      1, 2, … vertebrae from L5 up (101, … where cut by the field of
//!                                             view), 100 spinal canal, 201, 202, … discs from L5-S1 up
//! radiological_gradings.csv                   Patient, IVD label (1 is L5-S1), Modic (0 to 3), …
//! ```
//! What SPIDER has not, and a phantom or a site may have beside it:
//! ```text
//! bodies/{patient}_t1.mha   vertebral bodies alone: 1 is S1, 2 is L5, …; 255 unknown
//! modic/{patient}_t1.mha    0 no change, 1, 2, 3 its type
//! lesions/{patient}.json    the Modic changes of each endplate, measured
//! discs.csv                 Patient, IVD label, x, y, z: a disc's middle, LPS mm
//! splits.csv                patient, split: who trains (train), who chooses (val), who is measured on (test)
//! ```
//! Everything but the two series may be missing; then nothing is said about it.

mod labels;
mod lesion;
pub mod metaimage;
mod tables;

use std::path::{Path, PathBuf};

use ndarray::Array3;

use crate::domain::Volume;
use crate::volume::labels_onto;

pub use labels::{UNKNOWN, disc_label, mask_of};
pub use lesion::{Place, TruthLesion};
pub use tables::{Disc, Grading};

/// A data set.
#[derive(Debug)]
pub struct Dataset {
    root: PathBuf,
    /// Those who have both series, in natural order.
    pub patients: Vec<String>,
}

/// One patient's exam with what is known about it.
pub struct Case {
    /// As the files are named.
    pub patient: String,
    /// On its canonical grid.
    pub t1: Volume,
    /// On its own canonical grid.
    pub t2: Volume,
    /// On T1's grid.
    pub truth: Truth,
}

/// What is known about an exam; maps lie on T1's grid.
#[derive(Debug, Default)]
pub struct Truth {
    /// 0, or 1 + [`crate::domain::Level::count_above_sacrum`] of the body, or [`UNKNOWN`].
    pub bodies: Option<Array3<u8>>,
    /// 0, or the type of a Modic change.
    pub modic: Option<Array3<u8>>,
    /// Modic changes by endplate.
    pub lesions: Option<Vec<TruthLesion>>,
    /// Middles of discs.
    pub discs: Vec<Disc>,
    /// Gradings of discs.
    pub gradings: Vec<Grading>,
}

/// What is wrong with a data set.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The disk, or a file that should be there.
    #[error("can't read or write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not an image that is understood.
    #[error("{}: {problem}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong and what is wanted.
        problem: String,
    },
    /// A table with a cell or a column that is not understood.
    #[error("{} is not the table that is expected", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: csv::Error,
    },
    /// A file of lesions.
    #[error("{} is not a list of lesions", path.display())]
    Lesions {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Nothing to read.
    #[error("{} has no pair images/PATIENT_t1.mha, images/PATIENT_t2.mha", root.display())]
    Empty {
        /// The data set.
        root: PathBuf,
    },
    /// A split that nobody is in.
    #[error("{} puts nobody with both series into the split {split:?}", path.display())]
    NoSuchSplit {
        /// The table.
        path: PathBuf,
        /// What was asked for.
        split: String,
    },
}

impl DatasetError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> DatasetError {
        DatasetError::Io { path: path.to_owned(), source }
    }

    fn image(path: &Path, problem: String) -> DatasetError {
        DatasetError::Image { path: path.to_owned(), problem }
    }
}

impl Dataset {
    /// Finds the patients of a data set.
    ///
    /// # Errors
    /// There are none, or the folder can't be read.
    pub fn open(root: &Path) -> Result<Dataset, DatasetError> {
        let images = root.join("images");
        let entries = std::fs::read_dir(&images).map_err(|e| DatasetError::io(&images, e))?;
        let mut patients = Vec::new();
        for entry in entries {
            let name = entry.map_err(|e| DatasetError::io(&images, e))?.file_name();
            let Some(patient) = name.to_str().and_then(|n| n.strip_suffix("_t1.mha")) else {
                continue;
            };
            if images.join(format!("{patient}_t2.mha")).is_file() {
                patients.push(patient.to_owned());
            }
        }
        if patients.is_empty() {
            return Err(DatasetError::Empty { root: root.to_owned() });
        }
        patients.sort_by_key(|p| (p.parse::<u64>().unwrap_or(u64::MAX), p.clone()));
        Ok(Dataset { root: root.to_owned(), patients })
    }

    /// Keeps the patients of one split of `splits.csv`.
    ///
    /// # Errors
    /// There is no such table, or nobody in that split.
    pub fn retain_split(&mut self, split: &str) -> Result<(), DatasetError> {
        let path = self.root.join("splits.csv");
        let members = tables::members(&path, split)?;
        self.patients.retain(|p| members.contains(p));
        if self.patients.is_empty() {
            return Err(DatasetError::NoSuchSplit { path, split: split.to_owned() });
        }
        Ok(())
    }

    /// Reads one patient's exam and all that is known about it.
    ///
    /// # Errors
    /// A file is missing or damaged.
    pub fn case(&self, patient: &str) -> Result<Case, DatasetError> {
        let image = |folder: &str, series: &str| {
            self.root.join(folder).join(format!("{patient}_{series}.mha"))
        };
        let t1 = metaimage::read(&image("images", "t1"))?;
        let t2 = metaimage::read(&image("images", "t2"))?;
        let map = |folder: &str| -> Result<Option<Array3<u8>>, DatasetError> {
            let path = image(folder, "t1");
            if !path.is_file() {
                return Ok(None);
            }
            Ok(Some(labels_onto(&metaimage::read(&path)?, &t1.grid)))
        };
        let mask = map("masks")?;
        let bodies = match map("bodies")? {
            Some(bodies) => Some(bodies),
            None => mask.as_ref().map(|m| labels::vertebral_bodies(m.view(), &t1.grid)),
        };
        let mut discs = tables::of_patient(&self.root.join("discs.csv"), patient)?;
        if discs.is_empty() {
            discs = mask.map(|m| labels::disc_middles(m.view(), &t1.grid)).unwrap_or_default();
        }
        let truth = Truth {
            bodies,
            modic: map("modic")?,
            lesions: lesion::read(&self.root.join("lesions").join(format!("{patient}.json")))?,
            discs,
            gradings: tables::of_patient(&self.root.join("radiological_gradings.csv"), patient)?,
        };
        Ok(Case { patient: patient.to_owned(), t1, t2, truth })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phantom::{Settings, generate, write_dataset};

    fn small() -> Settings {
        let pixel_mm = 280.0 / 160.0;
        let healthy_share = 0.0;
        Settings {
            slices: 9,
            rows: 160,
            columns: 160,
            pixel_mm,
            healthy_share,
            ..Default::default()
        }
    }

    #[test]
    fn a_phantom_data_set_is_read_as_it_was_drawn() {
        let folder = tempfile::tempdir().unwrap();
        write_dataset([8, 19], |_| small(), folder.path()).unwrap();
        let mut dataset = Dataset::open(folder.path()).unwrap();
        assert_eq!(dataset.patients, ["8", "19"]);
        let (case, exam) = (dataset.case("8").unwrap(), generate(8, &small()));
        assert_eq!((case.t1.data, case.t2.data), (exam.t1.data, exam.t2.data));
        assert_eq!(case.truth.bodies.unwrap(), exam.truth.bodies);
        assert_eq!(case.truth.modic.unwrap(), exam.truth.modic);
        assert_eq!(case.truth.lesions.unwrap(), exam.truth.lesions);
        assert!(case.truth.discs.iter().any(|d| d.number == 1));
        let graded = case.truth.gradings.iter().filter(|g| g.modic.unwrap_or(0) > 0).count();
        assert!(graded > 0 && graded <= exam.truth.lesions.len());

        dataset.retain_split("val").unwrap();
        assert_eq!(dataset.patients, ["8"]);
        let error = dataset.retain_split("tset").unwrap_err().to_string();
        assert!(error.contains("splits.csv") && error.contains("tset"), "{error}");
    }

    #[test]
    fn the_body_of_a_vertebra_is_what_lies_before_the_canal() {
        let folder = tempfile::tempdir().unwrap();
        write_dataset([8], |_| small(), folder.path()).unwrap();
        let exact = Dataset::open(folder.path()).unwrap().case("8").unwrap().truth.bodies.unwrap();
        std::fs::remove_dir_all(folder.path().join("bodies")).unwrap();
        let cut = Dataset::open(folder.path()).unwrap().case("8").unwrap().truth.bodies.unwrap();
        let known = || exact.iter().zip(&cut).filter(|(_, cut)| **cut != UNKNOWN);
        let both = known().filter(|(a, b)| **a > 1 && a == b).count();
        let sum = known().map(|(a, b)| usize::from(*a > 1) + usize::from(*b > 1)).sum::<usize>();
        let dice = 2.0 * both as f64 / sum as f64;
        assert!(dice > 0.97, "Dice {dice}");
    }

    #[test]
    fn a_folder_without_pairs_says_what_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("images")).unwrap();
        let error = Dataset::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("images/PATIENT_t1.mha"), "{error}");
    }
}
