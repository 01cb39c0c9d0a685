//! `tests/load`: many peers at a time against one box, some of them hostile; and how fast one sends, beside dcmtk and Orthanc.

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use modicd_tests::{Broker, Daemon, Exam, Orthanc, Page, Storescp, free_port, python, storescu};
use rand::{Rng, SeedableRng};

/// Loads a box, and checks that all that it accepted is stored.
#[derive(Parser)]
struct Arguments {
    /// Instances in all.
    #[arg(long, default_value_t = 20_000)]
    instances: u64,
    /// How often each receiver is timed.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Where the receivers keep what they get.
    #[arg(long, default_value = "target/load")]
    out: PathBuf,
}

/// Associations that are offered at a time, and those that the box takes.
const DCMTK: u64 = 32;
const PYNETDICOM: u64 = 14;
const ORTHANC: usize = 4;
const LIMIT: u64 = 16;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out).expect("the folder can be made");
    let exam = Exam::small(&arguments.out.join("exam"), 400);
    let all_stored = mixed(&arguments, &exam);
    compare(&arguments, &exam);
    if all_stored { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A box that only receives.
fn receiver(folder: &Path) -> (Broker, Daemon) {
    std::fs::create_dir_all(folder).expect("the folder can be made");
    let broker = Broker::start(folder);
    let keys = format!(
        "max_associations = {LIMIT}\nmax_associations_per_peer = {LIMIT}\nmax_study_instances = 1000000"
    );
    let mut daemon = Daemon::prepare(folder, broker.port, [&keys, "", "", ""]);
    daemon.reconfigure("quiet_period_s = 0.8", "quiet_period_s = 3600");
    daemon.restart();
    (broker, daemon)
}

/// All peers at once; whether every instance is there that one of them heard Success for, and no other.
fn mixed(arguments: &Arguments, exam: &Exam) -> bool {
    let folder = tempfile::tempdir_in(&arguments.out).expect("the folder is writable");
    let (_broker, daemon) = receiver(folder.path());
    let port = daemon.dicom_port;
    let share = arguments.instances / 10;
    let orthanc = loaded_orthanc(folder.path(), port, exam, share);
    let (accepted, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let started = Instant::now();
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| crawl(port, &done));
        }
        threads.spawn(|| break_off(port, &done));
        let mut senders = Vec::new();
        for _ in 0..DCMTK {
            senders.push(threads.spawn(|| send_by_dcmtk(port, exam, share * 6 / DCMTK, &accepted)));
        }
        for _ in 0..PYNETDICOM {
            senders.push(
                threads.spawn(|| send_by_pynetdicom(port, exam, share * 3 / PYNETDICOM, &accepted)),
            );
        }
        let instances = orthanc.instance_ids();
        for part in instances.chunks(instances.len().div_ceil(ORTHANC)) {
            let (orthanc, accepted) = (&orthanc, &accepted);
            let part = part.to_vec();
            senders.push(threads.spawn(move || {
                for few in part.chunks(100) {
                    while !orthanc.send("modicd", few) {
                        std::thread::sleep(Duration::from_millis(500));
                    }
                    accepted.fetch_add(few.len() as u64, Ordering::SeqCst);
                }
            }));
        }
        for sender in senders {
            sender.join().expect("a sender ends well");
        }
        done.store(true, Ordering::SeqCst);
    });
    let took = started.elapsed().as_secs_f64();
    let metrics = Page::of(&daemon).get("/metrics").body;
    let rejected = metrics.lines().filter(|line| {
        line.starts_with("modicd_associations_rejected_total") && !line.ends_with(" 0")
    });
    let accepted = accepted.into_inner();
    let stored = stored(&daemon.state);
    println!(
        "{accepted} instances accepted from dcmtk, pynetdicom and Orthanc, {stored} stored, {took:.0} s"
    );
    rejected.for_each(|line| println!("{line}"));
    // A peer that breaks off may have had an instance stored without hearing of it.
    stored >= accepted && accepted >= share * 9
}

fn stored(state: &Path) -> u64 {
    let studies = std::fs::read_dir(state.join("instances")).expect("it is there").flatten();
    let studies = studies.filter(|study| !study.file_name().to_string_lossy().starts_with('.'));
    studies.map(|study| std::fs::read_dir(study.path()).expect("it is there").count() as u64).sum()
}

/// An Orthanc that has so many instances, and sends none by itself.
fn loaded_orthanc(folder: &Path, daemon_port: u16, exam: &Exam, instances: u64) -> Orthanc {
    let mut orthanc = Orthanc::quiet(folder, free_port(), daemon_port);
    orthanc.restart();
    let repeat = (instances / 10).max(1).to_string();
    let sent = storescu(
        orthanc.dicom_port,
        &["-aec", "ORTHANC", "--repeat", &repeat, "+IR", "5", "+IS", "20"],
        &exam.folder,
    );
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    orthanc
}

fn send_by_dcmtk(port: u16, exam: &Exam, count: u64, accepted: &AtomicU64) {
    let mut left = count;
    while left > 0 {
        let repeat = left.div_ceil(10).min(10).to_string();
        let sent = storescu(port, &["--repeat", &repeat, "+IR", "5", "+IS", "20"], &exam.folder);
        let said = String::from_utf8_lossy(&sent.stderr) + String::from_utf8_lossy(&sent.stdout);
        let heard = said.matches("Received Store Response (Success)").count() as u64;
        accepted.fetch_add(heard, Ordering::SeqCst);
        left = left.saturating_sub(heard);
        if heard == 0 {
            // Rejected: as a scanner does, later again.
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

fn send_by_pynetdicom(port: u16, exam: &Exam, count: u64, accepted: &AtomicU64) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/send.py");
    let file = &exam.files()[0];
    let sent = Command::new(python())
        .arg(script)
        .args([port.to_string(), count.to_string()])
        .arg(file)
        .output();
    let said = String::from_utf8(sent.expect("Python runs").stdout).expect("a number");
    accepted.fetch_add(said.trim().parse().expect("a number"), Ordering::SeqCst);
}

/// A request that never ends, a byte a second.
fn crawl(port: u16, done: &AtomicBool) {
    while !done.load(Ordering::SeqCst) {
        let Ok(mut peer) = TcpStream::connect(("127.0.0.1", port)) else { continue };
        for byte in [1, 0, 0, 0, 4, 0].into_iter().chain([0; 500]) {
            if done.load(Ordering::SeqCst) || peer.write_all(&[byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

/// Associations that end anywhere, as recorded of storescu.
fn break_off(port: u16, done: &AtomicBool) {
    let recorded = include_bytes!("../../fuzz/corpus/association/store");
    let mut random = rand_pcg::Pcg64::seed_from_u64(1);
    while !done.load(Ordering::SeqCst) {
        if let Ok(mut peer) = TcpStream::connect(("127.0.0.1", port)) {
            let _ = peer.write_all(&recorded[..random.random_range(1..recorded.len())]);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// One association with 500 instances into each receiver in turn.
fn compare(arguments: &Arguments, exam: &Exam) {
    let folder = tempfile::tempdir_in(&arguments.out).expect("the folder is writable");
    let (_broker, daemon) = receiver(&folder.path().join("modicd"));
    let synced = SyncedDisk::mount(&folder.path().join("storescp"));
    let storescp = Storescp::start(&synced.folder);
    let mut orthanc = Orthanc::quiet(folder.path(), free_port(), daemon.dicom_port);
    orthanc.restart();
    let receivers = [
        ("modicd", daemon.dicom_port, "MODICD"),
        ("storescp on a disk mounted sync", storescp.port, "ARCHIVE"),
        ("Orthanc", orthanc.dicom_port, "ORTHANC"),
    ];
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..arguments.rounds {
        for ((_, port, title), times) in receivers.iter().zip(&mut times) {
            let started = Instant::now();
            let sent = storescu(
                *port,
                &["-aec", title, "--repeat", "50", "+IR", "5", "+IS", "20"],
                &exam.folder,
            );
            assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
            times.push(started.elapsed().as_secs_f64());
        }
    }
    let medians = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    for ((name, ..), median) in receivers.iter().zip(medians) {
        println!(
            "{name}: {:.0} instances a second, {:.2} of modicd's",
            500.0 / median,
            medians[0] / median
        );
    }
}

/// An ext4 whose every write waits for the disk, unmounted when it is dropped.
struct SyncedDisk {
    folder: PathBuf,
}

impl SyncedDisk {
    fn mount(folder: &Path) -> SyncedDisk {
        std::fs::create_dir_all(folder).expect("the folder can be made");
        let image = folder.with_extension("img");
        std::fs::File::create(&image).and_then(|f| f.set_len(2 << 30)).expect("there is space");
        let run = |command: &mut Command| {
            let status = command.status();
            assert!(status.is_ok_and(|status| status.success()), "{command:?}, as root");
        };
        run(Command::new("mkfs.ext4").arg("-q").arg(&image));
        run(Command::new("mount").args(["-o", "loop,sync"]).arg(&image).arg(folder));
        SyncedDisk { folder: folder.to_owned() }
    }
}

impl Drop for SyncedDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.folder).status();
    }
}
