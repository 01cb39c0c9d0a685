//! Exams to send: phantoms, phantoms with a defect, and exams of a data set as DICOM.

use std::path::{Path, PathBuf};

use dicom::core::{DataElement, PrimitiveValue, VR, dicom_value};
use dicom::dictionary_std::tags;
use dicom::object::{InMemDicomObject, open_file};
use modicd::dataset::Dataset;
use modicd::phantom::{Protocol, SeriesPair, Settings, Timing, generate, write_dicom, write_pair};

/// A phantom exam on disk as `t1/` and `t2/` below `folder`.
pub struct Exam {
    /// Where its files are.
    pub folder: PathBuf,
}

/// What can be wrong with an exam.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// The T2 series is absent.
    T1Only,
    /// One slice a series.
    OneSlice,
    /// BodyPartExamined says neck.
    Neck,
    /// Pixel spacing is zero.
    ZeroSpacing,
    /// The image position is missing.
    NoPosition,
    /// Half of each image's pixels are missing.
    ShortPixels,
    /// The pixels are signed; nothing is wrong with that.
    Signed,
    /// The study UID has 64 characters and `../` in it.
    PathInUid,
}

impl Exam {
    /// A small phantom: 5 slices of 192x192, so that an analysis takes a second or two.
    pub fn small(folder: &Path, seed: u64) -> Exam {
        Exam::of_slices(folder, seed, 5)
    }

    /// A small phantom of so many slices.
    pub fn of_slices(folder: &Path, seed: u64, slices: usize) -> Exam {
        let settings =
            Settings { slices, rows: 192, columns: 192, pixel_mm: 1.46, ..Settings::default() };
        Exam::with(folder, seed, &settings)
    }

    /// A phantom of the size that scanners send: 15 slices of 384x384.
    pub fn full(folder: &Path, seed: u64) -> Exam {
        Exam::with(folder, seed, &Settings::default())
    }

    fn with(folder: &Path, seed: u64, settings: &Settings) -> Exam {
        write_dicom(&generate(seed, settings), seed, folder)
            .expect("the test's folder is writable");
        Exam { folder: folder.to_owned() }
    }

    /// Its files, of both series.
    pub fn files(&self) -> Vec<PathBuf> {
        modicd::receive::regular_files(&self.folder).expect("the exam is readable")
    }

    /// Puts the defect into every file.
    pub fn spoil(self, defect: Defect) -> Exam {
        if defect == Defect::T1Only {
            std::fs::remove_dir_all(self.folder.join("t2")).expect("the exam has a T2 series");
            return self;
        }
        for series in ["t1", "t2"] {
            let mut files = modicd::receive::regular_files(&self.folder.join(series))
                .expect("the exam is readable");
            files.sort();
            if defect == Defect::OneSlice {
                for file in &files[1..] {
                    std::fs::remove_file(file).expect("the exam is writable");
                }
                continue;
            }
            for file in files {
                let mut object = open_file(&file).expect("the phantom is DICOM");
                spoil(&mut object, defect);
                object.write_to_file(&file).expect("the exam is writable");
            }
        }
        self
    }
}

fn spoil(object: &mut InMemDicomObject, defect: Defect) {
    let mut put = |tag, vr, value: PrimitiveValue| {
        object.put(DataElement::new(tag, vr, value));
    };
    match defect {
        Defect::Neck => put(tags::BODY_PART_EXAMINED, VR::CS, dicom_value!(Str, "CSPINE")),
        Defect::ZeroSpacing => {
            put(tags::PIXEL_SPACING, VR::DS, dicom_value!(Strs, ["0", "0"]));
        }
        Defect::NoPosition => {
            object.remove_element(tags::IMAGE_POSITION_PATIENT);
        }
        Defect::ShortPixels => {
            let pixels = object
                .element(tags::PIXEL_DATA)
                .ok()
                .and_then(|e| Some(e.to_bytes().ok()?.into_owned()))
                .expect("the phantom has pixels");
            let half = PrimitiveValue::U8(pixels[..pixels.len() / 2].into());
            object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, half));
        }
        Defect::Signed => {
            put(tags::PIXEL_REPRESENTATION, VR::US, dicom_value!(U16, [1]));
            // The same picture: raised by the rescale what is lowered in the pixels.
            let pixels = object
                .element(tags::PIXEL_DATA)
                .ok()
                .and_then(|e| e.to_multi_int::<u16>().ok())
                .expect("the phantom has pixels");
            let signed: Vec<u16> =
                pixels.iter().map(|p| (i32::from(*p) - 1000) as i16 as u16).collect();
            object.put(DataElement::new(
                tags::PIXEL_DATA,
                VR::OW,
                PrimitiveValue::U16(signed.into()),
            ));
            object.put(DataElement::new(
                tags::RESCALE_INTERCEPT,
                VR::DS,
                dicom_value!(Str, "1000"),
            ));
            object.put(DataElement::new(tags::RESCALE_SLOPE, VR::DS, dicom_value!(Str, "1")));
        }
        Defect::PathInUid => {
            let uid = format!("{}{}", "../".repeat(20), "1.23");
            assert_eq!(uid.len(), 64);
            put(tags::STUDY_INSTANCE_UID, VR::UI, dicom_value!(Str, uid));
        }
        Defect::T1Only | Defect::OneSlice => {}
    }
}

/// Writes one patient's exam of a data set as two MR series below `folder`.
///
/// Pictures and spacing are the patient's; timings and everything else are a phantom's.
pub fn dataset_exam(dataset: &Dataset, patient: &str, folder: &Path) -> Exam {
    let case = dataset.case(patient).expect("the data set is whole");
    let pair = SeriesPair {
        volumes: [&case.t1, &case.t2],
        protocol: Protocol {
            field_t: 1.5,
            timing: [Timing { tr_ms: 550.0, te_ms: 10.0 }, Timing { tr_ms: 3500.0, te_ms: 100.0 }],
        },
        slice_thickness_mm: 4.0,
    };
    write_pair(&pair, 0, folder).expect("the test's folder is writable");
    Exam { folder: folder.to_owned() }
}
