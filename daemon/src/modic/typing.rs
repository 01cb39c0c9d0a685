//! The rule that gives a changed voxel its Modic type, and a finding its pattern.
//!
//! The paper's thresholds are not public; ours are our own and versioned (`typing_version`).

use crate::domain::ModicType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Config;

/// Types one voxel from its T1 and T2 signal, each as a share of normal marrow.
///
/// Type 1: T1 low, T2 high. Type 2: T1 high, T2 normal or high. Type 3: both low. Else indeterminate.
pub fn voxel_type(t1: f32, t2: f32, config: &Config) -> ModicType {
    let low = |ratio: f32| ratio < config.low_below;
    let high = |ratio: f32| ratio > config.high_above;
    match () {
        () if low(t1) && high(t2) => ModicType::Type1,
        () if high(t1) && !low(t2) => ModicType::Type2,
        () if low(t1) && low(t2) => ModicType::Type3,
        () => ModicType::Indeterminate,
    }
}

/// T1 and T2 signal as shares of normal marrow.
pub(super) type Signal = [f32; 2];

/// With fewer voxels inside it than this, all of a finding's voxels tell its types.
const FEWEST_INSIDE: usize = 6;
/// A second type is there from this share of the typed voxels inside …
const SECOND_SHARE: f32 = 0.08;
/// … and this many of them.
const SECOND_VOXELS: usize = 2;

/// Types the voxels of one finding.
///
/// At a finding's border signals mix with what lies beyond, and chemical shift moves fat's edges: there
/// even a pure type 2 has voxels that look like type 1. So which types there are, at most two, is told by
/// the voxels inside (`inside`, as long as `signals`). With none or one, every other voxel is indeterminate. With
/// two, every voxel has the type whose mean signal is nearer, since between two types signals pass
/// through normal.
pub(super) fn type_voxels(signals: &[Signal], inside: &[bool], config: &Config) -> Vec<ModicType> {
    let ruled: Vec<ModicType> = signals.iter().map(|s| voxel_type(s[0], s[1], config)).collect();
    let enough = inside.iter().filter(|i| **i).count() >= FEWEST_INSIDE;
    let mut present: Vec<(ModicType, usize, Signal)> = ModicType::ALL[..3]
        .iter()
        .map(|kind| {
            let of_kind = signals.iter().zip(&ruled).zip(inside);
            let of_kind = of_kind.filter(|((_, k), inside)| *k == kind && (**inside || !enough));
            let (mut count, mut sum) = (0, [0.0; 2]);
            for ((signal, _), _) in of_kind {
                count += 1;
                sum = [sum[0] + signal[0], sum[1] + signal[1]];
            }
            (*kind, count, sum.map(|x| x / count.max(1) as f32))
        })
        .collect();
    let typed: usize = present.iter().map(|(_, count, _)| count).sum();
    present.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
    if typed == 0 {
        return vec![ModicType::Indeterminate; signals.len()];
    }
    let (first, first_mean) = (present[0].0, present[0].2);
    let (second, count, second_mean) = present[1];
    if count < SECOND_VOXELS || (count as f32) < SECOND_SHARE * typed as f32 {
        let only = |kind| if kind == first { first } else { ModicType::Indeterminate };
        return ruled.into_iter().map(only).collect();
    }
    let distance = |a: &Signal, b: Signal| (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
    signals
        .iter()
        .map(|s| if distance(s, first_mean) <= distance(s, second_mean) { first } else { second })
        .collect()
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

    #[test]
    fn the_rule_types_voxels() {
        let config = Config::default();
        for (t1, t2, expected) in [
            (0.6, 1.5, ModicType::Type1),
            (1.4, 1.3, ModicType::Type2),
            (1.4, 1.0, ModicType::Type2),
            (0.5, 0.4, ModicType::Type3),
            (1.0, 1.0, ModicType::Indeterminate),
            (1.4, 0.5, ModicType::Indeterminate),
            (0.85, 1.5, ModicType::Indeterminate),
        ] {
            assert_eq!(voxel_type(t1, t2, &config), expected, "{t1} {t2}");
        }
    }

    #[test]
    fn a_border_that_looks_otherwise_is_no_second_type() {
        let mut signals = vec![[1.5, 1.3]; 12];
        let mut inside = vec![true; 12];
        signals.extend([[0.8, 1.3]; 8]);
        inside.extend([false; 8]);
        let kinds = type_voxels(&signals, &inside, &Config::default());
        assert_eq!(kinds[..12], [ModicType::Type2; 12]);
        assert_eq!(kinds[12..], [ModicType::Indeterminate; 8]);
        // The same voxels inside are a second type.
        let kinds = type_voxels(&signals, &[true; 20], &Config::default());
        assert_eq!(kinds[12..], [ModicType::Type1; 8]);
    }

    #[test]
    fn a_border_alone_gives_no_type() {
        let signals = [vec![[1.0, 1.0]; 6], vec![[0.8, 1.3]; 6], vec![[1.5, 1.3]; 2]].concat();
        let inside = [vec![true; 6], vec![false; 8]].concat();
        let kinds = type_voxels(&signals, &inside, &Config::default());
        assert_eq!(kinds, [ModicType::Indeterminate; 14]);
    }

    #[test]
    fn between_two_types_the_nearer_one_counts() {
        let mut signals = vec![[0.6, 1.6]; 6];
        signals.extend([[1.5, 1.3]; 6]);
        signals.extend([[0.95, 1.5], [1.1, 1.4]]);
        let kinds = type_voxels(&signals, &[true; 14], &Config::default());
        assert_eq!(kinds[12..], [ModicType::Type1, ModicType::Type2]);
    }

    proptest! {
        /// Whatever the voxels: types follow from the rule alone, at most two, in any order of the voxels.
        #[test]
        fn a_finding_has_two_types_at_most_and_the_order_of_its_voxels_is_nothing_to_it(
            voxels in prop::collection::vec((0.0..2.5f32, 0.0..2.5f32, any::<bool>()), 1..200)
                .prop_flat_map(|voxels| (Just(voxels.clone()), Just(voxels).prop_shuffle())),
        ) {
            let config = Config::default();
            let typed = |voxels: &[(f32, f32, bool)]| {
                let signals: Vec<Signal> = voxels.iter().map(|(t1, t2, _)| [*t1, *t2]).collect();
                let inside: Vec<bool> = voxels.iter().map(|(.., inside)| *inside).collect();
                type_voxels(&signals, &inside, &config)
            };
            let kinds = typed(&voxels.0);
            let present = |kind: &ModicType| kinds.contains(kind);
            let typed_kinds = ModicType::ALL[..3].iter().filter(|kind| present(kind)).count();
            prop_assert!(typed_kinds <= 2, "{kinds:?}");
            // With one type, a voxel has it exactly if the rule says so.
            if typed_kinds < 2 && present(&ModicType::Indeterminate) {
                for ((t1, t2, _), kind) in voxels.0.iter().zip(&kinds) {
                    let ruled = voxel_type(*t1, *t2, &config);
                    prop_assert!(*kind == ruled || *kind == ModicType::Indeterminate);
                }
            }
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
        let kinds = type_voxels(&[[1.0, 1.0]; 9], &[true; 9], &Config::default());
        assert_eq!(kinds, [ModicType::Indeterminate; 9]);
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
