//! Modic: from what the networks saw to findings a radiologist knows.
//!
//! Owns the levels (counted up from the sacrum), the endplates, the rule that types voxels, and what a
//! finding is. Works on T1's grid with masks and ratios only; it knows no DICOM, no network, no file.

mod borderline;
mod config;
mod dark_marrow;
mod endplates;
mod findings;
mod levels;
mod merged;
mod signals;
mod split;
mod typing;

pub use config::Config;
pub use findings::{Finding, OtherMarrowLesion, Third};
pub use levels::{Spine, Vertebra};
pub use typing::{Composition, voxel_type};

use ndarray::Array3;

use findings::Shift;

use crate::codes::coded_enum;
use crate::segment::Segmentation;

/// The voxel-wise result and all that is said about it.
#[derive(Debug)]
pub struct ModicResult {
    /// The Modic map on T1's grid: 0 none, 1, 2, 3 by type, 4 indeterminate.
    pub map: Array3<u8>,
    /// Each voxel's finding as its place in `findings`, from 1; 0 for none.
    pub finding_numbers: Array3<u16>,
    /// The vertebrae found, from the sacrum up.
    pub spine: Spine,
    /// Modic changes, from the sacrum up, superior endplates before inferior ones.
    pub findings: Vec<Finding>,
    /// Changes that touch no endplate: never Modic.
    pub other_marrow_lesions: Vec<OtherMarrowLesion>,
    /// What makes the result doubtful.
    pub quality: Vec<QualityFlag>,
}

coded_enum! {
    /// Something in the pictures that makes a result doubtful; published with the finding.
    QualityFlag, meaning: "What it means, for a person.",
    S1NotSeen "s1_not_seen" "S1 was not seen; the lowest body was taken for L5.";
    FewLevels "few_levels" "Fewer than five vertebrae above the sacrum are seen.";
    LevelGap "level_gap" "A body between two others was missed; its level was counted all the same.";
    BodiesDivided "bodies_divided" "Two bodies had grown together in the segmentation and were divided.";
    T2Moved "t2_moved" "The patient moved between T1 and T2; T2 was moved back.";
    BothSidesOedema "both_sides_oedema" "Oedema over most of both bodies beside one disc: think of spondylodiscitis.";
    UncertainFinding "uncertain_finding" "The probability of a finding lies near the threshold.";
    BorderlineType "borderline_type" "A finding's type hangs on little: with somewhat other signals or probabilities it would be another.";
}

/// A finding that covers this share of the vertebra's height is "most of the body".
const MOST_OF_BODY_PERCENT: f32 = 60.0;
/// A mean probability within this distance of the threshold is uncertain.
const UNCERTAIN_BAND: f32 = 0.15;

/// Turns a segmentation into findings.
pub fn analyse(segmentation: &Segmentation, config: &Config) -> ModicResult {
    let (mut spine, mut quality) = Spine::find(segmentation);
    dark_marrow::claim(&mut spine, segmentation);
    let found = findings::find(segmentation, &spine, config, Shift::NONE);
    let mut finding_numbers = Array3::zeros(found.map.dim());
    let mut findings = Vec::new();
    for (number, (finding, places)) in (1..).zip(found.findings) {
        places.into_iter().for_each(|at| finding_numbers[at] = number);
        findings.push(finding);
    }
    let certain = segmentation.threshold + UNCERTAIN_BAND;
    if findings.iter().any(|f| f.probability < certain) {
        quality.push(QualityFlag::UncertainFinding);
    }
    if borderline::any_is_borderline(&findings, segmentation, &spine, config) {
        quality.push(QualityFlag::BorderlineType);
    }
    if segmentation.moved_mm != [0.0; 2] {
        quality.push(QualityFlag::T2Moved);
    }
    if both_sides_oedema(&findings) {
        quality.push(QualityFlag::BothSidesOedema);
    }
    quality.sort();
    quality.dedup();
    ModicResult {
        map: found.map,
        finding_numbers,
        spine,
        findings,
        other_marrow_lesions: found.others,
        quality,
    }
}

fn both_sides_oedema(findings: &[Finding]) -> bool {
    let wide = |f: &&Finding| f.pattern.starts_with('1') && f.height_percent > MOST_OF_BODY_PERCENT;
    findings.iter().filter(wide).any(|a| {
        findings.iter().filter(wide).any(|b| {
            a.endplate != b.endplate
                && a.endplate.disc().is_some()
                && a.endplate.disc() == b.endplate.disc()
        })
    })
}
