//! Exams to send: phantoms, phantoms with a defect, and real pairs wrapped as DICOM.

use std::path::{Path, PathBuf};

use dicom::core::{DataElement, PrimitiveValue, VR, dicom_value};
use dicom::dictionary_std::{tags, uids};
use dicom::object::{FileMetaTableBuilder, InMemDicomObject, open_file};
use modicd::phantom::{Settings, generate, write_dicom};

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

/// One patient of the SPIDER pairs.
pub struct SpiderPatient {
    /// The data set's number for the patient.
    pub patient: String,
    /// Whether T1 and T2 have one matrix and lie within a pixel or so of each other.
    pub aligned: bool,
    /// Modic grades 0 to 3 of the discs, from L5-S1 up.
    pub grades: Vec<u8>,
}

/// The patients of the SPIDER pairs at `spider`, in file order.
pub fn spider_patients(spider: &Path) -> Vec<SpiderPatient> {
    pairs(spider)
        .into_iter()
        .map(|row| SpiderPatient {
            patient: row["patient"].clone(),
            aligned: row["same_matrix"] == "True" && row["same_spacing"] == "True",
            grades: row["modic_per_disc_from_L5S1"]
                .split_whitespace()
                .map(|g| g.parse().expect("a grade is a digit"))
                .collect(),
        })
        .collect()
}

type Row = std::collections::BTreeMap<String, String>;

fn pairs(spider: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(spider.join("pairs.csv")).expect("pairs.csv is readable");
    let mut lines = text.lines().map(split_csv);
    let names = lines.next().expect("pairs.csv has a head");
    lines.map(|cells| names.iter().cloned().zip(cells).collect()).collect()
}

/// Cells of one line; a quoted cell may hold commas.
fn split_csv(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cells.last_mut().expect("there is always a cell").push(c),
        }
    }
    cells
}

/// Pictures of the set that lie feet up, one a line.
const UPSIDE_DOWN: &str = include_str!("../../models/training/upside_down.txt");

/// Wraps one patient's mid-sagittal T1 and T2 as two MR series of one slice each below `folder`.
///
/// Only the picture, its spacing and TR/TE are real; the place in the patient is made up.
pub fn spider_pair(spider: &Path, patient: &str, folder: &Path) {
    let row = pairs(spider)
        .into_iter()
        .find(|row| row["patient"] == patient)
        .expect("the patient is in pairs.csv");
    for (number, weighting) in [(1u16, "t1"), (2, "t2")] {
        let name = &row[weighting];
        let mut picture = image::open(spider.join("pairs").join(name))
            .expect("the picture is readable")
            .into_luma8();
        if UPSIDE_DOWN.lines().any(|line| line == name) {
            image::imageops::flip_vertical_in_place(&mut picture);
        }
        let spacing = row[&format!("{weighting}_spacing")].trim_matches(['[', ']']).to_owned();
        let spacing: Vec<f64> =
            spacing.split(',').map(|s| s.trim().parse().expect("a spacing is a number")).collect();
        let (columns, rows) = picture.dimensions();
        let uid = |last: u16| format!("1.2.826.0.1.3680043.10.999.{patient}.{number}.{last}");
        let position = [
            0.0,
            -0.5 * f64::from(columns - 1) * spacing[1],
            0.5 * f64::from(rows - 1) * spacing[0],
        ];
        let text = |tag, vr, value: &str| DataElement::new(tag, vr, dicom_value!(Str, value));
        let several = |tag, values: Vec<String>| {
            DataElement::new(tag, VR::DS, PrimitiveValue::Strs(values.into()))
        };
        let short = |tag, value: u16| DataElement::new(tag, VR::US, dicom_value!(U16, [value]));
        let mut object = InMemDicomObject::from_element_iter([
            text(tags::SOP_CLASS_UID, VR::UI, uids::MR_IMAGE_STORAGE),
            text(tags::SOP_INSTANCE_UID, VR::UI, &uid(1)),
            text(
                tags::STUDY_INSTANCE_UID,
                VR::UI,
                &format!("1.2.826.0.1.3680043.10.999.{patient}"),
            ),
            text(tags::SERIES_INSTANCE_UID, VR::UI, &uid(0)),
            text(
                tags::FRAME_OF_REFERENCE_UID,
                VR::UI,
                &format!("1.2.826.0.1.3680043.10.999.{patient}.9"),
            ),
            text(tags::MODALITY, VR::CS, "MR"),
            text(tags::BODY_PART_EXAMINED, VR::CS, "LSPINE"),
            text(tags::SERIES_NUMBER, VR::IS, &number.to_string()),
            text(tags::INSTANCE_NUMBER, VR::IS, "1"),
            text(tags::PATIENT_AGE, VR::AS, "050Y"),
            text(tags::SCANNING_SEQUENCE, VR::CS, "SE"),
            text(tags::REPETITION_TIME, VR::DS, &row[&format!("{weighting}_TR")]),
            text(tags::ECHO_TIME, VR::DS, &row[&format!("{weighting}_TE")]),
            text(tags::SLICE_THICKNESS, VR::DS, "4"),
            several(tags::PIXEL_SPACING, spacing.iter().map(|s| format!("{s:.6}")).collect()),
            several(
                tags::IMAGE_ORIENTATION_PATIENT,
                ["0", "1", "0", "0", "0", "-1"].map(str::to_owned).to_vec(),
            ),
            several(
                tags::IMAGE_POSITION_PATIENT,
                position.iter().map(|p| format!("{p:.4}")).collect(),
            ),
            short(tags::ROWS, rows as u16),
            short(tags::COLUMNS, columns as u16),
            short(tags::BITS_ALLOCATED, 8),
            short(tags::BITS_STORED, 8),
            short(tags::HIGH_BIT, 7),
            short(tags::PIXEL_REPRESENTATION, 0),
            short(tags::SAMPLES_PER_PIXEL, 1),
            text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        ]);
        let mut pixels = picture.into_raw();
        if pixels.len() % 2 == 1 {
            pixels.push(0);
        }
        object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(pixels.into())));
        let file = object
            .with_meta(
                FileMetaTableBuilder::new()
                    .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
                    .media_storage_sop_class_uid(uids::MR_IMAGE_STORAGE)
                    .media_storage_sop_instance_uid(uid(1)),
            )
            .expect("the object has what its meta needs");
        let series = folder.join(weighting);
        std::fs::create_dir_all(&series).expect("the test's folder is writable");
        file.write_to_file(series.join("1.dcm")).expect("the test's folder is writable");
    }
}
