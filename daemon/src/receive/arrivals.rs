//! What came in together, in one association or one scan of the watched folder.

use super::refusal::Origin;
use super::spool::{Change, StoredInstance};
use crate::audit::{Auditor, Event};
use crate::domain::StudyRef;
use std::collections::BTreeMap;

/// Instances of one study, by what they changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrivals {
    /// Not held before.
    pub new: u64,
    /// Held before with other content.
    pub replaced: u64,
    /// Held before as they came.
    pub unchanged: u64,
}

impl Arrivals {
    /// All of them.
    pub fn total(self) -> u64 {
        self.new + self.replaced + self.unchanged
    }
}

/// The same of all studies.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<StudyRef, Arrivals>);

impl Tally {
    pub(super) fn count(&mut self, stored: &StoredInstance) {
        let arrivals = self.0.entry(stored.study_ref.clone()).or_default();
        *match stored.change {
            Change::New => &mut arrivals.new,
            Change::Replaced => &mut arrivals.replaced,
            Change::Unchanged => &mut arrivals.unchanged,
        } += 1;
    }

    /// Over all studies.
    pub(super) fn sum(&self) -> Arrivals {
        self.0.values().fold(Arrivals::default(), |sum, study| Arrivals {
            new: sum.new + study.new,
            replaced: sum.replaced + study.replaced,
            unchanged: sum.unchanged + study.unchanged,
        })
    }

    /// Tells of each study.
    pub(super) fn audit(self, origin: &Origin, auditor: &Auditor) {
        for (study, instances) in self.0 {
            auditor.note(&Event::Received { origin: origin.clone(), study, instances });
        }
    }
}
