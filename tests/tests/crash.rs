//! kill -9 at random moments: nothing that was acknowledged is lost, nothing is said twice as something new.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

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

    let studies = eventually(LIMIT, "the findings of all exams", || {
        let mut studies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for finding in subscriber.on("/latest/finding") {
            let text = |key: &str| finding[key].as_str().unwrap().to_owned();
            let identity = format!("r{}: {}", finding["revision"], text("event_id"));
            studies.entry(text("study_ref")).or_default().insert(identity);
        }
        (studies.len() == exams.len()).then_some(studies)
    });
    // A study analysed in part has several revisions; each revision has one event identifier.
    for (study, identities) in studies {
        let kept = modicd::receive::regular_files(&daemon.state.join("instances").join(&study));
        assert_eq!(kept.unwrap().len(), exams[0].files().len(), "instances of {study}");
        let revisions: BTreeSet<&str> =
            identities.iter().map(|i| i.split(':').next().unwrap()).collect();
        assert_eq!(revisions.len(), identities.len(), "{study}: {identities:?}");
    }
}
