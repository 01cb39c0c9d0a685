//! The DICOM objects of results, before readers and judges that others wrote: dciodvfy, dicom-validator, highdicom, pydicom,
//! dcmqi.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dicom::core::{DataElement, VR};
use dicom::dictionary_std::tags;
use dicom::object::open_file;
use modicd::dataset::Dataset;
use modicd_tests::{Daemon, Exam, dataset_exam, dciodvfy_errors, python};

const OBJECTS: [&str; 4] = ["map.seg.dcm", "report.sr.dcm", "summary.sc.dcm", "report.pdf.dcm"];

/// Analyses what lies below `exams`; gives the folders of the results.
fn analyze(exams: &Path, out: &Path) -> Vec<PathBuf> {
    // The real pairs are single slices. A second look changes nothing of what objects are made of, and takes long.
    let config = tempfile::NamedTempFile::new().expect("a file");
    let text = "state_dir = \"/unused\"\n[study]\nmin_slices = 1\n[modic]\nsecond_look = false\n";
    std::fs::write(config.path(), text).expect("written");
    let run = Command::new(Daemon::program())
        .arg("analyze")
        .args([Path::new("--config"), config.path(), Path::new("--out"), out, exams])
        .output()
        .expect("the program is built");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let entries = std::fs::read_dir(out).expect("results are written");
    entries.map(|entry| entry.expect("a folder").path()).collect()
}

fn check_objects(results: &[PathBuf]) -> Output {
    run_script("check_objects.py", results)
}

/// dicom-validator's judgement.
fn validate_objects(files: &[PathBuf]) -> Output {
    run_script("validate_objects.py", files)
}

fn run_script(name: &str, arguments: &[PathBuf]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name);
    Command::new(python()).arg(script).args(arguments).output().expect("Python runs")
}

fn assert_accepted(results: &[PathBuf]) {
    for (result, name) in results.iter().flat_map(|r| OBJECTS.map(|name| (r, name))) {
        assert_eq!(dciodvfy_errors(&result.join(name)), Vec::<String>::new(), "{name}");
    }
    let files: Vec<_> = results.iter().flat_map(|r| OBJECTS.map(|name| r.join(name))).collect();
    let validated = validate_objects(&files);
    let [out, err] = [&validated.stdout, &validated.stderr].map(|t| String::from_utf8_lossy(t));
    assert!(validated.status.success(), "{out}{err}");
    let checked = check_objects(results);
    let [out, err] = [&checked.stdout, &checked.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(checked.status.success(), "{out}{err}");
    assert_eq!(out.lines().count(), results.len());
}

#[test]
fn objects_of_twenty_phantoms_are_accepted_and_say_what_the_document_says() {
    let folder = tempfile::tempdir().unwrap();
    let [exams, out] = ["exams", "out"].map(|name| folder.path().join(name));
    for seed in 1..=20 {
        Exam::small(&exams.join(seed.to_string()), seed);
    }
    let results = analyze(&exams, &out);
    assert_eq!(results.len(), 20);
    assert_accepted(&results);

    // The judge does judge: a document that says something else.
    let findings = |result: &PathBuf| std::fs::read_to_string(result.join("finding.json")).unwrap();
    let (result, text) = results
        .iter()
        .map(|result| (result, findings(result)))
        .find(|(_, text)| text.contains("\"volume_mm3\": ") && text.contains("\"side\""))
        .expect("a phantom has a finding");
    let spoiled = text.replacen("\"t1_ratio\": ", "\"t1_ratio\": 1", 1);
    assert_ne!(spoiled, text);
    std::fs::write(result.join("finding.json"), spoiled).unwrap();
    assert!(!check_objects(std::slice::from_ref(result)).status.success());
    let report = result.join("report.sr.dcm");
    let mut object = open_file(&report).unwrap();
    object.remove_element(tags::COMPLETION_FLAG);
    object.write_to_file(&report).unwrap();
    assert!(!validate_objects(&[report]).status.success());
}

#[test]
fn the_patient_is_named_as_in_the_pictures_and_the_same_exam_gives_the_same_instances() {
    let folder = tempfile::tempdir().unwrap();
    let [exam, out, again] = ["exam", "out", "again"].map(|name| folder.path().join(name));
    for file in Exam::of_slices(&exam, 3, 4).files() {
        let mut object = open_file(&file).unwrap();
        for (tag, vr, text) in [
            (tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100"),
            (tags::PATIENT_NAME, VR::PN, "Müller^Jörg"),
            (tags::STUDY_DESCRIPTION, VR::LO, "LWS\\nativ"),
        ] {
            object.put(DataElement::new(tag, vr, text));
        }
        object.write_to_file(&file).unwrap();
    }
    let [results, again] = [&out, &again].map(|out| analyze(&exam, out));
    for name in OBJECTS {
        let [object, same] = [&results, &again].map(|r| open_file(r[0].join(name)).unwrap());
        let text = |tag| object.element(tag).unwrap().to_str().unwrap();
        assert_eq!(text(tags::PATIENT_NAME), "Müller^Jörg", "{name}");
        assert_eq!(text(tags::STUDY_DESCRIPTION), "LWS", "{name}");
        assert_eq!(text(tags::SPECIFIC_CHARACTER_SET), "ISO_IR 192", "{name}");
        let instance = tags::SOP_INSTANCE_UID;
        assert_eq!(text(instance), same.element(instance).unwrap().to_str().unwrap(), "{name}");
        assert_eq!(dciodvfy_errors(&results[0].join(name)), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn names_in_several_character_sets_are_read_as_pydicom_wrote_them() {
    for (seed, sets, name) in [
        (5, "\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (6, "ISO 2022 IR 13\\ISO 2022 IR 87", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        (7, "\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let [exam, out] = ["exam", "out"].map(|name| folder.path().join(name));
        let files = Exam::of_slices(&exam, 3, seed).files();
        let arguments: Vec<_> = [sets, name].map(PathBuf::from).into_iter().chain(files).collect();
        let named = run_script("name_patient.py", &arguments);
        assert!(named.status.success(), "{}", String::from_utf8_lossy(&named.stderr));
        let results = analyze(&exam, &out);
        for object in OBJECTS.map(|name| open_file(results[0].join(name)).unwrap()) {
            assert_eq!(object.element(tags::PATIENT_NAME).unwrap().to_str().unwrap(), name);
        }
    }
}

#[test]
fn objects_of_real_pairs_are_accepted_and_say_what_the_document_says() {
    let Some(spider) = std::env::var_os("MODICD_SPIDER").map(PathBuf::from) else {
        println!("MODICD_SPIDER isn't set: no real data, nothing to do");
        return;
    };
    let dataset = Dataset::open(&spider).expect("a data set");
    let folder = tempfile::tempdir().unwrap();
    let mut results = Vec::new();
    for patient in dataset.patients.iter().step_by(15).take(10) {
        let [exam, out] = ["exam", "out"].map(|name| folder.path().join(patient).join(name));
        dataset_exam(&dataset, patient, &exam);
        results.extend(analyze(&exam, &out));
    }
    assert_eq!(results.len(), 10);
    assert_accepted(&results);
}
