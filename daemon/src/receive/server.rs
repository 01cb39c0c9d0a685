//! The DICOM port: accepts connections under a limit, and drains them at a stop.

use super::association::{Shared, run};
use super::config::Config;
use super::sink::{CommitmentSink, InstanceSink};
use super::spool::InstanceStore;
use super::upload::Destination;
use crate::metrics::Counts;
use crate::ports::{self, KeptPort};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Connections beyond `max_associations` that are still read, to tell the peer why it is rejected; one
/// more is closed unread.
const SPARE_CONNECTIONS: usize = 16;
/// Pause after a failed accept, which mostly means that file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// How long aborted associations may take to end.
const ABORT_GRACE: Duration = Duration::from_secs(5);

/// The DICOM port can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("can't listen for DICOM associations on {address}")]
pub struct ServeError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// The C-ECHO and C-STORE provider, listening.
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    /// Opens the port; peers that connect now are served once [`Server::run`] runs. Without a sink for them, reports on
    /// storage commitment are refused. `former` is the port of the daemon's former configuration.
    ///
    /// # Errors
    /// When the address can't be bound.
    pub async fn bind(
        config: Config,
        store: Arc<InstanceStore>,
        sink: Arc<dyn InstanceSink>,
        commitments: Option<Arc<dyn CommitmentSink>>,
        counts: Counts,
        former: Option<&mut KeptPort>,
    ) -> Result<Server, ServeError> {
        let address = config.bind;
        let failed = |source| ServeError { address, source };
        let listener = ports::open(address, former).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let shared = Shared {
            associations: Semaphore::new(config.max_associations),
            destination: Destination { store, sink },
            commitments,
            counts,
            config,
        };
        Ok(Server { listener, local_addr, shared: Arc::new(shared) })
    }

    /// The address listened on, with the port that the system chose if port 0 was configured.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Another handle of the port, which keeps it open after the end of [`Server::run`].
    pub fn keep_open(&self) -> io::Result<KeptPort> {
        KeptPort::of(&self.listener)
    }

    /// Serves associations until `shutdown`; then lets the running ones finish within the grace time and
    /// aborts the rest.
    pub async fn run(self, shutdown: CancellationToken) {
        let Server { listener, local_addr, shared } = self;
        let ae_title = &shared.config.ae_title;
        info!(address = %local_addr, %ae_title, "The DICOM port is open.");
        let stop = CancellationToken::new();
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                Some(ended) = connections.join_next() => {
                    log_panic(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let limit = shared.config.max_associations + SPARE_CONNECTIONS;
                    if connections.len() >= limit {
                        warn!(peer = %peer.ip(), limit, "A connection too many was closed.");
                        continue;
                    }
                    set_options(&stream);
                    let shared = Arc::clone(&shared);
                    connections.spawn(run(stream, peer.ip(), shared, stop.clone()));
                }
                Err(e) => {
                    warn!(error = %e, "A connection could not be accepted.");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        drain(connections, stop, shared.config.shutdown_grace()).await;
        info!("The DICOM port is closed.");
    }
}

async fn drain(mut connections: JoinSet<()>, stop: CancellationToken, grace: Duration) {
    if timeout(grace, finish_all(&mut connections)).await.is_err() {
        warn!(
            associations = connections.len(),
            "Associations are aborted, since the daemon stops."
        );
        stop.cancel();
        // what doesn't end even so is dropped with the set
        let _ = timeout(ABORT_GRACE, finish_all(&mut connections)).await;
    }
}

async fn finish_all(connections: &mut JoinSet<()>) {
    while let Some(ended) = connections.join_next().await {
        log_panic(ended);
    }
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(e) = ended
        && e.is_panic()
    {
        error!("An association ended in a panic; the others go on.");
    }
}

fn set_options(stream: &TcpStream) {
    // responses are short and awaited; if the option can't be set they are only slower
    if let Err(e) = stream.set_nodelay(true) {
        warn!(error = %e, "A connection stays without TCP_NODELAY.");
    }
}
