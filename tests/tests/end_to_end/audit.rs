//! Audit messages, by way of rsyslog to a repository behind TLS, and checked by xmllint.
#![allow(clippy::unwrap_used)] // all of this file is a test

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use dicom::dictionary_std::tags;
use dicom::object::open_file;
use modicd_tests::{
    Broker, Daemon, Exam, Page, Storescp, Subscriber, Syslog, ask, end_of, endplates, eventually,
    storescu,
};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);

/// The XML in a message of RFC 5424; its head is as PS3.15 A.6 wants.
fn body(message: &str) -> &str {
    let (head, xml) = message.split_once('\u{feff}').expect("a byte order mark");
    let words: Vec<&str> = head.split_whitespace().collect();
    let ["<85>1", time, _host, "modicd", process, "DICOM+RFC3881", "-"] = words[..] else {
        panic!("{head}");
    };
    assert!(is_time(time) && process.parse::<u32>().is_ok(), "{head}");
    xml
}

/// Whether it is a time of RFC 3339.
fn is_time(time: &str) -> bool {
    let date = time.as_bytes();
    date.len() >= 20 && date[4] == b'-' && date[10] == b'T' && date[13] == b':'
}

/// What names the patient or the study of a DICOM file.
fn naming(file: &Path) -> Vec<String> {
    let object = open_file(file).unwrap();
    let naming =
        [tags::PATIENT_NAME, tags::PATIENT_ID, tags::STUDY_INSTANCE_UID, tags::SOP_INSTANCE_UID];
    let words = naming.map(|tag| object.element(tag).unwrap().to_str().unwrap().trim().to_owned());
    words.into_iter().filter(|word| !word.is_empty()).collect()
}

/// The number of messages of an event that say this, too. One that rsyslog sent again after a connection broke counts once.
fn count(syslog: &Syslog, event: &str, says: &str) -> usize {
    let code = format!("<EventID csd-code=\"{event}\"");
    let messages = BTreeSet::from_iter(syslog.received());
    messages.iter().filter(|m| m.contains(&code) && m.contains(says)).count()
}

fn wait_for(syslog: &Syslog, event: &str, says: &str) {
    eventually(LIMIT, &format!("a message {event} with {says}"), || {
        (count(syslog, event, says) > 0).then_some(())
    });
}

/// What xmllint has against a message, by the grammar.
fn complaints(xml: &str) -> String {
    let grammar = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/audit_message.rng");
    let mut child = Command::new("xmllint")
        .args(["--noout", "--relaxng"])
        .arg(grammar)
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("xmllint is installed (tests/run installs it)");
    child.stdin.take().unwrap().write_all(xml.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() { String::new() } else { String::from_utf8(output.stderr).unwrap() }
}

const TRANSFERRED: &str = "110104";
const ACCESSED: &str = "110103";
const DELETED: &str = "110105";
const IMPORT: &str = "110107";
const ALERT: &str = "110113";
const AUTHENTICATION: &str = "110114";
const ACTIVITY: &str = "110100";

#[test]
fn all_that_a_site_must_trace_reaches_its_repository_over_tls_and_names_no_patient() {
    let folder = tempfile::tempdir().unwrap();
    let mut syslog = Syslog::prepare(&folder.path().join("syslog"));
    // The box starts before its syslog daemon, and that before the repository: nothing is missed.
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let archive = Storescp::start(&folder.path().join("archive"));
    let watched = folder.path().join("in");
    std::fs::create_dir(&watched).unwrap();
    let keys = format!("watch_folder = {watched:?}\nwatch_interval_s = 1");
    let sections = format!(
        "[mqtt.commands]\nallow = [\"self-test\"]\n\
         [audit]\nsocket = {:?}\n\
         [storage]\nmin_free_bytes = 0\n\
         [[pacs]]\nname = \"archive\"\nbackoff_max_s = 1\n\
         [pacs.dicom]\nhost = \"localhost\"\nport = {}\ncalled_ae = \"ARCHIVE\"\n",
        syslog.socket, archive.port
    );
    let mut daemon = Daemon::start_with_sections(folder.path(), broker.port, &keys, &sections);
    let exam = Exam::small(&folder.path().join("exam"), 71);
    assert!(storescu(daemon.dicom_port, &["-aet", "MR1"], &exam.folder).status.success());
    let done = subscriber.wait_for("/event/study.completed", 1, LIMIT);
    let study = done["study_ref"].as_str().unwrap();
    syslog.start_local();
    std::thread::sleep(Duration::from_secs(2));
    syslog.start_repository();

    wait_for(&syslog, ACTIVITY, "110120");
    let received = "UserID=\"MR1\" AlternativeUserID=\"AETITLES=MR1\" UserIsRequestor=\"true\" \
                    NetworkAccessPointID=\"127.0.0.1\" NetworkAccessPointTypeCode=\"2\"";
    wait_for(&syslog, TRANSFERRED, received);
    wait_for(&syslog, TRANSFERRED, "UserID=\"archive\"");
    assert_eq!(count(&syslog, TRANSFERRED, study), 2, "one message for each way");

    assert!(!storescu(daemon.dicom_port, &["-aec", "OTHER"], &exam.folder).status.success());
    // called_ae_not_recognized
    wait_for(&syslog, ALERT, "Y2FsbGVkX2FlX25vdF9yZWNvZ25pemVk");

    let page = Page::of(&daemon);
    let sign_in = |token: &str| page.post("/api/login", &format!("{{\"token\":{token:?}}}"), &[]);
    assert_eq!(sign_in("not the token at all").status, 401);
    assert_eq!(sign_in(&page.token).status, 204);
    wait_for(&syslog, AUTHENTICATION, "EventOutcomeIndicator=\"4\"");
    wait_for(&syslog, AUTHENTICATION, "EventOutcomeIndicator=\"0\"");
    assert_eq!(page.get_with_token(&format!("/api/exams/{study}/1")).status, 200);
    wait_for(&syslog, ACCESSED, study);
    let report = format!("/api/exams/{study}/1/report.sr.dcm");
    assert_eq!(page.get_with_token(&report).status, 200);
    wait_for(&syslog, ACCESSED, "ParticipantObjectDetail type=\"file\"");
    let list = json!({
        "name": "pilot", "studies": [study], "readers": ["Reader7"], "washout_days": 0, "seed": 3,
    });
    let bearer = |token: &str| format!("Bearer {token}");
    let token = bearer(&page.token);
    let made = page.post("/api/readings", &list.to_string(), &[("authorization", &token)]);
    let links: Value = serde_json::from_str(&made.body).unwrap();
    let token = bearer(links[0]["link"].as_str().unwrap().rsplit_once("token=").unwrap().1);
    let open = format!("/api/reading/pilot/{study}/blind");
    assert_eq!(page.get_with(&open, &[("authorization", &token)]).status, 200);
    let by_reader = "UserID=\"Reader7\"";
    wait_for(&syslog, ACCESSED, by_reader);
    let closed = format!("{open}/modic_map.nii");
    assert_eq!(page.get_with(&closed, &[("authorization", &token)]).status, 403);
    let volume = format!("{open}/t1.nii");
    assert_eq!(page.get_with(&volume, &[("authorization", &token)]).status, 200);
    eventually(
        LIMIT,
        "a message for the exam and one for its file, none for what was refused",
        || (count(&syslog, ACCESSED, by_reader) == 2).then_some(()),
    );
    // An exam stays while it is being read.
    let grades: BTreeMap<String, &str> = endplates().iter().map(|e| (e.to_string(), "0")).collect();
    let said = json!({ "grades": grades, "seconds": 3.5 }).to_string();
    for session in ["blind", "with_map"] {
        let path = format!("/api/reading/pilot/{study}/{session}");
        assert_eq!(page.post(&path, &said, &[("authorization", &token)]).status, 204);
    }

    ask(&broker, "self-test", "a", "", &[]);
    end_of(&subscriber, "self-test", "a");
    ask(&broker, "log.level", "b", ",\"level\":\"debug\",\"for_s\":60", &[]);
    // self-test, and log.level, which isn't allowed
    wait_for(&syslog, ALERT, "c2VsZi10ZXN0");
    wait_for(&syslog, ALERT, "bG9nLmxldmVs");

    let other = Exam::small(&folder.path().join("other"), 72);
    std::fs::copy(&other.files()[0], watched.join("one.dcm")).unwrap();
    wait_for(&syslog, IMPORT, "UserID=\"box\"");

    // More than any disk has: all that may go goes.
    daemon.reconfigure("min_free_bytes = 0", "min_free_bytes = 1_000_000_000_000_000");
    daemon.signal("HUP");
    wait_for(&syslog, ALERT, "110131");
    wait_for(&syslog, DELETED, study);

    assert_eq!(daemon.stop(LIMIT), Some(0));
    wait_for(&syslog, ACTIVITY, "110121");
    let activities = [count(&syslog, ACTIVITY, "110120"), count(&syslog, ACTIVITY, "110121")];
    assert_eq!(activities, [1, 1], "a reload is no start: {:#?}", syslog.received());
    let messages = syslog.received();
    for message in &messages {
        let complaints = complaints(body(message));
        assert!(complaints.is_empty(), "{complaints}\n{message}");
        assert!(message.contains("AuditEnterpriseSiteID=\"test\" AuditSourceID=\"box\""));
        for word in exam.files().iter().chain(&other.files()).flat_map(|file| naming(file)) {
            assert!(!message.contains(&word), "{word} in {message}");
        }
    }
    assert!(messages.len() >= 13, "{messages:#?}");
}
