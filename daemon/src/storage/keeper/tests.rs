//! The keeper over stores of its own, without a daemon.

use std::time::Duration;

use super::*;
use crate::audit::Auditor;
use crate::deliver::Message;
use crate::deliver::outbox::Limits;
use crate::store::index::{InstanceFile, Outcome};
use crate::store::results::FINDING_FILE;

const FILE_BYTES: usize = 100_000;

/// A keeper with what it keeps.
struct Fixture {
    _dir: tempfile::TempDir,
    keeper: Keeper,
}

fn study(n: u64) -> StudyRef {
    format!("{n:016x}").try_into().unwrap()
}

impl Fixture {
    /// A box of which nothing is limited but what `change` limits.
    fn new(change: impl FnOnce(&mut Config)) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path();
        let mut config = Config {
            instances_max_bytes: 0,
            instances_max_age_days: 0,
            results_max_bytes: 0,
            results_max_age_days: 0,
            min_free_bytes: 0,
        };
        change(&mut config);
        let results = ResultStore::open(state).unwrap();
        let limits = Limits { max_messages: 100, max_bytes: 1_000_000, max_payload_bytes: 10_000 };
        let (counts, auditor) = (Counts::default(), Auditor::default());
        let sources = Sources {
            state_dir: state.to_owned(),
            instances: Arc::new(
                InstanceStore::open(state.join("instances"), b"key", 1 << 20).unwrap(),
            ),
            index: Index::open(&state.join("index")).unwrap().0,
            outbox: Arc::new(Outbox::open(&state.join("outbox"), limits).unwrap()),
            pacs: Arc::new(Pacs::open(state, &Vec::new(), &results, &counts, &auditor).unwrap()),
            readings: ReadingStore::new(state),
            results,
        };
        let keeper = Keeper::new(config, Duration::ZERO, sources, counts, auditor);
        Fixture { _dir: dir, keeper }
    }

    /// A study of one instance of [`FILE_BYTES`] and a result a little larger, done `age_days` ago.
    fn add(&self, n: u64, age_days: u64) {
        let Sources { instances, results, index, .. } = &self.keeper.sources;
        let folder = instances.study_folder(&study(n));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.dcm");
        std::fs::write(&path, vec![1; FILE_BYTES]).unwrap();
        let staged = results.stage(&study(n), 1).unwrap();
        let finding = staged.path().join(FINDING_FILE);
        std::fs::write(&finding, "{}").unwrap();
        std::fs::write(staged.path().join("map"), vec![1; FILE_BYTES]).unwrap();
        let then = SystemTime::now() - Duration::from_secs(age_days * 86_400);
        std::fs::File::options().write(true).open(&finding).unwrap().set_modified(then).unwrap();
        staged.commit().unwrap();
        let (name, modified_ms) = ("a.dcm".to_owned(), unix_ms(then));
        let file = InstanceFile { study_ref: study(n), name, path, modified_ms };
        let files = [file].into_iter().chain(self.instance_files());
        index.reconcile(files, results.all().unwrap()).unwrap();
        index.finish(&study(n), 1, &Outcome::Completed { revision: 1 }).unwrap();
    }

    fn instance_files(&self) -> Vec<InstanceFile> {
        let listed = self.keeper.sources.instances.list().unwrap().into_iter();
        let file = |study_ref: StudyRef| {
            move |path: PathBuf| InstanceFile {
                study_ref: study_ref.clone(),
                name: path.file_name().unwrap().to_string_lossy().into_owned(),
                path,
                modified_ms: 0,
            }
        };
        listed.flat_map(|(study_ref, paths)| paths.into_iter().map(file(study_ref))).collect()
    }

    fn tend(&mut self) {
        self.keeper.look_soon();
        self.keeper.tend(Clock::Synchronised, &CancellationToken::new()).unwrap();
    }

    /// Studies with instances, with results, and known.
    fn left(&self) -> [Vec<u64>; 3] {
        let Sources { instances, results, index, .. } = &self.keeper.sources;
        let number = |study: StudyRef| u64::from_str_radix(study.as_str(), 16).unwrap();
        let with_result = results.all().unwrap().into_iter().map(|result| result.study_ref);
        let known = index.studies().unwrap().into_iter().map(|(study_ref, _)| study_ref);
        let mut left = [
            instances.list().unwrap().into_keys().map(number).collect::<Vec<_>>(),
            with_result.map(number).collect(),
            known.map(number).collect(),
        ];
        left.iter_mut().for_each(|list| list.sort());
        left
    }

    /// A message about a study waits.
    fn announce(&self, n: u64) -> u64 {
        let payload = serde_json::json!({ "study_ref": study(n), "event_id": n.to_string() });
        let message = Message {
            topic: "t".to_owned(),
            retain: false,
            boot_id: "b".to_owned(),
            event_id: n.to_string(),
            enqueued_ms: 0,
            payload: payload.as_object().unwrap().clone(),
        };
        self.keeper.sources.outbox.enqueue(&message).unwrap()
    }
}

#[test]
fn the_oldest_go_down_to_the_quotas_and_what_is_kept_is_counted() {
    let mut kept = Fixture::new(|config| {
        config.instances_max_bytes = 2 * FILE_BYTES as u64 + 20_000;
        config.results_max_bytes = 4 * FILE_BYTES as u64;
    });
    for n in 1..=5 {
        kept.add(n, 10 - n);
    }
    kept.tend();
    assert_eq!(kept.left(), [vec![4, 5], vec![3, 4, 5], vec![3, 4, 5]]);
    let text = kept.keeper.counts.exposition();
    assert!(text.contains("storage_removals_total{part=\"everything\"} 2"), "{text}");
    assert!(text.contains("storage_removals_total{part=\"instances\"} 1"), "{text}");
    let bytes = kept.keeper.counts.storage_bytes();
    assert!((2 * FILE_BYTES as u64..3 * FILE_BYTES as u64).contains(&bytes[0]), "{bytes:?}");
    assert!((3 * FILE_BYTES as u64..4 * FILE_BYTES as u64).contains(&bytes[1]), "{bytes:?}");
    assert_eq!(kept.keeper.reasons(), []);
    // A start finds all of it in order.
    let Sources { index, results, .. } = &kept.keeper.sources;
    let done = index.reconcile(kept.instance_files(), results.all().unwrap()).unwrap();
    assert_eq!(done, Default::default());
}

#[test]
fn what_is_undelivered_stays_until_it_is_delivered() {
    let mut kept = Fixture::new(|config| config.results_max_age_days = 5);
    kept.add(1, 20);
    kept.add(2, 10);
    let seq = kept.announce(1);
    kept.tend();
    assert_eq!(kept.left()[1], [1]);
    assert_eq!(kept.keeper.reasons(), [HealthReason::StorageHeld]);
    kept.keeper.sources.outbox.acknowledge(seq).unwrap();
    kept.tend();
    assert_eq!(kept.left(), [const { Vec::<u64>::new() }; 3]);
    assert_eq!(kept.keeper.reasons(), []);
}

#[test]
fn where_a_reading_list_is_damaged_results_stay_and_instances_go() {
    let mut kept = Fixture::new(|config| {
        (config.instances_max_age_days, config.results_max_age_days) = (5, 5);
    });
    kept.add(1, 20);
    let list = kept.keeper.sources.state_dir.join("reading/pilot");
    std::fs::create_dir_all(&list).unwrap();
    std::fs::write(list.join("list.json"), b"half a li").unwrap();
    kept.tend();
    assert_eq!(kept.left()[..2], [vec![], vec![1]]);
    assert_eq!(kept.keeper.reasons(), [HealthReason::StorageHeld]);
    std::fs::remove_dir_all(list).unwrap();
    kept.keeper.look_soon();
    kept.tend();
    assert_eq!(kept.left()[1], [0; 0]);
}

#[test]
fn a_study_that_cannot_be_measured_stays_and_keeps_no_other() {
    let mut kept = Fixture::new(|config| config.results_max_age_days = 10);
    for n in 1..=3 {
        kept.add(n, 20);
    }
    let results = kept.keeper.sources.results.clone();
    let folder = results.dir(&study(2), 1).parent().unwrap().to_owned();
    let elsewhere = folder.with_file_name("elsewhere");
    std::fs::rename(&folder, &elsewhere).unwrap();
    std::fs::write(&folder, b"no folder").unwrap();
    kept.tend();
    let studies = kept.keeper.sources.index.studies().unwrap();
    assert_eq!(studies.into_iter().map(|(known, _)| known).collect::<Vec<_>>(), [study(2)]);
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&elsewhere, &folder).unwrap();
    kept.tend();
    assert!(kept.left().concat().is_empty());
}

#[test]
fn studies_that_cannot_be_removed_stay_and_keep_no_other() {
    let mut kept = Fixture::new(|config| config.instances_max_age_days = 5);
    let aside = kept.keeper.sources.state_dir.join("instances/.removed");
    for n in 0..REMOVALS_AT_A_TIME as u64 {
        kept.add(n, 20);
        std::fs::write(aside.join(study(n).as_str()), b"no folder").unwrap();
    }
    kept.add(100, 10);
    assert!(kept.keeper.tend(Clock::Synchronised, &CancellationToken::new()).is_err());
    assert_eq!(kept.left()[0], (0..REMOVALS_AT_A_TIME as u64).collect::<Vec<_>>());
    std::fs::remove_dir_all(&aside).unwrap();
    std::fs::create_dir(&aside).unwrap();
    kept.tend();
    assert_eq!(kept.left()[0], [0; 0]);
}

#[test]
fn nothing_goes_for_its_age_while_the_clock_may_be_years_ahead() {
    let mut kept = Fixture::new(|config| config.results_max_age_days = 5);
    kept.add(1, 20);
    kept.keeper.tend(Clock::Free, &CancellationToken::new()).unwrap();
    assert_eq!(kept.left()[1], [1]);
    kept.keeper.look_soon();
    kept.tend();
    assert_eq!(kept.left()[1], [0; 0]);
}

#[test]
fn a_study_asked_for_meanwhile_stays() {
    let mut kept = Fixture::new(|config| config.instances_max_age_days = 5);
    kept.add(1, 20);
    kept.keeper.sources.index.analyse_again(&study(1)).unwrap();
    assert!(!kept.keeper.remove(&study(1), Part::Everything).unwrap());
    kept.tend();
    assert_eq!(kept.left(), [vec![1], vec![1], vec![1]]);
}

#[test]
fn a_low_disk_takes_what_may_go_and_is_told() {
    let mut kept = Fixture::new(|config| config.min_free_bytes = u64::MAX);
    kept.add(1, 1);
    kept.add(2, 2);
    kept.announce(2);
    kept.tend();
    assert_eq!(kept.left(), [vec![], vec![2], vec![2]]);
    assert_eq!(kept.keeper.reasons(), [HealthReason::DiskLow]);
    assert!(!kept.keeper.has_space_to_work());
}

#[test]
fn many_go_a_part_at_a_time_and_a_study_is_measured_once() {
    let mut kept = Fixture::new(|config| config.instances_max_age_days = 5);
    for n in 0..REMOVALS_AT_A_TIME as u64 + 3 {
        kept.add(n, 9);
    }
    kept.add(100, 1);
    kept.tend();
    assert_eq!(kept.left()[0].len(), 4);
    kept.keeper.tend(Clock::Synchronised, &CancellationToken::new()).unwrap();
    assert_eq!(kept.left()[0], [100], "the rest goes without waiting");

    // What the keeper knows isn't looked at again: it takes no notice of files that came by themselves.
    let folder = kept.keeper.sources.instances.study_folder(&study(100));
    std::fs::write(folder.join("b.dcm"), vec![1; 5 * FILE_BYTES]).unwrap();
    kept.tend();
    assert!(kept.keeper.counts.storage_bytes()[0] < 2 * FILE_BYTES as u64);
}

/// `cargo test --release -p modicd --lib -- --ignored --nocapture looking_at_5000` prints what it costs.
#[test]
#[ignore = "a measurement"]
fn looking_at_5000_studies() {
    let mut kept = Fixture::new(|_| {});
    let Sources { instances, results, index, .. } = &kept.keeper.sources;
    let mut files = Vec::new();
    for n in 0..5000 {
        let folder = instances.study_folder(&study(n));
        std::fs::create_dir_all(&folder).unwrap();
        for k in 0..30 {
            let path = folder.join(format!("{k}.dcm"));
            std::fs::write(&path, [1]).unwrap();
            let name = format!("{k}.dcm");
            files.push(InstanceFile { study_ref: study(n), name, path, modified_ms: 1 });
        }
        let result = results.dir(&study(n), 1);
        std::fs::create_dir_all(&result).unwrap();
        for k in 0..11 {
            std::fs::write(result.join(k.to_string()), [1]).unwrap();
        }
        std::fs::write(result.join(FINDING_FILE), "{}").unwrap();
    }
    index.reconcile(files, results.all().unwrap()).unwrap();
    for n in 0..5000 {
        index.finish(&study(n), 30, &Outcome::Completed { revision: 1 }).unwrap();
    }
    for look in ["first", "second", "third"] {
        let started = Instant::now();
        kept.tend();
        println!("{look} look: {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    }
    assert_eq!(kept.keeper.sizes.len(), 5000);
}
