//! Whether a part of the daemon makes progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// One part's sign of life; clones are the same pulse.
#[derive(Debug, Clone)]
pub struct Pulse {
    part: &'static str,
    limit: Duration,
    began: Instant,
    /// Milliseconds from `began` to the last beat.
    last: Arc<AtomicU64>,
}

impl Pulse {
    /// Beats once now; `part` is what the log calls it, and it may be silent for `limit`.
    pub fn new(part: &'static str, limit: Duration) -> Pulse {
        Pulse { part, limit, began: Instant::now(), last: Arc::default() }
    }

    /// The part made progress.
    pub fn beat(&self) {
        self.last.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    /// Whether it did within its limit.
    pub fn beats(&self) -> bool {
        let silent_ms = self.elapsed_ms().saturating_sub(self.last.load(Ordering::Relaxed));
        Duration::from_millis(silent_ms) <= self.limit
    }

    /// What the log calls it.
    pub fn part(&self) -> &'static str {
        self.part
    }

    /// How long it may be silent.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    fn elapsed_ms(&self) -> u64 {
        self.began.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_part_is_found_and_one_that_beats_again_is_well() {
        let pulse = Pulse::new("the worker", Duration::from_millis(40));
        let other = pulse.clone();
        assert!(pulse.beats());
        std::thread::sleep(Duration::from_millis(80));
        assert!(!pulse.beats());
        other.beat();
        assert!(pulse.beats());
    }
}
