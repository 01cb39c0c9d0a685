//! Why a series or a study is not analysed: the documented list of reason codes.
//!
//! A code, once released, never changes its meaning. The texts hold no patient data: they are the same for
//! every study.

use crate::codes::coded_enum;

coded_enum! {
    /// Why a series or a whole study is refused.
    Reason, what_to_do: "What it means and what can be done about it, for a person.",
    NotMr "not_mr" "Not a magnetic-resonance image. Nothing to do; only MR series are analysed.";
    Unreadable "unreadable" "No file of the study can be read as DICOM. Send it again from the source.";
    Localizer "localizer" "A localizer (scout) only helps to plan the exam. Send the diagnostic series.";
    Derived "derived" "Computed from other images (reformat, projection, map, composed). Send the original series.";
    NotSagittal "not_sagittal" "The slices are not sagittal. Send the sagittal T1w and T2w series.";
    NotT1OrT2 "not_t1_or_t2" "Neither T1- nor T2-weighted without fat suppression. Send the sagittal T1w and T2w series.";
    MissingTag "missing_tag" "An attribute the analysis needs (geometry, matrix, timing, frame of reference) is missing or not valid. Check the anonymiser or router on the way.";
    WrongBodyPart "wrong_body_part" "Not the lumbar spine by its body part or description. Correct the protocol's body part if it is.";
    ContrastAgent "contrast_agent" "Acquired after a contrast agent; the signal can't be typed. Send the series from before it.";
    ZeroSpacing "zero_spacing" "Pixel spacing or slice distance is zero. Check the anonymiser or router on the way.";
    SpacingOutOfRange "spacing_out_of_range" "Pixel spacing or slice distance lies outside what the networks were made for.";
    TooFewSlices "too_few_slices" "Too few slices to cover the spine. Send the whole series.";
    TooLarge "too_large" "More slices, pixels or files than the device takes. Send the original 2D series only.";
    DuplicatePositions "duplicate_positions" "Several images lie at the same place and can't be told apart (dynamic or repeated series).";
    GapInStack "gap_in_stack" "Slices are missing or unevenly spaced. Send the whole series again.";
    ShearedStack "sheared_stack" "The slices don't stand straight behind one another. Send the series as acquired.";
    Superseded "superseded" "Another series of the same kind suits better and was taken.";
    NoT1 "no_t1" "The study has no sagittal T1w series. Send it, or add it to the protocol.";
    NoT2 "no_t2" "The study has no sagittal T2w series without fat suppression. Send it, or add it to the protocol.";
    DifferentFrameOfReference "different_frame_of_reference" "T1w and T2w don't share a frame of reference: the patient was moved between them. Acquire both in one session.";
    NoOverlap "no_overlap" "T1w and T2w show different regions. Acquire both over the lumbar spine.";
    NoSpineSeen "no_spine_seen" "No vertebrae were found in the pictures. Check that the study shows the lumbar spine.";
    Minor "minor" "The patient is under the age the networks were made for.";
    PixelDataShort "pixel_data_short" "An image holds less pixel data than its header says. Send it again from the source.";
    UnsupportedPixels "unsupported_pixels" "The pixel encoding (compression, colour, bit depth) isn't supported, or is damaged. Send it uncompressed.";
}

impl std::error::Error for Reason {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_its_own_snake_case_code_and_a_text() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            let code = reason.as_str();
            assert!(code.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
            assert!(reason.what_to_do().len() > 20 && reason.what_to_do().ends_with('.'), "{code}");
            assert_eq!(serde_json::to_value(reason).unwrap(), code);
        }
    }

    #[test]
    fn the_readme_holds_the_list() {
        let readme = include_str!("../../../README.md");
        for row in Reason::markdown_table().lines().skip(2) {
            assert!(readme.contains(row), "README.md lacks {row}");
        }
    }
}
