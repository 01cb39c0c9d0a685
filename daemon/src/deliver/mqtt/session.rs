//! One connection, from CONNECT to its end.

use std::{
    collections::BTreeSet,
    fmt::Display,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rumqttc::QoS;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Delivery,
    link::{self, Client, Happened, QueueFull},
    window::Window,
};
use crate::bundles::Network;
use crate::deliver::{
    HealthReason, Seq, TimePrecision,
    alarm::{Alarm, AlarmState},
    outbox::{Outbox, OutboxError},
    payload::{Envelope, EventId, Health, Metrics},
    topics::{availability, schema},
};

/// Time between two messages on `metrics`.
const METRICS_EVERY: Duration = Duration::from_secs(30);

/// Time between two messages on `health` when nothing changes.
const HEALTH_EVERY: Duration = Duration::from_secs(60);

/// A broker that acknowledges nothing for this long is left and connected to again.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(60);

/// After this long a message that the broker refused is tried again, on a new connection.
const REFUSED_AGAIN_AFTER: Duration = Duration::from_secs(300);

/// After this long what the disk didn't let leave the outbox is removed again.
const LEAVES_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Time that `stopped` and DISCONNECT may take.
const GOODBYE_LIMIT: Duration = Duration::from_secs(2);

/// Room in rumqttc's queue for what isn't in the window: metrics and DISCONNECT.
const BESIDE_WINDOW: usize = 4;

/// How a connection ended.
pub(super) enum Ended {
    /// On request.
    Shutdown,
    /// By itself, or it never came about.
    Lost { was_connected: bool, reason: String },
}

/// Why a connection is given up from our side.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("could not read the outbox: {0}")]
    Outbox(#[from] OutboxError),
    #[error(transparent)]
    Queue(#[from] QueueFull),
    #[error("the broker acknowledges nothing")]
    Unacknowledged,
    #[error("the broker refused a message, which is sent again")]
    Refused,
}

/// Retained state with one topic each; published in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Availability,
    Info,
    Health,
    Alarm(HealthReason),
    Bundle(Network),
    Discovery,
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No CONNACK yet.
    Connecting,
    /// Publishing.
    Open,
    /// Shutting down, publishing still.
    Draining { until: Instant },
    /// Shutting down; `stopped` is the last message.
    Stopping { until: Instant },
    /// Shutting down; DISCONNECT is in rumqttc's queue.
    Disconnecting { until: Instant },
}

/// One connection and what is under way on it.
pub(super) struct Session<'a> {
    delivery: &'a mut Delivery,
    client: Client,
    phase: Phase,
    window: Window,
    /// The newest message of the outbox published on this connection.
    cursor: Seq,
    /// Retained state to publish as soon as there is room.
    stale: BTreeSet<State>,
    /// The health published last.
    told: Option<Health>,
    /// When the first message was refused that is still in the outbox.
    refused: Option<Instant>,
    /// Acknowledged, and still in the outbox since the disk refused.
    leaving: BTreeSet<Seq>,
    /// When the disk refused last.
    leaving_since: Instant,
}

impl<'a> Session<'a> {
    /// Connects and publishes, until the connection is lost or `shutdown`.
    pub(super) async fn run(delivery: &'a mut Delivery, shutdown: &CancellationToken) -> Ended {
        let options = delivery.options.clone();
        let window = Window::new(delivery.inflight);
        let (client, mut event_loop) = link::open(options, window.room() + BESIDE_WINDOW);
        let outbox = Arc::clone(&delivery.outbox);
        let mut health = delivery.feeds.health.clone();
        let mut info = delivery.feeds.info.clone();
        let mut bundles = delivery.feeds.bundles.clone();
        let mut metrics_due = every(METRICS_EVERY);
        let mut health_due = every(HEALTH_EVERY);
        let mut session = Session {
            delivery,
            client,
            phase: Phase::Connecting,
            window,
            cursor: 0,
            stale: BTreeSet::new(),
            told: None,
            refused: None,
            leaving: BTreeSet::new(),
            leaving_since: Instant::now(),
        };
        loop {
            // poll() isn't cancel-safe: it runs to its end while other things happen beside it. None of
            // them may wait for rumqttc's queue, which only poll() empties (bytebeamio/rumqtt 263, 1025).
            let poll = event_loop.poll();
            tokio::pin!(poll);
            let event = loop {
                session.delivery.pulse.beat();
                let mut kept = Ok(());
                tokio::select! {
                    event = &mut poll => break event,
                    () = shutdown.cancelled(), if session.is_running() => {
                        if session.phase == Phase::Connecting {
                            return Ended::Shutdown;
                        }
                        let until = Instant::now() + session.delivery.drain_limit;
                        session.phase = Phase::Draining { until };
                    }
                    () = sleep_until(session.deadline()), if !session.is_running() => {
                        if !matches!(session.phase, Phase::Draining { .. }) {
                            return Ended::Shutdown;
                        }
                        session.stop();
                    }
                    () = outbox.filled() => {}
                    Ok(()) = health.changed() => session.note_health(&health.borrow_and_update()),
                    Ok(()) = info.changed() => session.note_change([State::Info]),
                    Ok(()) = bundles.changed() => session.note_change(Network::ALL.iter().copied().map(State::Bundle)),
                    _ = health_due.tick() => { session.stale.insert(State::Health); }
                    _ = metrics_due.tick() => kept = session.publish_metrics(),
                }
                if let Err(e) = session.advance().await.and(kept) {
                    return session.lost(e);
                }
            };
            match event {
                Ok(Happened::Disconnected) => return Ended::Shutdown,
                Ok(happened) => session.note(happened).await,
                Err(e) => return session.lost(e),
            }
            if let Err(e) = session.advance().await {
                return session.lost(e);
            }
        }
    }

    /// Whether no shutdown has begun.
    fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Open)
    }

    /// When the phase ends at the latest; meaningful during a shutdown only.
    fn deadline(&self) -> Instant {
        match self.phase {
            Phase::Connecting | Phase::Open => Instant::now(),
            Phase::Draining { until }
            | Phase::Stopping { until }
            | Phase::Disconnecting { until } => until,
        }
    }

    /// Leaves the rest in the outbox and says goodbye.
    fn stop(&mut self) {
        self.phase = Phase::Stopping { until: Instant::now() + GOODBYE_LIMIT };
        self.stale = BTreeSet::from([State::Availability]);
    }

    fn lost(&self, reason: impl Display) -> Ended {
        let was_connected = self.phase != Phase::Connecting;
        Ended::Lost { was_connected, reason: reason.to_string() }
    }

    /// Takes note of what rumqttc reports.
    async fn note(&mut self, happened: Happened) {
        match happened {
            Happened::Connected { receive_maximum } => {
                tracing::info!(
                    waiting = self.delivery.outbox.len(),
                    "Connected to the MQTT broker."
                );
                self.phase = Phase::Open;
                if self.delivery.desk.is_open()
                    && let Err(error) = self.client.subscribe(self.delivery.topics.commands())
                {
                    tracing::error!(%error, "Commands can't be subscribed to.");
                }
                if let Some(maximum) = receive_maximum {
                    self.window.shrink_to(maximum);
                }
                self.delivery.counts.mqtt_connected(self.delivery.was_connected);
                self.delivery.was_connected = true;
                self.stale = BTreeSet::from([State::Availability, State::Info, State::Health]);
                // The ones that don't stand too: an earlier process may have left them raised.
                self.stale.extend(HealthReason::ALL.iter().copied().map(State::Alarm));
                self.stale.extend(Network::ALL.iter().copied().map(State::Bundle));
                self.stale.extend(self.delivery.discovery.as_ref().map(|_| State::Discovery));
            }
            Happened::Sent { packet_id } => self.window.sent(packet_id),
            Happened::Refused { packet_id, reason } => {
                // It stays in the outbox; what comes after it isn't held up.
                let seq = self.window.acknowledged(packet_id);
                tracing::warn!(?reason, seq, "The MQTT broker refused a message.");
                if seq.is_some() {
                    self.refused.get_or_insert_with(Instant::now);
                }
            }
            Happened::Acknowledged { packet_id } => {
                if let Some(wait) = self.window.wait(packet_id) {
                    self.delivery.counts.mqtt_acknowledged(wait);
                }
                if let Some(seq) = self.window.acknowledged(packet_id)
                    && let Err(error) =
                        on_disk(&self.delivery.outbox, move |outbox| outbox.acknowledge(seq)).await
                {
                    tracing::warn!(%error, seq, "A sent message could not leave the outbox.");
                    self.leaving.insert(seq);
                    self.leaving_since = Instant::now();
                }
            }
            Happened::Received { topic, payload, retained } => {
                let desk = Arc::clone(&self.delivery.desk);
                let receive = move || desk.receive(&topic, &payload, retained, SystemTime::now());
                if let Err(error) = blocking(receive).await {
                    tracing::warn!(%error, "A command could not be answered.");
                }
            }
            Happened::Disconnected | Happened::Other => {}
        }
    }

    /// Publishes health again when its status or reasons aren't those told last, and the alarms that differ.
    fn note_health(&mut self, health: &Health) {
        let Some(told) = self.told.as_ref().filter(|_| self.phase == Phase::Open) else { return };
        let reasons = HealthReason::ALL.iter().copied();
        let changed = reasons.filter(|r| told.reasons.since(*r) != health.reasons.since(*r));
        self.stale.extend(changed.map(State::Alarm));
        if told.status != health.status || told.reasons != health.reasons {
            self.stale.insert(State::Health);
        }
    }

    /// Publishes states again.
    fn note_change(&mut self, states: impl IntoIterator<Item = State>) {
        // All are told once the connection is open.
        if self.phase == Phase::Open {
            self.stale.extend(states);
        }
    }

    /// Has what the broker took leave the outbox, where the disk refused that before.
    async fn leave_again(&mut self) {
        if self.leaving.is_empty() || self.leaving_since.elapsed() < LEAVES_AGAIN_AFTER {
            return;
        }
        self.leaving_since = Instant::now();
        for seq in self.leaving.clone() {
            let left = on_disk(&self.delivery.outbox, move |outbox| outbox.acknowledge(seq)).await;
            if left.is_ok() {
                self.leaving.remove(&seq);
            }
        }
    }

    /// Publishes what there is room for, and moves a shutdown on.
    async fn advance(&mut self) -> Result<(), SessionError> {
        if self.window.oldest_wait() >= ACKNOWLEDGED_WITHIN {
            return Err(SessionError::Unacknowledged);
        }
        if self.refused.is_some_and(|since| since.elapsed() >= REFUSED_AGAIN_AFTER) {
            return Err(SessionError::Refused);
        }
        if self.phase == Phase::Connecting {
            return Ok(());
        }
        self.leave_again().await;
        self.publish_state()?;
        if matches!(self.phase, Phase::Open | Phase::Draining { .. }) {
            self.publish_outbox().await?;
        }
        match self.phase {
            Phase::Draining { .. } if self.window.is_empty() => {
                self.stop();
                self.publish_state()?;
            }
            Phase::Stopping { until } if self.window.is_empty() && self.stale.is_empty() => {
                self.client.disconnect()?;
                self.phase = Phase::Disconnecting { until };
            }
            _ => {}
        }
        Ok(())
    }

    fn publish_state(&mut self) -> Result<(), SessionError> {
        while self.window.room() > 0
            && let Some(state) = self.stale.pop_first()
        {
            let topics = &self.delivery.topics;
            let (topic, payload) = match state {
                State::Availability if self.is_running() => {
                    (topics.availability(), availability::ONLINE.into())
                }
                State::Availability => (topics.availability(), availability::STOPPED.into()),
                State::Info => {
                    let info = self.delivery.feeds.info.borrow().clone();
                    (topics.info(), self.state(schema::INFO, &info))
                }
                State::Health => {
                    let mut health = self.delivery.feeds.health.borrow().clone();
                    health.outbox = self.delivery.outbox.health(SystemTime::now());
                    let payload = self.state(schema::HEALTH, &health);
                    self.told = Some(health);
                    (topics.health(), payload)
                }
                State::Alarm(reason) => (topics.alarm(reason), self.alarm(reason)),
                State::Bundle(network) => {
                    let bundles = self.delivery.feeds.bundles.borrow().clone();
                    let of = bundles.into_iter().find(|state| state.name == network);
                    let Some(state) = of else { continue };
                    (topics.bundle_state(network), self.state(schema::BUNDLE, &state))
                }
                State::Discovery => {
                    let Some(discovery) = &self.delivery.discovery else { continue };
                    discovery.clone()
                }
            };
            self.client.publish(topic, QoS::AtLeastOnce, true, payload)?;
            self.window.published(None);
        }
        Ok(())
    }

    async fn publish_outbox(&mut self) -> Result<(), SessionError> {
        let (cursor, room) = (self.cursor, self.window.room());
        if room == 0 {
            return Ok(());
        }
        let waiting =
            on_disk(&self.delivery.outbox, move |outbox| outbox.pending_after(cursor, room))
                .await?;
        for (seq, message) in waiting {
            let replayed = seq <= self.delivery.newest_sent
                || message.boot_id != self.delivery.identity.boot_id;
            let payload = message.encode(seq, replayed);
            self.client.publish(message.topic, QoS::AtLeastOnce, message.retain, payload)?;
            self.window.published(Some(seq));
            self.cursor = seq;
            self.delivery.newest_sent = self.delivery.newest_sent.max(seq);
        }
        Ok(())
    }

    /// Metrics aren't worth waiting for: without a connection there are none.
    fn publish_metrics(&mut self) -> Result<(), SessionError> {
        if self.phase != Phase::Open {
            return Ok(());
        }
        let outbox = self.delivery.outbox.health(SystemTime::now());
        let metrics = Metrics {
            outbox_messages: outbox.messages,
            outbox_bytes: outbox.bytes,
            outbox_oldest_age_s: outbox.oldest_age_s,
            ..self.delivery.feeds.metrics.borrow().clone()
        };
        let payload = serde_json::to_vec(&metrics).expect("numbers can be written as JSON");
        let topic = self.delivery.topics.metrics();
        Ok(self.client.publish(topic, QoS::AtMostOnce, false, payload)?)
    }

    /// A retained state in its envelope; its event is that it is published.
    fn state(&self, schema: &'static str, body: &impl Serialize) -> Vec<u8> {
        let (identity, now) = (&self.delivery.identity, SystemTime::now());
        let published = TimePrecision::Millisecond.format(now);
        let event_id = EventId::derive(&[&identity.device, &identity.boot_id, schema, &published]);
        sent_now(&Envelope::new(identity, schema, event_id, now, body))
    }

    /// An alarm in its envelope. A raised one is the same event on every connection.
    fn alarm(&self, alarm: HealthReason) -> Vec<u8> {
        let identity = &self.delivery.identity;
        let since = self.delivery.feeds.health.borrow().reasons.since(alarm);
        let state = if since.is_some() { AlarmState::Raised } else { AlarmState::Cleared };
        let time = since.unwrap_or_else(SystemTime::now);
        let event = TimePrecision::Millisecond.format(time);
        let parts = [&identity.device, &identity.boot_id, alarm.as_str(), &event];
        let since = since.map(|since| identity.time_precision.format(since));
        let body = Alarm { alarm, state, since, what_to_do: alarm.what_to_do() };
        sent_now(&Envelope::new(identity, schema::ALARM, EventId::derive(&parts), time, body))
    }
}

/// The bytes of what isn't from the outbox, and so never a repetition.
fn sent_now(envelope: &Envelope<impl Serialize>) -> Vec<u8> {
    let mut payload =
        serde_json::to_value(envelope).expect("a body of ours can be written as JSON");
    payload["replayed"] = Value::Bool(false);
    payload.to_string().into_bytes()
}

/// Runs a use of the outbox where it may block.
async fn on_disk<T: Send + 'static>(
    outbox: &Arc<Outbox>,
    work: impl FnOnce(&Outbox) -> Result<T, OutboxError> + Send + 'static,
) -> Result<T, OutboxError> {
    let outbox = Arc::clone(outbox);
    blocking(move || work(&outbox)).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("the outbox and the desk don't panic, and nobody cancels their work")
}

/// A timer whose first tick comes at random between half a period and one and a half from now, so that boxes that lost
/// the same broker don't all speak at the same moment ever after.
fn every(period: Duration) -> tokio::time::Interval {
    let first = period.mul_f64(rand::random_range(0.5..1.5));
    let mut timer = interval_at(Instant::now() + first, period);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn boxes_that_connect_together_do_not_speak_together_ever_after() {
        let period = Duration::from_millis(400);
        let mut timers: Vec<_> = (0..200).map(|_| every(period)).collect();
        tokio::time::sleep(period).await;
        let mut ticked = 0;
        for timer in &mut timers {
            tokio::select! {
                biased;
                _ = timer.tick() => ticked += 1,
                () = std::future::ready(()) => {}
            }
        }
        assert!((20..180).contains(&ticked), "{ticked} of 200 within a period");
    }
}
