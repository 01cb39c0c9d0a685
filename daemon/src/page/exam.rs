//! One exam: its results, what a viewer needs, and the files to take away.

use std::path::Path;
use std::sync::Arc;

use axum::extract::{Path as Parameters, State};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::Serialize;
use serde_json::Value;

use super::access::Peer;
use super::answer::{Failure, blocking};
use super::exams::Exam;
use super::files::{self, Download};
use super::shared::Shared;
use super::words::{self, Explained};
use crate::domain::{ModicType, StudyRef};
use crate::report::{SCENE_FILE, T1_FILE, T2_FILE, colour};

/// An exam with the numbers of its results.
#[derive(Serialize)]
struct WithRevisions {
    #[serde(flatten)]
    exam: Exam,
    /// Oldest first.
    revisions: Vec<u32>,
}

/// One result with all that is said about it.
#[derive(Serialize)]
struct Details {
    study_ref: StudyRef,
    revision: u32,
    /// Oldest first.
    revisions: Vec<u32>,
    /// The finding document as it was published.
    document: Value,
    /// Its quality flags.
    quality: Vec<Explained>,
    /// Why its refused series were refused, in its order.
    refused_series: Vec<Explained>,
    /// The values of the Modic map.
    types: [Type; 4],
    /// Where vertebrae and findings are; absent, like the pictures, in results of versions before 0.2.
    scene: Option<Value>,
    downloads: Vec<Download>,
}

#[derive(Serialize)]
pub(super) struct Type {
    value: u8,
    name: &'static str,
    /// Red, green, blue.
    colour: [u8; 3],
}

/// Behind the token.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/exams/{study_ref}", get(exam))
        .route("/api/exams/{study_ref}/{revision}", get(details))
        .route("/api/exams/{study_ref}/{revision}/{file}", get(files::file))
}

async fn exam(
    State(shared): State<Arc<Shared>>,
    Parameters(study_ref): Parameters<StudyRef>,
) -> Result<Json<WithRevisions>, Failure> {
    blocking(move || {
        let record = shared.sources.index.study(&study_ref)?.ok_or(Failure::NotFound)?;
        let results = shared.sources.results.revisions(&study_ref)?;
        let revisions = results.iter().map(|r| r.revision).collect();
        Ok(Json(WithRevisions { exam: Exam::of(&shared, study_ref, record), revisions }))
    })
    .await
}

async fn details(
    State(shared): State<Arc<Shared>>,
    Extension(Peer(address)): Extension<Peer>,
    Parameters((study_ref, revision)): Parameters<(StudyRef, u32)>,
) -> Result<Json<Details>, Failure> {
    blocking(move || {
        let results = shared.sources.results.revisions(&study_ref)?;
        let result = results.iter().find(|r| r.revision == revision).ok_or(Failure::NotFound)?;
        let document: Value = serde_json::from_slice(&result.finding()?)?;
        shared.sources.opened(address, None, &study_ref, None);
        let codes = |list: &str, key: Option<&str>, explain: fn(&str) -> Explained| {
            let list = document[list].as_array().into_iter().flatten();
            let codes = list.filter_map(|item| key.map_or(item, |key| &item[key]).as_str());
            codes.map(explain).collect::<Vec<_>>()
        };
        Ok(Json(Details {
            quality: codes("quality", None, words::quality),
            refused_series: codes("refused_series", Some("reason"), words::reason),
            types: ModicType::ALL.map(Type::of),
            scene: scene(&result.dir),
            downloads: files::downloads(&result.dir),
            study_ref,
            revision,
            revisions: results.iter().map(|r| r.revision).collect(),
            document,
        }))
    })
    .await
}

/// The places, when the pictures are there too.
fn scene(folder: &Path) -> Option<Value> {
    let whole = [T1_FILE, T2_FILE].iter().all(|name| folder.join(name).is_file());
    let text = std::fs::read(folder.join(SCENE_FILE)).ok().filter(|_| whole)?;
    serde_json::from_slice(&text).ok()
}

impl Type {
    pub(super) fn of(kind: ModicType) -> Type {
        let name = match kind {
            ModicType::Type1 => "Type 1",
            ModicType::Type2 => "Type 2",
            ModicType::Type3 => "Type 3",
            ModicType::Indeterminate => "Indeterminate",
        };
        Type { value: kind.voxel_value(), name, colour: colour(kind).0.0 }
    }
}
