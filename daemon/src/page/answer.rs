//! Answers that may fail, and work that blocks.

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};

use crate::reading::ReadingError;

/// Why there is no answer.
pub(super) enum Failure {
    /// No such thing.
    NotFound,
    /// No token is shown, or one that opens nothing here.
    Token,
    /// The token isn't looked at for so many seconds: too many were wrong.
    Wait(u64),
    /// A reading list refuses, or something failed; then the log says how.
    Error(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Error(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Failure::NotFound => StatusCode::NOT_FOUND.into_response(),
            Failure::Token => StatusCode::UNAUTHORIZED.into_response(),
            Failure::Wait(seconds) => {
                (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds.to_string())])
                    .into_response()
            }
            Failure::Error(error) => {
                let refused = error.downcast_ref::<ReadingError>().and_then(status_of);
                let text = format!("{error:#}");
                if let Some(status) = refused {
                    return (status, text).into_response();
                }
                tracing::error!(error = text, "The page could not answer.");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

/// With what a reading list refuses; `None` where it failed.
fn status_of(error: &ReadingError) -> Option<StatusCode> {
    match error {
        ReadingError::NotFound => Some(StatusCode::NOT_FOUND),
        ReadingError::Token => Some(StatusCode::UNAUTHORIZED),
        ReadingError::NotOpen => Some(StatusCode::FORBIDDEN),
        ReadingError::Exists(_) | ReadingError::Contradiction { .. } => Some(StatusCode::CONFLICT),
        ReadingError::File(_) | ReadingError::Damaged(_) | ReadingError::Internal(_) => None,
        _ => Some(StatusCode::UNPROCESSABLE_ENTITY),
    }
}

/// Runs work that uses the disk beside the server's tasks.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await?
}
