//! Both outlets: the exposition for Prometheus and the numbers for MQTT and the page.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::PREFIX;
use super::counts::Counts;
use super::flat::flat;
use super::reading::Sources;
use crate::deliver::payload::Metrics;

/// Time between two readings for MQTT and the page.
const READ_EVERY: Duration = Duration::from_secs(5);

/// The one registry of the process.
#[derive(Debug)]
pub struct Exporter {
    counts: Counts,
    sources: Arc<Sources>,
    registry: Registry,
    /// The numbers for MQTT and the page.
    flat: watch::Sender<Metrics>,
}

impl Exporter {
    /// Registers everything. `boot_id` is this run of the daemon, `typing` the version of the typing thresholds.
    pub fn new(counts: Counts, sources: Sources, boot_id: &str, typing: &str) -> Exporter {
        let sources = Arc::new(sources);
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix(PREFIX);
        let info = |labels: Vec<(&'static str, String)>| {
            let family = Family::<Vec<(&'static str, String)>, Gauge>::default();
            family.get_or_create(&labels).set(1);
            family
        };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let build = info(vec![("version", version), ("typing", typing.to_owned())]);
        own.register("build_info", "Versions of the program and of the typing thresholds", build);
        let boot = info(vec![("boot_id", boot_id.to_owned())]);
        own.register(
            "boot_info",
            "This run of the daemon, as in what it publishes over MQTT",
            boot,
        );
        counts.register(own);
        registry.register_collector(Box::new(Arc::clone(&sources)));
        Exporter { counts, sources, registry, flat: watch::Sender::default() }
    }

    /// The numbers of the MQTT topic `metrics`, kept fresh by [`Exporter::run`].
    pub fn subscribe(&self) -> watch::Receiver<Metrics> {
        self.flat.subscribe()
    }

    /// The exposition, of type [`CONTENT_TYPE`](super::CONTENT_TYPE). Blocks on the disk.
    pub fn exposition(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes whatever is written");
        text
    }

    /// Reads every few seconds what MQTT and the page tell, until `shutdown`.
    pub async fn run(self: Arc<Exporter>, shutdown: CancellationToken) {
        let mut ticks = interval(READ_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let exporter = Arc::clone(&self);
            let read = move || {
                exporter.flat.send_replace(flat(&exporter.counts, &exporter.sources.read()));
            };
            if tokio::task::spawn_blocking(read).await.is_err() {
                tracing::error!("Reading the metrics ended in a panic.");
            }
        }
    }
}
