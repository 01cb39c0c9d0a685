//! The DICOM port: accepts connections under a limit, and drains them at a stop.

use super::access;
use super::association::{Shared, run, turned_away};
use super::config::Config;
use super::limits::{Limits, Place};
use super::rejection::Rejection;
use super::sink::{CommitmentSink, InstanceSink};
use super::spool::InstanceStore;
use super::upload::Destination;
use crate::audit::Auditor;
use crate::metrics::Counts;
use crate::ports::{self, KeptPort};
use crate::tls::TlsError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};
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
pub enum ServeError {
    /// Its address can't be bound.
    #[error("can't listen for DICOM associations on {address}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its certificates can't be used.
    #[error("receive.tls")]
    Tls(#[from] TlsError),
}

/// The C-ECHO and C-STORE provider, listening.
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    limits: Arc<Limits>,
    shared: Arc<Shared>,
}

impl Server {
    /// Opens the port; peers that connect now are served once [`Server::run`] runs. Without a sink for them, reports on
    /// storage commitment are refused. `former` is the port of the daemon's former configuration.
    ///
    /// # Errors
    /// When the address can't be bound, or a file of `receive.tls` can't be used.
    pub async fn bind(
        config: Config,
        store: Arc<InstanceStore>,
        sink: Arc<dyn InstanceSink>,
        commitments: Option<Arc<dyn CommitmentSink>>,
        counts: Counts,
        auditor: Auditor,
        former: Option<&mut KeptPort>,
    ) -> Result<Server, ServeError> {
        let address = config.bind;
        let failed = |source| ServeError::Bind { address, source };
        let tls = config.tls.as_ref().map(|tls| tls.acceptor()).transpose()?;
        let listener = ports::open(address, former).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let limits = Limits::new(&config);
        let shared = Shared {
            tls,
            associations: Semaphore::new(config.max_associations),
            destination: Destination { store, sink },
            commitments,
            counts,
            auditor,
            config,
        };
        Ok(Server { listener, local_addr, limits, shared: Arc::new(shared) })
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
        let Server { listener, local_addr, limits, shared } = self;
        let ae_title = &shared.config.ae_title;
        let tls = shared.tls.is_some();
        info!(address = %local_addr, %ae_title, tls, "The DICOM port is open.");
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
                    // An IPv4 peer of a port that is open for IPv6 too.
                    let peer = peer.ip().to_canonical();
                    match admit(&shared, &limits, connections.len(), peer) {
                        Ok(place) => {
                            set_options(&stream);
                            let shared = Arc::clone(&shared);
                            connections.spawn(run(stream, peer, place, shared, stop.clone()));
                        }
                        Err(rejection) => turned_away(&shared, peer, rejection, &"unread"),
                    }
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

/// What is known of a connection before anything is read.
fn admit(
    shared: &Shared,
    limits: &Arc<Limits>,
    connections: usize,
    peer: IpAddr,
) -> Result<Place, Rejection> {
    if !access::admits_address(&shared.config.peers, peer) {
        return Err(Rejection::Address);
    }
    if connections >= shared.config.max_associations + SPARE_CONNECTIONS {
        return Err(Rejection::Full);
    }
    limits.connect(peer, Instant::now()).ok_or(Rejection::PeerFull)
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
