//! The connection to the broker: one task that connects, sends what the outbox holds, and connects again.
//!
//! Owns rumqttc. Promises that a message leaves the outbox only when the broker has acknowledged it, that
//! messages are sent in the outbox's order, all unacknowledged ones again after each connect, and that
//! `availability` is true. What rumqttc can't be trusted with is done here: keeping messages over a lost
//! connection (each connection gets a new client with a clean session), backoff, and the window of
//! packet identifiers.

mod backoff;
mod link;
mod options;
mod probe;
mod session;
mod window;

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Seq,
    bundle::BundleState,
    commands::Desk,
    config::Config,
    home_assistant,
    outbox::Outbox,
    payload::{Health, Identity, Info, Metrics},
    topics::Topics,
};
use crate::{metrics::Counts, supervision::Pulse};
use backoff::Backoff;
use options::Options;
use session::{Ended, Session};

pub use options::DeliveryError;
pub(crate) use options::{check_files, options_3};
pub(crate) use probe::{Probed, probe};

/// A connection that held this long was a good one: the next backoff starts from its beginning. A shorter
/// one, as when two boxes share a client identifier, goes on doubling.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// Between two connections there is a backoff; beyond that, longer silence than this is a hang.
const SILENCE: Duration = Duration::from_secs(180);

/// What delivery publishes beside the outbox.
#[derive(Debug, Clone)]
pub struct Feeds {
    /// Published at each connect and when it changes.
    pub info: watch::Receiver<Info>,
    /// Likewise, those of the networks that it names.
    pub bundles: watch::Receiver<Vec<BundleState>>,
    /// Published at each connect, when status or reasons change, and every 60 s.
    pub health: watch::Receiver<Health>,
    /// Published every 30 s.
    pub metrics: watch::Receiver<Metrics>,
}

/// The delivery task, ready to run.
pub struct Delivery {
    options: Options,
    /// As configured; a broker may take fewer.
    inflight: u16,
    backoff: Backoff,
    drain_limit: Duration,
    topics: Topics,
    identity: Identity,
    outbox: Arc<Outbox>,
    /// Takes requests.
    desk: Arc<Desk>,
    feeds: Feeds,
    /// Topic and payload that announce the box to Home Assistant; an empty payload takes it back.
    discovery: Option<(String, Vec<u8>)>,
    /// The newest message handed to a broker by this process.
    newest_sent: Seq,
    counts: Counts,
    /// Beats while the task runs.
    pulse: Pulse,
    /// Whether a broker let us in before.
    was_connected: bool,
}

impl Delivery {
    /// Checks the configuration and reads its files. `identity.device` is `config.device`.
    pub fn new(
        config: &Config,
        identity: Identity,
        outbox: Arc<Outbox>,
        desk: Arc<Desk>,
        feeds: Feeds,
    ) -> Result<Delivery, DeliveryError> {
        let topics = config.topics().map_err(super::ConfigError::from)?;
        let discovery = home_assistant::discovery(config, &topics, &feeds.info.borrow());
        let seconds = Duration::from_secs;
        Ok(Delivery {
            options: Options::new(config, &topics)?,
            inflight: config.inflight,
            backoff: Backoff::new(seconds(config.backoff_initial_s), seconds(config.backoff_max_s)),
            drain_limit: seconds(config.drain_limit_s),
            topics,
            identity,
            outbox,
            desk,
            feeds,
            discovery,
            newest_sent: 0,
            counts: Counts::default(),
            pulse: Pulse::new("MQTT delivery", SILENCE + seconds(config.backoff_max_s)),
            was_connected: false,
        })
    }

    /// Counts connections and acknowledgements there.
    pub fn counted_by(mut self, counts: Counts) -> Delivery {
        self.counts = counts;
        self
    }

    /// Its sign of life.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Runs until `shutdown`, then gives the broker `drain_limit_s` to take the rest, says `stopped` and
    /// disconnects. What the broker didn't take stays in the outbox.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut reachable = true;
        while !shutdown.is_cancelled() {
            let began = Instant::now();
            let ended = Session::run(&mut self, &shutdown).await;
            self.counts.mqtt_disconnected();
            match ended {
                Ended::Shutdown => break,
                Ended::Lost { was_connected, reason } => {
                    if reachable || was_connected {
                        tracing::warn!(%reason, "The MQTT broker is out of reach; trying again.");
                    }
                    reachable = false;
                    if was_connected && began.elapsed() >= STABLE_AFTER {
                        self.backoff.reset();
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(self.backoff.delay()) => {}
                () = shutdown.cancelled() => {}
            }
        }
        tracing::info!(waiting = self.outbox.len(), "MQTT delivery has ended.");
    }
}

#[cfg(test)]
mod tests;
