//! What the list says of a result, read from its document once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::exams::MAX_EXAMS;
use super::words::{self, Explained};
use crate::domain::StudyRef;
use crate::store::ResultStore;

/// A result in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Summary {
    /// When it was made, RFC 3339.
    time: String,
    /// Number of findings.
    finding_count: usize,
    /// Number of findings by type, as in the document.
    types: BTreeMap<String, usize>,
    /// Levels with a finding, from the sacrum up.
    levels: Vec<String>,
    /// Number of changes that are not Modic.
    other_lesions: usize,
    /// What makes it doubtful.
    quality: Vec<Explained>,
}

/// The part of a finding document that the list is made from.
#[derive(Deserialize)]
struct Document {
    time: String,
    findings: Vec<Finding>,
    #[serde(default)]
    other_marrow_lesions: Vec<serde::de::IgnoredAny>,
    quality: Vec<String>,
}

#[derive(Deserialize)]
struct Finding {
    level: String,
    #[serde(rename = "type")]
    pattern: String,
}

/// A revision, and when it was written, Unix time in ms.
type Written = (u32, u64);

/// The summaries that were asked for, one a study.
#[derive(Default)]
pub(super) struct Summaries {
    known: Mutex<HashMap<StudyRef, (Written, Summary)>>,
}

impl Summaries {
    /// The summary of a result; `None` when its document can't be read. Blocking.
    pub fn of(
        &self,
        study_ref: &StudyRef,
        revision: u32,
        results: &ResultStore,
    ) -> Option<Summary> {
        let result = results.at(study_ref, revision);
        // A study that was removed and sent again begins with revision 1 anew.
        let written = (revision, result.written_ms());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, summary)) = known.get(study_ref)
            && *of == written
        {
            return Some(summary.clone());
        }
        let summary = Summary::read(&result.finding().ok()?)?;
        if known.len() > 2 * MAX_EXAMS {
            known.clear();
        }
        known.insert(study_ref.clone(), (written, summary.clone()));
        Some(summary)
    }
}

impl Summary {
    fn read(document: &[u8]) -> Option<Summary> {
        let Document { time, findings, other_marrow_lesions, quality } =
            serde_json::from_slice(document).ok()?;
        let mut types = BTreeMap::new();
        let mut levels = Vec::new();
        for Finding { level, pattern } in &findings {
            *types.entry(pattern.clone()).or_insert(0) += 1;
            if !levels.contains(level) {
                levels.push(level.clone());
            }
        }
        Some(Summary {
            time,
            finding_count: findings.len(),
            types,
            levels,
            other_lesions: other_marrow_lesions.len(),
            quality: quality.iter().map(|code| words::quality(code)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_counted_by_type() {
        let document = br#"{"time":"2026-01-01T00:00:00Z","quality":["t2_moved"],"other_marrow_lesions":[{"level":"L1"}],
            "findings":[{"level":"L5","type":"1"},{"level":"L5","type":"2-1"},{"level":"L4","type":"1"}]}"#;
        let summary = Summary::read(document).unwrap();
        assert_eq!((summary.finding_count, summary.types["1"], summary.types["2-1"]), (3, 2, 1));
        assert_eq!((summary.levels.join(" "), summary.other_lesions), ("L5 L4".to_owned(), 1));
        assert!(Summary::read(b"{}").is_none());
    }
}
