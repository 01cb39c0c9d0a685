//! Reads the headers of a study's files: one [`SliceHeader`] for every frame.

use std::io;
use std::path::{Path, PathBuf};

use dicom::core::Tag;
use dicom::dictionary_std::tags;

use super::attributes::{Attributes, text_at};
use super::file::{FileError, read_attributes};
use super::{Config, age};

/// Most frames of one Enhanced MR object that are looked at.
const MAX_FRAMES: usize = 2048;
/// Most characters of descriptions that are kept as hints.
const MAX_HINT_CHARS: usize = 512;

/// Where an image lies in the patient (PS3.3 C.7.6.2); LPS, mm.
#[derive(Debug, Clone, PartialEq)]
pub struct Plane {
    /// Centre of the first pixel.
    pub position: [f64; 3],
    /// Direction of the first row: the way the column index grows.
    pub row_cosines: [f64; 3],
    /// Direction of the first column: the way the row index grows.
    pub column_cosines: [f64; 3],
    /// Distance of rows, then of columns.
    pub pixel_spacing_mm: [f64; 2],
}

/// What the sequence's numbers and coded attributes say of the weighting.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timing {
    /// TR, ms.
    pub repetition_ms: Option<f64>,
    /// TE (effective), ms.
    pub echo_ms: Option<f64>,
    /// TI, ms.
    pub inversion_ms: Option<f64>,
    /// Flip angle, degrees.
    pub flip_deg: Option<f64>,
    /// A gradient echo without any spin echo; `None` when not said.
    pub gradient_echo: Option<bool>,
    /// With an inversion pulse; `None` when not said.
    pub inversion_recovery: Option<bool>,
    /// A balanced or otherwise unspoiled steady state.
    pub steady_state: bool,
    /// Echo-planar or diffusion-weighted.
    pub echo_planar: bool,
    /// Fat is suppressed by a spectral pulse, or the image is Dixon's of water, says the header.
    pub fat_saturated: bool,
}

/// How the pixels are stored (PS3.3 C.7.6.3) and what they mean.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelFormat {
    /// Samples a pixel; 1 is supported.
    pub samples_per_pixel: u16,
    /// Bits of a stored sample's cell.
    pub bits_allocated: u16,
    /// Bits in use.
    pub bits_stored: u16,
    /// Highest bit in use.
    pub high_bit: u16,
    /// Two's complement.
    pub signed: bool,
    /// Photometric interpretation.
    pub photometric: String,
    /// Rescale slope; 1 when not given.
    pub slope: f64,
    /// Rescale intercept; 0 when not given.
    pub intercept: f64,
}

/// What the stages need to know of one image: a file, or one frame of it.
#[derive(Clone)]
pub struct SliceHeader {
    /// The file.
    pub path: PathBuf,
    /// The frame in the file, from 0.
    pub frame: u32,
    /// SOP Instance UID.
    pub sop_instance_uid: String,
    /// Series Instance UID.
    pub series_uid: String,
    /// Frame of Reference UID.
    pub frame_of_reference_uid: Option<String>,
    /// Series Number.
    pub series_number: Option<i64>,
    /// Instance Number.
    pub instance_number: Option<i64>,
    /// Images in Acquisition.
    pub images_in_acquisition: Option<usize>,
    /// Frames in the file; over 1, the object holds its whole stack.
    pub frame_count: u32,
    /// Modality.
    pub modality: String,
    /// Image Type, or Frame Type of an Enhanced object; upper case.
    pub image_type: Vec<String>,
    /// Geometry; `None` when an attribute of it is missing or not numbers.
    pub plane: Option<Plane>,
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
    /// Slice Thickness, mm.
    pub thickness_mm: Option<f64>,
    /// Spacing Between Slices, mm.
    pub spacing_between_slices_mm: Option<f64>,
    /// The sequence.
    pub timing: Timing,
    /// Body Part Examined, or the anatomic region's name; lower case.
    pub body_part: Option<String>,
    /// A contrast agent is named.
    pub contrast_agent: bool,
    /// Lossy Image Compression is "01".
    pub lossy: bool,
    /// Lossy compression is all that it was derived by, if it says that it was derived.
    pub only_compressed: bool,
    /// The patient is under the configured age; `None` when unknown. Age and dates themselves aren't kept.
    pub minor: Option<bool>,
    /// Descriptions of the series (hints), a line each, lower case.
    pub series_text: String,
    /// Descriptions of the study (hints), likewise.
    pub study_text: String,
    /// The pixels' format.
    pub pixels: PixelFormat,
}

/// Hides UIDs, paths and texts, which may name a patient.
impl std::fmt::Debug for SliceHeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SliceHeader")
            .field("frame", &self.frame)
            .field("plane", &self.plane)
            .field("timing", &self.timing)
            .finish_non_exhaustive()
    }
}

/// The headers of one study.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    /// One entry an image, in the order of the files and frames.
    pub slices: Vec<SliceHeader>,
    /// How many files can't be read as DICOM.
    pub unreadable_files: usize,
    /// There were more files than [`Config::max_files`]; the rest wasn't looked at.
    pub too_many_files: bool,
}

impl Headers {
    /// Reads the files of one study. Blocking.
    ///
    /// # Errors
    /// Only when the disk fails; a file that isn't DICOM is counted, not an error.
    pub fn read<P: AsRef<Path>>(
        files: impl IntoIterator<Item = P>,
        config: &Config,
    ) -> io::Result<Headers> {
        let mut headers = Headers::default();
        for (n, path) in files.into_iter().enumerate() {
            if n >= config.max_files {
                headers.too_many_files = true;
                break;
            }
            match read_file(path.as_ref(), config) {
                Ok(slices) => headers.slices.extend(slices),
                Err(FileError::Io(e)) => return Err(e),
                Err(FileError::Unreadable | FileError::PixelDataShort) => {
                    headers.unreadable_files += 1;
                }
            }
        }
        Ok(headers)
    }
}

/// Reads one file's header: one entry a frame.
fn read_file(path: &Path, config: &Config) -> Result<Vec<SliceHeader>, FileError> {
    let (object, _) = read_attributes(path)?;
    let frames = Attributes::of_frames(&object, MAX_FRAMES);
    let frame_count = frames.len() as u32;
    Ok((0..).zip(&frames).map(|(n, a)| slice_header(path, n, frame_count, a, config)).collect())
}

fn slice_header(
    path: &Path,
    frame: u32,
    frame_count: u32,
    a: &Attributes,
    config: &Config,
) -> SliceHeader {
    let uid = |tag| a.text(tag).unwrap_or_default();
    let integer = |tag| a.number(tag).map(|n| n as i64);
    let image_type = values(
        a.text_in(tags::MR_IMAGE_FRAME_TYPE_SEQUENCE, tags::FRAME_TYPE)
            .or_else(|| a.text(tags::IMAGE_TYPE)),
    );
    SliceHeader {
        path: path.to_owned(),
        frame,
        sop_instance_uid: uid(tags::SOP_INSTANCE_UID),
        series_uid: uid(tags::SERIES_INSTANCE_UID),
        frame_of_reference_uid: a.text(tags::FRAME_OF_REFERENCE_UID),
        series_number: integer(tags::SERIES_NUMBER),
        instance_number: integer(tags::INSTANCE_NUMBER),
        images_in_acquisition: a.number(tags::IMAGES_IN_ACQUISITION).map(|n| n as usize),
        frame_count,
        modality: uid(tags::MODALITY),
        timing: timing(a, &image_type),
        image_type,
        plane: plane(a),
        rows: a.number(tags::ROWS).unwrap_or(0.0) as u16,
        columns: a.number(tags::COLUMNS).unwrap_or(0.0) as u16,
        thickness_mm: a.number_in(tags::PIXEL_MEASURES_SEQUENCE, tags::SLICE_THICKNESS),
        spacing_between_slices_mm: a
            .number_in(tags::PIXEL_MEASURES_SEQUENCE, tags::SPACING_BETWEEN_SLICES),
        body_part: body_part(a),
        contrast_agent: contrast_agent(a),
        lossy: a.text(tags::LOSSY_IMAGE_COMPRESSION).as_deref() == Some("01"),
        only_compressed: only_compressed(a),
        minor: age::is_under(
            config.min_age_years,
            a.text(tags::PATIENT_AGE).as_deref(),
            a.text(tags::PATIENT_BIRTH_DATE).as_deref(),
            a.text(tags::STUDY_DATE).as_deref(),
        ),
        series_text: hint_text(
            a,
            &[
                tags::SERIES_DESCRIPTION,
                tags::PROTOCOL_NAME,
                tags::SEQUENCE_NAME,
                tags::PULSE_SEQUENCE_NAME,
            ],
        ),
        study_text: hint_text(a, &[tags::STUDY_DESCRIPTION, tags::REQUESTED_PROCEDURE_DESCRIPTION]),
        pixels: pixel_format(a),
    }
}

/// Every code of how the image was derived says lossy compression (PS3.16, CID 7203).
fn only_compressed(a: &Attributes) -> bool {
    const LOSSY_COMPRESSION: &str = "113040";
    let codes = a.items(tags::DERIVATION_CODE_SEQUENCE);
    let is_compression =
        |code| text_at(code, tags::CODE_VALUE).as_deref() == Some(LOSSY_COMPRESSION);
    !codes.is_empty() && codes.iter().all(is_compression)
}

fn plane(a: &Attributes) -> Option<Plane> {
    let o: [f64; 6] =
        a.array_in(tags::PLANE_ORIENTATION_SEQUENCE, tags::IMAGE_ORIENTATION_PATIENT)?;
    Some(Plane {
        position: a.array_in(tags::PLANE_POSITION_SEQUENCE, tags::IMAGE_POSITION_PATIENT)?,
        row_cosines: [o[0], o[1], o[2]],
        column_cosines: [o[3], o[4], o[5]],
        pixel_spacing_mm: a.array_in(tags::PIXEL_MEASURES_SEQUENCE, tags::PIXEL_SPACING)?,
    })
}

/// The values of a text; upper case.
fn values(text: Option<String>) -> Vec<String> {
    let text = text.unwrap_or_default().to_uppercase();
    text.split('\\').map(|v| v.trim().to_owned()).collect()
}

fn timing(a: &Attributes, image_type: &[String]) -> Timing {
    let timing = tags::MR_TIMING_AND_RELATED_PARAMETERS_SEQUENCE;
    let modifier = tags::MR_MODIFIER_SEQUENCE;
    let words = |tag: Tag| values(a.text(tag));
    let is_image_of = |what: &str| image_type.iter().any(|v| v == what);
    // Classic: SE, IR, GR, EP, RM (C.8.3.1.1.1). Enhanced: SPIN, GRADIENT, BOTH (C.8.13.4).
    let sequence = words(tags::SCANNING_SEQUENCE);
    let says = |word: &str| sequence.iter().any(|w| w == word);
    let said = !says("");
    let echo_pulse = a.text(tags::ECHO_PULSE_SEQUENCE);
    let variant = words(tags::SEQUENCE_VARIANT);
    let steady = a.text(tags::STEADY_STATE_PULSE_SEQUENCE).is_some_and(|s| s != "NONE");
    const FAT_SATURATION: [&str; 7] =
        ["FS", "FATSAT", "FAT_SAT", "SPIR", "SPAIR", "CHESS", "WATER_EXCITATION"];
    Timing {
        repetition_ms: a.number_in(timing, tags::REPETITION_TIME),
        echo_ms: a
            .number_in(tags::MR_ECHO_SEQUENCE, tags::EFFECTIVE_ECHO_TIME)
            .or_else(|| a.number(tags::ECHO_TIME)),
        inversion_ms: a
            .number_in(modifier, tags::INVERSION_TIMES)
            .or_else(|| a.number(tags::INVERSION_TIME))
            .filter(|ti| *ti > 0.0),
        flip_deg: a.number_in(timing, tags::FLIP_ANGLE),
        gradient_echo: match echo_pulse.as_deref() {
            Some(s) => Some(s == "GRADIENT"),
            None => said.then(|| says("GR") && !says("SE")),
        },
        inversion_recovery: match a.text_in(modifier, tags::INVERSION_RECOVERY).as_deref() {
            Some(s) => Some(s == "YES"),
            None => said.then(|| says("IR")),
        },
        steady_state: steady
            || variant.iter().any(|v| v == "SS") && !variant.iter().any(|v| v == "SP"),
        echo_planar: says("EP")
            || a.text(tags::ECHO_PLANAR_PULSE_SEQUENCE).as_deref() == Some("YES")
            || is_image_of("DIFFUSION"),
        fat_saturated: is_image_of("WATER")
            || words(tags::SCAN_OPTIONS).iter().any(|w| FAT_SATURATION.contains(&w.as_str()))
            || a.text(tags::SPECTRALLY_SELECTED_SUPPRESSION).is_some_and(|s| s.contains("FAT")),
    }
}

fn body_part(a: &Attributes) -> Option<String> {
    let region = || {
        let region = a.item_in(tags::FRAME_ANATOMY_SEQUENCE, tags::ANATOMIC_REGION_SEQUENCE)?;
        text_at(region, tags::CODE_MEANING)
    };
    a.text(tags::BODY_PART_EXAMINED).or_else(region).map(|s| s.to_lowercase())
}

fn contrast_agent(a: &Attributes) -> bool {
    // Consoles write these where no agent was given.
    const NONE: [&str; 8] = ["NONE", "NO", "N", "-", "0", "NIL", "NO CONTRAST", "WITHOUT"];
    a.has_items(tags::CONTRAST_BOLUS_AGENT_SEQUENCE)
        || a.text(tags::CONTRAST_BOLUS_AGENT)
            .is_some_and(|agent| !NONE.contains(&agent.to_uppercase().as_str()))
}

fn hint_text(a: &Attributes, from: &[Tag]) -> String {
    let joined = from.iter().filter_map(|t| a.text(*t)).collect::<Vec<_>>().join("\n");
    joined.to_lowercase().chars().take(MAX_HINT_CHARS).collect()
}

fn pixel_format(a: &Attributes) -> PixelFormat {
    let word = |tag| a.number(tag).unwrap_or(0.0) as u16;
    let rescale = |tag| a.number_in(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, tag);
    PixelFormat {
        samples_per_pixel: word(tags::SAMPLES_PER_PIXEL),
        bits_allocated: word(tags::BITS_ALLOCATED),
        bits_stored: word(tags::BITS_STORED),
        high_bit: word(tags::HIGH_BIT),
        signed: word(tags::PIXEL_REPRESENTATION) == 1,
        photometric: a.text(tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default(),
        slope: rescale(tags::RESCALE_SLOPE).unwrap_or(1.0),
        intercept: rescale(tags::RESCALE_INTERCEPT).unwrap_or(0.0),
    }
}
