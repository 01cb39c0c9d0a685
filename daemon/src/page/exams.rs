//! The list of exams: where each stands, why, and what was found.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::answer::{Failure, blocking};
use super::shared::Shared;
use super::summaries::Summary;
use super::words::{self, Explained};
use crate::domain::StudyRef;
use crate::store::index::{StudyRecord, StudyState, unix_ms};

/// No more than this are listed, the newest.
pub(super) const MAX_EXAMS: usize = 1000;

/// Where an exam stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Stage {
    /// Instances may still come in.
    Receiving,
    /// It is due, but another exam is at work.
    Waiting,
    Analysing,
    Done,
    Rejected,
    Failed,
}

/// An exam in the list.
#[derive(Debug, Serialize)]
pub(super) struct Exam {
    study_ref: StudyRef,
    state: Stage,
    /// Why there is no result of the newest instances, and what to do.
    reason: Option<Explained>,
    /// When the last instance came in, Unix time in ms.
    received_ms: u64,
    /// When it will be due if nothing more comes, ms from now.
    due_in_ms: Option<u64>,
    /// The newest result; absent when there is none.
    revision: Option<u32>,
    /// What the newest result says.
    result: Option<Summary>,
}

#[derive(Serialize)]
struct List {
    exams: Vec<Exam>,
    /// How many there are, listed or not.
    total: usize,
}

/// Behind the token.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/api/exams", get(list))
}

async fn list(State(shared): State<Arc<Shared>>) -> Result<Json<List>, Failure> {
    blocking(move || {
        let mut studies = shared.sources.index.studies()?;
        let total = studies.len();
        studies.sort_by_key(|(_, record)| std::cmp::Reverse(record.last_activity_ms));
        studies.truncate(MAX_EXAMS);
        let exams = studies.into_iter().map(|(study_ref, r)| Exam::of(&shared, study_ref, r));
        Ok(Json(List { exams: exams.collect(), total }))
    })
    .await
}

impl Exam {
    /// Blocking: reads the result's document when it isn't known yet.
    pub fn of(shared: &Shared, study_ref: StudyRef, record: StudyRecord) -> Exam {
        let now_ms = unix_ms(SystemTime::now());
        let (state, due_in_ms) = stage(&record, now_ms, shared.sources.quiet_period);
        let revision = (record.latest_revision > 0).then_some(record.latest_revision);
        let result =
            revision.and_then(|r| shared.summaries.of(&study_ref, r, &shared.sources.results));
        Exam {
            study_ref,
            state,
            reason: record.reason.as_deref().map(words::reason),
            received_ms: record.last_activity_ms,
            due_in_ms,
            revision,
            result,
        }
    }
}

/// Where a study stands, and when it will be due if it is receiving.
fn stage(record: &StudyRecord, now_ms: u64, quiet: Duration) -> (Stage, Option<u64>) {
    match record.state {
        StudyState::Receiving if record.is_due(now_ms, quiet) => (Stage::Waiting, None),
        StudyState::Receiving => {
            let due_ms = record.last_activity_ms.saturating_add(quiet.as_millis() as u64);
            (Stage::Receiving, Some(due_ms.saturating_sub(now_ms)))
        }
        StudyState::Analysing => (Stage::Analysing, None),
        StudyState::Completed => (Stage::Done, None),
        StudyState::Rejected => (Stage::Rejected, None),
        StudyState::Failed => (Stage::Failed, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_study_waits_once_nothing_more_is_expected() {
        let quiet = Duration::from_secs(30);
        let record = StudyRecord { generation: 2, last_activity_ms: 1000, ..Default::default() };
        assert_eq!(stage(&record, 11_000, quiet), (Stage::Receiving, Some(20_000)));
        assert_eq!(stage(&record, 31_000, quiet), (Stage::Waiting, None));
        let whole = StudyRecord { whole_generation: 2, ..record };
        assert_eq!(stage(&whole, 1001, quiet), (Stage::Waiting, None));
    }
}
