//! What can be wrong with a box: the reasons in `health`, each of which is an alarm too.
//!
//! A reason is a code known at compile time with a text that says what to do, the same on every box.

use std::{collections::BTreeMap, time::SystemTime};

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::codes::coded_enum;

coded_enum! {
    /// Why a box isn't ok; also the name of an alarm.
    HealthReason, what_to_do: "What it means and what can be done about it, for a person.",
    OutboxFull "outbox_full" "The broker has been out of reach for long and the outbox is full. Studies wait, nothing is lost. Bring the broker or the network back.";
    AnalysisError "analysis_error" "An analysis ended in an error and is tried again. The journal names the study and the cause.";
    BundleWentBack "bundle_went_back" "A network's new bundle failed its first exams or can't be loaded, and the box uses another by itself. bundle/{name}/state says why; activate a newer one, or roll back to stay with the one in use.";
    ClockNotSynchronised "clock_not_synchronised" "The clock follows no time server, so times of results may be wrong. Set up NTP (systemd-timesyncd, chrony); on a site without it, set worker.clock_wait_s to 0.";
    ConfigRefused "config_refused" "A changed configuration could not be taken; the box goes on with the former one. The journal and `modicd check` say why.";
    DiskLow "disk_low" "Less space is free than storage.min_free_bytes: exams are refused, and below half of it analyses wait too. Nothing is lost; both go on by themselves once there is space. See what fills the disk, or lower the quotas in [storage].";
    StorageHeld "storage_held" "More is kept than [storage] allows, and none of it may go: it isn't delivered, waits for analysis, or an open reading list needs it. Bring the broker or the PACS back, or end the reading; what a PACS never takes is withdrawn by leaving its kind out of that destination's `objects`. The log says whether a list or queue can't be read.";
    PacsQueueUnreadable "pacs_queue_unreadable" "What waits for the PACS can't be read. Check the disk under state_dir.";
}

/// The reasons that stand, each with the time since when.
#[derive(Debug, Clone, PartialEq, Eq, Default, JsonSchema)]
#[schemars(transparent)]
pub struct Reasons(#[schemars(with = "Vec<HealthReason>")] BTreeMap<HealthReason, SystemTime>);

impl Reasons {
    /// What stands now: of those that stood already the time is kept.
    pub fn update(&mut self, standing: &[HealthReason], now: SystemTime) {
        self.0.retain(|reason, _| standing.contains(reason));
        for reason in standing {
            self.0.entry(*reason).or_insert(now);
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Since when this reason stands, if it does.
    pub fn since(&self, reason: HealthReason) -> Option<SystemTime> {
        self.0.get(&reason).copied()
    }

    /// The reasons, each with the time since when.
    pub fn iter(&self) -> impl Iterator<Item = (HealthReason, SystemTime)> {
        self.0.iter().map(|(reason, since)| (*reason, *since))
    }
}

/// As codes alone.
impl Serialize for Reasons {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.keys())
    }
}

/// The body on `alarm/{alarm}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Alarm {
    /// Its code.
    pub alarm: HealthReason,
    /// Whether it stands.
    pub state: AlarmState,
    /// Since when it stands, RFC 3339; absent when it doesn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// What it means and what to do.
    pub what_to_do: &'static str,
}

/// Whether an alarm stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlarmState {
    /// It does.
    Raised,
    /// It doesn't, or does no more.
    Cleared,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_reason_that_goes_on_keeps_its_time() {
        let (first, later) =
            (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(9));
        let mut reasons = Reasons::default();
        reasons.update(&[HealthReason::OutboxFull], first);
        reasons.update(&[HealthReason::AnalysisError, HealthReason::OutboxFull], later);
        assert_eq!(reasons.since(HealthReason::OutboxFull), Some(first));
        assert_eq!(reasons.since(HealthReason::AnalysisError), Some(later));
        assert_eq!(
            serde_json::to_value(&reasons).unwrap(),
            serde_json::json!(["outbox_full", "analysis_error"])
        );
        reasons.update(&[], later);
        assert!(reasons.is_empty());
    }

    #[test]
    fn the_readme_holds_the_list() {
        let readme = include_str!("../../../README.md");
        for row in HealthReason::markdown_table().lines().skip(2) {
            assert!(readme.contains(row), "README lacks: {row}");
        }
    }
}
