//! The section `[audit]` of the configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where audit messages go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A syslog daemon's or journald's datagram socket, `/dev/log` mostly. Absent: no audit messages.
    pub socket: Option<PathBuf>,
}
