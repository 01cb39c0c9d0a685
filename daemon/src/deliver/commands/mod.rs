//! Commands that come over MQTT: what may be asked of a box, and how it is answered.
//!
//! A request on `cmd/{type}/{id}` is carried out at most once: the identifiers of requests are kept on disk until they
//! have expired, and an expired request isn't carried out. Nothing is allowed unless the configuration says so; the
//! broker's access control says who may ask. Every request with a usable identifier is answered on
//! `cmd/{type}/{id}/status`; what is answered holds codes and numbers only.

mod desk;
pub(crate) mod fuzzing;
mod ledger;

use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bundles::Network;
use crate::codes::coded_enum;
use crate::domain::StudyRef;

pub use desk::{Command, Desk};

/// A request may be carried out this long after it came at most; so long its identifier is kept.
pub const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The log's level is changed for this long at most, s.
const MAX_LOG_LEVEL_S: u32 = 86_400;

/// Most bytes of a request.
const MAX_REQUEST: usize = 4096;

coded_enum! {
    /// What can be asked for.
    CommandType, what_it_does: "What it does, for a person.",
    StudyRerun "study.rerun" "Analyse a study again. A result of the same input, networks and thresholds is published again as it is. Fails with `instances_removed` when only its result is still kept.";
    SelfTest "self-test" "Load and verify the networks, write to the disk, read the index.";
    LogLevel "log.level" "Log more or less for a time.";
    BundleStage "bundle.stage" "Fetch a network's bundle over HTTPS, verify it and keep it to be activated.";
    BundleActivate "bundle.activate" "Use the staged bundle of a network from the next exam on, if it verifies and is fast enough.";
    BundleRollback "bundle.rollback" "Use the previous bundle of a network again from the next exam on.";
    SupportBundle "support-bundle" "Make a support bundle in `support/` of the state folder, where the newest three stay.";
}

coded_enum! {
    /// Why a request isn't carried out.
    Refusal, meaning: "What it means, for a person.",
    UnknownCommand "unknown_command" "This version has no such command.";
    NotAllowed "not_allowed" "mqtt.commands.allow in the box's configuration doesn't name it.";
    Malformed "malformed" "The payload isn't as its schema says.";
    Retained "retained" "The request was retained by the broker; publish it without the retain flag.";
    Expired "expired" "It had expired when it came, or the box's clock is wrong.";
    ExpiresTooLate "expires_too_late" "It expires in more than a day.";
    Busy "busy" "Too many requests wait or are remembered; ask again later with a new identifier.";
}

/// The payload on `cmd/study.rerun/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StudyRerun {
    /// It isn't carried out after this, RFC 3339 in UTC; at most a day ahead.
    pub expires: String,
    /// The study.
    pub study_ref: StudyRef,
}

/// The payload on `cmd/self-test/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelfTest {
    /// It isn't carried out after this, RFC 3339 in UTC; at most a day ahead.
    pub expires: String,
}

/// The payload on `cmd/log.level/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogLevel {
    /// It isn't carried out after this, RFC 3339 in UTC; at most a day ahead.
    pub expires: String,
    /// What is logged of the daemon's own doing.
    pub level: Verbosity,
    /// After this time the configured level comes back, s.
    #[schemars(range(min = 1, max = MAX_LOG_LEVEL_S))]
    pub for_s: u32,
}

/// The payload on `cmd/bundle.stage/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BundleStage {
    /// It isn't carried out after this, RFC 3339 in UTC; at most a day ahead.
    pub expires: String,
    /// Where the package is; https only.
    #[schemars(regex(pattern = "^https://"))]
    pub url: String,
    /// SHA-256 of the package, a tar archive.
    pub sha256: Sha256Hex,
}

/// The payload on `cmd/bundle.activate/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BundleActivate {
    /// It isn't carried out after this, RFC 3339 in UTC; at most a day ahead.
    pub expires: String,
    /// The network.
    pub name: Network,
    /// SHA-256 of the network's ONNX file, which must be the staged one.
    pub sha256: Sha256Hex,
}

/// The payload on `cmd/bundle.rollback/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BundleRollback {
    /// It isn't carried out after this, RFC 3339 in UTC; at most a day ahead.
    pub expires: String,
    /// The network.
    pub name: Network,
}

/// The payload on `cmd/support-bundle/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SupportBundle {
    /// It isn't carried out after this, RFC 3339 in UTC; at most a day ahead.
    pub expires: String,
}

/// A SHA-256 in lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub struct Sha256Hex(#[schemars(regex(pattern = "^[0-9a-f]{64}$"))] String);

impl TryFrom<String> for Sha256Hex {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Sha256Hex, &'static str> {
        let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if text.len() == 64 && text.bytes().all(digit) {
            Ok(Sha256Hex(text))
        } else {
            Err("a SHA-256 has 64 lower-case hexadecimal digits")
        }
    }
}

impl std::ops::Deref for Sha256Hex {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Verbosity {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Verbosity {
    /// As in a filter of `tracing`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// A request that is as its schema says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Request {
    StudyRerun(StudyRerun),
    SelfTest(SelfTest),
    LogLevel(LogLevel),
    BundleStage(BundleStage),
    BundleActivate(BundleActivate),
    BundleRollback(BundleRollback),
    SupportBundle(SupportBundle),
}

impl Request {
    fn parse(command: CommandType, payload: &[u8]) -> Result<Request, Refusal> {
        if payload.len() > MAX_REQUEST {
            return Err(Refusal::Malformed);
        }
        let parsed = match command {
            CommandType::StudyRerun => serde_json::from_slice(payload).map(Request::StudyRerun),
            CommandType::SelfTest => serde_json::from_slice(payload).map(Request::SelfTest),
            CommandType::LogLevel => serde_json::from_slice(payload).map(Request::LogLevel),
            CommandType::BundleStage => serde_json::from_slice(payload).map(Request::BundleStage),
            CommandType::BundleActivate => {
                serde_json::from_slice(payload).map(Request::BundleActivate)
            }
            CommandType::BundleRollback => {
                serde_json::from_slice(payload).map(Request::BundleRollback)
            }
            CommandType::SupportBundle => {
                serde_json::from_slice(payload).map(Request::SupportBundle)
            }
        };
        match parsed {
            Ok(Request::LogLevel(LogLevel { for_s, .. }))
                if !(1..=MAX_LOG_LEVEL_S).contains(&for_s) =>
            {
                Err(Refusal::Malformed)
            }
            Ok(Request::BundleStage(BundleStage { url, .. })) if !url.starts_with("https://") => {
                Err(Refusal::Malformed)
            }
            parsed => parsed.map_err(|_| Refusal::Malformed),
        }
    }

    fn expires(&self) -> Result<SystemTime, Refusal> {
        let (Request::StudyRerun(StudyRerun { expires, .. })
        | Request::SelfTest(SelfTest { expires })
        | Request::LogLevel(LogLevel { expires, .. })
        | Request::BundleStage(BundleStage { expires, .. })
        | Request::BundleActivate(BundleActivate { expires, .. })
        | Request::BundleRollback(BundleRollback { expires, .. })
        | Request::SupportBundle(SupportBundle { expires })) = self;
        humantime::parse_rfc3339(expires).map_err(|_| Refusal::Malformed)
    }
}

/// The body on `cmd/{type}/{id}/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CommandStatus {
    /// The type as it was asked for.
    pub command: String,
    /// The request's identifier.
    pub id: String,
    /// Where it stands.
    pub state: CommandState,
    /// Code of the reason why it was refused or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// What was found, of a self-test.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

/// Where a request stands. The last three are the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CommandState {
    /// It will be carried out.
    Accepted,
    /// It is being carried out.
    Running,
    /// It was carried out.
    Succeeded,
    /// It was not, or only in part.
    Failed,
    /// It won't be.
    Refused,
}

/// One check of a self-test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Check {
    /// What was checked.
    pub check: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_as_its_schema_says_or_refused() {
        let expires = "2026-11-26T10:00:00Z";
        let good = format!(r#"{{"expires":"{expires}","level":"debug","for_s":60}}"#);
        let request = Request::parse(CommandType::LogLevel, good.as_bytes()).unwrap();
        assert_eq!(request.expires().unwrap(), humantime::parse_rfc3339(expires).unwrap());
        for bad in [
            "",
            "[]",
            r#"{"expires":"x"}"#,
            r#"{"expires":"x","level":"debug","for_s":0}"#,
            r#"{"expires":"x","level":"debug","for_s":90000}"#,
            r#"{"expires":"x","level":"loud","for_s":60}"#,
            r#"{"expires":"x","level":"debug","for_s":60,"shell":"rm"}"#,
            &" ".repeat(MAX_REQUEST + 1),
        ] {
            let refused = Request::parse(CommandType::LogLevel, bad.as_bytes());
            assert_eq!(refused, Err(Refusal::Malformed), "{bad}");
        }
        let study = r#"{"expires":"x","study_ref":"../../etc"}"#;
        assert!(Request::parse(CommandType::StudyRerun, study.as_bytes()).is_err());
        let digest = "0f".repeat(32);
        for (url, sha256) in [
            ("http://example/x.tar", digest.clone()),
            ("file:///etc/passwd", digest.clone()),
            ("https://example/x.tar", digest.to_uppercase()),
            ("https://example/x.tar", digest[1..].to_owned()),
        ] {
            let stage = format!(r#"{{"expires":"x","url":"{url}","sha256":"{sha256}"}}"#);
            let refused = Request::parse(CommandType::BundleStage, stage.as_bytes());
            assert_eq!(refused, Err(Refusal::Malformed), "{stage}");
        }
        let other = format!(r#"{{"expires":"x","name":"spleen","sha256":"{digest}"}}"#);
        assert!(Request::parse(CommandType::BundleActivate, other.as_bytes()).is_err());
        let later = Request::SelfTest(SelfTest { expires: "tomorrow".to_owned() });
        assert_eq!(later.expires(), Err(Refusal::Malformed));
    }

    #[test]
    fn the_readme_holds_the_lists() {
        let readme = include_str!("../../../../README.md");
        let tables = [CommandType::markdown_table(), Refusal::markdown_table()];
        for row in tables.iter().flat_map(|table| table.lines().skip(2)) {
            assert!(readme.contains(row), "README lacks: {row}");
        }
    }
}
