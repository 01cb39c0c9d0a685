//! How the box is.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::shared::Shared;
use super::words::{self, Explained};
use crate::deliver::payload::{Health, Info, Metrics, Status};

/// What the health view shows.
#[derive(Serialize)]
pub(super) struct Overview {
    info: Info,
    health: Health,
    /// Its reasons in words.
    reasons: Vec<Explained>,
    metrics: Metrics,
}

impl Overview {
    /// Taken now.
    pub fn of(shared: &Shared) -> Overview {
        let sources = &shared.sources;
        let mut health = sources.health.borrow().clone();
        health.outbox = sources.outbox.health(SystemTime::now());
        Overview {
            info: sources.info.borrow().clone(),
            reasons: health.reasons.iter().map(|(reason, _)| words::health(reason)).collect(),
            health,
            metrics: sources.metrics.borrow().clone(),
        }
    }
}

/// Behind the token.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/api/health", get(overview))
}

async fn overview(State(shared): State<Arc<Shared>>) -> Json<Overview> {
    Json(Overview::of(&shared))
}

/// For load balancers and watchdogs: 200 while exams are received and analysed. Says nothing else.
pub(super) async fn healthz(State(shared): State<Arc<Shared>>) -> Response {
    match shared.sources.health.borrow().status {
        Status::Ok | Status::Degraded => "ok".into_response(),
        Status::Failing => (StatusCode::SERVICE_UNAVAILABLE, "failing").into_response(),
    }
}
