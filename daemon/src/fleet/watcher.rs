//! The subscriber: enters in the ledger what the broker hands out.
//!
//! It keeps a session at the broker, so that messages which arrive while it is away for a moment, because the broker was
//! restarted, wait for it there; the broker must have persistence for that. The session is removed at the end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS, SubscribeReasonCode,
};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, Received};
use crate::deliver::Config;
use crate::deliver::mqtt::options_3;

/// How long the broker may take for one thing that is asked of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pause before connecting again; shorter than any box's, so that the subscriber is there first.
const RECONNECT_AFTER: Duration = Duration::from_millis(100);

/// Room in rumqttc's queue; nothing but SUBSCRIBE and DISCONNECT goes through it.
const QUEUE: usize = 4;

/// A time without the broker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outage {
    pub lost: Instant,
    pub back: Instant,
}

/// The subscriber of a run.
pub(super) struct Watcher {
    options: MqttOptions,
    task: JoinHandle<()>,
    stop: CancellationToken,
    outages: Arc<Mutex<Vec<Outage>>>,
}

impl Watcher {
    /// Subscribes; returns when the subscription stands.
    ///
    /// # Errors
    /// The broker is out of reach, or refuses.
    pub(super) async fn start(config: &Config, ledger: Arc<Ledger>) -> anyhow::Result<Watcher> {
        let name = format!("modicd-fleet-{:08x}", rand::random::<u32>());
        let mut options = options_of(config, &name)?;
        options.set_clean_session(false);
        let (client, mut events) = AsyncClient::new(options.clone(), QUEUE);
        client.try_subscribe(ledger.filter(), QoS::AtLeastOnce)?;
        timeout(PATIENCE, subscribed(&mut events))
            .await
            .context("the broker doesn't answer")?
            .context("can't subscribe at the broker")?;
        let (stop, outages) = (CancellationToken::new(), Arc::default());
        let watching = watch(client, events, ledger, Arc::clone(&outages));
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = watching => {}
                () = stopped => {}
            }
        });
        Ok(Watcher { options, task, stop, outages })
    }

    /// Ends, and takes its session from the broker; gives the times without the broker.
    pub(super) async fn stop(mut self) -> anyhow::Result<Vec<Outage>> {
        self.stop.cancel();
        self.task.await.context("the subscriber ended in a panic")?;
        self.options.set_clean_session(true);
        if let Err(error) = connect_once(self.options).await {
            tracing::warn!(
                error = format!("{error:#}"),
                "The subscriber's session stays at the broker."
            );
        }
        Ok(std::mem::take(&mut *self.outages.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Makes the broker close the connection of a box: a second client of its name connects and leaves again.
pub(super) async fn take_over(config: &Config) -> anyhow::Result<()> {
    connect_once(options_of(config, &config.client_id())?).await
}

/// The options of a box, with another name.
fn options_of(config: &Config, client_id: &str) -> anyhow::Result<MqttOptions> {
    let config = Config { client_id: Some(client_id.to_owned()), ..config.clone() };
    Ok(options_3(&config)?)
}

/// Connects and says goodbye at once, so that no will is published.
async fn connect_once(options: MqttOptions) -> anyhow::Result<()> {
    let (client, mut events) = AsyncClient::new(options, QUEUE);
    let visit = async {
        loop {
            match events.poll().await? {
                Event::Incoming(Packet::ConnAck(_)) => client.try_disconnect()?,
                Event::Outgoing(Outgoing::Disconnect) => return Ok(()),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, visit).await.context("the broker doesn't answer")?
}

/// Waits for the answer to SUBSCRIBE.
async fn subscribed(events: &mut EventLoop) -> anyhow::Result<()> {
    loop {
        if let Event::Incoming(Packet::SubAck(answer)) = events.poll().await? {
            if answer.return_codes.contains(&SubscribeReasonCode::Failure) {
                bail!("the broker refuses the subscription");
            }
            return Ok(());
        }
    }
}

/// Enters messages, for ever, through whatever happens to the connection.
async fn watch(
    client: AsyncClient,
    mut events: EventLoop,
    ledger: Arc<Ledger>,
    outages: Arc<Mutex<Vec<Outage>>>,
) {
    let mut lost: Option<Instant> = None;
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::Publish(publish))) => ledger.received(&Received {
                topic: &publish.topic,
                payload: &publish.payload,
                retained: publish.retain,
                dup: publish.dup,
                at: Instant::now(),
            }),
            Ok(Event::Incoming(Packet::ConnAck(answer))) => {
                if let Some(lost) = lost.take() {
                    let outage = Outage { lost, back: Instant::now() };
                    outages.lock().unwrap_or_else(PoisonError::into_inner).push(outage);
                }
                if !answer.session_present {
                    tracing::warn!(
                        "The broker forgot the subscription: what came meanwhile is lost to it."
                    );
                    // The queue is empty, so there is room.
                    let _ = client.try_subscribe(ledger.filter(), QoS::AtLeastOnce);
                }
            }
            Ok(_) => {}
            Err(error) => {
                if lost.is_none() {
                    tracing::warn!(%error, "The subscriber lost the broker; trying again.");
                }
                lost.get_or_insert_with(Instant::now);
                sleep(RECONNECT_AFTER).await;
            }
        }
    }
}
