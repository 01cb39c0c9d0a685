//! Ports that stay open while the configuration is changed: who connects meanwhile waits instead of being turned away.

use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::AsFd;

use tokio::net::TcpListener;

/// Opens a port, or takes over the one that was open before if that is the one asked for.
pub async fn open(
    address: SocketAddr,
    former: Option<&net::TcpListener>,
) -> io::Result<TcpListener> {
    if let Some(former) = former {
        let was = former.local_addr()?;
        let is_same_port = address.port() == was.port() || address.port() == 0;
        if was.ip() == address.ip() && is_same_port {
            return TcpListener::from_std(former.try_clone()?);
        }
    }
    TcpListener::bind(address).await
}

/// Another handle of a port, which keeps it open when the listener is dropped.
pub fn keep_open(listener: &TcpListener) -> io::Result<net::TcpListener> {
    listener.as_fd().try_clone_to_owned().map(net::TcpListener::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_connects_between_two_configurations_is_served_by_the_second() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = open(any, None).await.unwrap();
        let address = first.local_addr().unwrap();
        let kept = keep_open(&first).unwrap();
        drop(first);
        let early = tokio::net::TcpStream::connect(address).await.unwrap();
        let second = open(address, Some(&kept)).await.unwrap();
        let (_, peer) = second.accept().await.unwrap();
        assert_eq!(peer, early.local_addr().unwrap());
        let elsewhere = open(SocketAddr::from(([127, 0, 0, 2], 0)), Some(&kept)).await.unwrap();
        assert_ne!(elsewhere.local_addr().unwrap().ip(), address.ip());
    }
}
