//! Faults by the thousand, drawn from a seed: the built daemon on a disk that fails and forgets, behind a way to the broker
//! that can be blocked, among peers that break off, by a clock that jumps.
//!
//! A *chain* is the life of one box: exams come in, and one fault after another (a *run*) strikes while they are received,
//! analysed or delivered. After each fault the box must start on what is left, and must have every instance that a sender
//! heard Success for. At the end of a chain all exams are sent that weren't acknowledged whole, and every exam's finding
//! must have come to the dashboards, as it comes from a box without faults; every result on the disk must have been
//! published.

mod clock;
mod disk;
mod proxy;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use dicom::dictionary_std::tags;
use rand::Rng;
use rand_pcg::Pcg64;
use serde_json::Value;

use crate::bundles::sha256;
use crate::peers::storescu_command;
use crate::process::eventually;
use crate::{Broker, Daemon, Exam, Subscriber};
use clock::Clock;
use proxy::Proxy;

pub use disk::{Disk, Fault, Survives};

/// A box that goes on as it should does any of these within.
const LIMIT: Duration = Duration::from_secs(120);
/// Exams of a chain.
const EXAMS: u64 = 5;

/// What comes of exams on a box without faults.
pub struct Reference {
    exams: Vec<Exam>,
    /// SHA-256 of every instance file by its name.
    instances: BTreeMap<String, String>,
    /// Of each file of the exams, the name that its instance has in the box.
    names: BTreeMap<PathBuf, String>,
    /// What was found, by the fingerprint of what it was found in.
    findings: BTreeMap<String, Value>,
}

/// How often each kind of fault struck.
pub type Tally = BTreeMap<&'static str, u64>;

impl Reference {
    /// Makes the exams and has them analysed, below `folder`.
    pub fn make(folder: &Path) -> Reference {
        let exams: Vec<_> =
            (0..EXAMS).map(|n| Exam::small(&folder.join(format!("exam{n}")), 80 + n)).collect();
        let broker = Broker::start(folder);
        let subscriber = Subscriber::start(&broker);
        let daemon = Daemon::start(folder, broker.port, "");
        for exam in &exams {
            let sent = crate::storescu(daemon.dicom_port, &[], &exam.folder);
            assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
        }
        let last = exams.len();
        subscriber.wait_for("/latest/finding", last, LIMIT);
        let findings = subscriber.on("/latest/finding").into_iter().map(identified).collect();
        let stored = instance_files(&daemon.state);
        let by_uid: BTreeMap<_, _> =
            stored.iter().map(|file| (uid_of(file), name_of(file))).collect();
        let files = exams.iter().flat_map(Exam::files);
        let names = files.map(|file| (file.clone(), by_uid[&uid_of(&file)].clone())).collect();
        Reference { names, exams, instances: digests(&stored), findings }
    }
}

/// The fingerprint of a finding document, and what was found.
fn identified(document: Value) -> (String, Value) {
    let fingerprint = document["fingerprint"].as_str().expect("the schema has it").to_owned();
    (fingerprint, document["findings"].clone())
}

fn uid_of(file: &Path) -> String {
    let object = dicom::object::open_file(file).expect("the phantom is DICOM");
    let uid = object.element(tags::SOP_INSTANCE_UID).expect("it has a UID").to_str();
    uid.expect("it is text").trim_end_matches('\0').to_owned()
}

fn name_of(file: &Path) -> String {
    file.file_name().expect("it is a file").to_string_lossy().into_owned()
}

/// Every instance file of a box.
fn instance_files(state: &Path) -> Vec<PathBuf> {
    let studies = std::fs::read_dir(state.join("instances")).into_iter().flatten().flatten();
    let studies = studies.filter(|study| !study.file_name().to_string_lossy().starts_with('.'));
    let files = studies.flat_map(|study| std::fs::read_dir(study.path()).into_iter().flatten());
    files.flatten().map(|file| file.path()).collect()
}

/// The digests of files by their names.
fn digests(files: &[PathBuf]) -> BTreeMap<String, String> {
    files.iter().map(|file| (name_of(file), sha256(file))).collect()
}

/// What a run does to the box.
#[derive(Debug, Clone, Copy)]
struct Run {
    name: &'static str,
    /// Comes after so many operations of the disk.
    fault: Option<(u64, Fault)>,
    survives: Survives,
    /// The process is killed when the fault has come, or after `patience` at the latest.
    kills: bool,
    damages_index: bool,
    deaf_broker: bool,
    rude_peers: bool,
    /// The clock is set so many seconds from the right time.
    clock_jumps_to: Option<i64>,
    patience: Duration,
}

impl Run {
    fn draw(random: &mut Pcg64) -> Run {
        // As likely among the first ten operations as among the hundreds after them.
        let after = 10_f64.powf(random.random_range(0.0..2.9)) as u64;
        let length = random.random_range(1..=100);
        let (name, fault, survives, kills) = match random.random_range(0..100) {
            0..40 => ("power cut", Some(Fault::Cut), Survives::WhatWasSynced, true),
            40..60 => ("killed at an operation", Some(Fault::Cut), Survives::Everything, true),
            60..70 => ("killed at any time", None, Survives::Everything, true),
            70..80 => ("disk full", Some(Fault::Full(length)), Survives::Everything, false),
            80..88 => (
                "disk full, then power cut",
                Some(Fault::Full(length)),
                Survives::WhatWasSynced,
                true,
            ),
            88..96 => {
                ("I/O errors, then killed", Some(Fault::Broken(length)), Survives::Everything, true)
            }
            _ => ("short writes", Some(Fault::Short(length)), Survives::Everything, false),
        };
        Run {
            name,
            fault: fault.map(|fault| (after, fault)),
            survives,
            kills,
            damages_index: kills && random.random_bool(0.15),
            deaf_broker: random.random_bool(0.15),
            rude_peers: random.random_bool(0.15),
            clock_jumps_to: random.random_bool(0.15).then(|| {
                // From a second to 30 years, ahead or behind.
                let seconds = 10_f64.powf(random.random_range(0.0..9.0)) as i64;
                if random.random_bool(0.5) { seconds } else { -seconds }
            }),
            patience: Duration::from_millis(random.random_range(20..1200)),
        }
    }
}

/// One box with its faults.
struct Chain<'a> {
    reference: &'a Reference,
    random: Pcg64,
    disk: Disk,
    clock: Clock,
    daemon: Daemon,
    proxy: Proxy,
    subscriber: Subscriber,
    _broker: Broker,
    /// Names of the instances that a sender heard Success for.
    acknowledged: BTreeSet<String>,
    /// Exams that were acknowledged whole; never sent again, since that would hide a loss.
    whole: usize,
    tally: Tally,
}

/// Lives through so many runs below `folder`.
///
/// # Panics
/// Something was lost, is wrong, or the box didn't recover.
pub fn chain(reference: &Reference, folder: &Path, seed: u64, runs: u64) -> Tally {
    let mut chain = Chain::start(reference, folder, seed);
    for n in 0..runs {
        // Of each run by itself: how much chance the runs before it needed depends on their timing.
        chain.random = Pcg64::new(seed.into(), n.into());
        let run = Run::draw(&mut chain.random);
        println!("seed {seed}: {run:?}");
        chain.run(run);
    }
    chain.end();
    chain.tally
}

impl<'a> Chain<'a> {
    fn start(reference: &'a Reference, folder: &Path, seed: u64) -> Chain<'a> {
        let broker = Broker::start(folder);
        let subscriber = Subscriber::start(&broker);
        let proxy = Proxy::start(broker.port);
        let worker = "max_attempts = 1000\nclock_wait_s = 0";
        // Nothing is removed on purpose: neither for its age when the clock is years ahead, nor for a full disk.
        let storage =
            "[storage]\ninstances_max_age_days = 0\nresults_max_age_days = 0\nmin_free_bytes = 0";
        let mut daemon = Daemon::prepare(folder, proxy.port, ["", worker, "", storage]);
        daemon.reconfigure("quiet_period_s = 0.8", "quiet_period_s = 0.3");
        let disk = Disk::mount(&daemon.state).expect("FUSE is there, and this is root");
        let clock = Clock::of(&mut daemon, &folder.join("clock"));
        daemon.restart();
        Chain {
            reference,
            random: Pcg64::new(seed.into(), 0),
            disk,
            clock,
            daemon,
            proxy,
            subscriber,
            _broker: broker,
            acknowledged: BTreeSet::new(),
            whole: 0,
            tally: Tally::new(),
        }
    }

    fn run(&mut self, run: Run) {
        let peers = if run.rude_peers { self.rude_peers() } else { Vec::new() };
        self.proxy.be_deaf(run.deaf_broker);
        if let Some((after, fault)) = run.fault {
            self.disk.plan(after, fault);
        }
        let exam = self.reference.exams.get(self.whole);
        let sender = exam.map(|exam| {
            let mut command = storescu_command(self.daemon.dicom_port, &[], &exam.folder);
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("storescu is installed")
        });
        if let Some(seconds) = run.clock_jumps_to {
            self.clock.jump_to(seconds);
            self.count("clock set");
        }
        let is_cut = self.disk.wait_for_cut(run.patience);
        if run.kills {
            if is_cut || run.survives == Survives::WhatWasSynced {
                self.disk.cut();
            }
            self.daemon.kill();
        }
        if let Some(sender) = sender {
            let output = sender.wait_with_output().expect("storescu ends");
            let said =
                String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
            self.heard(&said);
            self.whole += usize::from(output.status.success());
        }
        drop(peers);
        self.disk.revive(run.survives, &mut self.random);
        if run.damages_index {
            self.damage_index();
            self.count("index damaged");
        }
        self.proxy.be_deaf(false);
        self.count(run.name);
        for (name, struck) in [("deaf broker", run.deaf_broker), ("rude peers", run.rude_peers)] {
            if struck {
                self.count(name);
            }
        }
        self.start_if_ended();
        self.nothing_acknowledged_is_lost();
    }

    /// A disk that fails may end the daemon, a moment later too; systemd starts it again.
    fn start_if_ended(&mut self) {
        if !self.daemon.is_alive() {
            self.daemon.restart();
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// Takes down which instances storescu heard Success for.
    fn heard(&mut self, said: &str) {
        let mut sent = None;
        for line in said.lines() {
            if let Some(file) = line.strip_prefix("I: Sending file: ") {
                sent = Some(Path::new(file));
            } else if line.contains("Received Store Response (Success)")
                && let Some(file) = sent.take()
            {
                self.acknowledged.insert(self.reference.names[file].clone());
            }
        }
    }

    fn nothing_acknowledged_is_lost(&self) {
        let kept = digests(&instance_files(&self.daemon.state));
        for name in &self.acknowledged {
            let digest = kept.get(name);
            assert_eq!(digest, Some(&self.reference.instances[name]), "instance {name}");
        }
    }

    /// Connections that are never finished: silence, noise, half a request.
    fn rude_peers(&mut self) -> Vec<TcpStream> {
        let mut peers = Vec::new();
        for _ in 0..self.random.random_range(1..10) {
            let Ok(mut peer) = TcpStream::connect(("127.0.0.1", self.daemon.dicom_port)) else {
                break;
            };
            let mut bytes = vec![1, 0, 0, 0, 2, 0];
            bytes.resize(self.random.random_range(0..400), 0);
            if self.random.random_bool(0.5) {
                self.random.fill(&mut bytes[..]);
            }
            let _ = peer.write_all(&bytes);
            peers.push(peer);
        }
        peers
    }

    /// Flips bytes of sled's files, cuts one off, or removes it.
    fn damage_index(&mut self) {
        let mut files =
            modicd::receive::regular_files(&self.daemon.state.join("index")).unwrap_or_default();
        files.sort();
        if files.is_empty() {
            return;
        }
        let file = &files[self.random.random_range(0..files.len())];
        let mut bytes = Vec::new();
        let read = std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut bytes));
        read.expect("the disk works");
        match self.random.random_range(0..10) {
            0 => return std::fs::remove_file(file).expect("the disk works"),
            1..4 => bytes.truncate(self.random.random_range(0..=bytes.len())),
            _ if bytes.is_empty() => {}
            _ => {
                for _ in 0..self.random.random_range(1..64) {
                    let at = self.random.random_range(0..bytes.len());
                    bytes[at] = self.random.random();
                }
            }
        }
        std::fs::write(file, bytes).expect("the disk works");
    }

    /// Without faults now: all that is left comes in, and everything is found and delivered.
    fn end(&mut self) {
        let rest = &self.reference.exams[self.whole..];
        for exam in rest {
            eventually(LIMIT, "an exam's acknowledgement", || {
                self.start_if_ended();
                let sent = crate::storescu(self.daemon.dicom_port, &[], &exam.folder);
                sent.status.success().then_some(())
            });
        }
        let mut received = BTreeMap::new();
        eventually(LIMIT, "the findings of all exams", || {
            self.start_if_ended();
            received = self.subscriber.on("/latest/finding").into_iter().map(identified).collect();
            self.reference.findings.keys().all(|known| received.contains_key(known)).then_some(())
        });
        for (fingerprint, findings) in &self.reference.findings {
            assert_eq!(&received[fingerprint], findings, "the finding in {fingerprint}");
        }
        eventually(LIMIT, "the outbox to be empty", || {
            self.start_if_ended();
            let waiting = std::fs::read_dir(self.daemon.state.join("outbox")).expect("it is there");
            let mut waiting = waiting.flatten();
            (!waiting.any(|f| f.file_name().to_string_lossy().ends_with(".json"))).then_some(())
        });
        let received = self.subscriber.on("/latest/finding");
        let received: BTreeSet<_> =
            received.into_iter().map(|document| identified(document).0).collect();
        for result in self.daemon.results() {
            let text = std::fs::read(result.join("finding.json")).expect("the result is readable");
            let (fingerprint, _) = identified(serde_json::from_slice(&text).expect("it is JSON"));
            assert!(
                received.contains(&fingerprint),
                "the result {} was published",
                result.display()
            );
        }
        assert!(self.subscriber.on("/event/study.failed").is_empty());
        self.nothing_acknowledged_is_lost();
        assert_eq!(self.daemon.stop(LIMIT), Some(0));
    }
}
