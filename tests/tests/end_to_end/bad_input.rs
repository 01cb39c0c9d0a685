//! Bad input gets its refusal with a reason; the association and the daemon go on.

use std::time::Duration;

use modicd_tests::{Broker, Daemon, Defect, Exam, Subscriber, echoscu, storescu};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn every_defect_is_refused_with_its_reason_and_the_daemon_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let mut daemon = Daemon::start(folder.path(), broker.port, "");
    let cases = [
        (Defect::T1Only, "no_t2"),
        (Defect::OneSlice, "too_few_slices"),
        (Defect::Neck, "wrong_body_part"),
        (Defect::ZeroSpacing, "zero_spacing"),
        (Defect::NoPosition, "missing_tag"),
        (Defect::ShortPixels, "pixel_data_short"),
    ];
    for (n, (defect, reason)) in (1..).zip(cases) {
        let exam =
            Exam::small(&folder.path().join(format!("{defect:?}")), 30 + n as u64).spoil(defect);
        let sent = storescu(daemon.dicom_port, &[], &exam.folder);
        assert!(sent.status.success(), "{defect:?}: {}", String::from_utf8_lossy(&sent.stderr));
        let rejected = subscriber.wait_for("/event/study.rejected", n, LIMIT);
        assert_eq!(rejected["reason"], reason, "{defect:?}: {rejected}");
        assert!(daemon.is_alive() && echoscu(daemon.dicom_port), "{defect:?}");
    }
}

#[test]
fn an_instance_that_cannot_be_read_fails_its_own_study_alone() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let mut daemon = Daemon::prepare(folder.path(), broker.port, [""; 4]);
    daemon.reconfigure("analyse_when_whole = false", "analyse_when_whole = true");
    daemon.restart();
    let exam = Exam::of_slices(&folder.path().join("exam"), 38, 6);
    let late = folder.path().join("late");
    std::fs::create_dir(&late).unwrap();
    let files = exam.files();
    let held_back = files.iter().find(|f| f.parent().unwrap().ends_with("t1")).unwrap();
    std::fs::rename(held_back, late.join("slice.dcm")).unwrap();
    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    let finding = subscriber.wait_for("/latest/finding", 1, LIMIT);
    let study = finding["study_ref"].as_str().unwrap();

    // It can't be opened, as where a disk is damaged: a link to itself.
    let damaged = daemon.state.join("instances").join(study).join("damaged.dcm");
    std::os::unix::fs::symlink("damaged.dcm", &damaged).unwrap();
    assert!(storescu(daemon.dicom_port, &[], &late).status.success());
    let failed = subscriber.wait_for("/event/study.failed", 1, LIMIT);
    assert_eq!(failed["study_ref"], study);
    assert_eq!(failed["reason"], "analysis_failed");

    let other = Exam::small(&folder.path().join("other"), 39);
    assert!(storescu(daemon.dicom_port, &[], &other.folder).status.success());
    assert_ne!(subscriber.wait_for("/latest/finding", 2, LIMIT)["study_ref"], study);
    assert!(daemon.is_alive());

    // An instance of the exam that can't be read is mended by sending it again.
    let stored = std::fs::read_dir(damaged.parent().unwrap()).unwrap().flatten();
    let stored = stored.map(|entry| entry.path()).find(|path| *path != damaged).unwrap();
    std::fs::remove_file(&damaged).unwrap();
    std::fs::remove_file(&stored).unwrap();
    std::os::unix::fs::symlink(stored.file_name().unwrap(), &stored).unwrap();
    for folder in [&exam.folder, &late] {
        assert!(storescu(daemon.dicom_port, &[], folder).status.success());
    }
    assert!(stored.symlink_metadata().unwrap().is_file());
    // And the study that was given up is tried again.
    assert_eq!(subscriber.wait_for("/latest/finding", 3, LIMIT)["study_ref"], study);
}

#[test]
fn signed_pixels_and_a_path_as_uid_are_handled() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let daemon = Daemon::start(folder.path(), broker.port, "");
    let plain = Exam::small(&folder.path().join("plain"), 40);
    assert!(storescu(daemon.dicom_port, &[], &plain.folder).status.success());
    let plain = subscriber.wait_for("/latest/finding", 1, LIMIT);

    let signed = Exam::small(&folder.path().join("signed"), 40).spoil(Defect::Signed);
    assert!(storescu(daemon.dicom_port, &[], &signed.folder).status.success());
    let signed = subscriber.wait_for("/latest/finding", 2, LIMIT);
    assert_eq!(signed["findings"], plain["findings"], "the same picture gives the same findings");
    assert_eq!(signed["revision"], 2, "the files of the study changed");

    let hostile = Exam::small(&folder.path().join("hostile"), 41).spoil(Defect::PathInUid);
    let sent = storescu(daemon.dicom_port, &[], &hostile.folder);
    assert!(!sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let rejected = subscriber.wait_for("/event/instance.rejected", 1, LIMIT);
    assert!(rejected["reasons"]["invalid_uid"].as_u64() >= Some(1), "{rejected}");
    let mut folders = std::fs::read_dir(daemon.state.join("instances")).unwrap().flatten();
    assert!(folders.all(|f| {
        let name = f.file_name().into_string().unwrap();
        let own = [".incoming", ".removed"].contains(&name.as_str());
        own || (name.len() == 16 && name.bytes().all(|b| b.is_ascii_hexdigit()))
    }));
    assert!(echoscu(daemon.dicom_port));
}

#[test]
fn what_is_not_dicom_is_refused_in_the_watched_folder_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = folder.path().join("in");
    std::fs::create_dir(&inbox).unwrap();
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let config = format!("watch_folder = {inbox:?}\nwatch_interval_s = 1\n");
    let daemon = Daemon::start_with_receive(folder.path(), broker.port, &config);
    let exam = Exam::small(&folder.path().join("exam"), 50);
    std::fs::write(inbox.join("letter.txt"), "not DICOM at all").unwrap();
    let whole = std::fs::read(&exam.files()[0]).unwrap();
    std::fs::write(inbox.join("truncated.dcm"), &whole[..whole.len() / 3]).unwrap();
    let rejected = subscriber.wait_for("/event/instance.rejected", 1, LIMIT);
    assert_eq!(rejected["reasons"]["not_dicom"], 1, "{rejected}");
    assert_eq!(rejected["reasons"]["truncated"], 1, "{rejected}");
    assert!(inbox.join("refused/letter.txt").is_file());

    for (n, file) in exam.files().iter().enumerate() {
        std::fs::copy(file, inbox.join(format!("{n}.dcm"))).unwrap();
    }
    subscriber.wait_for("/latest/finding", 1, LIMIT);
    assert!(daemon.log().contains("A folder is watched."));
}
