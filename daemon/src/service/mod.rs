//! The daemon: every stage at its place, started in order and stopped in order.
//!
//! Owns the tasks (DICOM port, watched folder, worker, delivery over MQTT and to the PACS, page) and the state folder:
//!
//! ```text
//! {state_dir}/instances/{study_ref}/    what was received        {state_dir}/index/    sled
//! {state_dir}/results/{study_ref}/r0001/  one folder a revision  {state_dir}/outbox/   messages
//! {state_dir}/site.key                  unless one is configured {state_dir}/pacs/     what waits for it
//! {state_dir}/page.token                likewise               {state_dir}/reading/  reading lists
//! {state_dir}/commands.json             what was asked for     {state_dir}/bundles/  other networks
//! ```
//!
//! Promises: what is found on disk at start is taken up again, whatever the last run was doing when it
//! ended.

pub(crate) mod announce;
mod commands;
mod intake;
mod networks;
mod reload;
pub(crate) mod site_key;
mod worker;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::audit::{Auditor, Author, Event, Socket};
use crate::bundles;
use crate::config::Config;
use crate::deliver::commands::Desk;
use crate::deliver::mqtt::Feeds;
use crate::deliver::{Delivery, Identity, Outbox};
use crate::metrics::{self, CertificateFile, Counts, Exporter};
use crate::pacs::Pacs;
use crate::ports::KeptPort;
use crate::reading::ReadingStore;
use crate::receive::{self, InstanceSink, InstanceStore, Server};
use crate::storage::{self, Keeper};
use crate::store::index::{InstanceFile, Opened, unix_ms};
use crate::store::{Index, ResultStore};
use crate::supervision::{self, Pulse};
use crate::{page, status};

use announce::Announcer;
use commands::Executor;
use intake::Intake;
use networks::Networks;
use worker::Worker;

pub use reload::serve;

/// When the process began. A reload makes another service in the same one.
static PROCESS_STARTED: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);

/// A daemon whose ports are open and whose files are in order, ready to run.
pub struct Service {
    config: Config,
    server: Server,
    store: Arc<InstanceStore>,
    sink: Arc<dyn InstanceSink>,
    worker: Worker,
    delivery: Delivery,
    executor: Executor,
    pacs: Arc<Pacs>,
    page: page::Server,
    exporter: Arc<Exporter>,
    status: status::Writer,
    counts: Counts,
    auditor: Auditor,
    syslog: Socket,
    config_refused: Arc<AtomicBool>,
}

/// What one configuration's service leaves to the next one's: who sends meanwhile waits, and nothing is counted anew.
pub struct Handover {
    index: Index,
    counts: Counts,
    dicom_port: KeptPort,
    page_port: KeptPort,
    auditor: Auditor,
    syslog: Socket,
}

impl Handover {
    /// No service follows: the process ends.
    pub async fn end(self) {
        self.auditor.note(&Event::Stopped);
        self.syslog.close().await;
    }
}

impl Service {
    /// Opens everything that can fail: bundles, stores, ports. `former` is what the service before it in this process left.
    ///
    /// # Errors
    /// A bundle doesn't verify, the state folder isn't usable, or a port is taken.
    pub async fn start(
        config: Config,
        mut former: Option<&mut Handover>,
    ) -> anyhow::Result<Service> {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "modicd starts.");
        let is_first = former.is_none();
        let counts = former.as_ref().map_or_else(Counts::default, |former| former.counts.clone());
        let author = Author {
            site: config.mqtt.site.clone(),
            device: config.mqtt.device.clone(),
            ae_title: config.receive.ae_title.clone(),
        };
        let mut syslog = Socket::new(&config.audit, counts.clone());
        let lasting = former.as_ref().map_or(&syslog, |former| &former.syslog);
        let auditor = Auditor::new(&config.audit, author, counts.clone(), lasting);
        let (prepared, kept) = (config.clone(), former.as_ref().map(|former| former.index.clone()));
        let (counting, auditing) = (counts.clone(), auditor.clone());
        let parts =
            tokio::task::spawn_blocking(move || open(&prepared, kept, &counting, &auditing))
                .await
                .context("opening the state folder ended in a panic")??;
        let Parts { key, store, index, results, outbox, pacs, bundles, networks } = parts;

        let identity = Identity::new(&config.mqtt.device, config.mqtt.time_precision);
        let topics = config.mqtt.topics()?;
        let announcer = Arc::new(Announcer::new(
            identity.clone(),
            topics.clone(),
            Arc::clone(&outbox),
            config.mqtt.retain_findings,
        ));
        let (health_sender, health) = watch::channel(Default::default());
        let read = metrics::Sources {
            index: index.clone(),
            outbox: Arc::clone(&outbox),
            outbox_limits: (&config.mqtt).into(),
            pacs: Arc::clone(&pacs),
            health: health.clone(),
            state_dir: config.state_dir.clone(),
            certificates: CertificateFile::all(&config),
            started: *PROCESS_STARTED,
        };
        let exporter = Arc::new(Exporter::new(
            counts.clone(),
            read,
            &identity.boot_id,
            &config.modic.typing_version,
        ));
        let readings = ReadingStore::new(&config.state_dir);
        let sources = page::Sources {
            index: index.clone(),
            results: results.clone(),
            quiet_period: config.worker.quiet_period(),
            readings: readings.clone(),
            outbox: Arc::clone(&outbox),
            info: networks.info(),
            health: health.clone(),
            metrics: exporter.subscribe(),
            exporter: Arc::clone(&exporter),
            auditor: auditor.clone(),
        };
        let keeper = Keeper::new(
            config.storage.clone(),
            config.worker.quiet_period(),
            storage::Sources {
                state_dir: config.state_dir.clone(),
                instances: Arc::clone(&store),
                results: results.clone(),
                index: index.clone(),
                outbox: Arc::clone(&outbox),
                pacs: Arc::clone(&pacs),
                readings,
            },
            counts.clone(),
            auditor.clone(),
        );
        let port = former.as_mut().map(|former| &mut former.page_port);
        let page = page::Server::bind(&config.page, &config.state_dir, &key, sources, port).await?;
        let (status_info, status_health) = (networks.info(), health.clone());
        let status_outbox = Arc::clone(&outbox);
        let feeds = Feeds {
            info: networks.info(),
            bundles: networks.states(),
            health,
            metrics: exporter.subscribe(),
        };
        let ledger = config.state_dir.join("commands.json");
        let allow = &config.mqtt.commands.allow;
        let (desk, waiting) = Desk::open(
            &ledger,
            allow,
            identity.clone(),
            topics,
            Arc::clone(&outbox),
            auditor.clone(),
        );
        let desk = Arc::new(desk);
        let delivery = Delivery::new(&config.mqtt, identity, outbox, Arc::clone(&desk), feeds)?
            .counted_by(counts.clone());
        let executor =
            Executor { config: config.clone(), index: index.clone(), bundles, desk, waiting };
        let intake = Intake::new(index.clone(), Arc::clone(&announcer), counts.clone());
        let sink: Arc<dyn InstanceSink> = Arc::new(intake);
        let commitments = pacs.awaits_commitment().then(|| Arc::clone(&pacs) as _);
        let server = Server::bind(
            config.receive.clone(),
            Arc::clone(&store),
            Arc::clone(&sink),
            commitments,
            counts.clone(),
            auditor.clone(),
            former.as_mut().map(|former| &mut former.dicom_port),
        )
        .await?;
        let config_refused = Arc::<AtomicBool>::default();
        let stall_after = Duration::from_secs_f64(config.worker.stall_after_s);
        let mut status = status::Writer {
            state_dir: config.state_dir.clone(),
            dicom: server.local_addr().to_string(),
            page: page.address().to_string(),
            info: status_info,
            health: status_health,
            metrics: exporter.subscribe(),
            outbox: status_outbox,
        };
        // After a reload the clock is asked, and not waited for again.
        let wait_s = config.worker.clock_wait_s;
        let clock_wait =
            (wait_s > 0.0).then(|| Duration::from_secs_f64(if is_first { wait_s } else { 0.0 }));
        let worker = Worker {
            config: config.worker.clone(),
            study: config.study.clone(),
            networks,
            store: Arc::clone(&store),
            index,
            results,
            announcer,
            pacs: Arc::clone(&pacs),
            health: health_sender,
            looked_at: Default::default(),
            failed: Default::default(),
            counts: counts.clone(),
            pulse: Pulse::new("the worker", stall_after),
            config_refused: Arc::clone(&config_refused),
            clock_wait,
            clock: supervision::Clock::Unknown,
            reasons: Default::default(),
            keeper,
        };
        match former {
            Some(former) => syslog.take_over(&mut former.syslog),
            None => auditor.note(&Event::Started),
        }
        // Whoever asks after the box as soon as it is ready finds a daemon that runs.
        status.write(false);
        Ok(Service {
            config,
            server,
            store,
            sink,
            worker,
            delivery,
            executor,
            pacs,
            page,
            exporter,
            status,
            counts,
            auditor,
            syslog,
            config_refused,
        })
    }

    /// The DICOM port's address.
    pub fn dicom_address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// The page's address.
    pub fn page_address(&self) -> SocketAddr {
        self.page.address()
    }

    /// The page's address with the token that opens it: for the person who started the daemon alone.
    pub fn page_address_with_token(&self) -> String {
        self.page.address_with_token()
    }

    /// Set when a changed configuration was refused: the box says so.
    pub(crate) fn config_refused(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.config_refused)
    }

    /// Runs until `shutdown`: then the ports close, running associations and the study at work end, and what
    /// is in the outbox is offered to the broker once more. Gives what the next service in this process can go on with;
    /// dropped, it closes the ports.
    ///
    /// # Errors
    /// The index became unusable while running; a restart mends it from the files.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<Handover> {
        let Service {
            config,
            server,
            store,
            sink,
            worker,
            delivery,
            executor,
            pacs,
            page,
            exporter,
            status,
            counts,
            auditor,
            syslog,
            config_refused: _,
        } = self;
        let index = worker.index.clone();
        let dicom_port = server.keep_open().context("can't keep the DICOM port")?;
        let page_port = page.keep_open().context("can't keep the page's port")?;
        let pulses = vec![worker.pulse.clone(), delivery.pulse()];
        let receiving = shutdown.child_token();
        let delivering = CancellationToken::new();
        let auditing = CancellationToken::new();
        let syslog = tokio::spawn(syslog.run(auditing.clone()));
        let server = tokio::spawn(server.run(receiving.clone()));
        let folder = tokio::spawn({
            let (receiving, auditor) = (receiving.clone(), auditor.clone());
            async move { receive::watch_folder(&config.receive, store, sink, auditor, receiving).await }
        });
        let delivery = tokio::spawn(delivery.run(delivering.clone()));
        let pacs = tokio::spawn(pacs.run(delivering.clone()));
        let executor = tokio::spawn(executor.run(receiving.clone()));
        let page = tokio::spawn(page.run(receiving.clone()));
        let exporter = tokio::spawn(exporter.run(delivering.clone()));
        let status = tokio::spawn(status.run(delivering.clone()));
        let watchdog = tokio::spawn(supervision::watch(pulses, delivering.clone()));
        let worked = worker.run(shutdown).await;
        receiving.cancel();
        for task in [server, folder, executor, page] {
            task.await.context("a task ended in a panic")?;
        }
        delivering.cancel();
        exporter.await.context("reading the metrics ended in a panic")?;
        delivery.await.context("MQTT delivery ended in a panic")?;
        pacs.await.context("delivery to the PACS ended in a panic")?;
        status.await.context("writing the status ended in a panic")?;
        watchdog.await.context("feeding the watchdog ended in a panic")?;
        auditing.cancel();
        let syslog = syslog.await.context("sending audit messages ended in a panic")?;
        let handover = Handover { index, counts, dicom_port, page_port, auditor, syslog };
        tracing::info!("modicd has stopped.");
        match worked {
            Ok(()) => Ok(handover),
            Err(error) => {
                handover.end().await;
                Err(error)
            }
        }
    }
}

/// What is opened before the first task runs.
struct Parts {
    key: Vec<u8>,
    store: Arc<InstanceStore>,
    index: Index,
    results: ResultStore,
    outbox: Arc<Outbox>,
    pacs: Arc<Pacs>,
    bundles: Arc<bundles::Store>,
    networks: Networks,
}

/// `kept` was opened and compared with the files before.
fn open(
    config: &Config,
    kept: Option<Index>,
    counts: &Counts,
    auditor: &Auditor,
) -> anyhow::Result<Parts> {
    let state = &config.state_dir;
    std::fs::create_dir_all(state).with_context(|| format!("can't make {}", state.display()))?;
    let key = site_key::load(config.site_key_file.as_deref(), state)?;
    let limit = config.receive.max_object_bytes;
    let store = InstanceStore::open(state.join("instances"), key.clone(), limit)?;
    let store = store
        .with_max_study(config.receive.max_study_instances, config.receive.max_study_bytes)
        .leaving_free(config.storage.min_free_bytes);
    let store = Arc::new(store);
    let results = ResultStore::open(state)?;
    let index = kept.map_or_else(|| open_index(state, &store, &results), Ok)?;
    let outbox = Arc::new(Outbox::open(&state.join("outbox"), (&config.mqtt).into())?);
    let pacs = Arc::new(Pacs::open(state, &config.pacs, &results, counts, auditor)?);
    let bundles = Arc::new(bundles::Store::new(config)?);
    bundles.process_begins();
    let networks = Networks::load(config, Arc::clone(&bundles), counts.clone())?;
    Ok(Parts { key, store, index, results, outbox, pacs, bundles, networks })
}

/// How often the service manager hears that a long start goes on.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Opens the index and makes it agree with the files.
fn open_index(state: &Path, store: &InstanceStore, results: &ResultStore) -> anyhow::Result<Index> {
    let (index, opened) = Index::open(&state.join("index"))?;
    if let Opened::Rebuilt { moved_to } = &opened {
        tracing::warn!(
            moved_to = %moved_to.display(),
            "The index could not be opened; it is built anew from the files."
        );
    }
    // What the index doesn't know is read whole: after damage that is everything, which may take longer than a start may.
    let mut told = Instant::now();
    let files = instance_files(store)?.into_iter().inspect(|_| {
        if told.elapsed() >= TELL_EVERY {
            supervision::starting("Starting: the index is built from the files.", 10 * TELL_EVERY);
            told = Instant::now();
        }
    });
    let done = index.reconcile(files, results.all()?)?;
    tracing::info!(
        instances_added = done.instances_added,
        instances_removed = done.instances_removed,
        results_added = done.results_added,
        studies_removed = done.studies_removed,
        unreadable = done.unreadable,
        "The index agrees with the files."
    );
    Ok(index)
}

fn instance_files(store: &InstanceStore) -> anyhow::Result<Vec<InstanceFile>> {
    let mut found = Vec::new();
    for (study_ref, files) in store.list()? {
        for path in files {
            let modified = path.metadata().and_then(|m| m.modified()).unwrap_or(SystemTime::now());
            let name = intake::instance_name(&path);
            let modified_ms = unix_ms(modified);
            found.push(InstanceFile { study_ref: study_ref.clone(), name, path, modified_ms });
        }
    }
    Ok(found)
}
