//! Exams to send: phantoms, phantoms with a defect, and exams of a data set as DICOM.

use std::path::{Path, PathBuf};

use dicom::core::value::DataSetSequence;
use dicom::core::{DataElement, PrimitiveValue, Tag, VR, dicom_value};
use dicom::dictionary_std::{tags, uids};
use dicom::object::{FileDicomObject, FileMetaTableBuilder, InMemDicomObject, open_file};
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

    /// The same exam below `folder` with one Enhanced MR object a series, a frame for each slice.
    pub fn enhanced(&self, folder: &Path) -> Exam {
        std::fs::create_dir_all(folder).expect("the test's folder is writable");
        for series in ["t1", "t2"] {
            let mut files = modicd::receive::regular_files(&self.folder.join(series))
                .expect("the exam is readable");
            files.sort();
            let slices: Vec<_> =
                files.iter().map(|file| open_file(file).expect("the phantom is DICOM")).collect();
            let object = enhanced(&slices)
                .with_meta(
                    FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN),
                )
                .expect("a SOP class and an instance UID are there");
            object
                .write_to_file(folder.join(format!("{series}.dcm")))
                .expect("the test's folder is writable");
        }
        Exam { folder: folder.to_owned() }
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

/// An Enhanced MR Image (PS3.3, A.36.2) of the slices of a series: what differs between them, and what Enhanced MR has
/// elsewhere than MR, in functional groups.
fn enhanced(slices: &[FileDicomObject<InMemDicomObject>]) -> InMemDicomObject {
    let group = |tag, items: Vec<InMemDicomObject>| {
        DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
    };
    // A functional group: the attributes of these tags, moved.
    let moved = |from: &InMemDicomObject, sequence, of: &[Tag]| {
        let elements = of.iter().map(|tag| from.element(*tag).expect("a phantom has it").clone());
        group(sequence, vec![InMemDicomObject::from_element_iter(elements)])
    };
    let first: &InMemDicomObject = &slices[0];
    let echo_ms = first.element(tags::ECHO_TIME).ok().and_then(|e| e.to_float64().ok());
    let echo = InMemDicomObject::from_element_iter([DataElement::new(
        tags::EFFECTIVE_ECHO_TIME,
        VR::FD,
        PrimitiveValue::from(echo_ms.expect("a phantom has an echo time")),
    )]);
    let shared = InMemDicomObject::from_element_iter([
        moved(first, tags::PIXEL_MEASURES_SEQUENCE, &[tags::PIXEL_SPACING, tags::SLICE_THICKNESS]),
        moved(first, tags::PLANE_ORIENTATION_SEQUENCE, &[tags::IMAGE_ORIENTATION_PATIENT]),
        moved(first, tags::MR_TIMING_AND_RELATED_PARAMETERS_SEQUENCE, &[tags::REPETITION_TIME]),
        group(tags::MR_ECHO_SEQUENCE, vec![echo]),
    ]);
    let frames = slices.iter().map(|slice| {
        InMemDicomObject::from_element_iter([moved(
            slice,
            tags::PLANE_POSITION_SEQUENCE,
            &[tags::IMAGE_POSITION_PATIENT],
        )])
    });
    let pixels = slices.iter().flat_map(|slice| {
        let pixels = slice.element(tags::PIXEL_DATA).ok();
        pixels.and_then(|e| e.to_multi_int::<u16>().ok()).expect("a phantom has pixels")
    });
    let mut object = first.clone();
    for tag in [
        tags::PIXEL_SPACING,
        tags::SLICE_THICKNESS,
        tags::IMAGE_POSITION_PATIENT,
        tags::IMAGE_ORIENTATION_PATIENT,
        tags::REPETITION_TIME,
        tags::ECHO_TIME,
        tags::SLICE_LOCATION,
    ] {
        object.remove_element(tag);
    }
    object.put_str(tags::SOP_CLASS_UID, VR::UI, uids::ENHANCED_MR_IMAGE_STORAGE);
    object.put_str(tags::NUMBER_OF_FRAMES, VR::IS, slices.len().to_string());
    object.put(group(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]));
    object.put(group(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames.collect()));
    let pixels = PrimitiveValue::U16(pixels.collect());
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, pixels));
    object
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
