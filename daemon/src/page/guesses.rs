//! Wrong tokens, counted by the address that they come from, so that guessing is slow.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::access::Peer;
use super::answer::Failure;
use crate::audit::{Auditor, Event};
use crate::ports::accountable;

/// Wrong tokens that cost nothing: typing errors.
const FREE: u32 = 3;
/// The wait after the first that does; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Wrong tokens of an address that sent none for this long are forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// Addresses remembered; when there are more, all that aren't wait as one.
const MAX_ADDRESSES: usize = 1024;

/// Who guessed how often. While an address has to wait, nothing that it sends is looked at.
#[derive(Default)]
pub(super) struct Guesses {
    known: Mutex<HashMap<Option<IpAddr>, Guesser>>,
}

struct Guesser {
    wrong: u32,
    last: Instant,
}

impl Guesser {
    fn wait(&self) -> Duration {
        match self.wrong.checked_sub(FREE) {
            None | Some(0) => Duration::ZERO,
            Some(n) => FIRST_WAIT.saturating_mul(1 << (n - 1).min(16)).min(LONGEST_WAIT),
        }
    }
}

impl Guesses {
    /// What a token opens, unless the peer's address has to wait. A wrong one is counted, logged and audited.
    pub fn admit<T>(
        &self,
        peer: Peer,
        auditor: &Auditor,
        open: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (key, now) = (accountable(peer.0), Instant::now());
        if let Some(wait) = self.wait(key, now) {
            return Err(Failure::Wait(wait.as_secs() + 1));
        }
        let opened = open();
        match &opened {
            Ok(_) => self.right(key),
            Err(Failure::Token) => {
                self.wrong(key, now);
                let Peer(address) = peer;
                tracing::warn!(peer = %address, "A wrong token for the page was refused.");
                auditor.note(&Event::SignedIn { address, accepted: false });
            }
            Err(_) => {}
        }
        opened
    }

    /// How long the address still has to wait; `None` when it may try.
    fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let guesser = known.get(&Some(address)).or_else(|| known.get(&None))?;
        (guesser.last + guesser.wait()).checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    /// Takes note of a wrong token.
    fn wrong(&self, address: IpAddr, now: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, guesser| now.duration_since(guesser.last) < FORGOTTEN_AFTER);
        let remembered = known.len() < MAX_ADDRESSES || known.contains_key(&Some(address));
        let guesser =
            known.entry(remembered.then_some(address)).or_insert(Guesser { wrong: 0, last: now });
        guesser.wrong = guesser.wrong.saturating_add(1);
        guesser.last = now;
    }

    /// Takes note of the right one.
    fn right(&self, address: IpAddr) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&Some(address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn each_wrong_token_doubles_the_wait_of_its_address_alone() {
        let (guesses, start) = (Guesses::default(), Instant::now());
        for _ in 0..FREE {
            guesses.wrong(ONE, start);
        }
        assert_eq!(guesses.wait(ONE, start), None);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            guesses.wrong(ONE, start);
            assert_eq!(guesses.wait(ONE, start), Some(Duration::from_secs(seconds)));
        }
        assert_eq!(guesses.wait(ONE, start + LONGEST_WAIT), None);
        assert_eq!(guesses.wait(OTHER, start), None);
        guesses.right(ONE);
        assert_eq!(guesses.wait(ONE, start), None);
    }

    #[test]
    fn many_addresses_are_no_way_around_it() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for n in 0..MAX_ADDRESSES as u32 + 10 {
            guesses.wrong(IpAddr::from(n.to_be_bytes()), now);
        }
        let known = guesses.known.lock().unwrap();
        assert_eq!(known.len(), MAX_ADDRESSES + 1);
        drop(known);
        assert!(guesses.wait(OTHER, now).is_some());
    }

    #[test]
    fn addresses_of_one_ipv6_network_guess_as_one() {
        let guesses = Guesses::default();
        let guess = |address: String| {
            let peer = Peer(address.parse().unwrap());
            guesses.admit(peer, &Auditor::default(), || Err::<(), _>(Failure::Token))
        };
        for n in 0..=FREE {
            assert!(matches!(guess(format!("2001:db8:0:1::{n}")), Err(Failure::Token)));
        }
        assert!(matches!(guess("2001:db8:0:1:ffff::2".to_owned()), Err(Failure::Wait(_))));
        assert!(matches!(guess("2001:db8:0:2::1".to_owned()), Err(Failure::Token)));
    }
}
