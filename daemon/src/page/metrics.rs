//! The numbers for Prometheus, open to everybody: nothing in them is about a patient.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::shared::Shared;
use crate::metrics::CONTENT_TYPE;

/// The exposition, read now.
pub(super) async fn exposition(State(shared): State<Arc<Shared>>) -> Response {
    let exporter = Arc::clone(&shared.sources.exporter);
    match tokio::task::spawn_blocking(move || exporter.exposition()).await {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
