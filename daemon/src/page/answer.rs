//! Answers that may fail, and work that blocks.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// Why there is no answer.
pub(super) enum Failure {
    /// No such thing.
    NotFound,
    /// The store failed; the log says how.
    Internal(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Internal(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Failure::NotFound => StatusCode::NOT_FOUND.into_response(),
            Failure::Internal(error) => {
                tracing::error!(error = format!("{error:#}"), "The page could not answer.");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

/// Runs work that reads the disk beside the server's tasks.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await?
}
