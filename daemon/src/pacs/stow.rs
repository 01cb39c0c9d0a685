//! A DICOMweb server: instances stored by STOW-RS (PS3.18, 10.5), one a request.

use std::path::Path;

use base64::Engine;
use serde_json::Value;
use sha2::{Digest, Sha256};
use ureq::http::Response;
use ureq::{Agent, Body, RequestBuilder};

use super::config::Web;
use super::connection::sop_uids;
use super::{Destination, SendError};
use crate::hex::hex;
use crate::store::files::first_line;
use crate::tls::http_client;

/// Longest answer that is read, bytes.
const MAX_RESPONSE: u64 = 1 << 20;
/// A study that no server has; looking it up shows that one answers and lets us in.
const NO_STUDY: &str = "2.25.0";

/// A client of one server.
pub struct Stow {
    agent: Agent,
    url: String,
    authorization: Option<String>,
}

impl Stow {
    /// Reads certificates and credentials; nothing is sent yet.
    ///
    /// # Errors
    /// A file can't be read.
    pub(super) fn new(to: &Destination, web: &Web) -> Result<Stow, SendError> {
        Ok(Stow {
            agent: http_client(to.timeout(), web.tls.as_ref())?,
            url: format!("{}/studies", web.url.trim_end_matches('/')),
            authorization: authorization(web)?,
        })
    }

    /// Looks for a study that isn't there.
    ///
    /// # Errors
    /// No answer, or one that is no success.
    pub fn echo(&self) -> Result<(), SendError> {
        let url = format!("{}?StudyInstanceUID={NO_STUDY}&limit=1", self.url);
        succeeded(&self.with_headers(self.agent.get(url)).call().map_err(unreachable)?)
    }

    /// Stores a file; the answer must name the instance among those that were stored.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn store(&self, path: &Path) -> Result<(), SendError> {
        let file = std::fs::read(path).map_err(|e| SendError::File(e.to_string()))?;
        let (_, instance) = sop_uids(path).map_err(|e| SendError::File(e.to_string()))?;
        let (content_type, body) = multipart(&file);
        let request = self.agent.post(&self.url).header("Content-Type", content_type);
        let request = self.with_headers(request);
        let mut response = request.send(&body[..]).map_err(unreachable)?;
        succeeded(&response)?;
        let body = response.body_mut().with_config().limit(MAX_RESPONSE);
        outcome(&body.read_to_vec().map_err(unreachable)?, &instance)
    }

    fn with_headers<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        let request = request.header("Accept", "application/dicom+json");
        match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        }
    }
}

fn unreachable(error: ureq::Error) -> SendError {
    SendError::Connection(error.to_string())
}

fn succeeded(response: &Response<Body>) -> Result<(), SendError> {
    let status = response.status();
    if status.is_success() { Ok(()) } else { Err(SendError::Http(status.as_u16())) }
}

/// A body of one part, and its type. The boundary is a digest, which no file holds of itself.
fn multipart(file: &[u8]) -> (String, Vec<u8>) {
    let boundary = hex(&Sha256::digest(file)[..16]);
    let content_type =
        format!("multipart/related; type=\"application/dicom\"; boundary={boundary}");
    let head = format!("--{boundary}\r\nContent-Type: application/dicom\r\n\r\n");
    let tail = format!("\r\n--{boundary}--\r\n");
    (content_type, [head.as_bytes(), file, tail.as_bytes()].concat())
}

/// What a Store Instances Response (PS3.18, table 10.5.3-1) says of an instance. Servers that answer without one have
/// stored it, as their status says.
fn outcome(body: &[u8], sop_instance_uid: &str) -> Result<(), SendError> {
    if body.is_empty() {
        return Ok(());
    }
    let response: Value = serde_json::from_slice(body).map_err(|_| SendError::Unconfirmed)?;
    let named = |sequence: &str| {
        let items = response[sequence]["Value"].as_array().map_or(&[][..], Vec::as_slice);
        items.iter().find(|item| item["00081155"]["Value"][0] == sop_instance_uid)
    };
    if named("00081199").is_some() {
        return Ok(());
    }
    let reason = named("00081198").and_then(|item| item["00081197"]["Value"][0].as_u64());
    Err(reason.map_or(SendError::Unconfirmed, |reason| SendError::Status(reason as u16)))
}

fn authorization(web: &Web) -> Result<Option<String>, SendError> {
    if let Some(file) = &web.token_file {
        return Ok(Some(format!("Bearer {}", first_line(file)?)));
    }
    let (Some(username), Some(file)) = (&web.username, &web.password_file) else {
        return Ok(None);
    };
    let both = format!("{username}:{}", first_line(file)?);
    Ok(Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(both))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_stored_only_if_the_answer_says_so() {
        const STORED: &str = r#"{"00081199":{"vr":"SQ","Value":[
            {"00081155":{"vr":"UI","Value":["1.2.3"]}}]}}"#;
        const FAILED: &str = r#"{"00081198":{"vr":"SQ","Value":[
            {"00081155":{"vr":"UI","Value":["1.2.3"]},"00081197":{"vr":"US","Value":[49442]}}]}}"#;
        assert!(outcome(STORED.as_bytes(), "1.2.3").is_ok());
        assert!(outcome(b"", "1.2.3").is_ok());
        let refused = |body: &str, uid: &str| outcome(body.as_bytes(), uid).unwrap_err();
        assert!(matches!(refused(FAILED, "1.2.3"), SendError::Status(0xC122)));
        for (body, uid) in [(STORED, "1.2.4"), ("<html>", "1.2.3"), ("{}", "1.2.3")] {
            assert!(matches!(refused(body, uid), SendError::Unconfirmed));
        }
    }

    #[test]
    fn a_part_is_framed_by_a_boundary_that_it_does_not_hold() {
        let (content_type, body) = multipart(b"--file--");
        let boundary = content_type.rsplit_once('=').unwrap().1;
        let text = String::from_utf8(body).unwrap();
        let parts: Vec<_> = text.split(&format!("--{boundary}")).collect();
        assert_eq!(
            parts,
            ["", "\r\nContent-Type: application/dicom\r\n\r\n--file--\r\n", "--\r\n"]
        );
    }
}
