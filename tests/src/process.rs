//! Child processes and waiting.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// A child that is killed when the test is done with it.
pub(crate) struct Running(pub Child);

impl Running {
    /// Starts a server whose words nobody reads, and waits until it listens on `port` of 127.0.0.1.
    ///
    /// # Panics
    /// It isn't installed, or doesn't listen within 30 s.
    pub(crate) fn serving(command: &mut Command, port: u16) -> Running {
        let what = command.get_program().to_string_lossy().into_owned();
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child =
            child.unwrap_or_else(|e| panic!("{what} is installed (tests/run installs it): {e}"));
        Running(child).listening(&what, port)
    }

    /// Waits until it listens on a port of 127.0.0.1; `what` is its name.
    ///
    /// # Panics
    /// It ends instead, or doesn't listen within 30 s.
    pub(crate) fn listening(mut self, what: &str, port: u16) -> Running {
        eventually(Duration::from_secs(30), &format!("{what}'s port {port}"), || {
            let ended = self.0.try_wait().expect("the child can be asked");
            assert!(ended.is_none(), "{what}, to listen on port {port}, ended: {ended:?}");
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port nobody listens on, given to one caller of this process only.
///
/// It lies below the range from which systems take the port of an outgoing connection. From inside
/// that range a client could be given the port before its server has it, or a connection made to
/// wait for the server could meet itself.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 16_384;
    const COUNT: u16 = 16_384;
    // Two test processes at once begin at different places.
    let start = (std::process::id() % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let step = GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(step) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("every port from {FIRST} on is taken");
}

/// Waits until `done` gives something, at most `limit`.
pub fn eventually<T>(limit: Duration, what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}
