//! Who may ask: the token as bearer or as cookie, and what every answer tells the browser about what it may do.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY,
    SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::answer::Failure;
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

impl Access {
    pub fn new(token: String, cookie: Cookie) -> Access {
        Access { token, cookie, guesses: Guesses::default() }
    }

    fn check(&self, token: &str, peer: Peer, auditor: &Auditor) -> Result<(), Failure> {
        self.guesses.admit(peer, auditor, || {
            let is_right = bool::from(self.token.as_bytes().ct_eq(token.as_bytes()));
            is_right.then_some(()).ok_or(Failure::Token)
        })
    }
}

/// Lets a request through that brings the token or the cookie.
pub(super) async fn require_token(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let (access, auditor) = (&shared.access, &shared.sources.auditor);
    let headers = request.headers();
    match bearer(headers) {
        Some(token) => access.check(token, peer, auditor)?,
        // A cookie needs no counting: nobody guesses it.
        None if access.cookie.is_in(headers) && !is_forged(request.method(), headers) => {}
        None => return Err(Failure::Token),
    }
    Ok(next.run(request).await)
}

/// The token that a request brings.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(str::trim)
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
) -> Result<Response, Failure> {
    let (access, auditor) = (&shared.access, &shared.sources.auditor);
    access.check(token.trim(), peer, auditor)?;
    auditor.note(&Event::SignedIn { address: peer.0, accepted: true });
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, access.cookie.set())]).into_response())
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
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // An answer may say otherwise.
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The policy of a document that brings a style of its own, which its hash lets through (CSP Level 3, 2.3.1).
pub(super) fn policy_with_style_of(html: &str) -> String {
    let style = html.split_once("<style>").and_then(|(_, rest)| rest.split_once("</style>"));
    let hash = STANDARD.encode(Sha256::digest(style.map_or("", |(style, _)| style)));
    POLICY.replace("style-src 'self'", &format!("style-src 'self' 'sha256-{hash}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_documents_own_style_is_let_through_and_no_script() {
        let policy = policy_with_style_of("<title>t</title><style>p{}</style><style>");
        // printf 'p{}' | openssl dgst -sha256 -binary | base64
        let hash = "gG2yISYereRMiG2lMXrbiUgi0Ubw9p7QCeWcroOvy9Y=";
        assert!(policy.contains(&format!("style-src 'self' 'sha256-{hash}';")), "{policy}");
        assert!(policy.contains("script-src 'self';"), "{policy}");
        // What the agreement page needs, and all that it needs.
        let agreement = include_str!("../agreement/report.html");
        assert_eq!(agreement.matches("<style>").count(), 1);
        assert!(!agreement.contains("style=") && !agreement.contains("<script"));
    }
}
