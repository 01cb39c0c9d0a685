//! A Modic change whose truth is known.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::DatasetError;
use crate::domain::Endplate;

/// Antero-posterior place of a lesion in its vertebral body: by thirds of the body's depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Front third.
    Anterior,
    /// Middle third.
    Central,
    /// Back third.
    Posterior,
}

/// One Modic change, as it is in the truth map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TruthLesion {
    /// Where it lies.
    pub endplate: Endplate,
    /// `1`, `2`, `3`, or the two types of a mixed one, the larger first (`1-2`): two types of 20 % or more.
    pub pattern: String,
    /// Share of its voxels by type 1, 2, 3, %.
    pub composition_percent: [f64; 3],
    /// Its voxels times the volume of one, mm³.
    pub volume_mm3: f64,
    /// How far it reaches from its endplate (95th percentile of its voxels), % of the body's height.
    pub height_percent: f64,
    /// Where in the body most of it lies.
    pub place: Place,
}

#[derive(Deserialize)]
struct File {
    lesions: Vec<TruthLesion>,
}

/// The lesions of a file; `None` where there is no such file: then it isn't known whether there are any.
pub(super) fn read(path: &Path) -> Result<Option<Vec<TruthLesion>>, DatasetError> {
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).map_err(|e| DatasetError::io(path, e))?;
    let file: File = serde_json::from_str(&text)
        .map_err(|source| DatasetError::Lesions { path: path.to_owned(), source })?;
    Ok(Some(file.lesions))
}
