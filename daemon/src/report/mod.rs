//! Report: what the exam's result is written as.
//!
//! Owns the finding document (the JSON that is published and kept), the Modic map and the pictures it lies on as NIfTI,
//! the picture for people and what other systems of a hospital take. It writes into a folder it is given and knows neither where
//! that lies nor who reads it. Nothing but what `hospital` writes names the patient; every form says "research use".

mod document;
mod hospital;
mod picture;
mod scene;
mod volumes;

pub(crate) use document::quality_meaning;
pub use document::{BundleUsed, DiscSummary, FindingBody, LIMITS, LevelSeen};
pub use hospital::Object;
pub(crate) use hospital::{FHIR_FILE, OWN_SCHEME, pdf_in};
pub(crate) use picture::colour;

use std::path::Path;

use crate::domain::Volume;
use crate::modic::ModicResult;
use crate::study::SeriesPair;

/// File name of the finding document.
pub const FINDING_FILE: &str = "finding.json";
/// File name of the Modic map.
pub const MAP_FILE: &str = "modic_map.nii.gz";
/// File name of T1 as it was analysed.
pub const T1_FILE: &str = "t1.nii.gz";
/// File name of T2 as it was analysed, on T1's grid.
pub const T2_FILE: &str = "t2.nii.gz";
/// File name of the places of vertebrae and findings.
pub const SCENE_FILE: &str = "scene.json";
/// File name of the picture.
pub const PICTURE_FILE: &str = "findings.png";

/// Why a result could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file of the map, T1 or T2.
    #[error("can't write {name}")]
    Volume {
        /// Its file name.
        name: &'static str,
        /// Why.
        #[source]
        source: nifti::NiftiError,
    },
    /// The file of the places.
    #[error("can't write the places of the findings")]
    Scene(#[source] std::io::Error),
    /// The picture's file.
    #[error("can't write the picture of the findings")]
    Picture(#[source] image::ImageError),
    /// An instance that the result was made from can't be read any more.
    #[error("can't read an instance of the series pair again")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A DICOM object's file.
    #[error("can't write {name}")]
    Object {
        /// Its file name.
        name: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Writes everything but the finding document into `folder`. `t2` lies on T1's grid.
pub fn write_files(
    folder: &Path,
    pair: &SeriesPair,
    [t1, t2]: [&Volume; 2],
    result: &ModicResult,
    body: &FindingBody,
    revision: u32,
) -> Result<(), ReportError> {
    let failed = |name| move |source| ReportError::Volume { name, source };
    volumes::write_map(&folder.join(MAP_FILE), result.map.view(), &t1.grid)
        .map_err(failed(MAP_FILE))?;
    let scales = [t1, t2].map(volumes::scale);
    for (name, volume, scale) in [(T1_FILE, t1, scales[0]), (T2_FILE, t2, scales[1])] {
        volumes::write_signal(&folder.join(name), volume, scale).map_err(failed(name))?;
    }
    scene::write(&folder.join(SCENE_FILE), [t1, t2], scales, result).map_err(ReportError::Scene)?;
    let picture = picture::draw(t1, t2, result);
    picture.save(folder.join(PICTURE_FILE)).map_err(ReportError::Picture)?;
    hospital::write(folder, pair, &picture, result, body, revision)
}

/// Writes the picture alone, as PNG. `t2` lies on T1's grid.
pub fn write_picture(
    path: &Path,
    t1: &Volume,
    t2: &Volume,
    result: &ModicResult,
) -> Result<(), ReportError> {
    picture::draw(t1, t2, result).save(path).map_err(ReportError::Picture)
}
