//! What is active, staged and previous, and how one becomes the other. No disk here.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Network, Reason};

/// Exams that a new bundle must have analysed before it counts as proven.
const PROVEN_AFTER: u32 = 3;

/// Failures before that, after which the box goes back by itself.
const MAX_FAILURES: u32 = 2;

/// The state of all networks; `state.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct State(BTreeMap<Network, Slots>);

/// The state of one network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slots {
    /// In use, if it can be loaded.
    pub active: Slot,
    /// Waits to be activated.
    pub staged: Option<Kept>,
    /// What a rollback leads to.
    pub previous: Option<Slot>,
    /// The highest version that was ever active.
    highest: Option<Version>,
    /// The version inside the program when it was last looked at.
    in_program: Option<Version>,
    /// What was refused last since something was activated.
    #[serde(deserialize_with = "if_understood")]
    pub refused: Option<Refused>,
    /// The box went back by itself, and nobody has chosen a bundle since.
    pub went_back: bool,
}

/// Where a bundle is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// Inside the program.
    #[default]
    Program,
    /// On the disk.
    Disk(Kept),
}

/// A bundle on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What identifies it: the SHA-256 of its manifest in hex; the name of its folder.
    pub identity: String,
    /// Its version.
    pub version: Version,
    /// SHA-256 of its network in hex, as in results.
    pub sha256: String,
    /// How it fares on probation; absent when it is proven.
    pub probation: Option<Probation>,
}

/// How a bundle fares that isn't proven yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Probation {
    /// Exams analysed.
    analysed: u32,
    /// Analyses that failed or ended the process.
    failures: u32,
    /// One has begun and not ended.
    running: bool,
}

/// A bundle that wasn't taken, or not any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its version.
    pub version: Version,
    /// Why.
    pub reason: Reason,
}

/// A later program may have had another reason, which must not cost the rest of the state.
fn if_understood<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Refused>, D::Error> {
    let refused = serde_json::Value::deserialize(from)?;
    Ok(serde_json::from_value(refused).unwrap_or_default())
}

impl State {
    /// Of a box whose own can't be understood: every network is the program's, and nobody has chosen that.
    pub(super) fn lost() -> State {
        let slots = Slots { went_back: true, ..Slots::default() };
        State(Network::ALL.iter().map(|network| (*network, slots.clone())).collect())
    }

    /// Of one network.
    pub fn of(&self, network: Network) -> Slots {
        self.0.get(&network).cloned().unwrap_or_default()
    }

    pub(super) fn of_mut(&mut self, network: Network) -> &mut Slots {
        self.0.entry(network).or_default()
    }

    /// Whether a bundle's folder is still needed.
    pub(super) fn refers_to(&self, identity: &str) -> bool {
        self.0.values().flat_map(Slots::kept).any(|kept| kept.identity == identity)
    }
}

impl Slots {
    fn kept(&self) -> impl Iterator<Item = &Kept> {
        let slots = [Some(&self.active), self.previous.as_ref()];
        slots.into_iter().flatten().filter_map(Slot::kept).chain(&self.staged)
    }

    /// Whether the active bundle has yet to prove itself.
    pub fn on_probation(&self) -> bool {
        self.active.kept().is_some_and(|kept| kept.probation.is_some())
    }

    /// Whether a version is higher than all that were active, and than the one inside the program.
    pub(super) fn is_newer(&self, version: &Version, in_program: &Version) -> bool {
        version > in_program && self.highest.as_ref().is_none_or(|highest| version > highest)
    }

    /// Makes the staged bundle the active one, on probation. Nothing happens when none is staged.
    pub(super) fn activate(&mut self) {
        let Some(staged) = self.staged.take() else { return };
        self.highest = self.highest.take().max(Some(staged.version.clone()));
        let kept = Kept { probation: Some(Probation::default()), ..staged };
        self.previous = Some(std::mem::replace(&mut self.active, Slot::Disk(kept)));
        self.chosen();
    }

    /// What a rollback leads to: the previous bundle, else the one inside the program if that isn't active.
    pub(super) fn target(&self) -> Option<Slot> {
        let program = (self.active != Slot::Program).then_some(Slot::Program);
        self.previous.clone().or(program)
    }

    /// Goes to the bundle that a person has chosen. The one that was active becomes the previous one.
    pub(super) fn go_back_to(&mut self, target: Slot) {
        self.previous = Some(std::mem::replace(&mut self.active, target));
        self.chosen();
    }

    fn chosen(&mut self) {
        self.refused = None;
        self.went_back = false;
    }

    /// An analysis begins with the active bundle. Whether that has to be written down.
    pub(super) fn analysis_begins(&mut self) -> bool {
        self.probation().map(|probation| probation.running = true).is_some()
    }

    /// It ended: `Some(true)` with a result, `Some(false)` in a failure that may be the network's, `None` in nothing that
    /// says anything of the network.
    pub(super) fn analysis_ended(&mut self, well: Option<bool>) {
        let Some(probation) = self.probation().filter(|probation| probation.running) else {
            return;
        };
        probation.running = false;
        match well {
            Some(true) => probation.analysed += 1,
            Some(false) => probation.failures += 1,
            None => {}
        }
        let (analysed, failures) = (probation.analysed, probation.failures);
        if failures >= MAX_FAILURES {
            self.go_back(Reason::FailedExams);
        } else if analysed >= PROVEN_AFTER
            && let Slot::Disk(kept) = &mut self.active
        {
            kept.probation = None;
        }
    }

    /// The process begins. An analysis that had begun took the last one down.
    pub(super) fn process_begins(&mut self, in_program: &Version) {
        self.analysis_ended(Some(false));
        let updated = self.in_program.as_ref().is_some_and(|before| before < in_program);
        if updated && self.active.kept().is_some_and(|kept| kept.version <= *in_program) {
            // The program brings one that is newer.
            self.previous = Some(std::mem::take(&mut self.active));
        }
        if self.staged.as_ref().is_some_and(|staged| !self.is_newer(&staged.version, in_program)) {
            self.staged = None;
        }
        self.in_program = Some(in_program.clone());
    }

    /// Goes back without being asked. What failed isn't kept: a rollback must not lead there.
    fn go_back(&mut self, reason: Reason) {
        let target = self.previous.take().unwrap_or_default();
        if let Slot::Disk(Kept { version, .. }) = std::mem::replace(&mut self.active, target) {
            self.refused = Some(Refused { version, reason });
        }
        self.went_back = true;
    }

    fn probation(&mut self) -> Option<&mut Probation> {
        match &mut self.active {
            Slot::Disk(kept) => kept.probation.as_mut(),
            Slot::Program => None,
        }
    }
}

impl Slot {
    /// The bundle, if it is on the disk.
    pub fn kept(&self) -> Option<&Kept> {
        match self {
            Slot::Program => None,
            Slot::Disk(kept) => Some(kept),
        }
    }

    /// Whether both are the same bundle, however it fares on probation.
    pub fn is(&self, other: &Slot) -> bool {
        let identity = |slot: &Slot| slot.kept().map(|kept| kept.identity.clone());
        identity(self) == identity(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    fn kept(text: &str) -> Kept {
        Kept {
            identity: format!("i{text}"),
            version: version(text),
            sha256: format!("s{text}"),
            probation: None,
        }
    }

    fn with(active: &str) -> Slots {
        let mut slots = Slots { staged: Some(kept(active)), ..Slots::default() };
        slots.activate();
        slots
    }

    fn active(slots: &Slots) -> String {
        slots.active.kept().map_or("program".to_owned(), |kept| kept.version.to_string())
    }

    fn analyse(slots: &mut Slots, well: Option<bool>) {
        slots.analysis_begins();
        slots.analysis_ended(well);
    }

    #[test]
    fn activating_keeps_the_one_before_and_raises_the_floor() {
        let mut slots = with("0.5.0");
        assert_eq!((active(&slots).as_str(), &slots.staged), ("0.5.0", &None));
        assert_eq!(slots.previous, Some(Slot::Program));
        slots.staged = Some(kept("0.6.0"));
        slots.activate();
        assert_eq!(active(&slots), "0.6.0");
        let target = slots.target().unwrap();
        slots.go_back_to(target);
        assert_eq!(active(&slots), "0.5.0");
        let program = version("0.4.1");
        assert!(!slots.is_newer(&version("0.6.0"), &program), "it was active before");
        assert!(slots.is_newer(&version("0.6.1"), &program));
        assert!(!slots.is_newer(&version("0.7.0-rc.1"), &version("0.7.0")));
        // And forward again.
        let target = slots.target().unwrap();
        slots.go_back_to(target);
        assert_eq!(active(&slots), "0.6.0");
    }

    #[test]
    fn from_the_program_there_is_no_way_back() {
        assert_eq!(Slots::default().target(), None);
        let lost = Slots { active: Slot::Disk(kept("0.5.0")), ..Slots::default() };
        assert_eq!(lost.target(), Some(Slot::Program));
    }

    #[test]
    fn two_failures_lead_back_and_not_there_again() {
        let mut slots = with("0.5.0");
        analyse(&mut slots, Some(true));
        analyse(&mut slots, Some(false));
        assert_eq!(active(&slots), "0.5.0");
        analyse(&mut slots, None);
        analyse(&mut slots, Some(false));
        assert_eq!(active(&slots), "program");
        let reason = Reason::FailedExams;
        assert_eq!(slots.refused, Some(Refused { version: version("0.5.0"), reason }));
        assert!(slots.went_back);
        assert_eq!(slots.target(), None);
        assert!(!slots.is_newer(&version("0.5.0"), &version("0.4.1")));
        slots.staged = Some(kept("0.5.1"));
        slots.activate();
        assert!(!slots.went_back && slots.refused.is_none());
    }

    #[test]
    fn a_process_that_ends_in_an_analysis_is_a_failure_and_one_that_stops_is_none() {
        let program = version("0.4.1");
        let mut slots = with("0.5.0");
        for _ in 0..5 {
            slots.process_begins(&program);
        }
        slots.analysis_begins();
        slots.process_begins(&program);
        assert_eq!(active(&slots), "0.5.0");
        slots.analysis_begins();
        slots.process_begins(&program);
        assert_eq!(active(&slots), "program");
    }

    #[test]
    fn a_proven_bundle_stays() {
        let mut slots = with("0.5.0");
        for _ in 0..PROVEN_AFTER {
            assert!(slots.analysis_begins());
            slots.analysis_ended(Some(true));
        }
        assert!(!slots.analysis_begins(), "nothing to be written down any more");
        for _ in 0..5 {
            analyse(&mut slots, Some(false));
            slots.process_begins(&version("0.4.1"));
        }
        assert_eq!(active(&slots), "0.5.0");
    }

    #[test]
    fn a_newer_program_takes_over_once() {
        let mut slots = with("0.5.0");
        slots.process_begins(&version("0.4.1"));
        slots.staged = Some(kept("0.5.5"));
        slots.process_begins(&version("0.6.0"));
        assert_eq!((active(&slots).as_str(), &slots.staged), ("program", &None));
        let target = slots.target().unwrap();
        slots.go_back_to(target);
        slots.process_begins(&version("0.6.0"));
        assert_eq!(active(&slots), "0.5.0", "as a person has chosen");
        let mut ahead = with("0.7.0");
        ahead.process_begins(&version("0.4.1"));
        ahead.process_begins(&version("0.6.0"));
        assert_eq!(active(&ahead), "0.7.0");
    }

    #[test]
    fn a_state_is_read_back_and_its_folders_are_known() {
        let mut state = State::default();
        *state.of_mut(Network::Modic) = with("0.5.0");
        state.of_mut(Network::Modic).staged = Some(kept("0.6.0"));
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
        assert!(state.refers_to("i0.5.0") && state.refers_to("i0.6.0"));
        assert!(!state.refers_to("i0.4.0"));
        assert_eq!(state.of(Network::Vertebrae), Slots::default());
    }

    #[test]
    fn a_reason_of_a_later_program_costs_nothing_but_itself() {
        let mut state = State::default();
        *state.of_mut(Network::Modic) = with("0.5.0");
        let without = state.clone();
        let refused = Refused { version: version("0.6.0"), reason: Reason::TooSlow };
        state.of_mut(Network::Modic).refused = Some(refused);
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
        let later = text.replace("too_slow", "too_heavy");
        assert_eq!(serde_json::from_str::<State>(&later).unwrap(), without);
    }
}
