//! What a reader of a reading list is answered: the exam that is open to them, and nothing of any other.
//!
//! A reader brings their own token, which opens their list alone; the page's token doesn't open it. In the blind session
//! nothing that the program made of the exam is answered, whatever is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::access::{Peer, bearer};
use super::answer::{Failure, blocking};
use super::exam::Type;
use super::files;
use super::shared::Shared;
use crate::agreement::{Grade, Session};
use crate::domain::{ModicType, StudyRef};
use crate::reading::{ENDPLATES, Name, Reader, ReadingError, ReadingList, Standing};
use crate::report::{FINDING_FILE, MAP_FILE, SCENE_FILE, T1_FILE, T2_FILE};
use crate::store::index::unix_ms;

/// Behind the reader's own token.
pub(super) fn routes(shared: Arc<Shared>) -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/reading/{list}", get(standing))
        .route("/api/reading/{list}/{study_ref}/{session}", get(exam).post(hand_in))
        .route("/api/reading/{list}/{study_ref}/{session}/{file}", get(file))
        .route_layer(from_fn_with_state(shared, require_token))
}

/// Who reads.
#[derive(Clone)]
struct Seat {
    list: Arc<ReadingList>,
    reader: Arc<Reader>,
}

/// Lets a request through that brings the token of one of the list's readers, and says whose.
async fn require_token(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    Path(parameters): Path<BTreeMap<String, String>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let list = parameters.get("list").cloned().unwrap_or_default();
    let token = bearer(request.headers()).ok_or(Failure::Token)?.to_owned();
    let seat = blocking(move || {
        shared.reader_guesses.admit(peer, &shared.sources.auditor, || {
            let list = Name::try_from(list).map_err(|_| Failure::Token)?;
            match shared.sources.readings.enter(&list, &token) {
                Ok((list, reader)) => Ok(Seat { list: list.into(), reader: reader.into() }),
                Err(ReadingError::Token) => Err(Failure::Token),
                Err(error) => Err(error.into()),
            }
        })
    });
    let seat = seat.await?;
    request.extensions_mut().insert(seat);
    Ok(next.run(request).await)
}

/// What a reader is told first.
#[derive(Serialize)]
struct Now {
    list: Name,
    reader: Name,
    exams: usize,
    endplates: Vec<String>,
    #[serde(flatten)]
    standing: Standing,
}

async fn standing(
    State(shared): State<Arc<Shared>>,
    Extension(seat): Extension<Seat>,
) -> Result<Json<Now>, Failure> {
    blocking(move || {
        let Seat { list, reader } = seat;
        Ok(Json(Now {
            list: list.name.clone(),
            reader: reader.name.clone(),
            exams: list.exams.len(),
            endplates: ENDPLATES.iter().map(ToString::to_string).collect(),
            standing: shared.sources.readings.standing(&list, &reader, now_ms())?,
        }))
    })
    .await
}

fn now_ms() -> u64 {
    unix_ms(SystemTime::now())
}

/// The exam and session that an address names. Only those that are open to the reader are answered.
type Address = Path<(Name, StudyRef, Session)>;

impl Shared {
    /// The folder of the exam's result, when the reader is at it.
    fn open_to(
        &self,
        Seat { list, reader }: &Seat,
        study_ref: &StudyRef,
        session: Session,
    ) -> Result<std::path::PathBuf, ReadingError> {
        let exam = list.exam(study_ref).ok_or(ReadingError::NotOpen)?;
        match self.sources.readings.standing(list, reader, now_ms())? {
            Standing::Reading { session: open, study_ref: next, .. }
                if open == session && next == exam.study_ref =>
            {
                Ok(self.sources.results.dir(&exam.study_ref, exam.revision))
            }
            _ => Err(ReadingError::NotOpen),
        }
    }
}

/// What a viewer needs.
#[derive(Serialize)]
struct Exam {
    types: [Type; 4],
    /// Where things are. Blind: the grid alone.
    scene: Value,
    /// What the program found, with the map only.
    findings: Option<Value>,
}

async fn exam(
    State(shared): State<Arc<Shared>>,
    Extension(Peer(address)): Extension<Peer>,
    Extension(seat): Extension<Seat>,
    Path((_, study_ref, session)): Address,
) -> Result<Json<Exam>, Failure> {
    blocking(move || {
        let folder = shared.open_to(&seat, &study_ref, session)?;
        shared.sources.opened(address, Some(&seat.reader.name), &study_ref, None);
        let read = |name: &str| -> Result<Value, ReadingError> {
            let bytes = std::fs::read(folder.join(name)).map_err(anyhow::Error::from)?;
            Ok(serde_json::from_slice(&bytes)?)
        };
        let mut scene = read(SCENE_FILE)?;
        let findings = match session {
            Session::WithMap => Some(read(FINDING_FILE)?["findings"].take()),
            Session::Blind => {
                // What is not known to come from the pictures alone stays here.
                let (grid, white) = (scene["grid"].take(), scene["white"].take());
                scene = serde_json::json!({
                    "grid": grid, "white": white,
                    "vertebrae": [], "findings": [], "other_marrow_lesions": [],
                });
                None
            }
        };
        Ok(Json(Exam { types: ModicType::ALL.map(Type::of), scene, findings }))
    })
    .await
}

/// Answers with a volume, which the browser unpacks.
async fn file(
    State(shared): State<Arc<Shared>>,
    Extension(Peer(address)): Extension<Peer>,
    Extension(seat): Extension<Seat>,
    Path((_, study_ref, session, name)): Path<(Name, StudyRef, Session, String)>,
) -> Result<Response, Failure> {
    let packed = match (name.as_str(), session) {
        ("t1.nii", _) => T1_FILE,
        ("t2.nii", _) => T2_FILE,
        ("modic_map.nii", Session::WithMap) => MAP_FILE,
        _ => return Err(ReadingError::NotOpen.into()),
    };
    let (asked, exam, reader) = (shared.clone(), study_ref.clone(), seat.reader.name.clone());
    let folder = blocking(move || Ok(asked.open_to(&seat, &exam, session)?)).await?;
    let answer = files::volume(&folder.join(packed)).await?;
    shared.sources.opened(address, Some(&reader), &study_ref, Some(packed));
    Ok(answer)
}

/// What a reader says of an exam.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    /// A grade for each endplate, by its name.
    grades: BTreeMap<String, Grade>,
    /// The active reading time.
    seconds: f64,
}

async fn hand_in(
    State(shared): State<Arc<Shared>>,
    Extension(Seat { list, reader }): Extension<Seat>,
    Path((_, study_ref, session)): Address,
    Json(Said { grades, seconds }): Json<Said>,
) -> Result<StatusCode, Failure> {
    blocking(move || {
        let exam = (session, &study_ref);
        shared.sources.readings.hand_in(&list, &reader, exam, (grades, seconds), now_ms())?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
