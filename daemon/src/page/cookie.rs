//! The cookie that a browser shows instead of the token.

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::hex::hex;

/// A browser signs in anew after a week.
const MAX_AGE_S: u64 = 7 * 86_400;

/// Name and value of the cookie.
///
/// The value is a keyed hash of the token: it needs no list of sessions, survives a restart and ends with the token. Nobody
/// without the key can tell it from a guessed token.
pub(super) struct Cookie {
    name: String,
    value: String,
    secure: bool,
}

impl Cookie {
    /// `port` is in the name, since browsers don't tell the ports of a host apart; `secure` with TLS.
    pub fn new(key: &[u8], token: &str, port: u16, secure: bool) -> Cookie {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(b"cookie of the page\0");
        mac.update(token.as_bytes());
        let value = hex(&mac.finalize().into_bytes());
        Cookie { name: format!("modicd-{port}"), value, secure }
    }

    /// Whether a request shows it.
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|header| header.to_str().ok())
            .flat_map(|header| header.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .any(|(name, value)| {
                name == self.name && bool::from(value.as_bytes().ct_eq(self.value.as_bytes()))
            })
    }

    /// The header that sets it.
    pub fn set(&self) -> String {
        self.header(&self.value, MAX_AGE_S)
    }

    /// The header that removes it.
    pub fn clear(&self) -> String {
        self.header("", 0)
    }

    fn header(&self, value: &str, max_age_s: u64) -> String {
        let Cookie { name, secure, .. } = self;
        let secure = if *secure { "; Secure" } else { "" };
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age_s}{secure}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_value_under_its_own_name_is_taken() {
        let cookie = Cookie::new(b"site key", "token", 8042, true);
        let shown = |text: String| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, text.parse().unwrap());
            cookie.is_in(&headers)
        };
        let value = &cookie.value;
        assert!(shown(format!("other=1; modicd-8042={value}")));
        assert!(!shown(format!("modicd-8043={value}")));
        assert!(!shown("modicd-8042=".to_owned()));
        assert!(!shown(format!("modicd-8042={}", Cookie::new(b"site key", "t", 8042, true).value)));
        assert!(!cookie.set().contains("token"));
        for attribute in ["HttpOnly", "SameSite=Strict", "Secure"] {
            assert!(cookie.set().contains(attribute));
        }
    }
}
