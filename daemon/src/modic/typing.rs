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
/// T1's place in a [`Signal`].
pub(super) const T1: usize = 0;
/// T2's place in it.
pub(super) const T2: usize = 1;

/// One voxel of a finding, as its type is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    /// Quieted.
    pub signal: Signal,
    /// As measured.
    pub own: Signal,
    /// The network's probability that it is changed.
    pub probability: f32,
    /// Whether the finding has all four neighbours of it in its slice.
    pub is_inside: bool,
}

impl Sample {
    /// How much it counts: where the network is in doubt, at borders, signals mix with what lies beyond.
    fn weight(&self) -> f64 {
        f64::from(self.probability).powi(2)
    }
}

/// The type that a signal is nearest to.
fn nearest_type([t1, t2]: Signal) -> ModicType {
    match () {
        () if t1 > BETWEEN[T1] => ModicType::Type2,
        () if t2 > BETWEEN[T2] => ModicType::Type1,
        () => ModicType::Type3,
    }
}

/// Type 2 lies above the first of these signals, on T1, types 1 and 3 below; of those type 1 lies above the second, on T2.
const BETWEEN: Signal = [0.95, 1.0];
/// Up to these mean signals a part of a finding is dark on T1 and on T2 …
const DARK: Signal = [0.9, 0.95];
/// … and from these on bright: between them it is as good as normal.
const BRIGHT: Signal = [1.02, 1.05];
/// With fewer voxels inside it than this, all of a finding's voxels tell its types by rule.
const FEWEST_INSIDE: usize = 6;
/// A second type is there from this share of the voxels inside that have a type by rule …
const SECOND_SHARE: f64 = 0.05;
/// … and this many of them.
const SECOND_VOXELS: f64 = 2.0;

/// Types the voxels of one finding, and says how much of it each type has; it holds two types at most. With one, a voxel that
/// doesn't have it by [`voxel_type`] is indeterminate. With two see [`divide`].
pub(super) fn type_voxels(voxels: &[Sample], config: &Config) -> (Vec<ModicType>, Composition) {
    let ruled: Vec<ModicType> =
        voxels.iter().map(|v| voxel_type(v.signal[T1], v.signal[T2], config)).collect();
    let kinds = match types(voxels, &ruled, config) {
        Types::None => vec![ModicType::Indeterminate; voxels.len()],
        Types::One(only) => {
            let typed = |kind| if kind == only { only } else { ModicType::Indeterminate };
            ruled.into_iter().map(typed).collect()
        }
        Types::Two(parts) => return divide(voxels, &parts),
    };
    let composition = Composition::of(kinds.iter().map(|kind| (*kind, 1.0)));
    (kinds, composition)
}

/// Which types a finding has.
enum Types {
    None,
    One(ModicType),
    /// With their voxels' own signals.
    Two([Part; 2]),
}

/// Divides a finding between two types by linear unmixing: how much of either a voxel holds is told by where its signal lies
/// between the means of the two parts. Those are means of the voxels' own signals, since what quiets noise blurs the parts.
fn divide(voxels: &[Sample], [first, second]: &[Part; 2]) -> (Vec<ModicType>, Composition) {
    let way: Signal = std::array::from_fn(|k| second.mean[k] - first.mean[k]);
    let length = way.map(|x| x * x).iter().sum::<f32>();
    let share_of_second = |voxel: &Sample| {
        let along: f32 = (0..2).map(|k| way[k] * (voxel.signal[k] - first.mean[k])).sum();
        (along / length).clamp(0.0, 1.0)
    };
    let shares: Vec<f32> = voxels.iter().map(share_of_second).collect();
    let kinds = shares.iter().map(|share| if *share <= 0.5 { first.kind } else { second.kind });
    let amounts = shares.iter().flat_map(|share| {
        let of_second = f64::from(*share);
        [(first.kind, 1.0 - of_second), (second.kind, of_second)]
    });
    (kinds.collect(), Composition::of(amounts))
}

/// At a finding's border signals mix with what lies beyond, and chemical shift moves fat's edges: there even a pure type 2
/// has voxels that look like type 1. So what voxels are by rule (`ruled`) counts inside, and where none has a type there, the
/// finding has none.
///
/// Blur draws the parts of a mixed finding towards each other, and where they are small few voxels of one keep its rule. So
/// where the rule sees one type alone, the voxels that are nearest to a type may tell of another one, those at the border as
/// well, if the network is sure of them and the part as a whole is like its type.
fn types(voxels: &[Sample], ruled: &[ModicType], config: &Config) -> Types {
    let count_inside = voxels.iter().filter(|voxel| voxel.is_inside).count();
    let by_rule = || voxels.iter().zip(ruled.iter().copied());
    let inside = by_rule().filter(|(v, _)| v.is_inside || count_inside < FEWEST_INSIDE);
    let [first, second, third] = parts(inside.map(|(v, kind)| (kind, v.signal, 1.0)));
    if first.weight == 0.0 {
        return Types::None;
    }
    let only = first.kind;
    let all_inside = first.weight + second.weight + third.weight;
    if second.weight >= SECOND_VOXELS && second.weight >= SECOND_SHARE * all_inside {
        return two(voxels, [only, second.kind], only);
    }
    let all: f64 = voxels.iter().map(Sample::weight).sum();
    let typed = by_rule().filter(|(_, kind)| *kind != ModicType::Indeterminate);
    let typed: f64 = typed.map(|(voxel, _)| voxel.weight()).sum();
    let is_share = |weight: f64, percent: f32| 100.0 * weight >= f64::from(percent) * all;
    let [first, second, _] =
        parts(voxels.iter().map(|v| (nearest_type(v.signal), v.signal, v.weight())));
    let kinds = [first.kind, second.kind];
    let are_two = is_share(typed, MIN_TYPED_PERCENT)
        && is_share(second.weight, config.mixed_from_percent)
        && kinds.contains(&only)
        && first.is_like_its_type()
        && second.is_like_its_type();
    if are_two { two(voxels, kinds, only) } else { Types::One(only) }
}

/// These two types, or `only` where no voxel's own signal is nearest to one of them.
fn two(voxels: &[Sample], kinds: [ModicType; 2], only: ModicType) -> Types {
    let parts = parts(voxels.iter().map(|v| (nearest_type(v.own), v.own, v.weight())));
    let found =
        kinds.map(|kind| parts.iter().position(|part| part.kind == kind && part.weight > 0.0));
    match found {
        [Some(first), Some(second)] => Types::Two([parts[first], parts[second]]),
        _ => Types::One(only),
    }
}

/// A finding's voxels of one type.
#[derive(Clone, Copy)]
struct Part {
    kind: ModicType,
    /// How much they count.
    weight: f64,
    /// Their mean signal; 0 where there are none.
    mean: Signal,
}

impl Part {
    /// Not merely nearest to it among the three.
    fn is_like_its_type(&self) -> bool {
        let is_dark = |series: usize| self.mean[series] <= DARK[series];
        let is_bright = |series: usize| self.mean[series] >= BRIGHT[series];
        let has_its_signals = match self.kind {
            ModicType::Type1 => is_dark(T1) && is_bright(T2),
            ModicType::Type2 => is_bright(T1),
            ModicType::Type3 => is_dark(T1) && is_dark(T2),
            ModicType::Indeterminate => false,
        };
        self.weight > 0.0 && has_its_signals
    }
}

/// The parts of the three types, the heaviest first; what is indeterminate is in none.
fn parts(voxels: impl Iterator<Item = (ModicType, Signal, f64)>) -> [Part; 3] {
    let mut sums = [(0.0, [0.0; 2]); 3];
    for (kind, signal, weight) in voxels.filter(|(kind, ..)| *kind != ModicType::Indeterminate) {
        let (all, signals) = &mut sums[usize::from(kind.voxel_value()) - 1];
        *all += weight;
        for (sum, value) in signals.iter_mut().zip(signal) {
            *sum += weight * f64::from(value);
        }
    }
    let mut parts = std::array::from_fn(|k| {
        let (weight, signals) = sums[k];
        let mean = signals.map(|sum| if weight > 0.0 { (sum / weight) as f32 } else { 0.0 });
        Part { kind: ModicType::ALL[k], weight, mean }
    });
    parts.sort_by(|a: &Part, b| b.weight.total_cmp(&a.weight));
    parts
}

/// With less than this of it typed by rule a finding has no type, %.
const MIN_TYPED_PERCENT: f32 = 10.0;

/// How much of a finding each type has, %; sums to 100. Of a mixed one a voxel in which both types meet counts for both.
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
    /// Adds amounts up; one at least must be more than 0.
    pub fn of(amounts: impl Iterator<Item = (ModicType, f64)>) -> Composition {
        let mut sums = [0.0; 4];
        for (kind, amount) in amounts {
            sums[usize::from(kind.voxel_value()) - 1] += amount;
        }
        let all: f64 = sums.iter().sum();
        let [type_1, type_2, type_3, indeterminate] = sums.map(|sum| (100.0 * sum / all) as f32);
        Composition { type_1, type_2, type_3, indeterminate }
    }

    /// How radiologists write it: `1`, `2`, `3`, mixed as `1-2` (mostly 1) or `2-1` (mostly 2), or
    /// `indeterminate`.
    ///
    /// Shares are taken of the voxels that have a type: at a change's border signals pass through normal and fit none.
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

    /// Voxels of some signals, inside, the network certain.
    fn voxels(signals: &[(Signal, usize)]) -> Vec<Sample> {
        let one = |signal| Sample { signal, own: signal, probability: 0.9, is_inside: true };
        signals.iter().flat_map(|(signal, n)| std::iter::repeat_n(one(*signal), *n)).collect()
    }

    fn counted(kinds: &[ModicType]) -> Composition {
        Composition::of(kinds.iter().map(|kind| (*kind, 1.0)))
    }

    fn typed(signals: &[(Signal, usize)]) -> Vec<ModicType> {
        type_voxels(&voxels(signals), &Config::default()).0
    }

    #[test]
    fn a_border_that_looks_otherwise_is_no_second_type() {
        let mut voxels = voxels(&[([1.5, 1.3], 12), ([0.8, 1.3], 8)]);
        voxels[12..].iter_mut().for_each(|v| (v.probability, v.is_inside) = (0.4, false));
        let (kinds, _) = type_voxels(&voxels, &Config::default());
        assert_eq!(kinds[..12], [ModicType::Type2; 12]);
        assert_eq!(kinds[12..], [ModicType::Indeterminate; 8]);
        // Where the network is certain of them, or inside, the same voxels are a second type.
        for (probability, is_inside) in [(0.9, false), (0.4, true)] {
            voxels[12..]
                .iter_mut()
                .for_each(|v| (v.probability, v.is_inside) = (probability, is_inside));
            assert_eq!(type_voxels(&voxels, &Config::default()).0[12..], [ModicType::Type1; 8]);
        }
    }

    #[test]
    fn a_border_alone_gives_no_type() {
        let mut voxels = voxels(&[([1.0, 1.0], 6), ([0.8, 1.3], 6), ([1.5, 1.3], 2)]);
        voxels[6..].iter_mut().for_each(|v| v.is_inside = false);
        assert_eq!(type_voxels(&voxels, &Config::default()).0, [ModicType::Indeterminate; 14]);
    }

    #[test]
    fn between_two_types_the_nearer_one_counts() {
        let kinds = typed(&[([0.6, 1.6], 6), ([1.5, 1.3], 6), ([0.95, 1.5], 1), ([1.1, 1.4], 1)]);
        assert_eq!(kinds[12..], [ModicType::Type1, ModicType::Type2]);
    }

    #[test]
    fn where_two_types_meet_a_voxel_counts_for_both() {
        let voxels = voxels(&[([0.6, 1.4], 6), ([0.84, 1.4], 4), ([1.4, 1.4], 10)]);
        let (kinds, composition) = type_voxels(&voxels, &Config::default());
        assert_eq!(kinds[6..10], [ModicType::Type1; 4]);
        // The dark part's mean is 0.696: the four hold a fifth of fat.
        let fat = 100.0 * (10.0 + 4.0 * (0.84 - 0.696) / (1.4 - 0.696)) / 20.0;
        assert!((composition.type_2 - fat).abs() < 0.01, "{composition:?}");
        assert!((composition.type_1 + composition.type_2 - 100.0).abs() < 1e-3);
    }

    /// What quiets noise blurs small parts: their own signals tell how far a part is from the other.
    #[test]
    fn own_signals_tell_what_two_parts_are_like() {
        let mut voxels = voxels(&[([0.8, 1.4], 6), ([1.07, 1.4], 4), ([1.3, 1.4], 10)]);
        for (voxels, t1) in voxels.chunks_mut(10).zip([0.6, 1.4]) {
            voxels.iter_mut().for_each(|v| v.own = [t1, 1.4]);
        }
        let (kinds, composition) = type_voxels(&voxels, &Config::default());
        assert_eq!(kinds, [vec![ModicType::Type1; 6], vec![ModicType::Type2; 14]].concat());
        let fat = 100.0 * (6.0 * 0.2 + 4.0 * 0.47 + 10.0 * 0.7) / (0.8 * 20.0);
        assert!((composition.type_2 - fat).abs() < 0.01, "{composition:?}");
        // Where no own signal is nearest to one of them, the finding has the type that most have by rule.
        voxels.iter_mut().for_each(|v| v.own = [1.6, 1.4]);
        let (kinds, _) = type_voxels(&voxels, &Config::default());
        assert_eq!(kinds[..10], [ModicType::Indeterminate; 10]);
        assert_eq!(kinds[10..], [ModicType::Type2; 10]);
    }

    #[test]
    fn a_blurred_dark_part_is_oedema_or_sclerosis_by_t2() {
        let fat = ([1.4, 1.3], 6);
        assert_eq!(typed(&[fat, ([0.88, 0.9], 4)])[6..], [ModicType::Type3; 4]);
        assert_eq!(typed(&[fat, ([0.88, 1.1], 4)])[6..], [ModicType::Type1; 4]);
    }

    #[test]
    fn a_part_that_is_as_good_as_normal_is_no_second_type() {
        use ModicType::*;
        for (first, second, expected) in [
            ([0.75, 1.4], [1.01, 1.3], Type1),
            ([1.4, 1.2], [0.93, 0.98], Type2),
            ([0.7, 1.2], [0.7, 0.98], Type1),
            ([0.6, 0.6], [0.7, 1.02], Type3),
        ] {
            let kinds = typed(&[(first, 12), (second, 6)]);
            assert_eq!(kinds, [vec![expected; 12], vec![Indeterminate; 6]].concat(), "{second:?}");
        }
    }

    /// Else the map would show none of what the rule found.
    #[test]
    fn one_of_two_types_is_the_one_by_rule() {
        let kinds = typed(&[([0.8, 0.8], 3), ([0.88, 1.1], 8), ([1.05, 1.1], 9)]);
        assert_eq!(kinds[..3], [ModicType::Type3; 3]);
        assert_eq!(kinds[3..], [ModicType::Indeterminate; 17]);
    }

    #[test]
    fn a_type_of_no_voxel_is_none() {
        let config = Config { mixed_from_percent: 0.0, ..Config::default() };
        let (kinds, _) = type_voxels(&voxels(&[([1.5, 1.3], 14)]), &config);
        assert_eq!(kinds, [ModicType::Type2; 14]);
    }

    #[test]
    fn signals_near_normal_are_no_two_types() {
        let kinds = typed(&[([1.05, 1.1], 12), ([0.9, 1.1], 12), ([0.8, 1.3], 2)]);
        assert_eq!(kinds[..24], [ModicType::Indeterminate; 24]);
        assert_eq!(counted(&kinds).pattern(&Config::default()), "indeterminate");
    }

    #[test]
    fn a_dark_part_is_oedema_or_sclerosis_by_t2() {
        let fat = ([1.4, 1.3], 6);
        assert_eq!(typed(&[fat, ([0.6, 0.5], 6)])[6..], [ModicType::Type3; 6]);
        assert_eq!(typed(&[fat, ([0.6, 1.5], 6)])[6..], [ModicType::Type1; 6]);
        let kinds = typed(&[([0.6, 1.5], 6), ([0.6, 0.5], 4)]);
        assert_eq!(kinds, [vec![ModicType::Type1; 6], vec![ModicType::Type3; 4]].concat());
    }

    /// As in small changes, where no voxel of fat's part is above `high_above`.
    #[test]
    fn parts_drawn_towards_each_other_are_two_types_all_the_same() {
        let kinds = typed(&[([0.75, 1.4], 6), ([1.05, 1.3], 5)]);
        assert_eq!(kinds, [vec![ModicType::Type1; 6], vec![ModicType::Type2; 5]].concat());
    }

    #[test]
    fn a_finding_is_called_by_the_types_that_have_a_fifth_of_it() {
        let pattern = |dark| {
            let kinds = typed(&[([1.5, 1.3], 40 - dark), ([0.6, 1.5], dark)]);
            counted(&kinds).pattern(&Config::default())
        };
        assert_eq!([0, 7].map(pattern), ["2", "2"]);
        assert_eq!([9, 19].map(pattern), ["2-1", "2-1"]);
        assert_eq!([21, 31].map(pattern), ["1-2", "1-2"]);
        assert_eq!([33, 40].map(pattern), ["1", "1"]);
    }

    fn signal() -> impl Strategy<Value = Signal> {
        prop::array::uniform2(0.0..2.5f32)
    }

    proptest! {
        /// Whatever the voxels: types follow from the rule alone, at most two, in any order of the voxels.
        #[test]
        fn a_finding_has_two_types_at_most_and_the_order_of_its_voxels_is_nothing_to_it(
            voxels in prop::collection::vec((signal(), signal(), 0.01..1.0f32, any::<bool>()), 1..200)
                .prop_flat_map(|voxels| (Just(voxels.clone()), Just(voxels).prop_shuffle())),
        ) {
            let config = Config::default();
            let typed = |voxels: &[(Signal, Signal, f32, bool)]| {
                let voxels: Vec<Sample> = voxels
                    .iter()
                    .map(|(signal, own, probability, is_inside)| {
                        let (signal, own) = (*signal, *own);
                        let (probability, is_inside) = (*probability, *is_inside);
                        Sample { signal, own, probability, is_inside }
                    })
                    .collect();
                type_voxels(&voxels, &config)
            };
            let (kinds, composition) = typed(&voxels.0);
            let present = |kind: &ModicType| kinds.contains(kind);
            let typed_kinds = ModicType::ALL[..3].iter().filter(|kind| present(kind)).count();
            prop_assert!(typed_kinds <= 2, "{kinds:?}");
            // With one type, a voxel has it exactly if the rule says so.
            if typed_kinds < 2 && present(&ModicType::Indeterminate) {
                for (([t1, t2], ..), kind) in voxels.0.iter().zip(&kinds) {
                    let ruled = voxel_type(*t1, *t2, &config);
                    prop_assert!(*kind == ruled || *kind == ModicType::Indeterminate);
                }
            }
            let Composition { type_1, type_2, type_3, indeterminate } = composition;
            prop_assert!((type_1 + type_2 + type_3 + indeterminate - 100.0).abs() < 1e-3);
            let patterns = ["1", "2", "3", "1-2", "2-1", "1-3", "3-1", "2-3", "3-2", "indeterminate"];
            prop_assert!(patterns.contains(&composition.pattern(&config).as_str()));
            let (_, shuffled) = typed(&voxels.1);
            prop_assert_eq!(shuffled.pattern(&config), composition.pattern(&config));
        }
    }

    #[test]
    fn where_nothing_is_typed_all_is_indeterminate() {
        assert_eq!(typed(&[([1.0, 1.0], 9)]), [ModicType::Indeterminate; 9]);
    }

    #[test]
    fn composition_sums_to_a_hundred_and_names_its_pattern() {
        use ModicType::*;
        let config = Config::default();
        let of = |counts: [(ModicType, u32); 2]| {
            Composition::of(counts.into_iter().map(|(kind, n)| (kind, f64::from(n))))
        };
        let mixed = of([(Type2, 70), (Type1, 30)]);
        assert_eq!(mixed.type_1 + mixed.type_2 + mixed.type_3 + mixed.indeterminate, 100.0);
        assert_eq!(mixed.pattern(&config), "2-1");
        assert_eq!(of([(Type1, 85), (Type2, 15)]).pattern(&config), "1");
        assert_eq!(of([(Type3, 9), (Indeterminate, 91)]).pattern(&config), "indeterminate");
        assert_eq!(of([(Type3, 60), (Indeterminate, 40)]).pattern(&config), "3");
    }
}
