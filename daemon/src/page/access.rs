//! Who may ask: the token as bearer or as cookie, and what every answer tells the browser about what it may do.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY,
    RETRY_AFTER, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::cookie::Cookie;
use super::guesses::Guesses;
use super::shared::Shared;
use crate::audit::{Auditor, Event};

/// The page loads nothing from anywhere else, is nobody's frame, and runs no script and no style but its own files. The
/// viewer's images are data it holds itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data: blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The address that a request came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub IpAddr);

/// What opens the page.
pub(super) struct Access {
    token: String,
    cookie: Cookie,
    guesses: Guesses,
}

/// Why a token was not taken.
enum Refusal {
    Wrong,
    /// Not looked at: too many were wrong.
    Wait(u64),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Refusal::Wrong => StatusCode::UNAUTHORIZED.into_response(),
            Refusal::Wait(seconds) => {
                (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds.to_string())])
                    .into_response()
            }
        }
    }
}

impl Access {
    pub fn new(token: String, cookie: Cookie) -> Access {
        Access { token, cookie, guesses: Guesses::default() }
    }

    fn check(&self, token: &str, Peer(address): Peer, auditor: &Auditor) -> Result<(), Refusal> {
        let now = Instant::now();
        if let Some(wait) = self.guesses.wait(address, now) {
            return Err(Refusal::Wait(wait.as_secs() + 1));
        }
        if bool::from(self.token.as_bytes().ct_eq(token.as_bytes())) {
            self.guesses.right(address);
            return Ok(());
        }
        self.guesses.wrong(address, now);
        tracing::warn!(peer = %address, "A wrong token for the page was refused.");
        auditor.note(&Event::SignedIn { address, accepted: false });
        Err(Refusal::Wrong)
    }
}

/// Lets a request through that brings the token or the cookie.
pub(super) async fn require_token(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let (access, auditor) = (&shared.access, &shared.sources.auditor);
    let headers = request.headers();
    let bearer = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok()?.strip_prefix("Bearer "));
    let allowed = match bearer {
        Some(token) => access.check(token.trim(), peer, auditor),
        // A cookie needs no counting: nobody guesses it.
        None if access.cookie.is_in(headers) && !is_forged(request.method(), headers) => Ok(()),
        None => Err(Refusal::Wrong),
    };
    match allowed {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Whether a page of another origin asks for a change with the user's cookie. SameSite keeps other sites' pages from
/// sending it, but takes another port of this machine for the same site.
fn is_forged(method: &Method, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    match (text(ORIGIN), text(HOST)) {
        _ if method.is_safe() => false,
        (Some(origin), Some(host)) => origin.split_once("://").is_none_or(|(_, o)| o != host),
        (origin, _) => origin.is_some(),
    }
}

/// The body of a sign-in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    token: String,
}

/// Swaps the token for the cookie.
pub(super) async fn sign_in(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    Json(SignIn { token }): Json<SignIn>,
) -> Response {
    let auditor = &shared.sources.auditor;
    match shared.access.check(token.trim(), peer, auditor) {
        Ok(()) => {
            auditor.note(&Event::SignedIn { address: peer.0, accepted: true });
            (StatusCode::NO_CONTENT, [(SET_COOKIE, shared.access.cookie.set())]).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// Takes the cookie back.
pub(super) async fn sign_out(State(shared): State<Arc<Shared>>) -> Response {
    (StatusCode::NO_CONTENT, [(SET_COOKIE, shared.access.cookie.clear())]).into_response()
}

/// Adds to every answer what the browser must keep to.
pub(super) async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
