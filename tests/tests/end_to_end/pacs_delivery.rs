//! Results on their way to storage providers that others wrote, which are not always there.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dicom::dictionary_std::tags;
use dicom::object::open_file;
use modicd_tests::{
    Broker, Certificates, Daemon, Exam, HttpsProxy, Orthanc, Storescp, Subscriber, eventually,
    free_port, storescu,
};

const COMPREHENSIVE_3D_SR: &str = "1.2.840.10008.5.1.4.1.1.88.34";
const LIMIT: Duration = Duration::from_secs(120);

fn destination(name: &str, port: u16, rest: &str) -> String {
    format!(
        "[[pacs]]\nname = \"{name}\"\nbackoff_max_s = 1\n{rest}\n\
         [pacs.dicom]\nhost = \"localhost\"\nport = {port}\ncalled_ae = \"ARCHIVE\"\n"
    )
}

/// How many files a folder has, those in folders below not counted.
fn files_in(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    entries.filter(|entry| entry.path().is_file()).count()
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
    let waiting = |name: &str| files_in(&queues.join(name));
    eventually(LIMIT, "the report where no other object is taken", || {
        (picky.files().len() == 1 && waiting("picky") == 3).then_some(())
    });
    assert!(daemon.log().contains("takes nothing of SOP class"));

    let pacs = |words: &[&str]| pacs(folder.path(), words);
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

/// `modicd pacs` with the configuration in `folder`: exit code, output, errors.
fn pacs(folder: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let mut run = Command::new(Daemon::program());
    run.arg("pacs").args(words).arg("--config").arg(folder.join("modicd.toml"));
    let output = run.output().expect("the program is built");
    let [out, err] = [output.stdout, output.stderr].map(|t| String::from_utf8(t).expect("text"));
    (output.status.code(), out, err)
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

#[test]
fn a_provider_with_tls_gets_results_and_a_wrong_authority_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let [known, other] = ["known", "other"].map(|n| Certificates::make(&folder.path().join(n)));
    let archive = Storescp::start_with_tls(&folder.path().join("archive"), &known);
    let section = |name: &str, authority: &Path, ours: &Certificates| {
        destination(name, archive.port, "")
            + &format!(
                "[pacs.dicom.tls]\nca_file = {authority:?}\nclient_cert_file = {:?}\n\
                 client_key_file = {:?}\n",
                ours.client, ours.client_key
            )
    };
    let sections = section("archive", &known.authority, &known)
        + &section("distrusted", &other.authority, &known)
        + &section("stranger", &known.authority, &other)
        + &destination("plain", archive.port, "");
    let daemon = Daemon::start(folder.path(), broker.port, &sections);

    let exam = Exam::small(&folder.path().join("exam"), 35);
    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    eventually(LIMIT, "four objects in the archive", || (archive.files().len() == 4).then_some(()));
    let (code, out, err) = pacs(folder.path(), &["echo"]);
    assert_eq!((code, &out[..]), (Some(1), "archive: answers\n"), "{err}");
    assert!(err.contains("distrusted:") && err.contains("invalid peer certificate"), "{err}");
    assert!(err.contains("stranger:") && err.contains("plain:"), "{err}");
    let queues = daemon.state.join("pacs");
    for (name, waiting) in [("archive", 0), ("distrusted", 4), ("stranger", 4), ("plain", 4)] {
        let drained = || (files_in(&queues.join(name)) == waiting).then_some(());
        eventually(LIMIT, &format!("{waiting} objects for {name}"), drained);
    }
    assert_eq!(archive.files().len(), 4);
}

#[test]
fn a_dicomweb_server_gets_results_over_https_and_none_twice() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let certificates = Certificates::make(&folder.path().join("certificates"));
    let mut orthanc = Orthanc::new(folder.path(), free_port(), free_port()).guarded();
    let proxy = HttpsProxy::start(&folder.path().join("nginx"), &certificates, orthanc.http_port);
    let [right, wrong] = ["secret", "guessed"].map(|password| {
        let file = folder.path().join(password);
        std::fs::write(&file, format!("{password}\n")).unwrap();
        file
    });
    let Certificates { authority, client, client_key, .. } = &certificates;
    let section = |name: &str, password: &Path| {
        format!(
            "[[pacs]]\nname = \"{name}\"\nbackoff_max_s = 1\n\
             [pacs.web]\nurl = \"https://localhost:{}/dicom-web\"\nusername = \"modicd\"\n\
             password_file = {password:?}\n[pacs.web.tls]\nca_file = {authority:?}\n\
             client_cert_file = {client:?}\nclient_key_file = {client_key:?}\n",
            proxy.port
        )
    };
    let sections = section("web", &right) + &section("locked-out", &wrong);
    let daemon = Daemon::start(folder.path(), broker.port, &sections);
    let subscriber = Subscriber::start(&broker);
    let queues = daemon.state.join("pacs");

    // Not there yet when the result is.
    let exam = Exam::small(&folder.path().join("exam"), 36);
    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    subscriber.wait_for("/latest/finding", 1, LIMIT);
    assert_eq!(files_in(&queues.join("web")), 4);
    let told = eventually(LIMIT, "a health that tells what waits", || {
        subscriber.on("/health").into_iter().find(|health| health["pacs"]["web"] == 4)
    });
    assert_eq!(told["pacs"]["locked-out"], 4);
    orthanc.restart();
    let of_one = ["DOC", "OT", "SEG", "SR"].map(str::to_owned).to_vec();
    eventually(LIMIT, "four objects", || (orthanc.studies() == [of_one.clone()]).then_some(()));
    eventually(LIMIT, "an empty queue", || (files_in(&queues.join("web")) == 0).then_some(()));

    let (code, out, err) = pacs(folder.path(), &["echo"]);
    assert_eq!((code, &out[..]), (Some(1), "web: answers\n"), "{err}");
    assert!(err.starts_with("locked-out: the destination answered with HTTP status 401"), "{err}");
    assert_eq!(files_in(&queues.join("locked-out")), 4);
    let result = daemon.results().pop().unwrap();
    let (code, _, err) = pacs(folder.path(), &["send", "--to", "web", result.to_str().unwrap()]);
    assert_eq!((code, orthanc.instances()), (Some(0), 4), "{err}");
}

#[test]
fn an_object_is_delivered_when_the_provider_has_committed_itself_to_keep_it() {
    const COMMITTED: &str = "storage_commitment = true\n";
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let dicom_port = free_port();
    // storescp knows no storage commitment.
    let archive = Storescp::start(&folder.path().join("archive"));
    let sections = destination("orthanc", dicom_port, "")
        + COMMITTED
        + &destination("archive", archive.port, "")
        + COMMITTED;
    let daemon = Daemon::start(folder.path(), broker.port, &sections);
    let mut orthanc =
        Orthanc::new(folder.path(), dicom_port, daemon.dicom_port).loses_the_first_report();
    orthanc.restart();

    let exam = Exam::small(&folder.path().join("exam"), 37);
    assert!(storescu(orthanc.dicom_port, &[], &exam.folder).status.success());
    let of_one = ["DOC", "MR", "MR", "OT", "SEG", "SR"].map(str::to_owned).to_vec();
    eventually(LIMIT, "all results, the lost report too", || {
        (orthanc.studies() == [of_one.clone()]).then_some(())
    });
    let queues = daemon.state.join("pacs");
    eventually(LIMIT, "all of it committed", || {
        let queue = queues.join("orthanc");
        let left = ["", "stored", "transactions"].map(|part| files_in(&queue.join(part)));
        (left == [0, 0, 0]).then_some(())
    });
    let log = daemon.log();
    assert_eq!(log.matches("An object is committed.").count(), 4, "{log}");
    assert_eq!(log.matches("not committed and will be sent again").count(), 1, "{log}");
    assert_eq!(orthanc.instances(), exam.files().len() as u64 + 4);
    assert!(!log.contains("2.25."), "{log}");

    // Where nobody commits himself, nothing counts as delivered, and nothing is sent twice.
    let queue = queues.join("archive");
    let left = ["", "stored", "transactions"].map(|part| files_in(&queue.join(part)));
    assert_eq!((left, archive.files().len()), ([0, 4, 0], 4));
    assert!(log.contains("Storage commitment can't be asked for"), "{log}");
}

#[test]
fn a_late_slice_makes_new_instances_in_series_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let archive = Storescp::start(&folder.path().join("archive"));
    let daemon =
        Daemon::start(folder.path(), broker.port, &destination("archive", archive.port, ""));
    let exam = Exam::of_slices(&folder.path().join("exam"), 38, 6);
    let [late, apart] = [exam.folder.join("t1/006.dcm"), folder.path().join("late.dcm")];
    std::fs::rename(&late, &apart).unwrap();
    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    eventually(LIMIT, "the first revision", || (archive.files().len() == 4).then_some(()));
    std::fs::rename(&apart, &late).unwrap();
    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    eventually(LIMIT, "the second revision", || (archive.files().len() == 8).then_some(()));
    let different = |tag| {
        let objects = archive.files().into_iter().map(|file| open_file(file).unwrap());
        let texts = objects.map(|o| o.element(tag).unwrap().to_str().unwrap().into_owned());
        texts.collect::<BTreeSet<_>>().len()
    };
    assert_eq!(different(tags::SOP_INSTANCE_UID), 8);
    assert_eq!(different(tags::SERIES_INSTANCE_UID), 8);
    assert_eq!(different(tags::STUDY_INSTANCE_UID), 1);
}
