//! Which address is answered by what, and what stands in front of it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody, to_bytes};
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
        .layer(from_fn_with_state(Arc::clone(&shared), host::check))
        .layer(from_fn(read_body))
        .layer(from_fn(limit_time))
        .layer(from_fn(access::secure))
        .with_state(shared)
}

/// Reads a body of ordinary length before anything answers. A connection is closed after an answer to a request whose body
/// hadn't come yet, and a client that keeps it would lose its next request.
async fn read_body(request: Request, next: Next) -> Response {
    let (head, mut body) = request.into_parts();
    if body.size_hint().upper().is_some_and(|length| length <= MAX_BODY_BYTES as u64) {
        body = match to_bytes(body, MAX_BODY_BYTES).await {
            Ok(bytes) => Body::from(bytes),
            Err(_) => return StatusCode::BAD_REQUEST.into_response(),
        };
    }
    next.run(Request::from_parts(head, body)).await
}

async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(TIME_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
