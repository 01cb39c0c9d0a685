//! How long to wait before connecting again.

use std::time::Duration;

/// Delays that double from `initial` to `max`, each shortened at random by up to a half, so that boxes that
/// lost the same broker don't all come back at once.
#[derive(Debug)]
pub(super) struct Backoff {
    initial: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(initial: Duration, max: Duration) -> Backoff {
        Backoff { initial, max, next: initial }
    }

    /// Starts again from `initial`.
    pub(super) fn reset(&mut self) {
        self.next = self.initial;
    }

    /// The next delay.
    pub(super) fn delay(&mut self) -> Duration {
        let delay = self.next.min(self.max);
        self.next = delay.saturating_mul(2);
        delay.mul_f64(rand::random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        for nominal in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
            let delay = backoff.delay().as_secs_f64();
            assert!((nominal / 2.0..=nominal).contains(&delay), "{delay} of {nominal}");
        }
        backoff.reset();
        assert!(backoff.delay() <= Duration::from_secs(1));
    }
}
