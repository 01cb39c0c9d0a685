//! Whether a broker would let the box in, tried without disturbing the box's own connection.

use std::time::Duration;

use rumqttc::{AsyncClient, ConnectReturnCode, ConnectionError, Event, Packet};
use tokio::time::timeout;

use super::options::{DeliveryError, options_3};
use crate::deliver::config::Config;

/// Longest wait for the broker's word.
const LIMIT: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Debug)]
pub(crate) enum Probed {
    /// It lets us in.
    LetIn,
    /// It doesn't, and says why.
    Refused(ConnectReturnCode),
    /// There is no way to it, or no TLS that both want.
    OutOfReach(String),
}

/// Connects under a client identifier of its own, without a will, and leaves.
///
/// # Errors
/// A file that the configuration names can't be used.
pub(crate) async fn probe(config: &Config) -> Result<Probed, DeliveryError> {
    let mut config = config.clone();
    config.client_id = Some(format!("{}-doctor", config.client_id()));
    let (client, mut events) = AsyncClient::new(options_3(&config)?, 1);
    let connected = async {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    };
    let probed = match timeout(LIMIT, connected).await {
        Ok(Ok(())) => Probed::LetIn,
        Ok(Err(ConnectionError::ConnectionRefused(code))) => Probed::Refused(code),
        Ok(Err(error)) => Probed::OutOfReach(error.to_string()),
        Err(_) => Probed::OutOfReach(format!("no answer within {} s", LIMIT.as_secs())),
    };
    if matches!(probed, Probed::LetIn) && client.try_disconnect().is_ok() {
        // Until DISCONNECT is out, or the connection ends.
        let _ = timeout(LIMIT, async { while events.poll().await.is_ok() {} }).await;
    }
    Ok(probed)
}
