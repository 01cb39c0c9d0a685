//! Whether the clock can be trusted: boxes without a battery boot with the time of their last shutdown.

use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// The system's answer takes no longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// What the system says of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// It follows a time server.
    Synchronised,
    /// It doesn't, or not yet.
    Free,
    /// Nobody can tell, as in a container.
    Unknown,
}

impl Clock {
    /// Asks timedated, which asks the kernel, whichever program keeps the time.
    pub async fn ask() -> Clock {
        let mut timedatectl = Command::new("timedatectl");
        timedatectl.args(["show", "--property=NTPSynchronized", "--value"]).kill_on_drop(true);
        // It would tell the service manager its own end in our name.
        timedatectl.env_remove("NOTIFY_SOCKET");
        match timeout(ANSWER_LIMIT, timedatectl.output()).await {
            Ok(Ok(output)) if output.status.success() => Clock::parse(&output.stdout),
            _ => Clock::Unknown,
        }
    }

    fn parse(answer: &[u8]) -> Clock {
        match answer.trim_ascii() {
            b"yes" => Clock::Synchronised,
            b"no" => Clock::Free,
            _ => Clock::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_answer_is_believed() {
        assert_eq!(Clock::parse(b"yes\n"), Clock::Synchronised);
        assert_eq!(Clock::parse(b"no\n"), Clock::Free);
        assert_eq!(Clock::parse(b"\n"), Clock::Unknown);
    }
}
