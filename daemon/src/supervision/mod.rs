//! What the service manager (systemd) is told: that the daemon is ready, reloads, stops, and that it still makes progress.
//!
//! Owns the notification socket of sd_notify(3) and the watchdog. Promises that the watchdog is fed only while every
//! [`Pulse`] beats in time: a daemon that hangs is killed and started again, one that works long is not. Without a
//! service manager nothing is told, and nothing else changes.

mod clock;
mod pulse;
mod watchdog;

use std::time::Duration;

use sd_notify::NotifyState;

pub use clock::Clock;
pub use pulse::Pulse;
pub use watchdog::watch;

/// The ports are open and the work goes on.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The start takes longer: it may last for `longer` from now on.
pub fn starting(status: &str, longer: Duration) {
    let longer = u32::try_from(longer.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Status(status), NotifyState::ExtendTimeoutUsec(longer)]);
}

/// A new configuration is being taken; [`ready`] says that it was.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "The monotonic clock can't be read."),
    }
}

/// The end has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("Stopping: the study at work is finished.")]);
}

/// A line for `systemctl status`.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

fn tell(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "The service manager can't be told.");
    }
}
