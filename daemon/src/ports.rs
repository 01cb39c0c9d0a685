//! Ports that stay open while the configuration is changed: who connects meanwhile waits instead of being turned away. And
//! what a peer's address is when it is counted.

use std::io;
use std::net::{self, IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use tokio::net::TcpListener;

/// A port that outlives its listener.
#[derive(Debug)]
pub struct KeptPort(Option<net::TcpListener>);

impl KeptPort {
    /// Keeps a listener's port open when the listener is dropped.
    ///
    /// # Errors
    /// There are no file descriptors left.
    pub fn of(listener: &TcpListener) -> io::Result<KeptPort> {
        let other = listener.as_fd().try_clone_to_owned()?;
        Ok(KeptPort(Some(net::TcpListener::from(other))))
    }

    /// The kept listener if it has that address; else it is closed, since it may stand in the way of the new one: the same
    /// port at one address and at all of them can't be open at once.
    fn take_over(&mut self, address: SocketAddr) -> io::Result<Option<TcpListener>> {
        let Some(kept) = &self.0 else { return Ok(None) };
        let was = kept.local_addr()?;
        if was.ip() == address.ip() && (was.port() == address.port() || address.port() == 0) {
            return TcpListener::from_std(kept.try_clone()?).map(Some);
        }
        self.0 = None;
        Ok(None)
    }
}

/// Opens a port, or takes over the one that was open before if that is the one asked for.
///
/// # Errors
/// The address can't be bound.
pub async fn open(address: SocketAddr, former: Option<&mut KeptPort>) -> io::Result<TcpListener> {
    match former.map(|kept| kept.take_over(address)).transpose()?.flatten() {
        Some(listener) => Ok(listener),
        None => TcpListener::bind(address).await,
    }
}

/// The address that a peer's limits count for. A machine has a whole /64 of IPv6 to choose its addresses from (RFC 4291, 2.5.1).
pub fn accountable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_connects_between_two_configurations_is_served_by_the_second() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = open(any, None).await.unwrap();
        let address = first.local_addr().unwrap();
        let mut kept = KeptPort::of(&first).unwrap();
        drop(first);
        let early = tokio::net::TcpStream::connect(address).await.unwrap();
        let second = open(address, Some(&mut kept)).await.unwrap();
        let (_, peer) = second.accept().await.unwrap();
        assert_eq!(peer, early.local_addr().unwrap());
    }

    #[tokio::test]
    async fn the_same_port_at_all_addresses_and_back_can_be_opened() {
        let first = open(SocketAddr::from(([127, 0, 0, 1], 0)), None).await.unwrap();
        let loopback = first.local_addr().unwrap();
        let mut kept = KeptPort::of(&first).unwrap();
        drop(first);
        let all = SocketAddr::from(([0, 0, 0, 0], loopback.port()));
        let second = open(all, Some(&mut kept)).await.unwrap();
        assert_eq!(second.local_addr().unwrap(), all);
        drop(second);
        open(loopback, Some(&mut kept)).await.unwrap();
    }
}
