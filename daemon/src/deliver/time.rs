//! How times are written in payloads.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// How exactly times are told. A site for which the time of an exam is too much chooses a coarser one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum TimePrecision {
    #[default]
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
}

impl TimePrecision {
    /// RFC 3339 in UTC, cut off (never rounded up) at this precision.
    pub fn format(self, time: SystemTime) -> String {
        let unit_s = match self {
            Self::Millisecond => return humantime::format_rfc3339_millis(time).to_string(),
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        };
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let cut = UNIX_EPOCH + Duration::from_secs(since_epoch / unit_s * unit_s);
        humantime::format_rfc3339_seconds(cut).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_cut_off_never_rounded_up() {
        let time = UNIX_EPOCH + Duration::from_millis(1_700_000_039_987);
        for (precision, expected) in [
            (TimePrecision::Millisecond, "2023-11-14T22:13:59.987Z"),
            (TimePrecision::Second, "2023-11-14T22:13:59Z"),
            (TimePrecision::Minute, "2023-11-14T22:13:00Z"),
            (TimePrecision::Hour, "2023-11-14T22:00:00Z"),
            (TimePrecision::Day, "2023-11-14T00:00:00Z"),
        ] {
            assert_eq!(precision.format(time), expected);
        }
    }
}
