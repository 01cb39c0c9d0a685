//! Names of the anatomy and of the Modic types, as radiology uses them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A vertebra, counted up from the sacrum. S1 is the lowest; the numbering is an assumption that every
/// report states.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[allow(missing_docs)]
pub enum Level {
    S1,
    L5,
    L4,
    L3,
    L2,
    L1,
    T12,
    T11,
    T10,
    T9,
    T8,
}

impl Level {
    /// Every level the project names, from the sacrum up.
    pub const FROM_SACRUM: [Level; 11] = [
        Level::S1,
        Level::L5,
        Level::L4,
        Level::L3,
        Level::L2,
        Level::L1,
        Level::T12,
        Level::T11,
        Level::T10,
        Level::T9,
        Level::T8,
    ];

    /// The `n`-th vertebra above S1 (0 is S1), or `None` above T8.
    pub fn above_sacrum(n: usize) -> Option<Level> {
        Self::FROM_SACRUM.get(n).copied()
    }

    /// How many vertebrae lie between this one and S1; S1 itself is 0.
    pub fn count_above_sacrum(self) -> usize {
        self as usize
    }

    /// The vertebra above, if the project names it.
    pub fn above(self) -> Option<Level> {
        Self::above_sacrum(self.count_above_sacrum() + 1)
    }

    /// The vertebra below, if there is one; nothing lies below S1 here.
    pub fn below(self) -> Option<Level> {
        self.count_above_sacrum().checked_sub(1).and_then(Self::above_sacrum)
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Which surface of a vertebral body.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum EndplateSide {
    /// The upper surface, towards the head.
    Superior,
    /// The lower surface, towards the feet.
    Inferior,
}

impl EndplateSide {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            EndplateSide::Superior => "superior",
            EndplateSide::Inferior => "inferior",
        }
    }
}

/// One surface of one vertebral body: what a finding belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endplate {
    /// The vertebra.
    pub level: Level,
    /// The surface of it.
    pub side: EndplateSide,
}

impl Endplate {
    /// The disc this endplate borders, as radiologists write it: upper vertebra, hyphen, lower vertebra
    /// (`L4-L5`); `None` where the neighbour has no name here.
    pub fn disc(self) -> Option<String> {
        let (upper, lower) = match self.side {
            EndplateSide::Superior => (self.level.above()?, self.level),
            EndplateSide::Inferior => (self.level, self.level.below()?),
        };
        Some(format!("{upper}-{lower}"))
    }
}

/// `L4 inferior`.
impl std::fmt::Display for Endplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.level, self.side.as_str())
    }
}

impl std::str::FromStr for Endplate {
    type Err = String;
    fn from_str(text: &str) -> Result<Endplate, String> {
        let sides = [EndplateSide::Superior, EndplateSide::Inferior];
        let levels = Level::FROM_SACRUM.into_iter();
        let mut all = levels.flat_map(|level| sides.map(|side| Endplate { level, side }));
        all.find(|endplate| endplate.to_string() == text)
            .ok_or_else(|| format!("{text:?} is no endplate, such as \"L4 inferior\""))
    }
}

/// The type of one voxel of the Modic map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum ModicType {
    /// Oedema: low on T1, high on T2.
    Type1 = 1,
    /// Fat: high on T1, normal or high on T2.
    Type2 = 2,
    /// Sclerosis: low on both.
    Type3 = 3,
    /// A change whose signal fits none of the three.
    Indeterminate = 4,
}

impl ModicType {
    /// All four, in the order of their voxel values.
    pub const ALL: [ModicType; 4] =
        [ModicType::Type1, ModicType::Type2, ModicType::Type3, ModicType::Indeterminate];

    /// The voxel's value in the Modic map; 0 is kept for "none".
    pub fn voxel_value(self) -> u8 {
        self as u8
    }

    /// The type of a voxel value, or `None` for 0 and for values over 4.
    pub fn from_voxel_value(value: u8) -> Option<ModicType> {
        Self::ALL.into_iter().find(|t| t.voxel_value() == value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discs_are_named_from_both_of_their_endplates() {
        let l4_inferior = Endplate { level: Level::L4, side: EndplateSide::Inferior };
        let l5_superior = Endplate { level: Level::L5, side: EndplateSide::Superior };
        assert_eq!(l4_inferior.disc().as_deref(), Some("L4-L5"));
        assert_eq!(l4_inferior.disc(), l5_superior.disc());
        assert_eq!(Endplate { level: Level::S1, side: EndplateSide::Inferior }.disc(), None);
    }

    #[test]
    fn levels_count_up_from_the_sacrum() {
        assert_eq!(Level::above_sacrum(1), Some(Level::L5));
        assert_eq!(Level::L1.above(), Some(Level::T12));
        assert_eq!(Level::S1.below(), None);
    }
}
