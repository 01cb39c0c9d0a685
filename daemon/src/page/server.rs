//! The HTTP port: accepts connections under a limit, with TLS where it is configured, and drains them at a stop.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::access::{Access, Peer};
use super::cookie::Cookie;
use super::routes::routes;
use super::shared::{Shared, Sources};
use super::{Config, token};
use crate::ports::{self, KeptPort};
use crate::tls::TlsError;

/// Connections at a time; one more is closed unread.
const MAX_CONNECTIONS: usize = 64;
/// Of these, how many may come from one other machine, so that others find a place. A browser opens up to six.
const MAX_CONNECTIONS_PER_PEER: usize = 16;
/// A TLS handshake, and the head of a request, take no longer.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// A connection is closed when it is this old; browsers open another without a word.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// How long answers that are on their way may take at a stop.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// Pause after a failed accept, which mostly means that file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// The page can't be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    /// The address can't be bound.
    #[error("can't serve the page on {address}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its certificate or key can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Its token can't be made or read.
    #[error("the page has no token")]
    Token(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Reads every file that the configuration names, as the server will.
pub(crate) fn check_files(config: &Config) -> Result<(), PageError> {
    if let Some(file) = &config.token_file {
        token::read_file(file).map_err(|e| PageError::Token(e.into()))?;
    }
    config.tls.as_ref().map(|tls| tls.acceptor()).transpose()?;
    Ok(())
}

/// The page, listening.
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    shared: Arc<Shared>,
    token: String,
}

impl Server {
    /// Opens the port; who connects now is answered once [`Server::run`] runs. `key` is the site's, `former` the port of the
    /// daemon's former configuration.
    ///
    /// # Errors
    /// The address can't be bound, or token, certificate or key can't be read.
    pub async fn bind(
        config: &Config,
        state_dir: &Path,
        key: &[u8],
        sources: Sources,
        former: Option<&mut KeptPort>,
    ) -> Result<Server, PageError> {
        let token = token::load(config, state_dir).map_err(|e| PageError::Token(e.into()))?;
        let tls = config.tls.as_ref().map(|tls| tls.acceptor()).transpose()?;
        let failed = |source| PageError::Bind { address: config.bind, source };
        let listener = ports::open(config.bind, former).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let cookie = Cookie::new(key, &token, address.port(), tls.is_some());
        let shared = Arc::new(Shared {
            access: Access::new(token.clone(), cookie),
            sources,
            reader_guesses: Default::default(),
            summaries: Default::default(),
            loopback: address.ip().is_loopback(),
            shutdown: CancellationToken::new(),
        });
        let router = routes(Arc::clone(&shared));
        Ok(Server { listener, address, tls, router, shared, token })
    }

    /// The address listened on, with the port that the system chose if port 0 was configured.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Another handle of the port, which keeps it open after the end of [`Server::run`].
    pub fn keep_open(&self) -> io::Result<KeptPort> {
        KeptPort::of(&self.listener)
    }

    /// The page's address with the token that opens it.
    pub fn address_with_token(&self) -> String {
        token::address_with_token(self.address, self.tls.is_some(), &self.token)
    }

    /// Serves until `shutdown`; then event streams end, and running answers are finished within the grace time.
    pub async fn run(self, shutdown: CancellationToken) {
        let Server { listener, address, tls, router, shared, .. } = self;
        info!(%address, tls = tls.is_some(), "The page is served.");
        let stop = shared.shutdown.clone();
        let mut connections = JoinSet::new();
        let mut places = Places::default();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // An IPv4 peer of a port that is open for IPv6 too.
                    let peer = Peer(peer.ip().to_canonical());
                    let is_full = connections.len() >= MAX_CONNECTIONS;
                    let Some(place) = places.take(peer).filter(|_| !is_full) else {
                        warn!(peer = %peer.0, is_full, "A connection to the page too many was closed.");
                        continue;
                    };
                    let router = router.clone().layer(Extension(peer));
                    let served = serve(stream, tls.clone(), router, stop.clone());
                    connections.spawn(async move {
                        let _place = place;
                        timeout(MAX_AGE, served).await
                    });
                }
                Err(error) => {
                    warn!(%error, "A connection to the page could not be accepted.");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        stop.cancel();
        // What doesn't end even so is dropped with the set.
        let _ = timeout(SHUTDOWN_GRACE, async { while connections.join_next().await.is_some() {} })
            .await;
        info!("The page is closed.");
    }
}

/// What each address has open.
#[derive(Default)]
struct Places(HashMap<IpAddr, Arc<()>>);

impl Places {
    /// A place for a connection, taken until it is dropped; `None` when the peer's address has too many. From the box itself
    /// a tunnel or a proxy brings many.
    fn take(&mut self, peer: Peer) -> Option<Arc<()>> {
        let most = if peer.0.is_loopback() { MAX_CONNECTIONS } else { MAX_CONNECTIONS_PER_PEER };
        self.0.retain(|_, place| Arc::strong_count(place) > 1);
        let place = self.0.entry(ports::accountable(peer.0)).or_default();
        // The map's own counts too.
        (Arc::strong_count(place) <= most).then(|| Arc::clone(place))
    }
}

async fn serve(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    stop: CancellationToken,
) {
    // Answers are short and awaited; if the option can't be set they are only slower.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return answer(stream, router, stop).await };
    match timeout(HEAD_LIMIT, tls.accept(stream)).await {
        Ok(Ok(stream)) => answer(stream, router, stop).await,
        Ok(Err(error)) => debug!(%error, "A TLS handshake with the page failed."),
        Err(_) => debug!("A TLS handshake with the page took too long."),
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    stop: CancellationToken,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "A connection to the page broke off.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_connections_to_the_page_to_others() {
        let mut places = Places::default();
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| Peer(text.parse().unwrap()));
        let mut taken: Vec<_> = (0..MAX_CONNECTIONS).map_while(|_| places.take(one)).collect();
        assert_eq!(taken.len(), MAX_CONNECTIONS_PER_PEER);
        assert!(places.take(other).is_some());
        taken.pop();
        taken.extend(places.take(one));
        assert!(places.take(one).is_none());
        drop(taken);
        assert!(places.take(other).is_some());
        assert_eq!(places.0.len(), 1, "addresses without a connection are forgotten");
        let here = Peer("127.0.0.1".parse().unwrap());
        let taken: Vec<_> = (0..MAX_CONNECTIONS).map_while(|_| places.take(here)).collect();
        assert_eq!(taken.len(), MAX_CONNECTIONS);
    }
}
