//! A fleet of simulated boxes on one MQTT broker: does everything arrive, how soon, and what does it cost?
//!
//! Each box ([`member`]) is the real thing from the outbox to the broker: its own outbox on disk, announcer, delivery task,
//! identity and topics; only the exams ([`exams`]) are made up. A subscriber ([`watcher`]) enters what arrives in the
//! [`ledger`], which knows what was enqueued. Promises that a message is counted as arrived only when the broker handed it to
//! the subscriber. Must not be let loose on a broker in use: dashboards there would show its findings.

mod descriptors;
mod exams;
mod ledger;
mod member;
mod report;
mod watcher;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::deliver;
use crate::usage::Usage;
use ledger::Ledger;
use member::Member;
use watcher::Watcher;

pub use report::Report;

/// Boxes of one run at most: each needs a connection, and a port, of this machine.
pub const MAX_BOXES: usize = 20_000;

/// All boxes are connected within this, or the run fails.
const CONNECTED_WITHIN: Duration = Duration::from_secs(300);

/// Pause between two looks at the ledger.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many boxes.
    pub boxes: usize,
    /// The broker and the site; device and client identifier are each box's own.
    pub mqtt: deliver::Config,
    /// Exams that a box gets in an hour, on average.
    pub exams_per_hour: f64,
    /// How long exams come in once all boxes are connected.
    pub duration: Duration,
    /// The same seed gives the same exams at the same times.
    pub seed: u64,
    /// Connections that are dropped in a minute, of boxes chosen at random.
    pub drops_per_minute: f64,
    /// What was enqueued has arrived within this after the last exam, or counts as lost.
    pub patience: Duration,
    /// The broker's process on this machine, if its memory and CPU time are to be measured.
    pub broker_pid: Option<u32>,
}

/// Traffic and use of CPU and memory at one moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    traffic: ledger::Traffic,
    broker: Option<Usage>,
    own: Usage,
}

/// Runs the fleet to its end.
///
/// # Errors
/// An option makes no sense, the broker lets nobody in, or something on this machine failed. Lost messages are no error:
/// the report tells.
pub async fn run(options: Options) -> anyhow::Result<Report> {
    check(&options)?;
    descriptors::allow(options.boxes)?;
    let names: Vec<String> = (1..=options.boxes).map(|n| format!("box-{n:05}")).collect();
    let ledger = Arc::new(Ledger::new(&options.mqtt, &names)?);
    let watcher = Watcher::start(&options.mqtt, Arc::clone(&ledger)).await?;
    let sample = || -> anyhow::Result<Sample> {
        Ok(Sample {
            at: Instant::now(),
            traffic: ledger.traffic(),
            broker: options.broker_pid.map(Usage::of).transpose()?,
            own: Usage::of(std::process::id())?,
        })
    };

    let folder = tempfile::Builder::new().prefix("modicd-fleet-").tempdir()?;
    let alone = sample()?;
    let members = spawn_blocking({
        let (mqtt, names, ledger) = (options.mqtt.clone(), names.clone(), Arc::clone(&ledger));
        let folder = folder.path().to_owned();
        move || -> anyhow::Result<Vec<Member>> {
            let open = |(index, name): (usize, &String)| {
                Member::open(index, of_box(&mqtt, name), &folder.join(name), Arc::clone(&ledger))
            };
            names.iter().enumerate().map(open).collect()
        }
    });
    let members = members.await.context("opening the outboxes ended in a panic")??;
    let began = Instant::now();
    let delivering = CancellationToken::new();
    let mut deliveries = JoinSet::new();
    for member in &members {
        deliveries.spawn(member.delivery()?.run(delivering.clone()));
    }
    ensure!(
        comes_true(CONNECTED_WITHIN, || ledger.online() == options.boxes).await,
        "only {} of {} boxes were seen online in time",
        ledger.online(),
        options.boxes
    );
    let connected = sample()?;
    let until = Instant::now() + options.duration;
    let mut lives = JoinSet::new();
    for member in members {
        let seed = options.seed.wrapping_mul(1 << 20).wrapping_add(member.index as u64);
        let random = Pcg64::seed_from_u64(seed);
        lives.spawn(member.live(options.exams_per_hour, until.into(), random));
    }
    let dropped = drop_connections(&options, &names, until).await?;
    sleep_until(until.into()).await;
    let busy = sample()?;
    let mut studies = member::Studies::default();
    while let Some(life) = lives.join_next().await {
        studies += life.context("a simulated box ended in a panic")??;
    }
    // What is missing then, the report says.
    comes_true(options.patience, || ledger.missing() == 0).await;
    delivering.cancel();
    while let Some(delivery) = deliveries.join_next().await {
        delivery.context("a delivery task ended in a panic")?;
    }
    let goodbye = Duration::from_secs(options.mqtt.drain_limit_s);
    comes_true(goodbye, || ledger.stopped() == options.boxes).await;
    let outages = watcher.stop().await?;
    Ok(Report::new(&options, began, [alone, connected, busy], studies, dropped, &ledger, &outages))
}

/// The configuration of the box called `name`.
fn of_box(mqtt: &deliver::Config, name: &str) -> deliver::Config {
    deliver::Config { device: name.to_owned(), client_id: None, ..mqtt.clone() }
}

/// Waits until `condition` holds, at most `limit`; whether it did.
async fn comes_true(limit: Duration, condition: impl Fn() -> bool) -> bool {
    let holds = async {
        while !condition() {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(limit, holds).await.is_ok()
}

/// Drops connections until the end; gives how many. A second client with a box's name makes the broker close the
/// box's connection, whatever is under way on it (MQTT 3.1.1, 3.1.4).
async fn drop_connections(
    options: &Options,
    names: &[String],
    until: Instant,
) -> anyhow::Result<usize> {
    let mut dropped = 0;
    // None at all, or so few that the pause is longer than any time can be.
    let Ok(pause) = Duration::try_from_secs_f64(60.0 / options.drops_per_minute) else {
        return Ok(dropped);
    };
    let mut random = Pcg64::seed_from_u64(options.seed);
    while pause < until.saturating_duration_since(Instant::now()) {
        sleep(pause).await;
        let mqtt = of_box(&options.mqtt, &names[random.random_range(0..names.len())]);
        // Without a broker there is nothing to drop.
        dropped += usize::from(watcher::take_over(&mqtt).await.is_ok());
    }
    Ok(dropped)
}

/// Checks what the types of [`Options`] can't.
fn check(options: &Options) -> anyhow::Result<()> {
    ensure!((1..=MAX_BOXES).contains(&options.boxes), "--boxes must be between 1 and {MAX_BOXES}");
    ensure!((0.0..=3600.0).contains(&options.exams_per_hour), "at most 3600 exams an hour");
    ensure!((0.0..=6000.0).contains(&options.drops_per_minute), "at most 6000 drops a minute");
    ensure!(options.duration <= Duration::from_secs(86_400), "at most 1440 minutes");
    ensure!(options.patience <= Duration::from_secs(3600), "--patience is at most 3600 s");
    Ok(options.mqtt.validate()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn however_few_connections_are_to_be_dropped_the_run_ends() {
        for drops_per_minute in [0.0, f64::MIN_POSITIVE, 5e-18, 1e-9] {
            let options = Options {
                boxes: 1,
                mqtt: deliver::Config::default(),
                exams_per_hour: 1.0,
                duration: Duration::ZERO,
                seed: 1,
                drops_per_minute,
                patience: Duration::ZERO,
                broker_pid: None,
            };
            let until = Instant::now() + Duration::from_secs(60);
            assert_eq!(drop_connections(&options, &[], until).await.unwrap(), 0);
        }
    }
}
