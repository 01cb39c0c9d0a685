//! A phantom exam as DICOM: two series of MR Image Storage (PS3.3 A.4), one file a slice.
//!
//! All UIDs are derived from the seed (PS3.5 B.2), all dates are fixed: the same exam gives the same bytes.

use std::fs;
use std::path::Path;

use dicom::core::{DataElement, PrimitiveValue, VR, dicom_value};
use dicom::dictionary_std::{tags, uids};
use dicom::object::{FileMetaTableBuilder, InMemDicomObject};
use ndarray::Axis;

use crate::domain::{Volume, derived_uid};

use super::error::PhantomError;
use super::{PhantomExam, Protocol};

/// The day on which every phantom is examined.
const DATE: &str = "20240102";
/// The hour.
const TIME: &str = "080000";

/// What distinguishes the two series.
struct Series {
    folder: &'static str,
    number: usize,
    description: &'static str,
    sequence_name: &'static str,
    echo_train: usize,
    bandwidth: &'static str,
}

const SERIES: [Series; 2] = [
    Series {
        folder: "t1",
        number: 2,
        description: "T1 TSE SAG",
        sequence_name: "*tse2d1_3",
        echo_train: 3,
        bandwidth: "190",
    },
    Series {
        folder: "t2",
        number: 3,
        description: "T2 TSE SAG",
        sequence_name: "*tse2d1_17",
        echo_train: 17,
        bandwidth: "205",
    },
];

/// A pair of series that is written as one study.
pub struct SeriesPair<'a> {
    /// T1 and T2, each on its own grid; whole numbers from 0 to 65535.
    pub volumes: [&'a Volume; 2],
    /// Field strength and timings.
    pub protocol: Protocol,
    /// Thickness of the slices, mm.
    pub slice_thickness_mm: f64,
}

/// Writes the exam of a seed as `t1/001.dcm` … and `t2/001.dcm` … (explicit VR little endian, 16 bit).
pub fn write_dicom(exam: &PhantomExam, seed: u64, out_dir: &Path) -> Result<(), PhantomError> {
    let PhantomExam { t1, t2, protocol, slice_thickness_mm, .. } = exam;
    let pair = SeriesPair {
        volumes: [t1, t2],
        protocol: *protocol,
        slice_thickness_mm: *slice_thickness_mm,
    };
    write_pair(&pair, seed, out_dir)
}

/// Writes any pair of volumes likewise: a stand-in for the exam that they were taken from.
pub fn write_pair(exam: &SeriesPair<'_>, seed: u64, out_dir: &Path) -> Result<(), PhantomError> {
    for (k, (series, volume)) in SERIES.iter().zip(exam.volumes).enumerate() {
        let folder = out_dir.join(series.folder);
        fs::create_dir_all(&folder)
            .map_err(|source| PhantomError::Io { path: folder.clone(), source })?;
        for slice in 0..volume.grid.shape[0] {
            let mut object = InMemDicomObject::new_empty();
            put_patient_and_study(&mut object, seed);
            put_series(&mut object, exam, seed, k);
            put_slice(&mut object, exam, volume, slice);
            let instance = uid(seed, &format!("{}/{slice}", series.folder));
            put(&mut object, tags::SOP_CLASS_UID, VR::UI, uids::MR_IMAGE_STORAGE);
            put(&mut object, tags::SOP_INSTANCE_UID, VR::UI, &instance);
            let path = folder.join(format!("{:03}.dcm", slice + 1));
            let meta = FileMetaTableBuilder::new()
                .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
                .media_storage_sop_class_uid(uids::MR_IMAGE_STORAGE)
                .media_storage_sop_instance_uid(instance);
            object
                .with_meta(meta)
                .map_err(|e| PhantomError::Dicom { path: path.clone(), source: Box::new(e) })?
                .write_to_file(&path)
                .map_err(|e| PhantomError::Dicom { path, source: Box::new(e) })?;
        }
    }
    Ok(())
}

fn put_patient_and_study(object: &mut InMemDicomObject, seed: u64) {
    put(object, tags::PATIENT_NAME, VR::PN, "PHANTOM^LUMBAR SPINE");
    put(object, tags::PATIENT_ID, VR::LO, &format!("PHANTOM-{seed}"));
    put(object, tags::PATIENT_BIRTH_DATE, VR::DA, "19700101");
    put(object, tags::PATIENT_SEX, VR::CS, "O");
    put(object, tags::PATIENT_AGE, VR::AS, "054Y");
    put(object, tags::PATIENT_WEIGHT, VR::DS, "75");
    put(object, tags::STUDY_INSTANCE_UID, VR::UI, &uid(seed, "study"));
    put(object, tags::STUDY_ID, VR::SH, "1");
    put(object, tags::STUDY_DESCRIPTION, VR::LO, "MRI lumbar spine");
    for tag in [tags::STUDY_DATE, tags::SERIES_DATE, tags::ACQUISITION_DATE, tags::CONTENT_DATE] {
        put(object, tag, VR::DA, DATE);
    }
    for tag in [tags::STUDY_TIME, tags::SERIES_TIME, tags::ACQUISITION_TIME, tags::CONTENT_TIME] {
        put(object, tag, VR::TM, TIME);
    }
    put(object, tags::ACCESSION_NUMBER, VR::SH, "");
    put(object, tags::REFERRING_PHYSICIAN_NAME, VR::PN, "");
}

fn put_series(object: &mut InMemDicomObject, exam: &SeriesPair<'_>, seed: u64, which: usize) {
    let series = &SERIES[which];
    let timing = exam.protocol.timing[which];
    put(object, tags::MODALITY, VR::CS, "MR");
    put(object, tags::SERIES_INSTANCE_UID, VR::UI, &uid(seed, series.folder));
    put(object, tags::SERIES_NUMBER, VR::IS, &series.number.to_string());
    put(object, tags::SERIES_DESCRIPTION, VR::LO, series.description);
    put(object, tags::PROTOCOL_NAME, VR::LO, series.description);
    put(object, tags::BODY_PART_EXAMINED, VR::CS, "LSPINE");
    put(object, tags::PATIENT_POSITION, VR::CS, "HFS");
    put(object, tags::FRAME_OF_REFERENCE_UID, VR::UI, &uid(seed, "frame of reference"));
    put(object, tags::POSITION_REFERENCE_INDICATOR, VR::LO, "");
    put(object, tags::MANUFACTURER, VR::LO, "modicd");
    put(object, tags::MANUFACTURER_MODEL_NAME, VR::LO, "Phantom");
    put(object, tags::DEVICE_SERIAL_NUMBER, VR::LO, "0");
    put(object, tags::SOFTWARE_VERSIONS, VR::LO, env!("CARGO_PKG_VERSION"));
    put(object, tags::SCANNING_SEQUENCE, VR::CS, "SE");
    put(object, tags::SEQUENCE_VARIANT, VR::CS, "SK");
    put(object, tags::SCAN_OPTIONS, VR::CS, "");
    put(object, tags::MR_ACQUISITION_TYPE, VR::CS, "2D");
    put(object, tags::SEQUENCE_NAME, VR::SH, series.sequence_name);
    put(object, tags::REPETITION_TIME, VR::DS, &timing.tr_ms.to_string());
    put(object, tags::ECHO_TIME, VR::DS, &timing.te_ms.to_string());
    put(object, tags::ECHO_TRAIN_LENGTH, VR::IS, &series.echo_train.to_string());
    put(object, tags::ECHO_NUMBERS, VR::IS, "1");
    put(object, tags::NUMBER_OF_AVERAGES, VR::DS, "2");
    put(object, tags::FLIP_ANGLE, VR::DS, "150");
    put(object, tags::PIXEL_BANDWIDTH, VR::DS, series.bandwidth);
    put(object, tags::IMAGED_NUCLEUS, VR::SH, "1H");
    put(object, tags::MAGNETIC_FIELD_STRENGTH, VR::DS, &exam.protocol.field_t.to_string());
}

fn put_slice(object: &mut InMemDicomObject, exam: &SeriesPair<'_>, volume: &Volume, slice: usize) {
    let grid = &volume.grid;
    let [across, down, along] = grid.axes;
    let position = grid.to_patient([slice as f64, 0.0, 0.0]);
    let location: f64 = (0..3).map(|k| position[k] * across[k]).sum();
    let orientation = [along, down].concat();
    put(object, tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100");
    put(object, tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\M\\SE");
    put(object, tags::INSTANCE_NUMBER, VR::IS, &(slice + 1).to_string());
    put(object, tags::ACQUISITION_NUMBER, VR::IS, "1");
    put(object, tags::IMAGE_POSITION_PATIENT, VR::DS, &decimals(&position));
    put(object, tags::IMAGE_ORIENTATION_PATIENT, VR::DS, &decimals(&orientation));
    put(object, tags::PIXEL_SPACING, VR::DS, &decimals(&grid.spacing[1..]));
    put(object, tags::SLICE_LOCATION, VR::DS, &decimals(&[location]));
    put(object, tags::SLICE_THICKNESS, VR::DS, &decimals(&[exam.slice_thickness_mm]));
    put(object, tags::SPACING_BETWEEN_SLICES, VR::DS, &decimals(&grid.spacing[..1]));

    let pixels: Vec<u16> =
        volume.data.index_axis(Axis(0), slice).iter().map(|v| *v as u16).collect();
    let (low, high) = window(&pixels);
    put(object, tags::WINDOW_CENTER, VR::DS, &((low + high) / 2).to_string());
    put(object, tags::WINDOW_WIDTH, VR::DS, &(high - low).max(1).to_string());
    put(object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    for (tag, value) in [
        (tags::SAMPLES_PER_PIXEL, 1),
        (tags::ROWS, grid.shape[1]),
        (tags::COLUMNS, grid.shape[2]),
        (tags::BITS_ALLOCATED, 16),
        (tags::BITS_STORED, 16),
        (tags::HIGH_BIT, 15),
        (tags::PIXEL_REPRESENTATION, 0),
    ] {
        object.put(DataElement::new(tag, VR::US, dicom_value!(U16, [value as u16])));
    }
    let pixels = PrimitiveValue::U16(pixels.into());
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, pixels));
}

/// Sets one element from text; values of a multiple one are separated by backslashes.
fn put(object: &mut InMemDicomObject, tag: dicom::core::Tag, vr: VR, value: &str) {
    let values = value.split('\\').map(str::to_owned).collect();
    object.put(DataElement::new(tag, vr, PrimitiveValue::Strs(values)));
}

/// Decimal strings (PS3.5 6.2: at most 16 characters), good to a billionth.
fn decimals(values: &[f64]) -> String {
    let texts: Vec<String> = values.iter().map(|v| format!("{v:.9}")).collect();
    texts.join("\\")
}

/// A window from black to the 99th percentile.
fn window(pixels: &[u16]) -> (u32, u32) {
    let mut sorted = pixels.to_vec();
    sorted.sort_unstable();
    let high = sorted.get(sorted.len() * 99 / 100).copied().unwrap_or(1);
    (0, u32::from(high))
}

/// A UID for a part of a seed's exam.
fn uid(seed: u64, part: &str) -> String {
    derived_uid(&format!("modicd phantom {seed} {part}"))
}
