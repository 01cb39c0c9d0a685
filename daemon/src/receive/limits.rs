//! What one address may cost, so that no peer takes the places of all others.

use super::config::Config;
use super::rejection::Rejection;
use crate::ports::accountable;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// Connections of an address beyond its associations that are still read, to tell the peer why it is rejected.
const SPARE_CONNECTIONS: usize = 8;
/// When more addresses are known, those that cost nothing any more are forgotten.
const TIDY_FROM: usize = 256;

/// What each address has open, and how much it has asked lately.
#[derive(Debug)]
pub(super) struct Limits {
    max_associations: usize,
    requests_per_minute: f64,
    known: Mutex<HashMap<IpAddr, Usage>>,
}

/// Of one address. Requests are let through as long as `requests` is at least 1; it is filled up again steadily.
#[derive(Debug)]
struct Usage {
    connections: usize,
    associations: usize,
    requests: f64,
    at: Instant,
}

impl Limits {
    pub(super) fn new(config: &Config) -> Arc<Limits> {
        Arc::new(Limits {
            max_associations: config.max_associations_per_peer,
            requests_per_minute: config.max_requests_per_minute.into(),
            known: Mutex::default(),
        })
    }

    /// Counts a connection; `None` when the address has far too many.
    pub(super) fn connect(self: &Arc<Limits>, address: IpAddr, now: Instant) -> Option<Place> {
        let address = accountable(address);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= TIDY_FROM {
            known.retain(|_, usage| {
                usage.connections > 0 || self.filled(usage, now) < self.requests_per_minute
            });
        }
        let fresh =
            Usage { connections: 0, associations: 0, requests: self.requests_per_minute, at: now };
        let usage = known.entry(address).or_insert(fresh);
        if usage.connections >= self.max_associations + SPARE_CONNECTIONS {
            return None;
        }
        usage.connections += 1;
        Some(Place { limits: Arc::clone(self), address, is_association: false })
    }

    /// How many requests an address may make by now.
    fn filled(&self, usage: &Usage, now: Instant) -> f64 {
        let minutes = now.saturating_duration_since(usage.at).as_secs_f64() / 60.0;
        (usage.requests + minutes * self.requests_per_minute).min(self.requests_per_minute)
    }
}

/// A connection, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    limits: Arc<Limits>,
    address: IpAddr,
    is_association: bool,
}

impl Place {
    /// The connection asks for an association.
    ///
    /// # Errors
    /// Its address has asked too often, or has too many.
    pub(super) fn associate(&mut self, now: Instant) -> Result<(), Rejection> {
        let limits = &self.limits;
        let mut known = limits.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(usage) = known.get_mut(&self.address) else { return Ok(()) };
        usage.requests = limits.filled(usage, now);
        usage.at = now;
        if usage.requests < 1.0 {
            return Err(Rejection::TooFrequent);
        }
        usage.requests -= 1.0;
        if usage.associations >= limits.max_associations {
            return Err(Rejection::PeerFull);
        }
        usage.associations += 1;
        self.is_association = true;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut known = self.limits.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usage) = known.get_mut(&self.address) {
            usage.connections -= 1;
            usage.associations -= usize::from(self.is_association);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn limits(max_associations_per_peer: usize, max_requests_per_minute: u32) -> Arc<Limits> {
        Limits::new(&Config {
            max_associations_per_peer,
            max_requests_per_minute,
            ..Config::default()
        })
    }

    #[test]
    fn an_address_has_so_many_associations_and_another_has_its_own() {
        let (limits, now) = (limits(2, 1000), Instant::now());
        let mut places: Vec<_> = (0..3).map(|_| limits.connect(ONE, now).unwrap()).collect();
        assert_eq!(places[0].associate(now), Ok(()));
        assert_eq!(places[1].associate(now), Ok(()));
        assert_eq!(places[2].associate(now), Err(Rejection::PeerFull));
        assert_eq!(limits.connect(OTHER, now).unwrap().associate(now), Ok(()));
        places.remove(0);
        assert_eq!(places[1].associate(now), Ok(()));
    }

    #[test]
    fn many_addresses_of_one_ipv6_network_count_as_one() {
        let (limits, now) = (limits(2, 1000), Instant::now());
        let ask = |address: &str| {
            let mut place = limits.connect(address.parse().unwrap(), now).unwrap();
            place.associate(now).map(|()| place)
        };
        let _places = [ask("2001:db8:0:1::1").unwrap(), ask("2001:db8:0:1:ffff::2").unwrap()];
        assert_eq!(ask("2001:db8:0:1::3").unwrap_err(), Rejection::PeerFull);
        assert!(ask("2001:db8:0:2::1").is_ok());
    }

    #[test]
    fn connections_that_ask_for_nothing_have_an_end_too() {
        let (limits, now) = (limits(2, 1000), Instant::now());
        let places: Vec<_> = (0..20).map_while(|_| limits.connect(ONE, now)).collect();
        assert_eq!(places.len(), 2 + SPARE_CONNECTIONS);
        assert!(limits.connect(OTHER, now).is_some());
        drop(places);
        assert!(limits.connect(ONE, now).is_some());
    }

    #[test]
    fn requests_are_let_through_again_with_time() {
        let (limits, start) = (limits(100, 60), Instant::now());
        let ask = |now| limits.connect(ONE, now).unwrap().associate(now);
        for _ in 0..60 {
            assert_eq!(ask(start), Ok(()));
        }
        assert_eq!(ask(start), Err(Rejection::TooFrequent));
        assert_eq!(ask(start + Duration::from_secs(1)), Ok(()));
        assert_eq!(ask(start + Duration::from_secs(1)), Err(Rejection::TooFrequent));
    }

    #[test]
    fn addresses_that_cost_nothing_are_forgotten() {
        let (limits, start) = (limits(2, 600), Instant::now());
        let kept = limits.connect(ONE, start).unwrap();
        for n in 0..1000_u32 {
            let now = start + Duration::from_secs(n.into());
            let mut place = limits.connect(IpAddr::from(n.to_be_bytes()), now).unwrap();
            assert_eq!(place.associate(now), Ok(()));
        }
        let known = limits.known.lock().unwrap();
        assert!(known.len() <= TIDY_FROM && known.contains_key(&kept.address));
    }
}
