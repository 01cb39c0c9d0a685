//! Chooses the T1w and the T2w series that are analysed together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::header::Headers;
use super::hints::Region;
use super::series::{Group, Series, Verdict, group, judge, region};
use super::{Config, QualityFlag, Reason, Weighting};
use crate::volume::overlap_fraction;

/// Fewer slices than this are flagged.
const USUAL_SLICES: usize = 9;
/// A greater slice distance is flagged, mm.
const USUAL_DISTANCE_MM: f64 = 6.0;
/// A greater turn is flagged, degrees.
const USUAL_OBLIQUENESS_DEG: f64 = 15.0;
/// Less coverage of T1 by T2 is flagged.
const FULL_OVERLAP: f64 = 0.9;
/// A longer field of view from head to feet is flagged as whole spine, mm.
const LUMBAR_FIELD_OF_VIEW_MM: f64 = 450.0;

/// The sagittal T1w and T2w series that are analysed together; T1's grid is the reference grid.
#[derive(Debug, Clone)]
pub struct SeriesPair {
    /// T1-weighted.
    pub t1: Series,
    /// T2-weighted, same frame of reference.
    pub t2: Series,
    /// Doubts, in the order of the documentation.
    pub quality: Vec<QualityFlag>,
}

/// A series that isn't analysed, named without any identifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeriesRefusal {
    /// Its place among the study's series by Series Number, from 1.
    pub series_number_in_study: usize,
    /// Its weighting, as far as it could be told.
    pub weighting: Weighting,
    /// Why.
    pub reason: Reason,
}

/// What was chosen from a study, and what became of the rest.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The pair, or why the study isn't analysed.
    pub outcome: Result<SeriesPair, Reason>,
    /// Every series not taken, in order; beside a pair without the fat-suppressed ones.
    pub refused_series: Vec<SeriesRefusal>,
    /// Sagittal fat-suppressed series the study holds, by weighting, each once.
    pub fat_suppressed: Vec<Weighting>,
}

/// Chooses the pair of one study.
pub fn select(headers: &Headers, config: &Config) -> Selection {
    let mut rest = Rest::default();
    let mut candidates = Vec::new();
    for group in group(headers.slices.clone()) {
        let Group { number_in_study, .. } = group;
        match judge(group, config) {
            Verdict::Accepted(series) => candidates.push(*series),
            Verdict::FatSuppressed(weighting) => {
                rest.fat_suppressed.push((number_in_study, weighting));
            }
            Verdict::Refused(weighting, reason) => rest.refuse(number_in_study, weighting, reason),
        }
    }
    let outcome = match whole_study(headers) {
        Some(reason) => Err(rest.refuse_all(&candidates, reason)),
        None => best_pair(candidates, &mut rest, config).map(|(t1, t2, overlap)| {
            let quality = doubts(&t1, &t2, overlap);
            SeriesPair { t1, t2, quality }
        }),
    };
    if outcome.is_err() {
        for (number_in_study, weighting) in rest.fat_suppressed.clone() {
            rest.refuse(number_in_study, weighting, Reason::NotT1OrT2);
        }
    }
    let mut fat_suppressed: Vec<_> = rest.fat_suppressed.into_iter().map(|(_, w)| w).collect();
    fat_suppressed.sort();
    fat_suppressed.dedup();
    rest.refused.sort_by_key(|r| r.series_number_in_study);
    Selection { outcome, refused_series: rest.refused, fat_suppressed }
}

/// Reasons that refuse the study whatever its series are.
fn whole_study(headers: &Headers) -> Option<Reason> {
    if headers.slices.is_empty() && headers.unreadable_files > 0 {
        Some(Reason::Unreadable)
    } else if headers.slices.iter().any(|s| s.minor == Some(true)) {
        Some(Reason::Minor)
    } else if headers.too_many_files {
        Some(Reason::TooLarge)
    } else {
        None
    }
}

/// What isn't taken.
#[derive(Default)]
struct Rest {
    refused: Vec<SeriesRefusal>,
    /// Number in the study and weighting.
    fat_suppressed: Vec<(usize, Weighting)>,
}

impl Rest {
    /// Parts of one series that are refused alike are named once.
    fn refuse(&mut self, series_number_in_study: usize, weighting: Weighting, reason: Reason) {
        let refusal = SeriesRefusal { series_number_in_study, weighting, reason };
        if !self.refused.contains(&refusal) {
            self.refused.push(refusal);
        }
    }

    /// Refuses series that could be analysed, were it not for the study's others.
    fn refuse_all<'a>(
        &mut self,
        series: impl IntoIterator<Item = &'a Series>,
        reason: Reason,
    ) -> Reason {
        for one in series {
            self.refuse(one.number_in_study, one.weighting, reason);
        }
        reason
    }

    /// Why the study lacks a weighting: the reason of a sagittal series that would have had it, or the one
    /// that all series share, or that there is none.
    fn why_no(&self, weighting: Weighting, none_accepted: bool, nothing: Reason) -> Reason {
        const NOT_A_NEAR_MISS: [Reason; 5] = [
            Reason::NotMr,
            Reason::Localizer,
            Reason::Derived,
            Reason::NotSagittal,
            Reason::NotT1OrT2,
        ];
        let near_miss =
            |r: &&SeriesRefusal| r.weighting == weighting && !NOT_A_NEAR_MISS.contains(&r.reason);
        if let Some(miss) = self.refused.iter().find(near_miss) {
            return miss.reason;
        }
        match self.refused.split_first() {
            Some((first, others))
                if none_accepted && others.iter().all(|r| r.reason == first.reason) =>
            {
                first.reason
            }
            _ => nothing,
        }
    }
}

/// Of all pairs in one frame of reference, the one with the most slices, then the fullest coverage, then the
/// later series: a repeated series usually replaces a spoilt one.
fn best_pair(
    candidates: Vec<Series>,
    rest: &mut Rest,
    config: &Config,
) -> Result<(Series, Series, f64), Reason> {
    let (t1s, t2s): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|s| s.weighting == Weighting::T1);
    let none_accepted = t1s.is_empty() && t2s.is_empty() && rest.fat_suppressed.is_empty();
    if t1s.is_empty() {
        let reason = rest.why_no(Weighting::T1, none_accepted, Reason::NoT1);
        rest.refuse_all(&t2s, Reason::NoT1);
        return Err(reason);
    }
    if t2s.is_empty() {
        let reason = rest.why_no(Weighting::T2, none_accepted, Reason::NoT2);
        rest.refuse_all(&t1s, Reason::NoT2);
        return Err(reason);
    }

    let frame = |s: &Series| s.slices[0].frame_of_reference_uid.clone();
    let mut pairs: Vec<_> = (0..t1s.len())
        .flat_map(|i| (0..t2s.len()).map(move |j| (i, j)))
        .filter(|(i, j)| frame(&t1s[*i]) == frame(&t2s[*j]))
        .map(|(i, j)| (i, j, overlap_fraction(&t1s[i].grid, &t2s[j].grid)))
        .collect();
    let both = t1s.iter().chain(&t2s);
    if pairs.is_empty() {
        return Err(rest.refuse_all(both, Reason::DifferentFrameOfReference));
    }
    pairs.retain(|(_, _, overlap)| *overlap >= config.min_overlap);
    let suitability = |(i, j, overlap): &(usize, usize, f64)| {
        let (t1, t2) = (&t1s[*i], &t2s[*j]);
        let percent = (overlap * 100.0).round() as u32;
        (t1.slices.len() + t2.slices.len(), percent, t1.number_in_study, t2.number_in_study)
    };
    let Some(best) = pairs.into_iter().max_by_key(suitability) else {
        return Err(rest.refuse_all(both, Reason::NoOverlap));
    };

    let mut take = |all: Vec<Series>, chosen: usize| {
        let mut taken = None;
        for (n, series) in all.into_iter().enumerate() {
            if n == chosen {
                taken = Some(series);
            } else {
                rest.refuse(series.number_in_study, series.weighting, Reason::Superseded);
            }
        }
        taken.expect("the chosen index is one of the list's")
    };
    Ok((take(t1s, best.0), take(t2s, best.1), best.2))
}

fn doubts(t1: &Series, t2: &Series, overlap: f64) -> Vec<QualityFlag> {
    let both = [t1, t2];
    let slices = || both.iter().flat_map(|s| &s.slices);
    let regions = both.map(|s| region(&s.slices[0]));
    let head_to_feet_mm = t1.grid.shape[1] as f64 * t1.grid.spacing[1];
    let flags = [
        (QualityFlag::AgeUnknown, slices().all(|s| s.minor.is_none())),
        (QualityFlag::BodyPartUnknown, regions.iter().all(Option::is_none)),
        (
            QualityFlag::WholeSpine,
            regions.contains(&Some(Region::WholeSpine))
                || head_to_feet_mm > LUMBAR_FIELD_OF_VIEW_MM,
        ),
        (QualityFlag::FewSlices, both.iter().any(|s| s.slices.len() < USUAL_SLICES)),
        (QualityFlag::ThickSlices, both.iter().any(|s| s.grid.spacing[0] > USUAL_DISTANCE_MM)),
        (QualityFlag::Oblique, both.iter().any(|s| s.obliqueness_deg > USUAL_OBLIQUENESS_DEG)),
        (QualityFlag::PartialOverlap, overlap < FULL_OVERLAP),
        (QualityFlag::LossyCompression, slices().any(|s| s.lossy)),
        (QualityFlag::WeightingFromDescription, both.iter().any(|s| s.weighting_from_description)),
    ];
    flags.into_iter().filter_map(|(flag, is_so)| is_so.then_some(flag)).collect()
}
