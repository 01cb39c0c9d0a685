//! One exam in every transfer syntax that is accepted, compressed by dcmtk and GDCM, and as Enhanced MR.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dicom::dictionary_std::uids;
use dicom::object::open_file;
use modicd_tests::{Broker, Daemon, Exam, eventually, storescu};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);

/// Each lossless syntax with what makes it: a program and its options, given an input and an output file.
const LOSSLESS: [(&str, &[&str]); 6] = [
    (uids::IMPLICIT_VR_LITTLE_ENDIAN, &["dcmconv", "+ti"]),
    (uids::RLE_LOSSLESS, &["dcmcrle"]),
    (uids::JPEG_LOSSLESS_SV1, &["dcmcjpeg", "+e1"]),
    (uids::JPEG_LOSSLESS, &["dcmcjpeg", "+el"]),
    (uids::JPEGLS_LOSSLESS, &["dcmcjpls"]),
    (uids::JPEG2000_LOSSLESS, &["gdcmconv", "--j2k"]),
];

/// The exam, every file rewritten.
fn rewritten(exam: &Exam, to: &Path, syntax: &str, program: &[&str]) -> Exam {
    std::fs::create_dir_all(to).expect("the test's folder is writable");
    for (number, file) in exam.files().iter().enumerate() {
        let out = to.join(format!("{number}.dcm"));
        let run = Command::new(program[0]).args(&program[1..]).args([file, &out]).output();
        let run = run.expect("tests/run installs dcmtk and GDCM");
        assert!(run.status.success(), "{program:?}: {}", String::from_utf8_lossy(&run.stderr));
        assert_eq!(transfer_syntax(&out), syntax, "{program:?}");
    }
    Exam { folder: to.to_owned() }
}

fn transfer_syntax(file: &Path) -> String {
    open_file(file).expect("a DICOM file").meta().transfer_syntax().to_owned()
}

/// Sends the files as they are to a daemon of their own; gives the finding document without what says where and when.
fn findings(broker: &Broker, exam: &Exam) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(folder.path(), broker.port, "");
    let expected = transfer_syntax(&exam.files()[0]);
    let sent = if expected == uids::IMPLICIT_VR_LITTLE_ENDIAN {
        // dcmsend prefers the other uncompressed one.
        storescu(daemon.dicom_port, &["--propose-implicit"], &exam.folder)
    } else {
        Command::new("dcmsend")
            .args(["--decompress-never", "-aec", "MODICD", "127.0.0.1"])
            .arg(daemon.dicom_port.to_string())
            .args(exam.files())
            .output()
            .expect("tests/run installs dcmtk")
    };
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let result = eventually(LIMIT, "a result", || {
        assert!(!daemon.log().contains("is not analysed"), "{expected}: {}", daemon.log());
        daemon.results().pop()
    });
    let text = std::fs::read(result.join("finding.json")).expect("a document");
    let mut document: Value = serde_json::from_slice(&text).expect("JSON");
    let document = document.as_object_mut().expect("an object");
    document.retain(|key, _| {
        ["levels", "findings", "finding_count", "discs", "other_marrow_lesions", "quality"]
            .contains(&key.as_str())
    });
    // Nothing was decompressed on the way.
    let kept = modicd::receive::regular_files(&daemon.state.join("instances"))
        .expect("the state is readable");
    let instances = kept.iter().filter(|file| file.extension().is_some_and(|e| e == "dcm"));
    let instances: Vec<_> = instances.collect();
    assert_eq!(instances.len(), exam.files().len());
    assert!(instances.iter().all(|file| transfer_syntax(file) == expected), "kept as {expected}");
    Value::Object(document.clone())
}

/// Site, type and volume, mm3, of each finding.
fn outline(document: &Value) -> Vec<(String, String, f64)> {
    let findings = document["findings"].as_array().expect("a list").iter();
    let text = |value: &Value| value.to_string();
    let outline = findings.map(|f| {
        let site = format!("{} {}", text(&f["level"]), text(&f["side"]));
        (site, text(&f["type"]), f["volume_mm3"].as_f64().expect("a number"))
    });
    outline.collect()
}

#[test]
fn an_exam_gives_the_same_findings_in_every_transfer_syntax_and_as_enhanced_mr() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let exam = Exam::small(&folder.path().join("exam"), 7);
    let expected = findings(&broker, &exam);
    assert!(!outline(&expected).is_empty(), "an exam with findings: {expected:#}");

    for (syntax, program) in LOSSLESS {
        let compressed = rewritten(&exam, &folder.path().join(syntax), syntax, program);
        assert_eq!(findings(&broker, &compressed), expected, "{syntax}");
    }
    let enhanced = exam.enhanced(&folder.path().join("enhanced"));
    assert_eq!(enhanced.files().len(), 2);
    assert_eq!(findings(&broker, &enhanced), expected, "Enhanced MR");
    for (syntax, program) in &LOSSLESS[4..] {
        let to = folder.path().join(format!("enhanced-{syntax}"));
        let compressed = rewritten(&enhanced, &to, syntax, program);
        assert_eq!(findings(&broker, &compressed), expected, "Enhanced MR, {syntax}");
    }

    // What loses something finds the same within a few voxels.
    let program = ["gdcmconv", "--quiet", "--lossy", "--j2k", "-q", "100"];
    let lossy = rewritten(&exam, &folder.path().join("lossy"), uids::JPEG2000, &program);
    let found = findings(&broker, &lossy);
    let (found, expected) = (outline(&found), outline(&expected));
    println!("JPEG 2000 with loss: {found:?}, uncompressed: {expected:?}");
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!((&found.0, &found.1), (&expected.0, &expected.1));
        assert!((found.2 / expected.2 - 1.0).abs() < 0.05, "{found:?} instead of {expected:?}");
    }
}
