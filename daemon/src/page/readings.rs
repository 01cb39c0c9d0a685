//! Reading lists, for who runs the experiment: make one, watch it, take its gradings out or in, see how readers agree.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::access::policy_with_style_of;
use super::answer::{Failure, blocking};
use super::shared::Shared;
use crate::agreement::{self, By, Categories, Gradings, NotGradable, Report, Resampling};
use crate::domain::StudyRef;
use crate::reading::{Name, NewList, ReadingError, ReadingList};
use crate::report::{MAP_FILE, SCENE_FILE, T1_FILE, T2_FILE};

/// The largest table of gradings that is imported at once.
const MAX_IMPORT_BYTES: usize = 16 << 20;

/// A list with how far its readers are.
#[derive(Serialize)]
struct Overview {
    name: Name,
    studies: Vec<StudyRef>,
    washout_days: u32,
    seed: u64,
    readers: Vec<Progress>,
}

#[derive(Serialize)]
struct Progress {
    name: Name,
    /// Exams handed in.
    blind: usize,
    /// Likewise.
    with_map: usize,
}

/// Told once: the token is kept as its hash.
#[derive(Serialize)]
struct Link {
    reader: Name,
    /// The reader's page, token included, on this server.
    link: String,
}

/// Behind the token.
pub(super) fn routes() -> Router<Arc<Shared>> {
    let import = post(import).layer(DefaultBodyLimit::max(MAX_IMPORT_BYTES));
    Router::new()
        .route("/api/readings", get(overviews).post(create))
        .route("/api/readings/{list}", get(overview))
        .route("/api/readings/{list}/readers/{reader}/link", post(renew_link))
        .route("/api/readings/{list}/gradings.csv", get(export).merge(import))
        .route("/api/readings/{list}/agreement.json", get(agreement_json))
        .route("/api/readings/{list}/agreement.html", get(agreement_html))
}

async fn overviews(State(shared): State<Arc<Shared>>) -> Result<Json<Vec<Overview>>, Failure> {
    blocking(move || {
        let names = shared.sources.readings.names()?;
        let overviews = names.iter().map(|name| shared.overview(name));
        Ok(Json(overviews.collect::<Result<Vec<_>, _>>()?))
    })
    .await
}

async fn overview(
    State(shared): State<Arc<Shared>>,
    Path(list): Path<Name>,
) -> Result<Json<Overview>, Failure> {
    blocking(move || Ok(Json(shared.overview(&list)?))).await
}

impl Shared {
    fn overview(&self, name: &Name) -> Result<Overview, ReadingError> {
        let list = self.sources.readings.list(name)?;
        let progress = |reader: &Name| {
            let [blind, with_map] = self.sources.readings.progress(&list, reader)?;
            Ok(Progress { name: reader.clone(), blind, with_map })
        };
        let readers = list.readers.iter().map(|reader| progress(&reader.name));
        let readers = readers.collect::<Result<_, ReadingError>>()?;
        let ReadingList { name, exams, washout_days, seed, .. } = list;
        let studies = exams.into_iter().map(|exam| exam.study_ref).collect();
        Ok(Overview { name, studies, washout_days, seed, readers })
    }

    /// The newest result of a study, where it has all that readers need.
    fn readable(&self, study_ref: &StudyRef) -> Option<u32> {
        let result = self.sources.results.latest(study_ref).ok()??;
        let files = [T1_FILE, T2_FILE, MAP_FILE, SCENE_FILE];
        files.iter().all(|name| result.dir.join(name).is_file()).then_some(result.revision)
    }
}

async fn create(
    State(shared): State<Arc<Shared>>,
    Json(new): Json<NewList>,
) -> Result<Response, Failure> {
    blocking(move || {
        let (list, tokens) = shared.sources.readings.create(new, |study| shared.readable(study))?;
        let links = tokens.into_iter().map(|(reader, token)| link(&list.name, reader, &token));
        Ok((StatusCode::CREATED, Json(links.collect::<Vec<_>>())).into_response())
    })
    .await
}

async fn renew_link(
    State(shared): State<Arc<Shared>>,
    Path((list, reader)): Path<(Name, Name)>,
) -> Result<Json<Link>, Failure> {
    blocking(move || {
        let token = shared.sources.readings.renew_token(&list, &reader)?;
        Ok(Json(link(&list, reader, &token)))
    })
    .await
}

/// The token stands behind the `#`, where a browser doesn't send it.
fn link(list: &Name, reader: Name, token: &str) -> Link {
    Link { link: format!("/reading.html#list={list}&token={token}"), reader }
}

async fn export(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<Name>,
) -> Result<Response, Failure> {
    blocking(move || {
        let mut table = Vec::new();
        let list = shared.sources.readings.list(&name)?;
        agreement::write(&shared.sources.readings.gradings(&list)?, &mut table)?;
        let saved_as = format!("attachment; filename=\"{name}-gradings.csv\"");
        let kind = "text/csv; charset=utf-8".to_owned();
        Ok(([(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, saved_as)], table).into_response())
    })
    .await
}

#[derive(Serialize)]
struct Imported {
    /// Exams that weren't there.
    new: usize,
}

async fn import(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<Name>,
    table: Bytes,
) -> Result<Json<Imported>, Failure> {
    blocking(move || {
        let list = shared.sources.readings.list(&name)?;
        let gradings = agreement::read(&table[..]).map_err(ReadingError::from)?;
        let new = shared.sources.readings.import(&list, gradings)?;
        Ok(Json(Imported { new }))
    })
    .await
}

/// What readers agree on, as in `modicd agreement`.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    by: By,
    not_gradable: NotGradable,
}

impl Default for Asked {
    fn default() -> Asked {
        Asked { by: By::Type, not_gradable: NotGradable::Exclude }
    }
}

impl Shared {
    fn agreement(&self, name: &Name, asked: Asked) -> Result<Report, ReadingError> {
        let list = self.sources.readings.list(name)?;
        let gradings = Gradings::new(self.sources.readings.gradings(&list)?)?;
        let categories = Categories { by: asked.by, not_gradable: asked.not_gradable };
        Ok(Report::new(&gradings, categories, Resampling::default())?)
    }
}

async fn agreement_json(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<Name>,
    Query(asked): Query<Asked>,
) -> Result<Json<Report>, Failure> {
    blocking(move || Ok(Json(shared.agreement(&name, asked)?))).await
}

async fn agreement_html(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<Name>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    blocking(move || {
        let html = shared.agreement(&name, asked)?.html()?;
        let policy = [(CONTENT_SECURITY_POLICY, policy_with_style_of(&html))];
        Ok((policy, Html(html)).into_response())
    })
    .await
}
