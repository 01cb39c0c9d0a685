//! An exam whose headers are full of canaries: what names a patient is found nowhere that everybody may look.
#![allow(clippy::unwrap_used)] // all of this file is a test

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dicom::core::{DataElement, PrimitiveValue, Tag, VR};
use dicom::dictionary_std::tags;
use dicom::object::open_file;
use modicd_tests::{
    Broker, Daemon, Defect, Exam, Page, Subscriber, ask, end_of, storescu, support_bundle,
};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);

/// Attributes that name a patient or that people write what they like into, each with a value of its own. The study is the
/// lumbar spine's and the series stay T1w and T2w by their timing.
const CANARIES: [(Tag, VR, &str); 22] = [
    (tags::PATIENT_NAME, VR::PN, "CANARYNAME^CANARYGIVEN"),
    (tags::PATIENT_ID, VR::LO, "CANARYID4711"),
    (tags::OTHER_PATIENT_NAMES, VR::PN, "CANARYOTHERNAME"),
    (tags::PATIENT_BIRTH_DATE, VR::DA, "19630917"),
    (tags::PATIENT_ADDRESS, VR::LO, "CANARYSTREET 5"),
    (tags::PATIENT_COMMENTS, VR::LT, "CANARYPATIENTCOMMENT"),
    (tags::ACCESSION_NUMBER, VR::SH, "CANARYACC0815"),
    (tags::STUDY_ID, VR::SH, "CANARYSTUDYID"),
    (tags::STUDY_DESCRIPTION, VR::LO, "Lumbar spine CANARYSTUDYTEXT"),
    (tags::SERIES_DESCRIPTION, VR::LO, "sag CANARYSERIESTEXT"),
    (tags::PROTOCOL_NAME, VR::LO, "CANARYPROTOCOL"),
    (tags::IMAGE_COMMENTS, VR::LT, "CANARYIMAGECOMMENT"),
    (tags::ADDITIONAL_PATIENT_HISTORY, VR::LT, "CANARYHISTORY"),
    (tags::REFERRING_PHYSICIAN_NAME, VR::PN, "CANARYREFERRER"),
    (tags::PERFORMING_PHYSICIAN_NAME, VR::PN, "CANARYPERFORMER"),
    (tags::OPERATORS_NAME, VR::PN, "CANARYOPERATOR"),
    (tags::INSTITUTION_NAME, VR::LO, "CANARYHOSPITAL"),
    (tags::STATION_NAME, VR::SH, "CANARYSTATION"),
    (tags::DEVICE_SERIAL_NUMBER, VR::LO, "CANARYSERIAL"),
    (tags::REQUESTED_PROCEDURE_DESCRIPTION, VR::LO, "CANARYPROCEDURE"),
    (Tag(0x0029, 0x0010), VR::LO, "CANARYCREATOR"),
    (Tag(0x0029, 0x1001), VR::LT, "CANARYPRIVATE"),
];
/// What the UIDs of the exam begin with: an arc of its own.
const UID_ROOT: &str = "1.2.826.0.1.3680043.2.1143.4711";

/// All that must not be found.
fn canaries() -> Vec<String> {
    let words = CANARIES.iter().map(|(_, _, value)| {
        let word = value.split([' ', '^']).find(|word| word.starts_with("CANARY"));
        word.unwrap_or(value)
    });
    let dates = ["1963-09-17", "CANARYGIVEN", UID_ROOT];
    words.chain(dates).map(|word| word.to_lowercase()).collect()
}

/// A daemon that logs everything and has a journal: a `journalctl` of the test's own gives its log.
fn with_journal(folder: &Path, mqtt_port: u16) -> Daemon {
    let allow = "[mqtt.commands]\nallow = [\"support-bundle\"]";
    let mut daemon = Daemon::prepare(folder, mqtt_port, ["", "", "", allow]);
    let programs = folder.join("programs");
    std::fs::create_dir(&programs).unwrap();
    let journalctl = programs.join("journalctl");
    let log = daemon.config.with_file_name("modicd.log");
    std::fs::write(&journalctl, format!("#!/bin/sh\nexec cat '{}'\n", log.display())).unwrap();
    std::fs::set_permissions(&journalctl, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    daemon.environment.extend([("RUST_LOG", "debug".into()), ("PATH", path.into())]);
    daemon.restart();
    daemon
}

fn poison(folder: &Path, study: u32) {
    for (n, path) in modicd::receive::regular_files(folder).unwrap().iter().enumerate() {
        let mut object = open_file(path).unwrap();
        for (tag, vr, value) in CANARIES {
            object.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
        }
        let series = u32::from(path.parent().unwrap().ends_with("t2"));
        let instance = format!("{UID_ROOT}.{study}.{series}.{n}");
        for (tag, uid) in [
            (tags::STUDY_INSTANCE_UID, format!("{UID_ROOT}.{study}")),
            (tags::SERIES_INSTANCE_UID, format!("{UID_ROOT}.{study}.{series}")),
            (tags::FRAME_OF_REFERENCE_UID, format!("{UID_ROOT}.{study}.9")),
            (tags::SOP_INSTANCE_UID, instance.clone()),
        ] {
            object.put(DataElement::new(tag, VR::UI, PrimitiveValue::from(uid)));
        }
        object.meta_mut().media_storage_sop_instance_uid = instance;
        object.write_to_file(path).unwrap();
    }
}

#[test]
fn no_canary_leaves_the_box_but_in_the_objects_for_the_hospital() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let subscriber = Subscriber::start(&broker);
    let daemon = with_journal(folder.path(), broker.port);
    let page = Page::of(&daemon);
    let exam = |name: &str| Exam::small(&folder.path().join(name), 7);
    let refused = exam("refused").spoil(Defect::T1Only);
    let broken = exam("broken").spoil(Defect::ShortPixels);
    for (study, exam) in (1..).zip([exam("good"), refused, broken]) {
        poison(&exam.folder, study);
        assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    }
    // A file that is cut off: what is said of it is said about a damaged header.
    let cut = folder.path().join("cut");
    std::fs::create_dir(&cut).unwrap();
    let first = exam("uncut");
    poison(&first.folder, 4);
    let bytes = std::fs::read(&first.files()[0]).unwrap();
    std::fs::write(cut.join("cut.dcm"), &bytes[..bytes.len() / 2]).unwrap();
    storescu(daemon.dicom_port, &[], &cut);
    let study = subscriber.wait_for("/event/study.completed", 1, LIMIT)["study_ref"].clone();
    let study = study.as_str().unwrap();
    subscriber.wait_for("/event/study.rejected", 2, LIMIT);
    subscriber.wait_for("/metrics", 1, LIMIT);

    let mut seen = vec![("the log".to_owned(), daemon.log())];
    for message in subscriber.all() {
        seen.push((
            format!("MQTT, {}", message.topic),
            format!("{} {}", message.topic, message.payload),
        ));
    }
    let result = format!("/api/exams/{study}/1");
    let details = page.get_with_token(&result);
    assert_eq!(details.status, 200);
    let details: Value = serde_json::from_str(&details.body).unwrap();
    let downloads = details["downloads"].as_array().unwrap();
    let names_patient = |download: &&Value| download["names_patient"] == true;
    let paths = ["/", "/healthz", "/metrics", "/api/exams", "/api/health", "/api/logs"];
    let mut paths: Vec<String> = paths.map(str::to_owned).to_vec();
    paths.extend([format!("/api/exams/{study}"), result.clone()]);
    let file = |download: &Value| format!("{result}/{}", download["name"].as_str().unwrap());
    let for_all = downloads.iter().filter(|download| !names_patient(download)).map(file);
    for path in paths.iter().cloned().chain(for_all) {
        seen.push((format!("{path} with the token"), page.get_with_token(&path).body));
    }
    for path in paths.into_iter().chain(downloads.iter().map(file)) {
        seen.push((format!("{path} without the token"), page.get(&path).body));
    }
    for (name, text) in support_bundle(&daemon.config, folder.path()) {
        seen.push((format!("{name} of the support bundle"), text));
    }
    // The daemon's own has all that it logged, but for which studies, and what was found.
    ask(&broker, "support-bundle", "s", "", &[]);
    assert_eq!(end_of(&subscriber, "support-bundle", "s").1["state"], "succeeded");
    let mut archives = std::fs::read_dir(daemon.state.join("support")).unwrap();
    let archive = archives.next().unwrap().unwrap().path();
    let unpacked = Command::new("tar").arg("-xzOf").arg(archive).output().unwrap();
    let bundle = String::from_utf8_lossy(&unpacked.stdout).into_owned();
    assert!(bundle.contains("A study is done.") && bundle.contains("findings=(left out)"));
    assert!(!bundle.contains(study), "{study} is in the support bundle:\n{bundle}");
    seen.push(("the daemon's support bundle".to_owned(), bundle));
    assert!(seen.iter().any(|(place, text)| place == "the log" && text.contains("DEBUG")));
    for (place, text) in &seen {
        let text = text.to_lowercase();
        for canary in canaries() {
            assert!(!text.contains(&canary), "{canary} is in {place}:\n{text}");
        }
    }
    println!("{} canaries, searched for in {} places", canaries().len(), seen.len());

    // The search finds what is there: the objects that belong to the hospital name the patient, as they are marked.
    for download in downloads.iter().filter(names_patient) {
        let path = file(download);
        let body = page.get_with_token(&path).body.to_lowercase();
        assert!(body.contains("canaryname") || body.contains("canaryid4711"), "{path}");
    }
}
