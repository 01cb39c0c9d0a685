//! The tables of a data set. A table that is missing says nothing; one that can't be read is an error.

use std::collections::BTreeSet;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::DatasetError;

/// One disc's gradings by a radiologist.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Grading {
    /// Counted up from L5-S1, which is 1.
    #[serde(rename = "IVD label")]
    pub disc: usize,
    /// 0 none, else the type of the change; `None` where it wasn't graded.
    #[serde(rename = "Modic", deserialize_with = "whole_number")]
    pub modic: Option<u8>,
}

/// Where a disc lies.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "DiscRow")]
pub struct Disc {
    /// Counted up from L5-S1, which is 1.
    pub number: usize,
    /// Its middle, LPS mm.
    pub middle: [f64; 3],
}

#[derive(Deserialize)]
struct DiscRow {
    #[serde(rename = "IVD label")]
    number: usize,
    x: f64,
    y: f64,
    z: f64,
}

impl From<DiscRow> for Disc {
    fn from(row: DiscRow) -> Disc {
        Disc { number: row.number, middle: [row.x, row.y, row.z] }
    }
}

/// Numbers may be written with a fraction of zero (`2.0`) and cells may be empty.
fn whole_number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u8>, D::Error> {
    let text = String::deserialize(from)?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    let number: f64 = text.trim().parse().map_err(serde::de::Error::custom)?;
    if number.fract() != 0.0 || !(0.0..=3.0).contains(&number) {
        return Err(serde::de::Error::custom(format!("{text:?} is no Modic grade")));
    }
    Ok(Some(number as u8))
}

/// The rows of one patient; none where there is no such table.
pub(super) fn of_patient<T: DeserializeOwned>(
    path: &Path,
    patient: &str,
) -> Result<Vec<T>, DatasetError> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let table = |source| DatasetError::Table { path: path.to_owned(), source };
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(table)?;
    let header = reader.headers().map_err(table)?.clone();
    let column = header.iter().position(|name| name == "Patient").unwrap_or(0);
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(table)?;
        if record.get(column) == Some(patient) {
            rows.push(record.deserialize(Some(&header)).map_err(table)?);
        }
    }
    Ok(rows)
}

/// The patients of one split.
pub(super) fn members(path: &Path, split: &str) -> Result<BTreeSet<String>, DatasetError> {
    let table = |source| DatasetError::Table { path: path.to_owned(), source };
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(table)?;
    let mut members = BTreeSet::new();
    for row in reader.deserialize::<(String, String)>() {
        let (patient, of) = row.map_err(table)?;
        if of == split {
            members.insert(patient);
        }
    }
    Ok(members)
}
