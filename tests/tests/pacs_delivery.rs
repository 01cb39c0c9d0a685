//! Results on their way to storage providers that others wrote, which are not always there.

use std::process::Command;
use std::time::Duration;

use modicd_tests::{
    Broker, Daemon, Exam, Orthanc, Storescp, Subscriber, eventually, free_port, storescu,
};

const COMPREHENSIVE_3D_SR: &str = "1.2.840.10008.5.1.4.1.1.88.34";
const LIMIT: Duration = Duration::from_secs(120);

fn destination(name: &str, port: u16, rest: &str) -> String {
    format!(
        "[[pacs]]\nname = \"{name}\"\nhost = \"127.0.0.1\"\nport = {port}\ncalled_ae = \"ARCHIVE\"\n\
         backoff_max_s = 1\n{rest}\n"
    )
}

#[test]
fn what_a_provider_missed_is_sent_when_it_is_back_and_nothing_is_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut archive = Storescp::start(&folder.path().join("archive"));
    let mut reports = Storescp::start(&folder.path().join("reports"));
    let picky = Storescp::start_for(&folder.path().join("picky"), COMPREHENSIVE_3D_SR);
    let sections = destination("archive", archive.port, "")
        + &destination("picky", picky.port, "")
        + &destination("reports", reports.port, "objects = [\"report\"]");
    let mut daemon = Daemon::start(folder.path(), broker.port, &sections);
    let subscriber = Subscriber::start(&broker);

    let first = Exam::small(&folder.path().join("first"), 31);
    assert!(storescu(daemon.dicom_port, &[], &first.folder).status.success());
    eventually(LIMIT, "four objects in the archive", || (archive.files().len() == 4).then_some(()));
    eventually(LIMIT, "one report", || (reports.files().len() == 1).then_some(()));

    // What a destination doesn't take waits, and holds up nothing that it takes.
    let queues = daemon.state.join("pacs");
    let waiting = |name: &str| std::fs::read_dir(queues.join(name)).unwrap().count();
    eventually(LIMIT, "the report where no other object is taken", || {
        (picky.files().len() == 1 && waiting("picky") == 3).then_some(())
    });
    assert!(daemon.log().contains("takes no objects of SOP class"));

    let config = folder.path().join("modicd.toml");
    let pacs = |words: &[&str]| {
        let mut run = Command::new(Daemon::program());
        run.arg("pacs").args(words).arg("--config").arg(&config);
        let output = run.output().expect("the program is built");
        let [out, err] = [output.stdout, output.stderr].map(|t| String::from_utf8(t).unwrap());
        (output.status.code(), out, err)
    };
    let (code, out, _) = pacs(&["echo"]);
    assert_eq!((code, &out[..]), (Some(1), "archive: answers\nreports: answers\n"));
    let (code, out, _) = pacs(&["echo", "archive"]);
    assert_eq!((code, &out[..]), (Some(0), "archive: answers\n"));
    // Sent by hand, they are the same instances.
    let result = eventually(LIMIT, "the result", || daemon.results().pop());
    let (code, _, err) = pacs(&["send", "--to", "archive", result.to_str().unwrap()]);
    assert_eq!((code, archive.files().len()), (Some(0), 4), "{err}");

    // One destination is down: the other gets its own all the same.
    archive.kill();
    let second = Exam::small(&folder.path().join("second"), 32);
    assert!(storescu(daemon.dicom_port, &[], &second.folder).status.success());
    subscriber.wait_for("/latest/finding", 2, LIMIT);
    eventually(LIMIT, "the second report", || (reports.files().len() == 2).then_some(()));
    assert_eq!(archive.files().len(), 4);
    let (code, out, err) = pacs(&["echo", "archive"]);
    assert_eq!((code, &out[..]), (Some(1), ""));
    assert!(err.starts_with("archive: the destination can't be reached"), "{err}");

    // Nor does the daemon's own death lose what waits.
    daemon.kill();
    reports.kill();
    reports.restart();
    archive.restart();
    daemon.restart();
    eventually(LIMIT, "eight objects in the archive", || {
        (archive.files().len() == 8).then_some(())
    });
    eventually(LIMIT, "an empty queue", || (waiting("archive") == 0).then_some(()));
    assert_eq!(reports.files().len(), 2);

    // The same exam again: the same instances.
    assert!(storescu(daemon.dicom_port, &[], &first.folder).status.success());
    assert_eq!(archive.files().len(), 8);
    let log = daemon.log();
    assert!(!log.contains("PHANTOM") && !log.contains("2.25."), "{log}");
}

#[test]
fn orthanc_forwards_an_exam_and_gets_its_results_back() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let dicom_port = free_port();
    let daemon = Daemon::start(folder.path(), broker.port, &destination("orthanc", dicom_port, ""));
    let mut orthanc = Orthanc::new(folder.path(), dicom_port, daemon.dicom_port);
    orthanc.restart();
    let subscriber = Subscriber::start(&broker);
    let of_one = ["DOC", "MR", "MR", "OT", "SEG", "SR"].map(str::to_owned).to_vec();

    let first = Exam::small(&folder.path().join("first"), 33);
    assert!(storescu(orthanc.dicom_port, &[], &first.folder).status.success());
    eventually(LIMIT, "the results beside the images", || {
        (orthanc.studies() == [of_one.clone()]).then_some(())
    });

    // Orthanc is away while a second exam is analysed.
    let second = Exam::small(&folder.path().join("second"), 34);
    assert!(storescu(orthanc.dicom_port, &[], &second.folder).status.success());
    subscriber.wait_for("/event/study.received", 2, LIMIT);
    orthanc.kill();
    subscriber.wait_for("/latest/finding", 2, LIMIT);
    orthanc.restart();
    eventually(LIMIT, "the results of both", || {
        (orthanc.studies() == [of_one.clone(), of_one.clone()]).then_some(())
    });
    let images = (first.files().len() + second.files().len()) as u64;
    assert_eq!(orthanc.instances(), images + 8);
}
