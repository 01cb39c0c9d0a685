//! mosquitto and dcmtk.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::contract::violations;
use crate::process::{Running, eventually, free_port};

/// A mosquitto of the test's own.
pub struct Broker {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    config: PathBuf,
    process: Option<Running>,
}

impl Broker {
    /// Starts one that keeps nothing on disk; `folder` gets its configuration.
    pub fn start(folder: &Path) -> Broker {
        Broker::start_with(folder, "")
    }

    /// Starts one with more lines in its configuration.
    pub fn start_with(folder: &Path, lines: &str) -> Broker {
        let port = free_port();
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n\
             max_queued_messages 0\nset_tcp_nodelay true\n{lines}"
        );
        Self::configured(folder, port, &text)
    }

    /// Starts one with these settings, for everybody.
    pub fn start_with_settings(folder: &Path, settings: &str) -> Broker {
        let port = free_port();
        let text = format!("{settings}\nlistener {port} 127.0.0.1\nallow_anonymous true\n");
        Self::configured(folder, port, &text)
    }

    fn configured(folder: &Path, port: u16, text: &str) -> Broker {
        let config = folder.join("mosquitto.conf");
        std::fs::write(&config, text).expect("the test's folder is writable");
        let mut broker = Broker { port, config, process: None };
        broker.restart();
        broker
    }

    /// Kills it: what it held in memory is gone.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Has it write what it holds to disk now, to the file `database` (SIGUSR1).
    pub fn save(&self, database: &Path) {
        let written = || database.metadata().and_then(|m| m.modified()).ok();
        let before = written();
        let id = self.process.as_ref().expect("the broker runs").0.id().to_string();
        let sent = Command::new("kill").args(["-USR1", &id]).status();
        assert!(sent.is_ok_and(|s| s.success()), "SIGUSR1 was sent");
        eventually(Duration::from_secs(30), "the broker's database", || {
            (written() != before).then_some(())
        });
    }

    /// Starts it again on the same port.
    pub fn restart(&mut self) {
        self.process = None;
        let mut command = Command::new("mosquitto");
        self.process = Some(Running::serving(command.arg("-c").arg(&self.config), self.port));
    }
}

/// One message a subscriber got.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its topic.
    pub topic: String,
    /// Its payload: JSON, or a plain word as a JSON string.
    pub payload: Value,
    /// When it came.
    pub at: Instant,
}

/// A mosquitto_sub. When it goes, every document it got must have been as the contract says.
pub struct Subscriber {
    received: Arc<Mutex<Vec<Received>>>,
    /// The documents are the test's own, not by the contract.
    unchecked: bool,
    _process: Running,
}

impl Subscriber {
    /// Subscribes; returns when the subscription stands.
    pub fn start(broker: &Broker) -> Subscriber {
        let options = ["-h", "127.0.0.1", "-p", &broker.port.to_string()].map(str::to_owned);
        Self::connect(&options, "#", false)
    }

    /// Subscribes to `filter` where and as whom the options of mosquitto_sub say, for documents of the test's own.
    pub fn start_unchecked(options: &[String], filter: &str) -> Subscriber {
        Self::connect(options, filter, true)
    }

    fn connect(options: &[String], filter: &str, unchecked: bool) -> Subscriber {
        // stdbuf: into a pipe mosquitto_sub would hold its lines back.
        let mut child = Command::new("stdbuf")
            .args(["-oL", "mosquitto_sub"])
            .args(options)
            .args(["-q", "1", "-t", filter, "-F", "%t %p", "-d"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("mosquitto_sub is installed (tests/run installs it)");
        let output = child.stdout.take().expect("standard output is piped");
        let received = Arc::new(Mutex::new(Vec::new()));
        let subscribed = Arc::new(Mutex::new(false));
        let (sink, ready) = (Arc::clone(&received), Arc::clone(&subscribed));
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line.starts_with("Subscribed") {
                    *ready.lock().expect("no reader panics") = true;
                }
                // With -d the tool's own chatter stands between the messages; a message starts with a topic.
                let Some((topic, payload)) = line.split_once(' ') else { continue };
                if !topic.contains('/') {
                    continue;
                }
                let payload = serde_json::from_str(payload)
                    .unwrap_or_else(|_| Value::String(payload.to_owned()));
                sink.lock().expect("no reader panics").push(Received {
                    topic: topic.to_owned(),
                    payload,
                    at: Instant::now(),
                });
            }
        });
        let subscriber = Subscriber { received, unchecked, _process: Running(child) };
        eventually(Duration::from_secs(30), "the subscription", || {
            subscribed.lock().expect("no reader panics").then_some(())
        });
        subscriber
    }

    /// Everything received so far, in order.
    pub fn all(&self) -> Vec<Received> {
        self.received.lock().expect("no reader panics").clone()
    }

    /// The payloads so far of topics that contain `part`, in order.
    pub fn on(&self, part: &str) -> Vec<Value> {
        self.all().into_iter().filter(|m| m.topic.contains(part)).map(|m| m.payload).collect()
    }

    /// Waits for the `n`-th payload (from 1) of topics that contain `part`.
    pub fn wait_for(&self, part: &str, n: usize, limit: Duration) -> Value {
        eventually(limit, &format!("message {n} on {part}"), || self.on(part).get(n - 1).cloned())
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if !self.unchecked && !std::thread::panicking() {
            // Requests are the tests' own, and wrong ones among them.
            let asked = |topic: &str| topic.contains("/cmd/") && !topic.ends_with("/status");
            let all = self.all();
            let ours = all.iter().filter(|message| !asked(&message.topic));
            let wrong: Vec<_> =
                ours.flat_map(|message| violations(&message.topic, &message.payload)).collect();
            assert!(wrong.is_empty(), "documents against their schema: {wrong:#?}");
        }
    }
}

/// What dicom3tools' dciodvfy calls an error in a DICOM file.
pub fn dciodvfy_errors(file: &Path) -> Vec<String> {
    let output = Command::new("dciodvfy")
        .arg(file)
        .output()
        .expect("dciodvfy is installed (tests/run installs it)");
    let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    text.lines().filter(|l| l.starts_with("Error")).map(str::to_owned).collect()
}

/// dcmtk's echoscu against a port; true if it was answered with Success.
pub fn echoscu(port: u16) -> bool {
    let output = Command::new("echoscu")
        .args(["-aec", "MODICD", "127.0.0.1", &port.to_string()])
        .output()
        .expect("echoscu is installed (tests/run installs it)");
    output.status.success()
}

/// dcmtk's storescu, ready to send all files below a folder.
pub fn storescu_command(port: u16, options: &[&str], folder: &Path) -> Command {
    let mut command = Command::new("storescu");
    command
        .args(["-v", "-aec", "MODICD", "+sd", "+r"])
        .args(options)
        .args(["127.0.0.1", &port.to_string()])
        .arg(folder);
    command
}

/// storescu sends all files below a folder; its output is for assertions.
pub fn storescu(port: u16, options: &[&str], folder: &Path) -> Output {
    storescu_command(port, options, folder)
        .output()
        .expect("storescu is installed (tests/run installs it)")
}

/// The Python that has the packages of `python/requirements.txt`.
pub fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tests/venv/bin/python");
    assert!(python.exists(), "{} is missing: tests/run installs it", python.display());
    python
}
