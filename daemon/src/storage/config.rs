//! The section `[storage]`.

use serde::{Deserialize, Serialize};

const GIB: u64 = 1 << 30;
/// No result of an exam is larger, with room to spare, bytes.
const RESULT_BYTES: u64 = 16 << 20;
/// A hundred years, days.
const MAX_AGE_DAYS: u32 = 36_525;

/// What may be kept. 0 is no limit. The defaults suit a disk of 32 GB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Instances of all studies, bytes on the disk.
    pub instances_max_bytes: u64,
    /// Instances of a study, days since the last of them came in or it was analysed.
    pub instances_max_age_days: u32,
    /// Results of all studies, bytes on the disk.
    pub results_max_bytes: u64,
    /// Results of a study, days since the newest was made or the study last received.
    pub results_max_age_days: u32,
    /// No instance is accepted while less than this is free, bytes. Analyses stop at half of it, and the oldest studies go
    /// before it is reached.
    pub min_free_bytes: u64,
}

/// Why the section makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("storage.{key}: {problem}")]
pub struct ConfigError {
    key: &'static str,
    problem: String,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            instances_max_bytes: 8 * GIB,
            instances_max_age_days: 30,
            results_max_bytes: 8 * GIB,
            results_max_age_days: 365,
            min_free_bytes: GIB,
        }
    }
}

impl Config {
    /// The limits of sizes alone.
    pub(super) fn without_ages(&self) -> Config {
        Config { instances_max_age_days: 0, results_max_age_days: 0, ..self.clone() }
    }

    /// Checks that at least an exam may be kept; `max_object_bytes` is the size of the largest instance accepted.
    pub(crate) fn validate(&self, max_object_bytes: u64) -> Result<(), ConfigError> {
        for (key, bytes, least) in [
            ("instances_max_bytes", self.instances_max_bytes, max_object_bytes),
            ("results_max_bytes", self.results_max_bytes, RESULT_BYTES),
        ] {
            if bytes != 0 && bytes < least {
                let problem = format!("must be 0 (no limit) or at least {least}, an exam's");
                return Err(ConfigError { key, problem });
            }
        }
        for (key, days) in [
            ("instances_max_age_days", self.instances_max_age_days),
            ("results_max_age_days", self.results_max_age_days),
        ] {
            if days > MAX_AGE_DAYS {
                let problem = format!("must be 0 (no limit) to {MAX_AGE_DAYS}");
                return Err(ConfigError { key, problem });
            }
        }
        Ok(())
    }

    /// Below this the daemon itself writes no more results: what is left is for the outbox and the index, bytes.
    pub(super) fn min_free_to_work_bytes(&self) -> u64 {
        self.min_free_bytes / 2
    }

    /// Below this studies go even if the quotas are met, so that receiving never has to stop for what may go, bytes.
    pub(crate) fn min_free_to_keep_bytes(&self) -> u64 {
        self.min_free_bytes.saturating_add(self.min_free_bytes / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_holds_at_least_an_exam_and_none_is_no_limit() {
        let message = |config: Config| config.validate(1 << 20).unwrap_err().to_string();
        assert!(Config::default().validate(256 << 20).is_ok());
        let none = Config { instances_max_bytes: 0, results_max_bytes: 0, ..Config::default() };
        assert!(none.validate(1 << 20).is_ok());
        let small = Config { instances_max_bytes: (1 << 20) - 1, ..none.clone() };
        assert!(message(small).contains("storage.instances_max_bytes"));
        assert!(message(Config { results_max_bytes: 1, ..none.clone() }).contains("results_max"));
        assert!(message(Config { results_max_age_days: 40_000, ..none }).contains("age_days"));
    }
}
