//! The picture for people as Secondary Capture (PS3.3 A.8.1).

use dicom::core::VR;
use dicom::dictionary_std::tags;
use dicom::object::InMemDicomObject;
use image::RgbImage;

use super::dataset::Build;
use super::{Exam, Object};

pub(super) fn object(exam: &Exam, picture: &RgbImage) -> InMemDicomObject {
    let mut pixels = picture.as_raw().clone();
    pixels.resize(pixels.len().next_multiple_of(2), 0);
    exam.object(Object::Picture)
        .text(tags::BODY_PART_EXAMINED, VR::CS, "LSPINE")
        .text(tags::CONVERSION_TYPE, VR::CS, "WSD")
        .text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY")
        .text(tags::PATIENT_ORIENTATION, VR::CS, "")
        // The words in it name no person.
        .text(tags::BURNED_IN_ANNOTATION, VR::CS, "NO")
        .shorts(tags::PLANAR_CONFIGURATION, &[0])
        .pixels([picture.height() as u16, picture.width() as u16], "RGB", [3, 8], pixels)
}
