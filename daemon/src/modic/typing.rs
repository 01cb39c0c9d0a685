//! The rule that gives a changed voxel its Modic type, and a finding its pattern.
//!
//! The paper's thresholds are not public; ours are our own and versioned (`typing_version`).

use crate::domain::ModicType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Config;

/// T1 and T2 signal as shares of normal marrow.
pub(super) type Signal = [f32; 2];

const T1: usize = 0;
const T2: usize = 1;

/// Where a finding has a part below this signal …
const DARK: f32 = 0.9;
/// … and a part above this one, it has two parts. Partial volume and chemical shift draw the parts of a small finding towards
/// each other and towards normal, so these are nearer to it than what makes a signal low or high.
const BRIGHT: f32 = 1.0;
/// The parts meet at this signal.
const BETWEEN: f32 = 0.95;

/// What a finding consists of.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Parts {
    /// Signals that fit no type.
    Indeterminate,
    One(ModicType),
    /// Voxels of low and of high signal in one of the series.
    Two {
        series: usize,
        low: ModicType,
        high: ModicType,
    },
}

impl Parts {
    /// Type 1: T1 low, T2 high. Type 2: T1 high, T2 normal or high. Type 3: both low. Else indeterminate.
    ///
    /// A finding has what a share of `mixed_from_percent` of it has; of T2 in a part its mean counts. `weights` says how
    /// much each voxel counts.
    fn of(signals: &[Signal], weights: &[f32], config: &Config) -> Parts {
        let voxels = || signals.iter().zip(weights).map(|(signal, weight)| (*signal, *weight));
        let all: f32 = weights.iter().sum();
        let has = |test: &dyn Fn(Signal) -> bool| {
            let share: f32 =
                voxels().filter(|(signal, _)| test(*signal)).map(|(_, weight)| weight).sum();
            share > 0.0 && 100.0 * share >= config.mixed_from_percent * all
        };
        let has_two = |series: usize| has(&|s| s[series] < DARK) && has(&|s| s[series] > BRIGHT);
        let mean_t2 = |test: &dyn Fn(Signal) -> bool| {
            let part = voxels().filter(|(signal, _)| test(*signal));
            let (sum, all) = part.fold((0.0, 0.0), |(sum, all), (s, w)| (sum + w * s[T2], all + w));
            sum / all
        };
        if has_two(T1) {
            let low = if mean_t2(&|s| s[T1] < BETWEEN) < 1.0 {
                ModicType::Type3
            } else {
                ModicType::Type1
            };
            return Parts::Two { series: T1, low, high: ModicType::Type2 };
        }
        let t1_low = has(&|s| s[T1] < config.low_below);
        let t1_high = has(&|s| s[T1] > config.high_above);
        if t1_low && has_two(T2) {
            return Parts::Two { series: T2, low: ModicType::Type3, high: ModicType::Type1 };
        }
        let t2 = mean_t2(&|_| true);
        match () {
            () if t1_low && t2 > config.high_above => Parts::One(ModicType::Type1),
            () if t1_high && t2 >= config.low_below => Parts::One(ModicType::Type2),
            () if t1_low && t2 < config.low_below => Parts::One(ModicType::Type3),
            () => Parts::Indeterminate,
        }
    }

    /// The type of one of its voxels: of two that on whose side of [`BETWEEN`] it lies, of one that one, unless
    /// the voxel lies on the other side.
    fn voxel(self, signal: Signal) -> ModicType {
        match self {
            Parts::Indeterminate => ModicType::Indeterminate,
            Parts::Two { series, low, high } => {
                if signal[series] < BETWEEN {
                    low
                } else {
                    high
                }
            }
            Parts::One(kind) => {
                let [t1_low, t2_low] = signal.map(|s| s < BETWEEN);
                let fits = match kind {
                    ModicType::Type1 => t1_low && !t2_low,
                    ModicType::Type2 => !t1_low,
                    ModicType::Type3 => t1_low && t2_low,
                    ModicType::Indeterminate => true,
                };
                if fits { kind } else { ModicType::Indeterminate }
            }
        }
    }
}

/// Types the voxels of one finding.
///
/// Which types there are is told by all of its voxels, each counting by the square of its `probability` (0 to 1): at a
/// finding's border, where the network is in doubt, signals mix with what lies beyond, and there even a pure type 2
/// has voxels that look like type 1. Nothing that a single voxel says decides, so that a small change of the
/// network's answer changes no type.
pub(super) fn type_voxels(
    signals: &[Signal],
    probability: &[f32],
    config: &Config,
) -> Vec<ModicType> {
    let weights: Vec<f32> = probability.iter().map(|p| p * p).collect();
    let parts = Parts::of(signals, &weights, config);
    signals.iter().map(|signal| parts.voxel(*signal)).collect()
}

/// With fewer typed voxels than this a finding has no type, %.
const MIN_TYPED_PERCENT: f32 = 15.0;

/// How many of a finding's voxels have each type, %; sums to 100.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Composition {
    /// Oedema, %.
    pub type_1: f32,
    /// Fat, %.
    pub type_2: f32,
    /// Sclerosis, %.
    pub type_3: f32,
    /// None of the three, %.
    pub indeterminate: f32,
}

impl Composition {
    /// Counts voxels; there must be at least one.
    pub fn of(voxels: impl Iterator<Item = ModicType>) -> Composition {
        let mut counts = [0usize; 4];
        for voxel in voxels {
            counts[usize::from(voxel.voxel_value()) - 1] += 1;
        }
        let total = counts.iter().sum::<usize>().max(1) as f32;
        let [type_1, type_2, type_3, indeterminate] = counts.map(|n| 100.0 * n as f32 / total);
        Composition { type_1, type_2, type_3, indeterminate }
    }

    /// How radiologists write it: `1`, `2`, `3`, mixed as `1-2` (mostly 1) or `2-1` (mostly 2), or
    /// `indeterminate`.
    ///
    /// Shares are taken of the voxels that have a type: where two types meet, and at a change's border,
    /// signals pass through normal and fit none.
    pub fn pattern(&self, config: &Config) -> String {
        let typed = self.type_1 + self.type_2 + self.type_3;
        if typed < MIN_TYPED_PERCENT {
            return "indeterminate".to_owned();
        }
        let mut shares = [(self.type_1, "1"), (self.type_2, "2"), (self.type_3, "3")];
        shares.sort_by(|a, b| b.0.total_cmp(&a.0));
        let [(_, first), (next, second), _] = shares;
        if 100.0 * next / typed >= config.mixed_from_percent {
            format!("{first}-{second}")
        } else {
            first.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn types(voxels: &[(Signal, usize)]) -> Vec<ModicType> {
        let signals: Vec<Signal> =
            voxels.iter().flat_map(|(signal, n)| std::iter::repeat_n(*signal, *n)).collect();
        type_voxels(&signals, &vec![1.0; signals.len()], &Config::default())
    }

    #[test]
    fn the_rule_types_findings_of_one_signal() {
        for (t1, t2, expected) in [
            (0.6, 1.5, ModicType::Type1),
            (1.4, 1.3, ModicType::Type2),
            (1.4, 1.0, ModicType::Type2),
            (0.5, 0.4, ModicType::Type3),
            (1.0, 1.0, ModicType::Indeterminate),
            (1.4, 0.5, ModicType::Indeterminate),
            (0.87, 1.5, ModicType::Indeterminate),
        ] {
            assert_eq!(types(&[([t1, t2], 9)]), [expected; 9], "{t1} {t2}");
        }
    }

    #[test]
    fn a_border_that_looks_otherwise_is_no_second_type() {
        let signals = [vec![[1.5, 1.3]; 12], vec![[0.8, 1.3]; 8]].concat();
        let border = [vec![0.9; 12], vec![0.3; 8]].concat();
        let kinds = type_voxels(&signals, &border, &Config::default());
        assert_eq!(kinds[..12], [ModicType::Type2; 12]);
        assert_eq!(kinds[12..], [ModicType::Indeterminate; 8]);
        // The same voxels, as certain as the others, are a second type.
        let kinds = type_voxels(&signals, &[0.9; 20], &Config::default());
        assert_eq!(kinds[12..], [ModicType::Type1; 8]);
    }

    #[test]
    fn between_two_types_the_side_counts() {
        let kinds = types(&[([0.6, 1.6], 6), ([1.5, 1.3], 6), ([0.9, 1.5], 1), ([1.1, 1.4], 1)]);
        assert_eq!(kinds[..6], [ModicType::Type1; 6]);
        assert_eq!(kinds[6..12], [ModicType::Type2; 6]);
        assert_eq!(kinds[12..], [ModicType::Type1, ModicType::Type2]);
    }

    #[test]
    fn a_dark_part_is_oedema_or_sclerosis_by_t2() {
        let fat = ([1.4, 1.3], 6);
        assert_eq!(types(&[fat, ([0.6, 0.5], 6)])[6..], [ModicType::Type3; 6]);
        assert_eq!(types(&[fat, ([0.6, 1.5], 6)])[6..], [ModicType::Type1; 6]);
        let kinds = types(&[([0.6, 1.5], 6), ([0.6, 0.5], 4)]);
        assert_eq!(kinds, [vec![ModicType::Type1; 6], vec![ModicType::Type3; 4]].concat());
    }

    /// Fat's part of a small change doesn't rise above `high_above`.
    #[test]
    fn parts_drawn_towards_normal_are_parts_all_the_same() {
        let kinds = types(&[([0.75, 1.4], 6), ([1.05, 1.3], 6)]);
        assert_eq!(kinds, [vec![ModicType::Type1; 6], vec![ModicType::Type2; 6]].concat());
    }

    #[test]
    fn one_voxel_changes_no_type() {
        let config = Config::default();
        for share in 0..=40 {
            let voxels = |dark| types(&[([1.5, 1.3], 40 - dark), ([0.6, 1.5], dark)]);
            let pattern = |dark| Composition::of(voxels(dark).into_iter()).pattern(&config);
            let expected = match share {
                0..8 => "2",
                8..=20 => "2-1",
                21..=32 => "1-2",
                _ => "1",
            };
            if share != 20 {
                assert_eq!(pattern(share), expected, "{share} of 40");
            }
        }
    }

    proptest! {
        /// Whatever the voxels: at most two types, in any order of the voxels.
        #[test]
        fn a_finding_has_two_types_at_most_and_the_order_of_its_voxels_is_nothing_to_it(
            voxels in prop::collection::vec((0.0..2.5f32, 0.0..2.5f32, 0.1..=1.0f32), 1..200)
                .prop_flat_map(|voxels| (Just(voxels.clone()), Just(voxels).prop_shuffle())),
        ) {
            let config = Config::default();
            let typed = |voxels: &[(f32, f32, f32)]| {
                let signals: Vec<Signal> = voxels.iter().map(|(t1, t2, _)| [*t1, *t2]).collect();
                let probability: Vec<f32> = voxels.iter().map(|(.., p)| *p).collect();
                type_voxels(&signals, &probability, &config)
            };
            let kinds = typed(&voxels.0);
            let present = |kind: &ModicType| kinds.contains(kind);
            let typed_kinds = ModicType::ALL[..3].iter().filter(|kind| present(kind)).count();
            prop_assert!(typed_kinds <= 2, "{kinds:?}");
            let composition = Composition::of(kinds.iter().copied());
            let Composition { type_1, type_2, type_3, indeterminate } = composition;
            prop_assert!((type_1 + type_2 + type_3 + indeterminate - 100.0).abs() < 1e-3);
            let patterns = ["1", "2", "3", "1-2", "2-1", "1-3", "3-1", "2-3", "3-2", "indeterminate"];
            prop_assert!(patterns.contains(&composition.pattern(&config).as_str()));
            let shuffled = Composition::of(typed(&voxels.1).into_iter());
            prop_assert_eq!(shuffled.pattern(&config), composition.pattern(&config));
        }
    }

    #[test]
    fn where_nothing_is_typed_all_is_indeterminate() {
        assert_eq!(types(&[([1.0, 1.0], 9)]), [ModicType::Indeterminate; 9]);
    }

    #[test]
    fn composition_sums_to_a_hundred_and_names_its_pattern() {
        use ModicType::*;
        let config = Config::default();
        let of = |counts: [(ModicType, usize); 2]| {
            let voxels = counts.into_iter().flat_map(|(t, n)| std::iter::repeat_n(t, n));
            Composition::of(voxels)
        };
        let mixed = of([(Type2, 70), (Type1, 30)]);
        assert_eq!(mixed.type_1 + mixed.type_2 + mixed.type_3 + mixed.indeterminate, 100.0);
        assert_eq!(mixed.pattern(&config), "2-1");
        assert_eq!(of([(Type1, 85), (Type2, 15)]).pattern(&config), "1");
        assert_eq!(of([(Type3, 14), (Indeterminate, 86)]).pattern(&config), "indeterminate");
        assert_eq!(of([(Type3, 60), (Indeterminate, 40)]).pattern(&config), "3");
    }
}
