//! The promises of the index, crashes and damage included. A crash is simulated by skipping what would have
//! come after it.

use std::{fs, path::Path};

use super::*;
use crate::store::{ResultStore, results::FINDING_FILE};

const QUIET: Duration = Duration::from_secs(30);
const MAX_ATTEMPTS: u32 = 3;

fn study(n: u32) -> StudyRef {
    StudyRef::derive(b"key", &format!("1.2.{n}"))
}

fn at(s: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000 + s)
}

fn open(dir: &Path) -> Index {
    Index::open(&dir.join("index")).unwrap().0
}

fn completed(revision: u32) -> Outcome {
    Outcome::Completed { revision }
}

#[test]
fn a_study_is_due_after_its_quiet_period_or_once_whole() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    assert_eq!(index.record_instance(&study(1), "a", [1; 32], at(0)).unwrap(), Change::New);
    assert!(index.due(at(29), QUIET).unwrap().is_empty());
    assert_eq!(index.due(at(30), QUIET).unwrap(), [study(1)]);

    index.record_instance(&study(1), "b", [2; 32], at(20)).unwrap();
    assert!(index.due(at(30), QUIET).unwrap().is_empty(), "the quiet period starts again");
    index.mark_whole(&study(1)).unwrap();
    assert_eq!(index.due(at(21), QUIET).unwrap(), [study(1)]);
    index.record_instance(&study(1), "c", [3; 32], at(22)).unwrap();
    assert!(index.due(at(23), QUIET).unwrap().is_empty(), "a late instance takes wholeness back");
}

#[test]
fn only_new_content_makes_an_analysed_study_due_again() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    index.record_instance(&study(1), "a", [1; 32], at(0)).unwrap();
    let begun = index.begin_attempt(&study(1), MAX_ATTEMPTS).unwrap();
    assert_eq!(begun, Attempt::Begun { generation: 1, attempt: 1 });
    index.finish(&study(1), 1, &completed(1)).unwrap();
    assert_eq!(index.study(&study(1)).unwrap().unwrap().state, StudyState::Completed);

    let again = index.record_instance(&study(1), "a", [1; 32], at(50)).unwrap();
    assert_eq!(again, Change::Identical);
    assert!(index.due(at(100), QUIET).unwrap().is_empty());
    let changed = index.record_instance(&study(1), "a", [2; 32], at(50)).unwrap();
    assert_eq!(changed, Change::Replaced);
    assert_eq!(index.due(at(100), QUIET).unwrap(), [study(1)]);
}

#[test]
fn a_study_that_failed_is_tried_anew_when_it_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    index.record_instance(&study(1), "a", [1; 32], at(0)).unwrap();
    index.begin_attempt(&study(1), MAX_ATTEMPTS).unwrap();
    index.finish(&study(1), 1, &Outcome::Failed { reason: "analysis_failed" }).unwrap();
    assert!(index.due(at(100), QUIET).unwrap().is_empty());
    for _ in 0..2 {
        let again = index.record_instance(&study(1), "a", [1; 32], at(100)).unwrap();
        assert_eq!(again, Change::Identical);
    }
    let record = index.study(&study(1)).unwrap().unwrap();
    assert_eq!((record.generation, record.attempts, record.reason), (2, 0, None));
    assert_eq!(index.due(at(130), QUIET).unwrap(), [study(1)]);
}

#[test]
fn an_instance_during_the_analysis_keeps_the_study_due() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    index.record_instance(&study(1), "a", [1; 32], at(0)).unwrap();
    index.begin_attempt(&study(1), MAX_ATTEMPTS).unwrap();
    index.record_instance(&study(1), "b", [2; 32], at(1)).unwrap();
    index.finish(&study(1), 1, &completed(1)).unwrap();
    let record = index.study(&study(1)).unwrap().unwrap();
    assert_eq!((record.state, record.latest_revision), (StudyState::Receiving, 1));
    assert_eq!(index.due(at(40), QUIET).unwrap(), [study(1)]);
}

#[test]
fn a_study_that_takes_the_daemon_down_comes_last_and_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let poison = study(1);
    open(dir.path()).record_instance(&poison, "a", [1; 32], at(0)).unwrap();
    for attempt in 1..=MAX_ATTEMPTS {
        let index = open(dir.path()); // each analysis ends with the process
        let begun = index.begin_attempt(&poison, MAX_ATTEMPTS).unwrap();
        assert_eq!(begun, Attempt::Begun { generation: 1, attempt });
    }
    let index = open(dir.path());
    index.record_instance(&study(2), "a", [1; 32], at(10)).unwrap();
    assert_eq!(index.due(at(60), QUIET).unwrap(), [study(2), poison.clone()]);
    let exhausted = index.begin_attempt(&poison, MAX_ATTEMPTS).unwrap();
    assert_eq!(exhausted, Attempt::Exhausted { generation: 1 });
    // A crash here, before the failure is published, leaves it due.
    assert!(index.due(at(60), QUIET).unwrap().contains(&poison));
    index.finish(&poison, 1, &Outcome::Failed { reason: "analysis_failed" }).unwrap();
    assert_eq!(index.due(at(60), QUIET).unwrap(), [study(2)]);

    index.record_instance(&poison, "b", [2; 32], at(70)).unwrap();
    let begun = index.begin_attempt(&poison, MAX_ATTEMPTS).unwrap();
    assert_eq!(begun, Attempt::Begun { generation: 2, attempt: 1 });
}

#[test]
fn a_study_waits_after_an_attempt_that_failed() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    index.record_instance(&study(1), "a", [1; 32], at(0)).unwrap();
    for attempt in 1..=MAX_ATTEMPTS {
        let begun = index.begin_attempt(&study(1), MAX_ATTEMPTS).unwrap();
        assert_eq!(begun, Attempt::Begun { generation: 1, attempt });
        let record = index.fail_attempt(&study(1)).unwrap();
        assert_eq!((record.state, record.attempts), (StudyState::Receiving, attempt));
        assert_eq!(index.due(at(30), QUIET).unwrap(), [study(1)]);
    }
}

#[test]
fn a_shutdown_during_the_analysis_is_no_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    index.record_instance(&study(1), "a", [1; 32], at(0)).unwrap();
    for _ in 0..2 * MAX_ATTEMPTS {
        let begun = index.begin_attempt(&study(1), MAX_ATTEMPTS).unwrap();
        assert_eq!(begun, Attempt::Begun { generation: 1, attempt: 1 });
        index.abandon_attempt(&study(1)).unwrap();
        let record = index.study(&study(1)).unwrap().unwrap();
        assert_eq!((record.state, record.attempts), (StudyState::Receiving, 0), "it waits");
        assert_eq!(index.due(at(30), QUIET).unwrap(), [study(1)]);
    }
}

#[test]
fn a_study_asked_for_again_waits_and_a_crash_leaves_it_due() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    index.record_instance(&study(1), "a", [1; 32], at(0)).unwrap();
    index.finish(&study(1), 1, &Outcome::Rejected { reason: "no_t2" }).unwrap();
    assert_eq!(index.analyse_again(&study(1)).unwrap(), Requested::Due);
    let record = index.study(&study(1)).unwrap().unwrap();
    assert_eq!((record.state, record.reason), (StudyState::Receiving, None));
    drop(index);
    assert_eq!(open(dir.path()).due(at(30), QUIET).unwrap(), [study(1)]);
}

/// Writes an instance's file as `receive` does, without telling the index.
fn instance_file(dir: &Path, n: u32, name: &str) -> InstanceFile {
    let path = dir.join(format!("{}-{name}", study(n)));
    fs::write(&path, name).unwrap();
    InstanceFile { study_ref: study(n), name: name.to_owned(), path, modified_ms: unix_ms(at(5)) }
}

#[test]
fn an_instance_that_was_renamed_but_not_recorded_is_found_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    let files = [instance_file(dir.path(), 1, "a"), instance_file(dir.path(), 1, "b")];
    let digest = crate::store::files::sha256_of(&files[0].path).unwrap();
    index.record_instance(&study(1), "a", digest, at(0)).unwrap();
    index.record_instance(&study(1), "gone", [0; 32], at(0)).unwrap();

    let done = index.reconcile(files.clone(), []).unwrap();
    assert_eq!((done.instances_added, done.instances_removed, done.unreadable), (1, 1, 0));
    assert_eq!(index.reconcile(files, []).unwrap(), Reconciled::default());
    let again = index.record_instance(&study(1), "a", digest, at(9)).unwrap();
    assert_eq!(again, Change::Identical);
    assert_eq!(index.due(at(60), QUIET).unwrap(), [study(1)]);
}

#[test]
fn a_study_whose_record_alone_was_lost_is_due_again() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    let file = instance_file(dir.path(), 1, "a");
    index.reconcile([file.clone()], []).unwrap();
    index.studies.remove(study(1).as_str()).unwrap();
    index.reconcile([file], []).unwrap();
    assert_eq!(index.due(at(60), QUIET).unwrap(), [study(1)]);
}

/// An index of 40 analysed studies in `dir`, closed.
fn fill(dir: &Path) {
    let index = open(dir);
    for n in 0..40 {
        for name in ["a", "b", "c"] {
            index.record_instance(&study(n), name, [n as u8; 32], at(0)).unwrap();
        }
        index.begin_attempt(&study(n), MAX_ATTEMPTS).unwrap();
        index.finish(&study(n), 3, &completed(n)).unwrap();
    }
}

/// The biggest file below `dir`: sled's log.
fn log_of(dir: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    files.filter(|p| p.is_file()).max_by_key(|p| p.metadata().unwrap().len()).unwrap()
}

#[test]
fn a_damaged_index_is_replaced_and_rebuilt_from_the_files() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 4] = [
        ("truncated to a third", |log| log.truncate(log.len() / 3)),
        ("emptied", |log| log.clear()),
        ("every 64th byte flipped", |log| log.iter_mut().step_by(64).for_each(|b| *b ^= 0xff)),
        ("zeros in the middle", |log| {
            let (from, to) = (log.len() / 4, log.len() / 2);
            log[from..to].fill(0);
        }),
    ];
    for (name, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path());
        let results = ResultStore::open(dir.path()).unwrap();
        let staged = results.stage(&study(1), 7).unwrap();
        fs::write(staged.path().join(FINDING_FILE), br#"{"fingerprint":"from disk"}"#).unwrap();
        staged.commit().unwrap();
        let file = instance_file(dir.path(), 1, "late");

        let log = log_of(&dir.path().join("index"));
        let mut bytes = fs::read(&log).unwrap();
        damage(&mut bytes);
        fs::write(&log, bytes).unwrap();

        let (index, opened) = Index::open(&dir.path().join("index")).unwrap();
        println!("{name}: {opened:?}");
        if let Opened::Rebuilt { moved_to } = opened {
            assert!(moved_to.is_dir(), "{name}");
        }
        index.reconcile([file], results.all().unwrap()).unwrap();
        assert!(index.due(at(60), QUIET).unwrap().contains(&study(1)), "{name}");
        assert_eq!(index.study(&study(1)).unwrap().unwrap().latest_revision, 7, "{name}");
    }
}

#[test]
fn an_index_that_is_no_index_is_moved_aside_and_few_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    assert_eq!(Index::open(&path).unwrap().1, Opened::Fresh);
    assert_eq!(Index::open(&path).unwrap().1, Opened::Existing);
    for _ in 0..5 {
        fs::write(path.join("conf"), b"no configuration of sled").unwrap();
        let (_, opened) = Index::open(&path).unwrap();
        let Opened::Rebuilt { moved_to } = opened else { panic!("{opened:?}") };
        assert!(moved_to.join("conf").exists());
        std::thread::sleep(Duration::from_millis(2)); // the name holds the time in ms
    }
    let names = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name());
    let damaged = names.filter(|n| n.to_string_lossy().contains("damaged")).count();
    assert_eq!(damaged, 3);
}

#[test]
fn an_unreadable_record_asks_for_reopening_which_moves_the_index_aside() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    index.studies.insert(study(1).as_str(), b"{").unwrap();
    index.flush().unwrap();
    assert!(index.due(at(0), QUIET).unwrap_err().needs_reopening());
    drop(index);
    let (_, opened) = Index::open(&dir.path().join("index")).unwrap();
    assert!(matches!(opened, Opened::Rebuilt { .. }));
}

#[test]
fn an_index_in_use_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let _in_use = open(dir.path());
    // The same process may lock a file twice only through another description of it, as sled does.
    assert!(matches!(Index::open(&path), Err(IndexError::InUse { .. })));
    assert!(path.exists());
}

#[test]
fn the_reason_stays_until_something_new_comes_and_older_records_have_none() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    let reason = |index: &Index| index.study(&study(1)).unwrap().unwrap().reason;
    let old = br#"{"state":"receiving","last_activity_ms":1,"generation":1,"whole_generation":0,
        "analysed_generation":0,"attempts":0,"latest_revision":0}"#;
    index.studies.insert(study(1).as_str(), old.as_slice()).unwrap();
    assert_eq!(reason(&index), None);

    let mut changes = index.changes();
    index.finish(&study(1), 1, &Outcome::Rejected { reason: "no_t2" }).unwrap();
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert_eq!(reason(&index).as_deref(), Some("no_t2"));
    index.record_instance(&study(1), "a", [1; 32], at(0)).unwrap();
    assert_eq!(reason(&index), None);
    assert!(changes.has_changed().unwrap());
}

/// An analysed study with a result on disk.
fn analysed(dir: &Path, index: &Index, n: u32) -> ResultStore {
    index.reconcile([instance_file(dir, n, "a")], []).unwrap();
    let results = ResultStore::open(dir).unwrap();
    let staged = results.stage(&study(n), 1).unwrap();
    fs::write(staged.path().join(FINDING_FILE), br#"{"fingerprint":"f1"}"#).unwrap();
    staged.commit().unwrap();
    index.finish(&study(n), 1, &completed(1)).unwrap();
    results
}

#[test]
fn a_study_without_instances_keeps_its_result_and_is_not_analysed_again() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    let results = analysed(dir.path(), &index, 1);
    assert_eq!(index.analyse_again(&study(2)).unwrap(), Requested::UnknownStudy);
    let remove = |part, may: bool| {
        index.remove(&study(1), part, |_| may, || Ok::<_, IndexError>(())).unwrap()
    };
    assert!(!remove(Part::Instances, false));
    assert_eq!(index.analyse_again(&study(1)).unwrap(), Requested::Due);
    index.finish(&study(1), 2, &completed(1)).unwrap();

    assert!(remove(Part::Instances, true));
    assert_eq!(index.analyse_again(&study(1)).unwrap(), Requested::InstancesRemoved);
    // Neither a restart nor an index that was lost makes it due.
    for index in [&index, &open(&dir.path().join("lost"))] {
        index.reconcile([], results.all().unwrap()).unwrap();
        let record = index.study(&study(1)).unwrap().unwrap();
        assert_eq!((record.state, record.latest_revision), (StudyState::Completed, 1));
        assert!(!record.has_work() && record.last_activity_ms > 0, "{record:?}");
    }
    // Sent again, it is analysed as one that has never been seen.
    assert_eq!(index.record_instance(&study(1), "a", [1; 32], at(90)).unwrap(), Change::New);
    assert_eq!(index.due(at(130), QUIET).unwrap(), [study(1)]);
    index.finish(&study(1), 3, &completed(1)).unwrap();
    assert!(remove(Part::Everything, true));
    assert_eq!(index.studies().unwrap(), []);
    assert_eq!(index.instances.len(), 0);
}

#[test]
fn a_crash_between_the_removal_of_files_and_of_entries_is_made_up_for() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    let results = analysed(dir.path(), &index, 1);
    // The instances are gone, and somebody asked for an analysis before.
    index.update(&study(1), StudyRecord::note_request).unwrap();
    let done = index.reconcile([], results.all().unwrap()).unwrap();
    assert_eq!((done.instances_removed, done.studies_removed), (1, 0));
    assert!(index.due(at(1_000_000_000), QUIET).unwrap().is_empty());
    assert_eq!(index.analyse_again(&study(1)).unwrap(), Requested::InstancesRemoved);

    results.remove(&study(1)).unwrap();
    let done = index.reconcile([], results.all().unwrap()).unwrap();
    assert_eq!(done.studies_removed, 1);
    assert_eq!(index.studies().unwrap(), []);
    assert_eq!(index.reconcile([], []).unwrap(), Reconciled::default());
}

#[test]
fn a_study_rests_once_it_is_done_and_quiet() {
    let record = StudyRecord {
        state: StudyState::Completed,
        generation: 3,
        analysed_generation: 3,
        last_activity_ms: 1000,
        ..Default::default()
    };
    assert!(record.is_at_rest(31_000, QUIET));
    assert!(!record.is_at_rest(30_999, QUIET), "it may still be received");
    let later = StudyRecord { last_activity_ms: 1_000_000, ..record.clone() };
    assert!(later.is_at_rest(1000, QUIET), "the clock was set back since");
    for state in [StudyState::Receiving, StudyState::Analysing] {
        assert!(!StudyRecord { state, ..record.clone() }.is_at_rest(31_000, QUIET));
    }
    assert!(!StudyRecord { generation: 4, ..record }.is_at_rest(31_000, QUIET));
}
