//! A stand-in for systemd's notification socket: what the daemon tells its service manager.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The socket, with everything that was told so far.
pub struct ServiceManager {
    socket: UnixDatagram,
    path: PathBuf,
    told: Vec<String>,
}

impl ServiceManager {
    /// Opens a socket below `folder`; the daemon finds it by `NOTIFY_SOCKET`.
    pub fn start(folder: &Path) -> ServiceManager {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).expect("the test's folder is writable");
        ServiceManager { socket, path, told: Vec::new() }
    }

    /// What the daemon's variable `NOTIFY_SOCKET` must be.
    pub fn address(&self) -> PathBuf {
        self.path.clone()
    }

    /// Waits until a line was told that begins so, after the first `skip` lines; gives the number of lines up to it.
    pub fn wait_for(&mut self, beginning: &str, skip: usize, limit: Duration) -> usize {
        let until = Instant::now() + limit;
        loop {
            let mut later = self.told.iter().enumerate().skip(skip);
            if let Some((at, _)) = later.find(|(_, line)| line.starts_with(beginning)) {
                return at + 1;
            }
            let left = until.saturating_duration_since(Instant::now());
            let told = &self.told;
            assert!(!left.is_zero(), "{beginning:?} was not told within {limit:?}: {told:?}");
            self.read(left);
        }
    }

    /// Listens for this long and gives how often such a line was told meanwhile.
    pub fn count_for(&mut self, beginning: &str, time: Duration) -> usize {
        let before = self.told.len();
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|l| !l.is_zero())
        {
            self.read(left);
        }
        self.told[before..].iter().filter(|line| line.starts_with(beginning)).count()
    }

    fn read(&mut self, limit: Duration) {
        let mut buffer = [0; 4096];
        self.socket.set_read_timeout(Some(limit)).expect("the time is not zero");
        if let Ok(length) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            self.told.extend(text.lines().map(str::to_owned));
        }
    }
}
