//! The Modic map as a DICOM Segmentation (PS3.3 A.51) of the T1 series.
//!
//! Segments, binary: one for each Modic type, one for each finding with the tracking identifier that it has in the
//! report, one for each vertebral body. Those without a voxel and frames without one are left out. Frames have the
//! matrix of the T1 images, so that they lie over them pixel by pixel.

use dicom::core::VR;
use dicom::dictionary_std::tags;
use dicom::object::InMemDicomObject;
use ndarray::{Array2, ArrayView2, Axis};

use super::codes::{self, Code, dcm, sct};
use super::dataset::{Build, item};
use super::{Exam, Object};
use crate::domain::ModicType;
use crate::report::picture;
use crate::study::SeriesPair;

/// One segment.
pub(super) struct Segment {
    label: String,
    category: Code,
    kind: Code,
    tracking: (String, String),
    /// Red, green, blue.
    colour: [u8; 3],
    voxels: Voxels,
}

/// Which voxels a segment has, by what the result says of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Voxels {
    /// Value of the Modic map.
    Type(u8),
    /// A finding's number.
    Finding(u16),
    /// A vertebra's label.
    Body(u16),
}

/// Numbers of the findings' segments, from 1, in the order of the findings: each has a voxel.
pub(super) fn numbers_of_findings(segments: &[Segment]) -> Vec<u16> {
    let numbered = (1..).zip(segments);
    let of_findings = numbered.filter(|(_, s)| matches!(s.voxels, Voxels::Finding(_)));
    of_findings.map(|(number, _)| number).collect()
}

/// Those with a voxel.
pub(super) fn segments(exam: &Exam) -> Vec<Segment> {
    let abnormal = sct("49755003", "Morphologically Abnormal Structure");
    let anatomy = sct("91723000", "Anatomical Structure");
    let mut all = Vec::new();
    for kind in ModicType::ALL {
        let code = codes::voxel_type(kind);
        let value = kind.voxel_value();
        all.push(Segment {
            label: code.meaning.clone(),
            category: abnormal.clone(),
            tracking: (code.meaning.clone(), exam.uid(&code.value)),
            kind: code,
            colour: picture::colour(kind).0.0,
            voxels: Voxels::Type(value),
        });
    }
    for (number, finding) in (1..).zip(&exam.result.findings) {
        let tracking = exam.tracking(number);
        all.push(Segment {
            label: tracking.0.clone(),
            category: abnormal.clone(),
            kind: codes::pattern(&finding.pattern),
            tracking,
            colour: [230, 159, 0],
            voxels: Voxels::Finding(number),
        });
    }
    for vertebra in &exam.result.spine.vertebrae {
        let (code, label) = (codes::vertebra(vertebra.level), vertebra.label);
        all.push(Segment {
            label: format!("{} vertebral body", vertebra.level),
            category: anatomy.clone(),
            tracking: (format!("{} vertebral body", vertebra.level), exam.uid(&code.meaning)),
            kind: code,
            colour: [0, 158, 115],
            voxels: Voxels::Body(label),
        });
    }
    let slices = exam.result.map.dim().0;
    all.retain(|segment| (0..slices).any(|slice| mask(exam, segment.voxels, slice).is_some()));
    all
}

/// A segment's pixels of a slice on T1's grid; `None` where there are none.
fn mask(exam: &Exam, voxels: Voxels, slice: usize) -> Option<Array2<bool>> {
    let result = exam.result;
    match voxels {
        Voxels::Type(value) => equal(result.map.index_axis(Axis(0), slice), value),
        Voxels::Finding(number) => equal(result.finding_numbers.index_axis(Axis(0), slice), number),
        Voxels::Body(label) => equal(result.spine.labels.index_axis(Axis(0), slice), label),
    }
}

fn equal<T: PartialEq + Copy>(slice: ArrayView2<T>, value: T) -> Option<Array2<bool>> {
    slice.iter().any(|v| *v == value).then(|| slice.mapv(|v| v == value))
}

pub(super) fn object(exam: &Exam, pair: &SeriesPair, segments: &[Segment]) -> InMemDicomObject {
    let grid = &pair.t1.grid;
    let (mut frames, mut bits) = (Vec::new(), Bits::default());
    for (number, segment) in (1..).zip(segments) {
        for slice in 0..grid.shape[0] {
            let Some(mut mask) = mask(exam, segment.voxels, slice) else { continue };
            bits.extend(pair.t1.layout.as_stored(mask.view_mut()).iter());
            frames.push(frame(exam, pair, number, slice));
        }
    }
    let first = &pair.t1.slices[0];
    let shared = item()
        .items(
            tags::PIXEL_MEASURES_SEQUENCE,
            vec![
                item()
                    .decimals(tags::PIXEL_SPACING, &stored_spacing(pair))
                    .decimals(
                        tags::SLICE_THICKNESS,
                        &[first.thickness_mm.unwrap_or(grid.spacing[0])],
                    )
                    .decimals(tags::SPACING_BETWEEN_SLICES, &[grid.spacing[0]]),
            ],
        )
        .items(
            tags::PLANE_ORIENTATION_SEQUENCE,
            vec![item().decimals(tags::IMAGE_ORIENTATION_PATIENT, &stored_orientation(pair))],
        );
    let organization = exam.uid("dimensions");
    let index = |pointer, group, label: &str| {
        item()
            .text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, &organization)
            .pointer(tags::DIMENSION_INDEX_POINTER, pointer)
            .pointer(tags::FUNCTIONAL_GROUP_POINTER, group)
            .text(tags::DIMENSION_DESCRIPTION_LABEL, VR::LO, label)
    };
    let referenced = item()
        .text(tags::SERIES_INSTANCE_UID, VR::UI, &exam.source.t1.uid)
        .items(tags::REFERENCED_INSTANCE_SEQUENCE, exam.source.t1.instances());
    exam.object(Object::Segmentation)
        .text(tags::BODY_PART_EXAMINED, VR::CS, "LSPINE")
        .text(tags::FRAME_OF_REFERENCE_UID, VR::UI, &exam.source.frame_of_reference_uid)
        .text(tags::POSITION_REFERENCE_INDICATOR, VR::LO, "")
        .text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\PRIMARY")
        .text(tags::SEGMENTATION_TYPE, VR::CS, "BINARY")
        .text(tags::CONTENT_LABEL, VR::CS, "MODIC_MAP")
        .text(tags::CONTENT_DESCRIPTION, VR::LO, "Modic changes by type; research use")
        .text(tags::CONTENT_CREATOR_NAME, VR::PN, "modicd^")
        .text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, if first.lossy { "01" } else { "00" })
        .text(tags::NUMBER_OF_FRAMES, VR::IS, &frames.len().to_string())
        .items(
            tags::SEGMENT_SEQUENCE,
            (1..).zip(segments).map(|(number, s)| segment_item(exam, number, s)).collect(),
        )
        .items(tags::REFERENCED_SERIES_SEQUENCE, vec![referenced])
        .items(
            tags::DIMENSION_ORGANIZATION_SEQUENCE,
            vec![item().text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, &organization)],
        )
        .items(
            tags::DIMENSION_INDEX_SEQUENCE,
            vec![
                index(
                    tags::REFERENCED_SEGMENT_NUMBER,
                    tags::SEGMENT_IDENTIFICATION_SEQUENCE,
                    "Segment",
                ),
                index(tags::IMAGE_POSITION_PATIENT, tags::PLANE_POSITION_SEQUENCE, "Slice"),
            ],
        )
        .items(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared])
        .items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames)
        .pixels([first.rows, first.columns], "MONOCHROME2", [1, 1], bits.into_bytes())
}

/// Bits as bytes, the first the lowest (PS3.5, 8.1.1); frames follow each other without a gap.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn extend<'a>(&mut self, bits: impl IntoIterator<Item = &'a bool>) {
        for bit in bits {
            let place = self.count % 8;
            if place == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from(*bit) << place;
            }
            self.count += 1;
        }
    }

    /// An even number of them.
    fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len().next_multiple_of(2), 0);
        self.bytes
    }
}

fn frame(exam: &Exam, pair: &SeriesPair, segment: u16, slice: usize) -> InMemDicomObject {
    let plane = pair.t1.slices[slice].plane.as_ref().expect("an accepted series has a plane");
    let source = exam
        .source
        .t1
        .image(slice)
        .code(
            tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE,
            &dcm("121322", "Source image for image processing operation"),
        )
        .text(tags::SPATIAL_LOCATIONS_PRESERVED, VR::CS, "YES");
    let derivation = item()
        .code(tags::DERIVATION_CODE_SEQUENCE, &dcm("113076", "Segmentation"))
        .items(tags::SOURCE_IMAGE_SEQUENCE, vec![source]);
    item()
        .items(tags::DERIVATION_IMAGE_SEQUENCE, vec![derivation])
        .items(
            tags::FRAME_CONTENT_SEQUENCE,
            vec![item().longs(tags::DIMENSION_INDEX_VALUES, &[segment.into(), slice as u32 + 1])],
        )
        .items(
            tags::PLANE_POSITION_SEQUENCE,
            vec![item().decimals(tags::IMAGE_POSITION_PATIENT, &plane.position)],
        )
        .items(
            tags::SEGMENT_IDENTIFICATION_SEQUENCE,
            vec![item().shorts(tags::REFERENCED_SEGMENT_NUMBER, &[segment])],
        )
}

fn segment_item(exam: &Exam, number: u16, segment: &Segment) -> InMemDicomObject {
    let algorithm = item()
        .code(tags::ALGORITHM_FAMILY_CODE_SEQUENCE, &dcm("123110", "Artificial Intelligence"))
        .text(tags::ALGORITHM_NAME, VR::LO, "modicd")
        .text(tags::ALGORITHM_VERSION, VR::LO, exam.version())
        .free_text(tags::ALGORITHM_PARAMETERS, VR::LT, &exam.networks().join("; "));
    item()
        .shorts(tags::SEGMENT_NUMBER, &[number])
        .free_text(tags::SEGMENT_LABEL, VR::LO, &segment.label)
        .text(tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "AUTOMATIC")
        .text(tags::SEGMENT_ALGORITHM_NAME, VR::LO, "modicd")
        .items(tags::SEGMENTATION_ALGORITHM_IDENTIFICATION_SEQUENCE, vec![algorithm])
        .code(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, &segment.category)
        .code(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, &segment.kind)
        .free_text(tags::TRACKING_ID, VR::UT, &segment.tracking.0)
        .text(tags::TRACKING_UID, VR::UI, &segment.tracking.1)
        .shorts(tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE, &cie_lab(segment.colour))
}

/// Distance of the stored matrix's rows, then of its columns.
fn stored_spacing(pair: &SeriesPair) -> [f64; 2] {
    let first = pair.t1.slices[0].plane.as_ref().expect("an accepted series has a plane");
    first.pixel_spacing_mm
}

fn stored_orientation(pair: &SeriesPair) -> [f64; 6] {
    let first = pair.t1.slices[0].plane.as_ref().expect("an accepted series has a plane");
    let ([a, b, c], [d, e, f]) = (first.row_cosines, first.column_cosines);
    [a, b, c, d, e, f]
}

/// sRGB as PCS values of CIELab (PS3.3 C.10.7.1.1).
fn cie_lab(rgb: [u8; 3]) -> [u16; 3] {
    let linear = rgb.map(|value| {
        let value = f64::from(value) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    });
    // To XYZ under D50, relative to its white (sRGB by Bradford's adaptation, as ICC profiles have it).
    let xyz = [
        [0.436_074_7, 0.385_064_9, 0.143_080_4, 0.964_22],
        [0.222_504_5, 0.716_878_6, 0.060_616_9, 1.0],
        [0.013_932_2, 0.097_104_5, 0.714_173_3, 0.825_21],
    ]
    .map(|[r, g, b, white]| (r * linear[0] + g * linear[1] + b * linear[2]) / white);
    let [x, y, z] = xyz
        .map(|t| if t > 216.0 / 24389.0 { t.cbrt() } else { (24389.0 / 27.0 * t + 16.0) / 116.0 });
    let [l, a, b] = [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)];
    [l / 100.0, (a + 128.0) / 255.0, (b + 128.0) / 255.0]
        .map(|share| (share.clamp(0.0, 1.0) * 65535.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_packed_lowest_first_over_frames() {
        let mut bits = Bits::default();
        bits.extend(&[true, false, true, false, false]);
        bits.extend(&[false, false, false, false, true]);
        assert_eq!(bits.into_bytes(), [0b101, 0b10]);
        let mut bits = Bits::default();
        bits.extend(&[true]);
        assert_eq!(bits.into_bytes(), [1, 0]);
    }

    #[test]
    fn white_and_black_are_at_the_ends_of_lightness() {
        let [l, a, b] = cie_lab([255; 3]);
        assert!(l > 65_400 && a.abs_diff(32_896) < 60 && b.abs_diff(32_896) < 60, "{l} {a} {b}");
        assert_eq!(cie_lab([0; 3])[0], 0);
    }
}
