//! Which address is answered by what, and what stands in front of it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::shared::Shared;
use super::{access, assets, events, exam, exams, health, host, logs, metrics, reading, readings};

/// Largest body of a request; a route that takes more says so itself.
const MAX_BODY_BYTES: usize = 64 << 10;
/// A request is answered within this time, its body read and the head of the answer written.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// All that is served.
pub(super) fn routes(shared: Arc<Shared>) -> Router {
    let behind_the_token = Router::new()
        .merge(events::routes())
        .merge(exams::routes())
        .merge(exam::routes())
        .merge(health::routes())
        .merge(logs::routes())
        .merge(readings::routes())
        .route_layer(from_fn_with_state(Arc::clone(&shared), access::require_token));
    let for_everybody = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/metrics", get(metrics::exposition))
        .route("/api/login", post(access::sign_in))
        .route("/api/logout", post(access::sign_out))
        .fallback(get(assets::serve));
    for_everybody
        .merge(behind_the_token)
        .merge(reading::routes(Arc::clone(&shared)))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(limit_time))
        .layer(from_fn_with_state(Arc::clone(&shared), host::check))
        .layer(from_fn(access::secure))
        .with_state(shared)
}

async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(TIME_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
