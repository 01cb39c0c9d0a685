//! What the index keeps of a study, and the rules by which it becomes due.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where a study stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StudyState {
    /// Instances came in since the last analysis, or somebody asked for another.
    #[default]
    Receiving,
    /// An analysis has begun.
    Analysing,
    /// The newest instances are in a result.
    Completed,
    /// The newest instances are outside of what is analysed.
    Rejected,
    /// The analysis failed, or took the daemon down too often.
    Failed,
}

/// What an incoming instance was to the study.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Not there before.
    New,
    /// There with another content.
    Replaced,
    /// There with the same content: nothing to analyse again.
    Identical,
}

/// How an analysis ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With a result, new or from the cache.
    Completed {
        /// The result's revision.
        revision: u32,
    },
    /// The study is outside of what is analysed.
    Rejected {
        /// Code of the reason.
        reason: &'static str,
    },
    /// No result, no reason in the study itself.
    Failed {
        /// Code of the reason.
        reason: &'static str,
    },
}

/// A study in the index. A generation counts the changes of its instances; it is analysed when its
/// generation is ahead of the analysed one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StudyRecord {
    /// Where the study stands.
    pub state: StudyState,
    /// When the last instance came in, Unix time in ms.
    pub last_activity_ms: u64,
    /// Number of new and replaced instances so far, and of requests to analyse again.
    pub generation: u64,
    /// The generation at which the required series were seen to be whole; 0 when not yet.
    pub whole_generation: u64,
    /// The newest generation whose analysis has ended.
    pub analysed_generation: u64,
    /// Analyses of this generation that have begun and not ended.
    pub attempts: u32,
    /// The newest result; 0 when there is none.
    pub latest_revision: u32,
    /// Code of why the newest instances have no result; absent when they have one or may still get it, and in records
    /// that were written before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl StudyRecord {
    /// Takes note of an instance. One that is there already asks for nothing, unless the analysis had failed: then the sender
    /// was told to send the study again.
    pub(super) fn note_instance(&mut self, change: Change, now_ms: u64) {
        self.last_activity_ms = now_ms;
        if change != Change::Identical || self.state == StudyState::Failed {
            self.generation += 1;
            self.attempts = 0;
            self.state = StudyState::Receiving;
            self.reason = None;
        }
    }

    /// Takes note of somebody's wish to have it analysed again.
    pub(super) fn note_request(&mut self) {
        self.generation += 1;
        self.attempts = 0;
        self.state = StudyState::Receiving;
        self.reason = None;
    }

    /// Takes note of an attempt that ended in an error: it counts, and the study waits for the next one. Where only the end of
    /// a done one couldn't be made durable, it stays done.
    pub(super) fn note_failed_attempt(&mut self) {
        if self.has_work() {
            self.state = StudyState::Receiving;
        }
    }

    /// Takes an attempt back that was ended in good order: it waits as before.
    pub(super) fn note_abandoned(&mut self) {
        self.attempts = self.attempts.saturating_sub(1);
        self.state = StudyState::Receiving;
    }

    /// Takes note of the end of the analysis of `generation`; newer instances keep the study due.
    pub(super) fn note_outcome(&mut self, generation: u64, outcome: &Outcome) {
        self.analysed_generation = self.analysed_generation.max(generation);
        if let Outcome::Completed { revision } = outcome {
            self.latest_revision = self.latest_revision.max(*revision);
        }
        if !self.has_work() {
            self.attempts = 0;
            let reason;
            (self.state, reason) = match outcome {
                Outcome::Completed { .. } => (StudyState::Completed, None),
                Outcome::Rejected { reason } => (StudyState::Rejected, Some(reason)),
                Outcome::Failed { reason } => (StudyState::Failed, Some(reason)),
            };
            self.reason = reason.map(|code| (*code).to_owned());
        }
    }

    /// Whether there is something that no analysis has seen.
    pub fn has_work(&self) -> bool {
        self.generation > self.analysed_generation
    }

    /// Whether its files may be removed: nothing is to be analysed, and it was quiet long enough.
    pub fn is_at_rest(&self, now_ms: u64, quiet_period: Duration) -> bool {
        !self.has_work()
            && matches!(
                self.state,
                StudyState::Completed | StudyState::Rejected | StudyState::Failed
            )
            && self.was_quiet_for(quiet_period, now_ms)
    }

    /// Takes note that no instance is left, only a result of `written_ms` or before: what is not done won't be.
    pub(super) fn note_no_instances(&mut self, written_ms: u64) {
        if self.last_activity_ms == 0 {
            self.last_activity_ms = written_ms;
        }
        if self.has_work() {
            self.analysed_generation = self.generation;
            self.attempts = 0;
            self.reason = None;
            self.state = StudyState::Completed;
        }
    }

    /// Whether the study is to be analysed now: it has work, and is whole or was quiet long enough.
    pub fn is_due(&self, now_ms: u64, quiet_period: Duration) -> bool {
        self.has_work()
            && (self.whole_generation == self.generation
                || self.was_quiet_for(quiet_period, now_ms))
    }

    /// A last instance that lies in the future came before the clock was set back: it may have been quiet for any time, and
    /// waiting for the clock to get there again could take years.
    fn was_quiet_for(&self, period: Duration, now_ms: u64) -> bool {
        u128::from(now_ms.abs_diff(self.last_activity_ms)) >= period.as_millis()
    }
}
