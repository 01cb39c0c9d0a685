//! A clock that can be set while the daemon runs.

use std::path::{Path, PathBuf};

use crate::Daemon;

/// The time of day as a daemon sees it, by libfaketime; times that have passed stay true.
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    /// For a daemon that isn't started yet; the file tells the time.
    ///
    /// # Panics
    /// libfaketime isn't installed.
    pub fn of(daemon: &mut Daemon, file: &Path) -> Clock {
        let libraries = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        let mut candidates =
            libraries.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
        let library = candidates.find(|library| library.exists());
        let library = library.expect("libfaketime is installed (tests/run installs it)");
        let clock = Clock { file: file.to_owned() };
        clock.jump_to(0);
        daemon.environment.extend([
            ("LD_PRELOAD", library.into_os_string()),
            ("FAKETIME_TIMESTAMP_FILE", file.into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("NO_FAKE_STAT", "1".into()),
        ]);
        clock
    }

    /// Sets it so many seconds from the right time.
    pub fn jump_to(&self, seconds: i64) {
        // By a rename: the daemon may look at any moment.
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}s\n")).expect("the test's folder is writable");
        std::fs::rename(&new, &self.file).expect("the test's folder is writable");
    }
}
