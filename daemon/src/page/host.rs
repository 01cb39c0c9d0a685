//! On loopback, only requests that name this machine are answered: a page elsewhere whose name suddenly resolves to
//! 127.0.0.1 (DNS rebinding) would name itself.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::HOST;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::shared::Shared;

/// Refuses a request to a loopback address under another name.
pub(super) async fn check(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let host = request.headers().get(HOST).and_then(|value| value.to_str().ok());
    if shared.loopback && !host.is_some_and(is_this_machine) {
        return (StatusCode::MISDIRECTED_REQUEST, "this address is served as localhost only")
            .into_response();
    }
    next.run(request).await
}

/// Whether `host`, with or without a port, is a name of the loopback interface.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_loopback_pass_and_others_do_not() {
        for name in ["localhost", "localhost:8042", "127.0.0.1:8042", "127.0.0.1", "[::1]:8042"] {
            assert!(is_this_machine(name), "{name}");
        }
        for name in ["", "evil.example", "evil.example:8042", "127.0.0.1.evil.example", "10.0.0.1"]
        {
            assert!(!is_this_machine(name), "{name}");
        }
    }
}
