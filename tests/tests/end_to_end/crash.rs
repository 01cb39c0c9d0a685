//! kill -9 at random moments: nothing that was acknowledged is lost, nothing is said twice as something new.
#![allow(clippy::unwrap_used)] // all of this file is a test

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use modicd::analysis::Analyser;
use modicd::config::Config;
use modicd::receive::regular_files;
use modicd_tests::{Broker, Daemon, Exam, Subscriber, eventually, storescu, storescu_command};
use rand::{Rng, SeedableRng};

const KILLS: usize = 50;
const LIMIT: Duration = Duration::from_secs(180);

#[test]
fn fifty_kills_lose_no_exam_and_no_finding() {
    let seed: u64 = std::env::var("CRASH_SEED").map_or(1, |s| s.parse().unwrap());
    println!("CRASH_SEED={seed}");
    let mut random = rand_pcg::Pcg64::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    // More attempts than kills: each kill in an analysis counts as one.
    let mut daemon = Daemon::start_with_worker(folder.path(), broker.port, "max_attempts = 100\n");
    let exams: Vec<Exam> = (0..KILLS as u64 / 2)
        .map(|n| Exam::small(&folder.path().join(format!("exam{n}")), 60 + n))
        .collect();

    // Each exam is sent until it was acknowledged and then never again: a later sending would hide a loss.
    let mut delivered = 0;
    for _ in 0..KILLS {
        let sender = exams.get(delivered).map(|exam| {
            storescu_command(daemon.dicom_port, &[], &exam.folder)
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap()
        });
        // Receiving takes tens of ms, the quiet period 800 ms, an analysis a second or two.
        let longest = [60, 600, 1500, 4000][random.random_range(0..4)];
        std::thread::sleep(Duration::from_millis(random.random_range(1..longest)));
        daemon.kill();
        // storescu succeeds only if every instance was answered with Success.
        if sender.is_some_and(|mut sender| sender.wait().unwrap().success()) {
            delivered += 1;
        }
        daemon.restart();
    }
    println!("{delivered} of {} exams were acknowledged while kills went on", exams.len());
    for exam in &exams[delivered..] {
        let sent = storescu(daemon.dicom_port, &[], &exam.folder);
        assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    }

    // A study that was analysed in part has several revisions; what counts is the finding of the whole.
    let whole: BTreeSet<String> = studies_on_disk(&daemon, exams[0].files().len());
    assert_eq!(whole.len(), exams.len(), "studies on disk");
    let studies = eventually(LIMIT, "the findings of all exams, whole", || {
        let mut missing = whole.clone();
        let mut studies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for finding in subscriber.on("/latest/finding") {
            let text = |key: &str| finding[key].as_str().unwrap().to_owned();
            missing.remove(&text("fingerprint"));
            let identity = format!("r{}: {}", finding["revision"], text("event_id"));
            studies.entry(text("study_ref")).or_default().insert(identity);
        }
        missing.is_empty().then_some(studies)
    });
    assert_eq!(studies.len(), exams.len(), "studies that were published");
    // Each revision has one event identifier.
    for (study, identities) in studies {
        let revisions: BTreeSet<&str> =
            identities.iter().map(|i| i.split(':').next().unwrap()).collect();
        assert_eq!(revisions.len(), identities.len(), "{study}: {identities:?}");
    }
}

/// What a result of each study depends on when all of its instances are in it.
fn studies_on_disk(daemon: &Daemon, instances: usize) -> BTreeSet<String> {
    let analyser = Analyser::new(None, &Config::load(&daemon.config).unwrap()).unwrap();
    let studies = std::fs::read_dir(daemon.state.join("instances")).unwrap();
    studies
        .map(|study| study.unwrap().path())
        // What an upload that was killed left behind lies in a hidden folder.
        .filter(|study| !study.file_name().unwrap().to_string_lossy().starts_with('.'))
        .map(|study| {
            let kept = regular_files(&study).unwrap();
            assert_eq!(kept.len(), instances, "instances of a study");
            analyser.prepare(&kept).unwrap().expect("a phantom isn't refused").fingerprint
        })
        .collect()
}
