//! Codes with what they mean, for people.

use serde::Serialize;

use crate::deliver::HealthReason;
use crate::report::quality_meaning;
use crate::study::Reason;

/// A code with its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Explained {
    code: String,
    meaning: &'static str,
}

/// A study's or series' reason, with what to do about it.
pub(super) fn reason(code: &str) -> Explained {
    let reason = Reason::ALL.iter().find(|reason| reason.as_str() == code);
    let meaning = match (reason, code) {
        (Some(reason), _) => reason.what_to_do(),
        (None, "analysis_failed") => {
            "The analysis ended in errors, or took the daemon down, again and again. The log names the cause; send the \
             study again to have it tried once more."
        }
        (None, _) => UNKNOWN,
    };
    Explained { code: code.to_owned(), meaning }
}

/// A quality flag.
pub(super) fn quality(code: &str) -> Explained {
    Explained { code: code.to_owned(), meaning: quality_meaning(code).unwrap_or(UNKNOWN) }
}

/// What keeps the box from being well.
pub(super) fn health(reason: HealthReason) -> Explained {
    Explained { code: reason.as_str().to_owned(), meaning: reason.what_to_do() }
}

/// Of codes that a later version wrote.
const UNKNOWN: &str = "No description in this version.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_words() {
        for reason in Reason::ALL {
            assert_eq!(super::reason(reason.as_str()).meaning, reason.what_to_do());
        }
        assert!(reason("analysis_failed").meaning.contains("log"));
        assert!(quality("t2_moved").meaning.contains("moved"));
        assert!(quality("thick_slices").meaning.contains("apart"));
        assert_eq!(quality("of_next_year").meaning, UNKNOWN);
    }
}
