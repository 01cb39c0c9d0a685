//! Codes of the objects, as in DICOM PS3.16, and our own scheme for what has none there.

use crate::domain::{EndplateSide, Level, ModicType};
use crate::modic::Third;

/// A coded concept (PS3.3, 8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Code {
    pub value: String,
    /// Coding Scheme Designator.
    pub scheme: &'static str,
    pub meaning: String,
}

/// The scheme for what no standard has a code for: Modic types, mixed ones too, and what is measured of them.
pub(crate) const OWN_SCHEME: &str = "99MODICD";

fn code(scheme: &'static str, value: &str, meaning: &str) -> Code {
    Code { value: value.to_owned(), scheme, meaning: meaning.to_owned() }
}

pub(super) fn dcm(value: &str, meaning: &str) -> Code {
    code("DCM", value, meaning)
}

pub(super) fn sct(value: &str, meaning: &str) -> Code {
    code("SCT", value, meaning)
}

pub(super) fn ucum(value: &str, meaning: &str) -> Code {
    code("UCUM", value, meaning)
}

pub(super) fn own(value: &str, meaning: &str) -> Code {
    code(OWN_SCHEME, value, meaning)
}

pub(super) fn loinc(value: &str, meaning: &str) -> Code {
    code("LN", value, meaning)
}

/// CID 7603; S1 isn't in it.
pub(super) fn vertebra(level: Level) -> Code {
    let value = match level {
        Level::S1 => "65985001",
        Level::L5 => "49668003",
        Level::L4 => "11994002",
        Level::L3 => "36470004",
        Level::L2 => "14293000",
        Level::L1 => "66794005",
        Level::T12 => "23215003",
        Level::T11 => "12989004",
        Level::T10 => "7610001",
        Level::T9 => "82687006",
        Level::T8 => "11068009",
    };
    sct(value, &format!("{level} vertebra"))
}

pub(super) fn side(side: EndplateSide) -> Code {
    match side {
        EndplateSide::Superior => sct("264217000", "Superior"),
        EndplateSide::Inferior => sct("261089000", "Inferior"),
    }
}

pub(super) fn third(third: Third) -> Code {
    match third {
        Third::Anterior => sct("255549009", "Anterior"),
        Third::Central => sct("26216008", "Central"),
        Third::Posterior => sct("255551008", "Posterior"),
    }
}

/// A voxel's type.
pub(super) fn voxel_type(kind: ModicType) -> Code {
    match kind {
        ModicType::Type1 => pattern("1"),
        ModicType::Type2 => pattern("2"),
        ModicType::Type3 => pattern("3"),
        ModicType::Indeterminate => pattern("indeterminate"),
    }
}

/// A finding's type, mixed ones too, as [`crate::modic::Finding::pattern`] writes it.
pub(super) fn pattern(pattern: &str) -> Code {
    match pattern {
        "indeterminate" => own("MODIC-IND", "Modic change of indeterminate type"),
        pattern => own(&format!("MODIC-{pattern}"), &format!("Modic change type {pattern}")),
    }
}

/// RadElement RDES300's answer, which has none for mixed types.
pub(super) fn rad_element(pattern: &str) -> Option<Code> {
    let (index, meaning) = match pattern {
        "1" => (1, "Type I"),
        "2" => (2, "Type II"),
        "3" => (3, "Type III"),
        "indeterminate" => (4, "Indeterminate"),
        _ => return None,
    };
    Some(code("RADELEMENT", &format!("OIFMA_CDE_001517.{index}"), meaning))
}

/// The question that [`rad_element`] answers.
pub(super) fn rad_element_question() -> Code {
    code("RADELEMENT", "OIFMA_CDE_001517", "Modic endplate changes")
}

/// A concept of our own scheme.
pub(super) struct Own {
    value: &'static str,
    meaning: &'static str,
}

impl Own {
    pub fn code(&self) -> Code {
        own(self.value, self.meaning)
    }
}

pub(super) const HEIGHT: Own =
    Own { value: "HEIGHT-SHARE", meaning: "Height as a share of the vertebra's" };
/// By type: 1, 2, 3, indeterminate.
pub(super) const SHARES: [Own; 4] = [
    Own { value: "SHARE-1", meaning: "Share of type 1" },
    Own { value: "SHARE-2", meaning: "Share of type 2" },
    Own { value: "SHARE-3", meaning: "Share of type 3" },
    Own { value: "SHARE-IND", meaning: "Share of indeterminate type" },
];
/// T1, T2.
pub(super) const RATIOS: [Own; 2] = [
    Own { value: "T1-RATIO", meaning: "T1 signal relative to normal marrow" },
    Own { value: "T2-RATIO", meaning: "T2 signal relative to normal marrow" },
];
pub(super) const PROBABILITY: Own =
    Own { value: "PROBABILITY", meaning: "Probability of a change" };
