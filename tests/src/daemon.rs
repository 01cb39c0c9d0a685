//! The built daemon as a child process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::{Running, eventually, free_port};

/// A `modicd run` with a state folder of its own; it can be killed and started again on it.
pub struct Daemon {
    /// Its DICOM port on 127.0.0.1.
    pub dicom_port: u16,
    /// Its page's port on 127.0.0.1.
    pub page_port: u16,
    /// Its state folder.
    pub state: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
    /// What is started: [`Daemon::program`] unless a test sets another.
    pub program: PathBuf,
    /// Environment variables that it is started with: those of the unit, and the log's level.
    pub environment: Vec<(&'static str, OsString)>,
    process: Option<Running>,
}

impl Daemon {
    /// The program under test.
    pub fn program() -> PathBuf {
        let mut path = std::env::current_exe().expect("a test knows its own path");
        path.pop();
        if path.ends_with("deps") {
            path.pop();
        }
        path.join("modicd")
    }

    /// Starts a daemon below `folder`; `sections` are added to its configuration.
    pub fn start(folder: &Path, mqtt_port: u16, sections: &str) -> Daemon {
        Self::start_with(folder, mqtt_port, ["", "", "", sections])
    }

    /// Starts one with more keys in `[receive]`.
    pub fn start_with_receive(folder: &Path, mqtt_port: u16, keys: &str) -> Daemon {
        Self::start_with(folder, mqtt_port, [keys, "", "", ""])
    }

    /// Starts one with more keys in `[receive]`, and more sections.
    pub fn start_with_sections(
        folder: &Path,
        mqtt_port: u16,
        keys: &str,
        sections: &str,
    ) -> Daemon {
        Self::start_with(folder, mqtt_port, [keys, "", "", sections])
    }

    /// Changes a part of its configuration, for the next start.
    pub fn reconfigure(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.config).expect("the test's folder is readable");
        assert!(text.contains(from), "{from} isn't in {text}");
        let changed = text.replace(from, to);
        std::fs::write(&self.config, changed).expect("the test's folder is writable");
    }

    /// Starts one with more keys in `[worker]`.
    pub fn start_with_worker(folder: &Path, mqtt_port: u16, keys: &str) -> Daemon {
        Self::start_with(folder, mqtt_port, ["", keys, "", ""])
    }

    /// Starts one with more keys in `[page]`.
    pub fn start_with_page(folder: &Path, mqtt_port: u16, keys: &str) -> Daemon {
        Self::start_with(folder, mqtt_port, ["", "", keys, ""])
    }

    /// Starts one with more keys in `[receive]`, and more sections, that looks twice where a type hangs on little.
    pub fn start_with_second_look(
        folder: &Path,
        mqtt_port: u16,
        keys: &str,
        sections: &str,
    ) -> Daemon {
        let mut daemon = Self::prepare(folder, mqtt_port, [keys, "", "", sections]);
        daemon.reconfigure("second_look = false", "second_look = true");
        daemon.restart();
        daemon
    }

    fn start_with(folder: &Path, mqtt_port: u16, keys: [&str; 4]) -> Daemon {
        let mut daemon = Self::prepare(folder, mqtt_port, keys);
        daemon.restart();
        daemon
    }

    /// One that [`Daemon::restart`] starts; with more keys in `[receive]`, `[worker]`, `[page]`, and more sections. It looks at
    /// no exam twice, which would take several times as long.
    pub fn prepare(
        folder: &Path,
        mqtt_port: u16,
        [receive, worker, page, sections]: [&str; 4],
    ) -> Daemon {
        let (dicom_port, page_port) = (free_port(), free_port());
        let state = folder.join("state");
        std::fs::create_dir_all(&state).expect("the test's folder is writable");
        let config = folder.join("modicd.toml");
        let text = format!(
            "state_dir = {state:?}\n\
             [receive]\nbind = \"127.0.0.1:{dicom_port}\"\n{receive}\n\
             [page]\nbind = \"127.0.0.1:{page_port}\"\n{page}\n\
             [worker]\nquiet_period_s = 0.8\npoll_interval_s = 0.1\nanalyse_when_whole = false\n{worker}\n\
             [modic]\nsecond_look = false\n\
             [mqtt]\nhost = \"127.0.0.1\"\nport = {mqtt_port}\nsite = \"test\"\ndevice = \"box\"\n\
             backoff_initial_s = 1\nbackoff_max_s = 1\n{sections}\n"
        );
        std::fs::write(&config, text).expect("the test's folder is writable");
        let program = Daemon::program();
        let environment = unit_environment().chain([("RUST_LOG", "info".into())]).collect();
        Daemon { dicom_port, page_port, state, config, program, environment, process: None }
    }

    /// Starts it (again); returns when its DICOM port is open.
    pub fn restart(&mut self) {
        self.process = None;
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("the test's folder is writable");
        let child = Command::new(&self.program)
            .arg("run")
            .arg("--config")
            .arg(&self.config)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program is built");
        self.process = Some(Running(child).listening("modicd", self.dicom_port));
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// SIGTERM, then waits for the end; gives the exit code.
    pub fn stop(&mut self, limit: Duration) -> Option<i32> {
        self.signal("TERM");
        let mut running = self.process.take().expect("the daemon runs");
        eventually(limit, "the daemon's graceful end", || {
            running.0.try_wait().expect("the child can be asked").map(|status| status.code())
        })
    }

    /// Sends a signal, such as `HUP`.
    pub fn signal(&self, name: &str) {
        let id = self.process.as_ref().expect("the daemon runs").0.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.is_ok_and(|s| s.success()), "SIG{name} was sent");
    }

    /// Does something while the process stands still.
    pub fn held<T>(&self, act: impl FnOnce() -> T) -> T {
        self.signal("STOP");
        let done = act();
        self.signal("CONT");
        done
    }

    /// True while the process lives.
    pub fn is_alive(&mut self) -> bool {
        self.process
            .as_mut()
            .is_some_and(|p| p.0.try_wait().expect("the child can be asked").is_none())
    }

    /// A line of /proc/PID/status in kB, such as `VmHWM` (peak resident memory) or `VmRSS`.
    pub fn memory_kb(&self, field: &str) -> u64 {
        let id = self.process.as_ref().expect("the daemon runs").0.id();
        let status =
            std::fs::read_to_string(format!("/proc/{id}/status")).expect("Linux has /proc");
        status
            .lines()
            .find_map(|l| {
                l.strip_prefix(field)?.trim_matches([':', ' ', '\t', 'k', 'B']).parse().ok()
            })
            .expect("the field is there")
    }

    /// The folders of all results, of every revision.
    pub fn results(&self) -> Vec<PathBuf> {
        let below = |folder: PathBuf| {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect::<Vec<_>>()
        };
        let studies = below(self.state.join("results"));
        // Those that are being written lie in a folder whose name no study has.
        let studies = studies.into_iter().filter(|study| !study.ends_with(".staging"));
        let results = studies.flat_map(below);
        results.filter(|result| result.join("finding.json").is_file()).collect()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.config.with_file_name("modicd.log")
    }
}

/// The environment that systemd starts it in.
fn unit_environment() -> impl Iterator<Item = (&'static str, OsString)> {
    let lines = include_str!("../../systemd/modicd.service").lines();
    lines.filter_map(|line| {
        let (name, value) = line.strip_prefix("Environment=")?.split_once('=')?;
        Some((name, value.into()))
    })
}
