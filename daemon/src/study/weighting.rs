//! T1w, T2w or something else: told by the sequence's numbers, by descriptions only where those don't tell.

use super::header::Timing;
use super::hints::Hints;
use crate::codes::coded_enum;

coded_enum! {
    /// What a series' contrast is made of.
    Weighting, meaning: "Its name, for a person.",
    T1 "t1" "T1-weighted";
    T2 "t2" "T2-weighted";
    Stir "stir" "Short-TI inversion recovery (STIR, TIRM)";
    T1FatSuppressed "t1_fs" "T1-weighted with fat suppression";
    T2FatSuppressed "t2_fs" "T2-weighted with fat suppression";
    ProtonDensity "pd" "Proton-density-weighted";
    Other "other" "Another weighting, or not known";
}

impl Weighting {
    /// STIR, or fat suppressed in another way: shows oedema, is named in the report, isn't analysed.
    pub fn is_fat_suppressed(self) -> bool {
        matches!(self, Weighting::Stir | Weighting::T1FatSuppressed | Weighting::T2FatSuppressed)
    }
}

/// A weighting and how it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub weighting: Weighting,
    /// The description decided, since the numbers didn't.
    pub from_description: bool,
    /// TR or TE is missing and the description says nothing either.
    pub missing_numbers: bool,
}

/// Tells a series' weighting.
pub(super) fn tell(timing: &Timing, hints: &Hints) -> Told {
    let may_be_inverted = timing.inversion_recovery != Some(false);
    let numbers = by_numbers(timing);
    let base = match numbers {
        Some(weighting) => weighting,
        None if hints.stir() && may_be_inverted => Weighting::Stir,
        None if hints.t1() => Weighting::T1,
        None if hints.t2() => Weighting::T2,
        None => Weighting::Other,
    };
    // A header without the scan option doesn't say that fat isn't suppressed: vendors leave it out.
    let suppressed = timing.fat_saturated || hints.fat_suppressed();
    let weighting = match base {
        Weighting::T1 if suppressed => Weighting::T1FatSuppressed,
        Weighting::T2 if suppressed => Weighting::T2FatSuppressed,
        other => other,
    };
    let from_description = numbers.is_none() && weighting != Weighting::Other;
    let missing_numbers = weighting == Weighting::Other
        && numbers.is_none()
        && (timing.repetition_ms.is_none() || timing.echo_ms.is_none());
    Told { weighting, from_description, missing_numbers }
}

/// `None` when a number is missing or the numbers fit no weighting clearly.
fn by_numbers(t: &Timing) -> Option<Weighting> {
    if t.echo_planar {
        return Some(Weighting::Other);
    }
    let (tr, te) = (t.repetition_ms?, t.echo_ms?);
    if t.gradient_echo == Some(true) {
        if t.steady_state || te > 8.0 {
            return Some(Weighting::Other);
        }
        let spoiled_t1 = tr <= 60.0 || t.flip_deg? >= 45.0;
        return Some(if spoiled_t1 { Weighting::T1 } else { Weighting::Other });
    }
    match (t.inversion_recovery, t.inversion_ms) {
        (Some(true) | None, Some(ti)) => {
            return Some(match ti {
                // Nulls fat from 0.5 T (about 100 ms) to 3 T (about 230 ms).
                90.0..=300.0 => Weighting::Stir,
                // "T1 FLAIR", common at 3 T.
                500.0..=1300.0 if te <= 40.0 => Weighting::T1,
                _ => Weighting::Other,
            });
        }
        (Some(true), None) => return None,
        _ => {}
    }
    match (tr, te) {
        (200.0..=1200.0, ..=30.0) => Some(Weighting::T1),
        (1500.0.., 60.0..) => Some(Weighting::T2),
        // 3D turbo spin echo with variable flip angles (SPACE, CUBE, VISTA): short TR, long effective TE.
        (800.0.., 80.0..) => Some(Weighting::T2),
        (1500.0.., ..=45.0) => Some(Weighting::ProtonDensity),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn se(tr: f64, te: f64) -> Timing {
        Timing { repetition_ms: Some(tr), echo_ms: Some(te), ..Timing::default() }
    }

    fn weighting(timing: &Timing, text: &str) -> Weighting {
        tell(timing, &Hints::new(text)).weighting
    }

    #[test]
    fn numbers_tell_and_overrule_the_description() {
        assert_eq!(weighting(&se(600.0, 11.0), "t2 sag"), Weighting::T1);
        assert_eq!(weighting(&se(3500.0, 105.0), "t1 sag"), Weighting::T2);
        assert_eq!(weighting(&se(2800.0, 15.0), ""), Weighting::ProtonDensity);
        assert!(!tell(&se(600.0, 11.0), &Hints::new("")).from_description);
    }

    #[test]
    fn inversion_times_tell_stir_from_t1_flair() {
        let stir = Timing { inversion_ms: Some(160.0), ..se(4000.0, 60.0) };
        assert_eq!(weighting(&stir, ""), Weighting::Stir);
        let flair = Timing { inversion_ms: Some(860.0), ..se(2300.0, 12.0) };
        assert_eq!(weighting(&flair, ""), Weighting::T1);
        let inverted = Timing { inversion_recovery: Some(true), ..se(4000.0, 60.0) };
        assert_eq!(weighting(&inverted, "tirm sag"), Weighting::Stir);
        // Some consoles write an inversion time into sequences without inversion.
        let spurious = Timing { inversion_recovery: Some(false), ..stir };
        assert_eq!(weighting(&spurious, ""), Weighting::T2);
    }

    #[test]
    fn fat_suppression_counts_from_header_or_description() {
        let saturated = Timing { fat_saturated: true, ..se(3500.0, 100.0) };
        assert_eq!(weighting(&saturated, ""), Weighting::T2FatSuppressed);
        assert_eq!(weighting(&se(600.0, 11.0), "t1 spair"), Weighting::T1FatSuppressed);
    }

    #[test]
    fn gradient_echoes_are_t1_only_when_spoiled_and_short() {
        let gre = |te, flip_deg| Timing {
            gradient_echo: Some(true),
            flip_deg: Some(flip_deg),
            ..se(400.0, te)
        };
        assert_eq!(weighting(&gre(4.0, 80.0), ""), Weighting::T1);
        assert_eq!(weighting(&gre(18.0, 80.0), "t1"), Weighting::Other);
        assert_eq!(weighting(&gre(4.0, 20.0), "t1"), Weighting::Other);
        let steady = Timing { steady_state: true, ..gre(4.0, 80.0) };
        assert_eq!(weighting(&steady, ""), Weighting::Other);
    }

    #[test]
    fn echo_planar_images_are_neither_t2_nor_fat_suppressed() {
        let dwi = Timing { echo_planar: true, fat_saturated: true, ..se(4000.0, 80.0) };
        assert_eq!(weighting(&dwi, "t2 sag"), Weighting::Other);
        let told = tell(&Timing { echo_planar: true, ..Timing::default() }, &Hints::new("t2 sag"));
        assert_eq!((told.weighting, told.missing_numbers), (Weighting::Other, false));
    }

    #[test]
    fn without_numbers_the_description_decides_and_that_is_said() {
        let told = tell(&Timing::default(), &Hints::new("t2_tse_sag"));
        assert_eq!((told.weighting, told.from_description), (Weighting::T2, true));
        let told = tell(&Timing::default(), &Hints::new("sag"));
        assert_eq!((told.weighting, told.missing_numbers), (Weighting::Other, true));
    }
}
