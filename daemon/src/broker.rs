//! An MQTT broker in the process, for `modicd demo` and for tests: rumqttd on the loopback interface.
//!
//! Not for production: it keeps nothing on disk, lets in anybody on this machine, and lives until the
//! process ends. Its log is of no interest; switch it off with [`LOG_DIRECTIVE`].

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use rumqttd::{Config, ConnectionSettings, RouterConfig, ServerSettings};

/// For the log filter.
pub const LOG_DIRECTIVE: &str = "rumqttd=off";

/// Largest payload taken, bytes.
const MAX_PAYLOAD: usize = 1024 * 1024;

/// Messages kept per topic filter, bytes and segments.
const SEGMENT_BYTES: usize = 4 * 1024 * 1024;
const SEGMENTS: usize = 2;

/// Clients at most.
const MAX_CONNECTIONS: usize = 32;

/// Time a client has for its CONNECT, ms.
const CONNECT_WITHIN_MS: u16 = 5000;

/// Time the broker has to listen.
const LISTENS_WITHIN: Duration = Duration::from_secs(5);

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// No port, or no thread.
    #[error("could not start the embedded MQTT broker")]
    Start(#[source] io::Error),
    /// It doesn't answer.
    #[error("the embedded MQTT broker does not listen on {0}")]
    Silent(SocketAddr),
}

/// Starts a broker for MQTT 3.1.1 on a free port of 127.0.0.1; when this returns, it listens.
pub fn start() -> Result<SocketAddr, BrokerError> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(BrokerError::Start)?;
    let address = free.local_addr().map_err(BrokerError::Start)?;
    drop(free); // rumqttd binds by itself
    thread::Builder::new()
        .name("mqtt-broker".to_owned())
        .spawn(move || {
            let mut broker = rumqttd::Broker::new(config(address));
            if let Err(error) = broker.start() {
                tracing::error!(%error, "The embedded MQTT broker has ended.");
            }
        })
        .map_err(BrokerError::Start)?;

    let limit = Instant::now() + LISTENS_WITHIN;
    while TcpStream::connect(address).is_err() {
        if Instant::now() >= limit {
            return Err(BrokerError::Silent(address));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(address)
}

fn config(listen: SocketAddr) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: CONNECT_WITHIN_MS,
        max_payload_size: MAX_PAYLOAD,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings {
        name: "mqtt-broker-v4".to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    Config {
        router: RouterConfig {
            max_connections: MAX_CONNECTIONS,
            max_outgoing_packet_count: 200,
            max_segment_size: SEGMENT_BYTES,
            max_segment_count: SEGMENTS,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([("1".to_owned(), server)])),
        ..Config::default()
    }
}
