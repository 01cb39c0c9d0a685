//! What makes a result doubtful without making it impossible.

use crate::codes::coded_enum;

coded_enum! {
    /// A doubt about the series pair, published with the finding.
    QualityFlag, meaning: "What it means, for a person.",
    AgeUnknown "age_unknown" "Neither age nor birth date is given; the patient may be a minor.";
    BodyPartUnknown "body_part_unknown" "Neither body part nor description says that this is the lumbar spine.";
    WholeSpine "whole_spine" "A long field of view or the description says whole spine; levels are counted from the lowest body seen.";
    FewSlices "few_slices" "Fewer slices than usual: lateral parts of the bodies may be missing.";
    ThickSlices "thick_slices" "Slices are further apart than usual: small findings may be missed.";
    Oblique "oblique" "The slices are turned far from the sagittal plane.";
    PartialOverlap "partial_overlap" "T2w covers T1w's region only in part; nothing is found outside.";
    LossyCompression "lossy_compression" "The pixels were compressed with loss: signal values are approximate.";
    WeightingFromDescription "weighting_from_description" "Timing was missing or ambiguous: T1w or T2w was told from the description.";
}
