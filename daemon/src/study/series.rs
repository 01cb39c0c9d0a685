//! Sorts a study's images into series and judges each of them.

use std::collections::HashSet;

use super::header::SliceHeader;
use super::hints::{Hints, Region};
use super::stack::{Layout, Orientation, stack};
use super::weighting::{Told, Weighting, tell};
use super::{Config, Reason};
use crate::domain::Grid;

/// A described localizer with no more slices than this is believed to be one.
const LOCALIZER_MAX_SLICES: usize = 7;

/// A sagittal T1w or T2w series that can be analysed: an even stack on a canonical grid.
#[derive(Debug, Clone)]
pub struct Series {
    /// [`Weighting::T1`] or [`Weighting::T2`].
    pub weighting: Weighting,
    /// The weighting was told from the description, not from numbers.
    pub weighting_from_description: bool,
    /// The series' place among the study's series, from 1: its name outside the box.
    pub number_in_study: usize,
    /// From the patient's right to left, as the grid's first axis.
    pub slices: Vec<SliceHeader>,
    /// Where the stack lies, canonical.
    pub grid: Grid,
    /// How the files' matrices become canonical slices.
    pub layout: Layout,
    /// Angle between the slices' normal and the left-right axis, degrees.
    pub obliqueness_deg: f64,
}

/// Images of one series that can form one stack: same orientation, matrix, echo and kind.
pub(super) struct Group {
    pub number_in_study: usize,
    pub slices: Vec<SliceHeader>,
    /// Another group of the same series has another orientation.
    pub several_orientations: bool,
}

/// What became of a group.
pub(super) enum Verdict {
    Accepted(Box<Series>),
    FatSuppressed(Weighting),
    Refused(Weighting, Reason),
}

/// Splits a study's images into groups, in an order that doesn't depend on the order of the files.
/// Instances sent twice count once.
pub(super) fn group(mut slices: Vec<SliceHeader>) -> Vec<Group> {
    slices.sort_by(|a, b| order(a).cmp(&order(b)));
    let mut seen = HashSet::new();
    slices.retain(|s| seen.insert((s.sop_instance_uid.clone(), s.frame)));

    let mut groups: Vec<Group> = Vec::new();
    for slice in slices {
        let last = groups.last().map(|g| (g.number_in_study, g.slices[0].series_uid.as_str()));
        let number_in_study = match last {
            Some((number, uid)) if uid == slice.series_uid => number,
            Some((number, _)) => number + 1,
            None => 1,
        };
        let orientation = Orientation::of(&slice);
        let mut siblings =
            groups.iter_mut().rev().take_while(|g| g.number_in_study == number_in_study);
        match siblings.find(|g| belongs(&slice, orientation, &g.slices[0])) {
            Some(group) => group.slices.push(slice),
            None => groups.push(Group {
                number_in_study,
                slices: vec![slice],
                several_orientations: false,
            }),
        }
    }
    mark_several_orientations(&mut groups);
    groups
}

fn order(s: &SliceHeader) -> (i64, &str, i64, &str, u32) {
    let number = s.series_number.unwrap_or(i64::MAX);
    let instance = s.instance_number.unwrap_or(i64::MAX);
    (number, &s.series_uid, instance, &s.sop_instance_uid, s.frame)
}

fn belongs(slice: &SliceHeader, orientation: Option<Orientation>, first: &SliceHeader) -> bool {
    // Tenths of a millisecond: consoles jitter in the last digits.
    let echo = |s: &SliceHeader| s.timing.echo_ms.map(|te| (te * 10.0).round() as i64);
    let spacing = |s: &SliceHeader| s.plane.as_ref().map(|p| p.pixel_spacing_mm);
    let parallel = match (orientation, Orientation::of(first)) {
        (Some(a), Some(b)) => a.same_as(&b),
        (None, None) => true,
        _ => false,
    };
    parallel
        && (slice.rows, slice.columns) == (first.rows, first.columns)
        && echo(slice) == echo(first)
        && spacing(slice) == spacing(first)
        && slice.image_type == first.image_type
}

fn mark_several_orientations(groups: &mut [Group]) {
    for siblings in groups.chunk_by_mut(|a, b| a.number_in_study == b.number_in_study) {
        let first = Orientation::of(&siblings[0].slices[0]);
        let differs = siblings.iter().any(|g| match (first, Orientation::of(&g.slices[0])) {
            (Some(a), Some(b)) => !a.same_as(&b),
            _ => false,
        });
        siblings.iter_mut().for_each(|g| g.several_orientations = differs);
    }
}

/// Decides whether a group can be analysed. The order of the checks is the order of what is most telling.
pub(super) fn judge(group: Group, config: &Config) -> Verdict {
    let first = &group.slices[0];
    let hints = Hints::new(&first.series_text);
    let Told { weighting, from_description, missing_numbers } = tell(&first.timing, &hints);
    let refused = |reason| Verdict::Refused(weighting, reason);

    if first.modality != "MR" {
        return refused(Reason::NotMr);
    }
    if is_localizer(&group, &hints) {
        return refused(Reason::Localizer);
    }
    if is_derived(first, &hints) {
        return refused(Reason::Derived);
    }
    let Some(orientation) = Orientation::of(first) else {
        return refused(Reason::MissingTag);
    };
    let obliqueness_deg = orientation.obliqueness_deg();
    if obliqueness_deg > config.max_obliqueness_deg {
        return refused(Reason::NotSagittal);
    }
    if weighting.is_fat_suppressed() {
        return Verdict::FatSuppressed(weighting);
    }
    if missing_numbers {
        return refused(Reason::MissingTag);
    }
    if !matches!(weighting, Weighting::T1 | Weighting::T2) {
        return refused(Reason::NotT1OrT2);
    }
    if region(first) == Some(Region::Other) {
        return refused(Reason::WrongBodyPart);
    }
    if group.slices.iter().any(|s| s.contrast_agent) || hints.contrast() {
        return refused(Reason::ContrastAgent);
    }
    if first.frame_of_reference_uid.is_none() {
        return refused(Reason::MissingTag);
    }
    match stack(group.slices, config) {
        Ok(s) => Verdict::Accepted(Box::new(Series {
            weighting,
            weighting_from_description: from_description,
            number_in_study: group.number_in_study,
            slices: s.slices,
            grid: s.grid,
            layout: s.layout,
            obliqueness_deg,
        })),
        Err(reason) => refused(reason),
    }
}

fn is_localizer(group: &Group, hints: &Hints) -> bool {
    let said = group.slices[0].image_type.iter().any(|v| v == "LOCALIZER");
    let looks = group.several_orientations || group.slices.len() <= LOCALIZER_MAX_SLICES;
    said || looks && hints.localizer()
}

/// Image Type (PS3.3 C.7.6.1.1.2): computed images, but for corrections of distortion and shading, which
/// some consoles mark as derived too, for Dixon's in-phase and water images, and for what lossy compression alone
/// made of an original. Dixon's other images are never taken: they have the timing of T1w or T2w, not the contrast.
fn is_derived(slice: &SliceHeader, hints: &Hints) -> bool {
    const CORRECTIONS: [&str; 3] = ["DIS2D", "DIS3D", "NORM"];
    const IN_PHASE_OR_WATER: [&str; 2] = ["IN_PHASE", "WATER"];
    const FAT_OR_OPPOSED: [&str; 4] = ["FAT", "OPP_PHASE", "OUT_PHASE", "OPPOSED"];
    const COMPUTED: [&str; 9] = [
        "MPR",
        "PROJECTION IMAGE",
        "MIP",
        "MAP",
        "ADC",
        "TRACEW",
        "SUBTRACTION",
        "COMPOSED",
        "COMP_SP",
    ];
    let image_type = &slice.image_type;
    let has = |words: &[&str]| image_type.iter().any(|v| words.contains(&v.as_str()));
    let value = |n: usize| image_type.get(n).map(String::as_str);
    value(1) == Some("SECONDARY")
        || has(&COMPUTED)
        || has(&FAT_OR_OPPOSED)
        || !has(&IN_PHASE_OR_WATER)
            && (hints.fat_or_opposed()
                || value(0) == Some("DERIVED") && !has(&CORRECTIONS) && !slice.only_compressed)
}

/// The region by Body Part Examined, or without it by the descriptions; `None` when nothing tells.
pub(super) fn region(slice: &SliceHeader) -> Option<Region> {
    let named = |text: &str| Hints::new(text).region();
    let described = || named(&slice.series_text).or_else(|| named(&slice.study_text));
    match slice.body_part.as_deref().and_then(named) {
        Some(Region::Lumbar) if described() == Some(Region::WholeSpine) => Some(Region::WholeSpine),
        // "SPINE" and the like don't say which part; the description may.
        by_part => by_part.or_else(described),
    }
}
