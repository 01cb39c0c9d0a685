//! Objects that the program writes, before the judges that others wrote.

use modicd_tests::{Exam, dciodvfy_errors};

#[test]
fn dciodvfy_finds_no_error_in_a_phantom_exam() {
    let folder = tempfile::tempdir().unwrap();
    let exam = Exam::of_slices(folder.path(), 3, 4);
    let files = exam.files();
    assert_eq!(files.len(), 8);
    for file in files {
        assert_eq!(dciodvfy_errors(&file), Vec::<String>::new(), "{}", file.display());
    }
    // The judge does judge: an image whose modality is gone.
    let spoiled = folder.path().join("spoiled.dcm");
    let mut object = dicom::object::open_file(&exam.files()[0]).unwrap();
    object.remove_element(dicom::dictionary_std::tags::MODALITY);
    object.write_to_file(&spoiled).unwrap();
    assert_ne!(dciodvfy_errors(&spoiled), Vec::<String>::new());
}
