//! Tiny synthetic DICOM series for the tests of `study` and `volume`.

use std::path::{Path, PathBuf};

use dicom::core::value::{DataSetSequence, PixelFragmentSequence};
use dicom::core::{DataElement, PrimitiveValue, Tag, VR};
use dicom::dictionary_std::{tags, uids};
use dicom::object::{FileMetaTableBuilder, InMemDicomObject};
use tempfile::TempDir;

use super::{Config, Headers, Selection, select};

type Vec3 = [f64; 3];

/// A folder that is removed when the test ends.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A sagittal spin-echo series; tests change what they are about.
#[derive(Clone)]
pub(crate) struct Synthetic {
    /// Names the series: its UID, and its number.
    pub number: u32,
    pub tr_te: Option<(f64, f64)>,
    pub slices: usize,
    pub rows: u16,
    pub columns: u16,
    pub pixel_spacing: [f64; 2],
    pub first_position: Vec3,
    /// From one slice to the next as stored.
    pub step: Vec3,
    pub row_cosines: Vec3,
    pub column_cosines: Vec3,
    pub frame_of_reference: &'static str,
    pub transfer_syntax: &'static str,
    pub signed: bool,
    /// Attributes put last: they replace or add text.
    pub text: Vec<(Tag, &'static str)>,
    pub without: Vec<Tag>,
    /// Code of how the images were derived.
    pub derivation: Option<&'static str>,
    pub images_in_acquisition: Option<usize>,
    /// Bytes of pixel data left out in every file.
    pub pixel_bytes_missing: usize,
    /// Encodes a frame of rows and columns for an encapsulated transfer syntax.
    pub encoder: Option<Encoder>,
}

/// Samples, rows, columns, to a fragment of even length.
pub(crate) type Encoder = fn(&[u16], u16, u16) -> Vec<u8>;

impl Synthetic {
    /// A T1w series of 6 sagittal slices stored from right to left, upright, facing left.
    pub(crate) fn t1() -> Synthetic {
        Synthetic {
            number: 1,
            tr_te: Some((600.0, 11.0)),
            slices: 6,
            rows: 12,
            columns: 10,
            pixel_spacing: [1.0, 1.5],
            first_position: [-11.0, -60.0, 80.0],
            step: [4.4, 0.0, 0.0],
            row_cosines: [0.0, 1.0, 0.0],
            column_cosines: [0.0, 0.0, -1.0],
            frame_of_reference: "1.2.3.9",
            transfer_syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN,
            signed: false,
            text: vec![
                (tags::MODALITY, "MR"),
                (tags::IMAGE_TYPE, "ORIGINAL\\PRIMARY\\M\\ND"),
                (tags::BODY_PART_EXAMINED, "LSPINE"),
                (tags::PATIENT_AGE, "045Y"),
                (tags::SCANNING_SEQUENCE, "SE"),
            ],
            without: Vec::new(),
            derivation: None,
            images_in_acquisition: None,
            pixel_bytes_missing: 0,
            encoder: None,
        }
    }

    /// The T2w series that belongs to [`Synthetic::t1`].
    pub(crate) fn t2() -> Synthetic {
        Synthetic { number: 2, tr_te: Some((3500.0, 105.0)), ..Synthetic::t1() }
    }

    pub(crate) fn text(mut self, tag: Tag, value: &'static str) -> Synthetic {
        self.text.push((tag, value));
        self
    }

    pub(crate) fn without(mut self, tag: Tag) -> Synthetic {
        self.without.push(tag);
        self
    }

    fn position(&self, slice: usize) -> Vec3 {
        std::array::from_fn(|k| self.first_position[k] + slice as f64 * self.step[k])
    }

    /// A pixel's value: a linear function of the patient's coordinates, rounded.
    pub(crate) fn value_at(p: Vec3) -> i16 {
        (300.0 + 3.0 * p[0] + 0.5 * p[1] + 1.0 * p[2]).round() as i16
    }

    fn pixels(&self, slice: usize) -> Vec<i16> {
        let origin = self.position(slice);
        let [row_mm, column_mm] = self.pixel_spacing;
        let offset = if self.signed { -400 } else { 0 };
        (0..self.rows)
            .flat_map(|r| (0..self.columns).map(move |c| (f64::from(r), f64::from(c))))
            .map(|(r, c)| {
                let p = std::array::from_fn(|k| {
                    origin[k]
                        + r * row_mm * self.column_cosines[k]
                        + c * column_mm * self.row_cosines[k]
                });
                Self::value_at(p) + offset
            })
            .collect()
    }

    /// Writes one file a slice.
    pub(crate) fn write(&self, folder: &Path) -> Vec<PathBuf> {
        (0..self.slices).map(|slice| self.write_slice(folder, slice)).collect()
    }

    /// Writes one file with the given slice.
    pub(crate) fn write_slice(&self, folder: &Path, slice: usize) -> PathBuf {
        let mut object = self.common(slice);
        put_numbers(&mut object, tags::IMAGE_POSITION_PATIENT, &self.position(slice));
        put_numbers(&mut object, tags::IMAGE_ORIENTATION_PATIENT, &self.orientation());
        put_numbers(&mut object, tags::PIXEL_SPACING, &self.pixel_spacing);
        put_numbers(&mut object, tags::SLICE_THICKNESS, &[4.0]);
        self.put_pixels(&mut object, vec![self.pixels(slice)]);
        self.finish(object, uids::MR_IMAGE_STORAGE, folder, slice)
    }

    /// Writes one Enhanced MR file with every slice as a frame.
    pub(crate) fn write_enhanced(&self, folder: &Path) -> PathBuf {
        let mut object = self.common(0);
        for tag in [tags::REPETITION_TIME, tags::ECHO_TIME] {
            object.remove_element(tag);
        }
        object.put_str(tags::NUMBER_OF_FRAMES, VR::IS, self.slices.to_string());

        let mut shared = InMemDicomObject::new_empty();
        let mut measures = InMemDicomObject::new_empty();
        put_numbers(&mut measures, tags::PIXEL_SPACING, &self.pixel_spacing);
        put_item(&mut shared, tags::PIXEL_MEASURES_SEQUENCE, measures);
        if let Some((tr, te)) = self.tr_te {
            let mut timing = InMemDicomObject::new_empty();
            put_numbers(&mut timing, tags::REPETITION_TIME, &[tr]);
            put_item(&mut shared, tags::MR_TIMING_AND_RELATED_PARAMETERS_SEQUENCE, timing);
            let mut echo = InMemDicomObject::new_empty();
            let te = PrimitiveValue::from(te);
            echo.put(DataElement::new(tags::EFFECTIVE_ECHO_TIME, VR::FD, te));
            put_item(&mut shared, tags::MR_ECHO_SEQUENCE, echo);
        }
        put_item(&mut object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, shared);

        let frames: Vec<_> = (0..self.slices)
            .map(|slice| {
                let mut frame = InMemDicomObject::new_empty();
                let mut position = InMemDicomObject::new_empty();
                put_numbers(&mut position, tags::IMAGE_POSITION_PATIENT, &self.position(slice));
                put_item(&mut frame, tags::PLANE_POSITION_SEQUENCE, position);
                let mut orientation = InMemDicomObject::new_empty();
                put_numbers(&mut orientation, tags::IMAGE_ORIENTATION_PATIENT, &self.orientation());
                put_item(&mut frame, tags::PLANE_ORIENTATION_SEQUENCE, orientation);
                frame
            })
            .collect();
        put_items(&mut object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames);
        let frames = (0..self.slices).map(|s| self.pixels(s)).collect();
        self.put_pixels(&mut object, frames);
        self.finish(object, uids::ENHANCED_MR_IMAGE_STORAGE, folder, 0)
    }

    fn orientation(&self) -> [f64; 6] {
        let (r, c) = (self.row_cosines, self.column_cosines);
        [r[0], r[1], r[2], c[0], c[1], c[2]]
    }

    fn common(&self, slice: usize) -> InMemDicomObject {
        let mut object = InMemDicomObject::new_empty();
        let texts = [
            (tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3".to_owned()),
            (tags::SERIES_INSTANCE_UID, VR::UI, format!("1.2.3.{}", self.number)),
            (tags::SOP_INSTANCE_UID, VR::UI, self.sop_instance_uid(slice)),
            (tags::FRAME_OF_REFERENCE_UID, VR::UI, self.frame_of_reference.to_owned()),
            (tags::SERIES_NUMBER, VR::IS, self.number.to_string()),
            (tags::INSTANCE_NUMBER, VR::IS, (slice + 1).to_string()),
            (tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2".to_owned()),
        ];
        for (tag, vr, value) in texts {
            object.put_str(tag, vr, value);
        }
        if let Some((tr, te)) = self.tr_te {
            put_numbers(&mut object, tags::REPETITION_TIME, &[tr]);
            put_numbers(&mut object, tags::ECHO_TIME, &[te]);
        }
        if let Some(n) = self.images_in_acquisition {
            object.put_str(tags::IMAGES_IN_ACQUISITION, VR::IS, n.to_string());
        }
        let words = [
            (tags::SAMPLES_PER_PIXEL, 1),
            (tags::ROWS, self.rows),
            (tags::COLUMNS, self.columns),
            (tags::BITS_ALLOCATED, 16),
            (tags::BITS_STORED, 16),
            (tags::HIGH_BIT, 15),
            (tags::PIXEL_REPRESENTATION, u16::from(self.signed)),
        ];
        for (tag, value) in words {
            object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
        }
        object
    }

    fn put_pixels(&self, object: &mut InMemDicomObject, frames: Vec<Vec<i16>>) {
        let frames = frames.into_iter().map(|f| f.into_iter().map(|v| v as u16));
        if let Some(encode) = self.encoder {
            let encoded = frames.map(|f| encode(&f.collect::<Vec<_>>(), self.rows, self.columns));
            let fragments: Vec<Vec<u8>> = encoded.collect();
            let value = PixelFragmentSequence::new_fragments(fragments);
            object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, value));
        } else {
            let mut words: Vec<u16> = frames.flatten().collect();
            words.truncate(words.len() - self.pixel_bytes_missing / 2);
            let value = PrimitiveValue::U16(words.into());
            object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, value));
        }
    }

    fn sop_instance_uid(&self, slice: usize) -> String {
        format!("1.2.3.{}.{}", self.number, slice + 1)
    }

    fn finish(
        &self,
        mut object: InMemDicomObject,
        class: &str,
        folder: &Path,
        slice: usize,
    ) -> PathBuf {
        object.put_str(tags::SOP_CLASS_UID, VR::UI, class);
        if let Some(code) = self.derivation {
            let mut item = InMemDicomObject::new_empty();
            item.put_str(tags::CODE_VALUE, VR::SH, code);
            put_item(&mut object, tags::DERIVATION_CODE_SEQUENCE, item);
        }
        for (tag, value) in &self.text {
            object.put_str(*tag, VR::LO, *value);
        }
        for tag in &self.without {
            object.remove_element(*tag);
        }
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(class)
            .media_storage_sop_instance_uid(self.sop_instance_uid(slice))
            .transfer_syntax(self.transfer_syntax);
        let path = folder.join(format!("{}-{slice}.dcm", self.number));
        object.with_meta(meta).expect("valid meta").write_to_file(&path).expect("written");
        path
    }
}

fn put_numbers(object: &mut InMemDicomObject, tag: Tag, numbers: &[f64]) {
    let text: Vec<String> = numbers.iter().map(|n| format!("{n:.9}")).collect();
    object.put_str(tag, VR::DS, text.join("\\"));
}

fn put_item(object: &mut InMemDicomObject, tag: Tag, item: InMemDicomObject) {
    put_items(object, tag, vec![item]);
}

fn put_items(object: &mut InMemDicomObject, tag: Tag, items: Vec<InMemDicomObject>) {
    object.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
}

/// The headers of a study of these series.
pub(crate) fn headers_of(folder: &Path, series: &[Synthetic]) -> Headers {
    let files: Vec<PathBuf> = series.iter().flat_map(|s| s.write(folder)).collect();
    Headers::read(files, &Config::default()).expect("the files are there")
}

/// The choice from a study of these series.
pub(crate) fn selection_of(series: &[Synthetic]) -> Selection {
    let folder = folder();
    select(&headers_of(folder.path(), series), &Config::default())
}
