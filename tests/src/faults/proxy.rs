//! A way to the broker that can be blocked.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Stands before a broker until the process ends.
pub struct Proxy {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    is_deaf: Arc<AtomicBool>,
}

impl Proxy {
    /// One before the broker on this port of 127.0.0.1.
    pub fn start(broker: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there are ports left");
        let port = listener.local_addr().expect("it is bound").port();
        let is_deaf = Arc::<AtomicBool>::default();
        let deaf = Arc::clone(&is_deaf);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", broker)) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
                    let deaf = Arc::clone(&deaf);
                    thread::spawn(move || carry(from, to, &deaf));
                }
            }
        });
        Proxy { port, is_deaf }
    }

    /// While it is, connections are accepted and stay open, and nothing comes through; those that lost something are closed
    /// afterwards.
    pub fn be_deaf(&self, is_deaf: bool) {
        self.is_deaf.store(is_deaf, Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, deaf: &AtomicBool) {
    let mut lost = false;
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        lost |= deaf.load(Ordering::SeqCst);
        if lost {
            if deaf.load(Ordering::SeqCst) {
                continue;
            }
            break;
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
