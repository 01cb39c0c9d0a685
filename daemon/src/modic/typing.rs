//! The rule that gives a changed voxel its Modic type, and a finding its pattern.
//!
//! The paper's thresholds are not public; ours are our own and versioned (`typing_version`).

use crate::domain::ModicType;
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

/// With fewer typed voxels than this a finding has no type, %.
const MIN_TYPED_PERCENT: f32 = 25.0;

/// How many of a finding's voxels have each type, %; sums to 100.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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
        assert_eq!(of([(Type3, 20), (Indeterminate, 80)]).pattern(&config), "indeterminate");
        assert_eq!(of([(Type3, 60), (Indeterminate, 40)]).pattern(&config), "3");
    }
}
