//! What goes: a pure function over what is known of every study.

use std::time::Duration;

use super::Config;
use crate::domain::StudyRef;
use crate::store::index::Part;

const DAY: Duration = Duration::from_secs(86_400);

/// What is known of a study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The study.
    pub study_ref: StudyRef,
    /// When the last of its instances came in or its newest result was made, Unix time in ms.
    pub last_ms: u64,
    /// What its instances take, bytes.
    pub instances_bytes: u64,
    /// What its results take, bytes.
    pub results_bytes: u64,
    /// Nothing of it is being received, waits for analysis or is analysed.
    pub at_rest: bool,
    /// Something of it isn't delivered yet, or an open reading list needs its result.
    pub held: bool,
}

/// What goes, and whether that is enough.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The studies that go, or go in part, the oldest first.
    pub removals: Vec<(StudyRef, Part)>,
    /// More than a quota allows is left, and may not go.
    pub unmet: bool,
}

/// Chooses what goes at `now_ms`; `missing_bytes` is what the disk lacks beyond the quotas. Instances go only at rest,
/// results only if nothing holds them besides; a result takes the study's instances with it.
pub fn plan(mut kept: Vec<Kept>, quotas: &Config, missing_bytes: u64, now_ms: u64) -> Plan {
    kept.sort_by(|a, b| (a.last_ms, &a.study_ref).cmp(&(b.last_ms, &b.study_ref)));
    let mut parts = vec![None; kept.len()];
    let mut instances = Quota::of(
        kept.iter().map(|study| study.instances_bytes).sum(),
        quotas.instances_max_bytes,
        quotas.instances_max_age_days,
        now_ms,
    );
    let mut results = Quota::of(
        kept.iter().map(|study| study.results_bytes).sum(),
        quotas.results_max_bytes,
        quotas.results_max_age_days,
        now_ms,
    );
    let mut missing = missing_bytes;

    let has_result = |study: &Kept| study.results_bytes > 0;
    for (study, part) in kept.iter().zip(&mut parts).filter(|(study, _)| has_result(study)) {
        if results.is_exceeded_by(study) && study.at_rest && !study.held {
            *part = Some(Part::Everything);
            results.release(study.results_bytes);
            instances.release(study.instances_bytes);
            missing = missing.saturating_sub(study.results_bytes + study.instances_bytes);
        }
    }
    for (study, part) in kept.iter().zip(&mut parts) {
        let over = instances.is_exceeded_by(study) || missing > 0;
        if over && part.is_none() && study.at_rest && study.instances_bytes > 0 {
            *part = Some(if has_result(study) { Part::Instances } else { Part::Everything });
            instances.release(study.instances_bytes);
            missing = missing.saturating_sub(study.instances_bytes);
        }
    }
    for (study, part) in kept.iter().zip(&mut parts).filter(|(study, _)| has_result(study)) {
        let is_left = *part != Some(Part::Everything);
        if missing > 0 && is_left && study.at_rest && !study.held {
            *part = Some(Part::Everything);
            results.release(study.results_bytes);
            missing = missing.saturating_sub(study.results_bytes);
        }
    }

    let is_left = |study: &Kept, part: Option<Part>| {
        let instances_left = part.is_none() && study.instances_bytes > 0;
        let results_left = part != Some(Part::Everything) && has_result(study);
        instances_left && instances.is_exceeded_by(study)
            || results_left && results.is_exceeded_by(study)
    };
    let unmet = kept.iter().zip(&parts).any(|(study, part)| is_left(study, *part));
    let removals = kept.into_iter().zip(parts);
    let removals = removals.filter_map(|(study, part)| Some((study.study_ref, part?))).collect();
    Plan { removals, unmet }
}

/// A quota with what counts against it.
struct Quota {
    bytes: u64,
    max_bytes: u64,
    /// What is from before is too old, Unix time in ms.
    oldest_ms: u64,
}

impl Quota {
    fn of(bytes: u64, max_bytes: u64, max_age_days: u32, now_ms: u64) -> Quota {
        let max_age_ms = (DAY * max_age_days).as_millis() as u64;
        Quota {
            bytes,
            max_bytes: if max_bytes == 0 { u64::MAX } else { max_bytes },
            oldest_ms: if max_age_days == 0 { 0 } else { now_ms.saturating_sub(max_age_ms) },
        }
    }

    fn is_exceeded_by(&self, study: &Kept) -> bool {
        self.bytes > self.max_bytes || study.last_ms < self.oldest_ms
    }

    fn release(&mut self, bytes: u64) {
        self.bytes -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;
    const NO_LIMIT: Config = Config {
        instances_max_bytes: 0,
        instances_max_age_days: 0,
        results_max_bytes: 0,
        results_max_age_days: 0,
        min_free_bytes: 0,
    };

    fn name(n: u64) -> StudyRef {
        format!("{n:016x}").try_into().unwrap()
    }

    /// Delivered studies of 20 bytes of instances and 6 of results, a day apart, 0 the newest.
    fn studies(count: u64) -> Vec<Kept> {
        let study = |n| Kept {
            study_ref: name(n),
            last_ms: NOW_MS - n * DAY.as_millis() as u64,
            instances_bytes: 20,
            results_bytes: 6,
            at_rest: true,
            held: false,
        };
        (0..count).map(study).collect()
    }

    fn removed(plan: &Plan) -> Vec<(u64, Part)> {
        let number = |name: &StudyRef| u64::from_str_radix(name.as_str(), 16).unwrap();
        plan.removals.iter().map(|(study, part)| (number(study), *part)).collect()
    }

    #[test]
    fn nothing_goes_without_a_limit() {
        assert_eq!(plan(studies(9), &NO_LIMIT, 0, NOW_MS), Plan::default());
    }

    #[test]
    fn the_oldest_instances_go_first_and_results_stay() {
        let quotas = Config { instances_max_bytes: 45, ..NO_LIMIT };
        let plan = plan(studies(4), &quotas, 0, NOW_MS);
        assert_eq!(removed(&plan), [(3, Part::Instances), (2, Part::Instances)]);
        assert!(!plan.unmet);
    }

    #[test]
    fn a_study_goes_by_the_quota_of_results_and_by_age() {
        let quotas = Config { results_max_bytes: 18, ..NO_LIMIT };
        assert_eq!(removed(&plan(studies(4), &quotas, 0, NOW_MS)), [(3, Part::Everything)]);
        let quotas = Config { results_max_age_days: 2, instances_max_age_days: 1, ..NO_LIMIT };
        assert_eq!(
            removed(&plan(studies(5), &quotas, 0, NOW_MS)),
            [(4, Part::Everything), (3, Part::Everything), (2, Part::Instances)]
        );
    }

    #[test]
    fn a_study_without_a_result_goes_with_its_instances() {
        let mut kept = studies(2);
        kept[1].results_bytes = 0;
        let quotas = Config { instances_max_bytes: 20, ..NO_LIMIT };
        assert_eq!(removed(&plan(kept, &quotas, 0, NOW_MS)), [(1, Part::Everything)]);
    }

    #[test]
    fn what_is_held_stays_and_the_next_goes_in_its_place() {
        let mut kept = studies(3);
        kept[2].held = true;
        let quotas = Config { results_max_bytes: 12, ..NO_LIMIT };
        let enough = plan(kept.clone(), &quotas, 0, NOW_MS);
        assert_eq!((removed(&enough), enough.unmet), (vec![(1, Part::Everything)], false));
        kept.iter_mut().for_each(|study| study.held = true);
        let held = plan(kept, &quotas, 0, NOW_MS);
        assert_eq!((removed(&held), held.unmet), (vec![], true));
    }

    #[test]
    fn a_disk_that_fills_up_takes_instances_then_results() {
        let plan = |missing| plan(studies(2), &NO_LIMIT, missing, NOW_MS);
        assert_eq!(removed(&plan(30)), [(1, Part::Instances), (0, Part::Instances)]);
        assert_eq!(removed(&plan(41)), [(1, Part::Everything), (0, Part::Instances)]);
        assert_eq!(removed(&plan(1000)).len(), 2);
    }

    prop_compose! {
        fn any_study()(
            last_ms in NOW_MS - 30 * 86_400_000..NOW_MS,
            instances_bytes in 0u64..50,
            results_bytes in 0u64..20,
            at_rest in prop::bool::weighted(0.8),
            held in prop::bool::weighted(0.3),
        ) -> Kept {
            let study_ref = name(0);
            Kept { study_ref, last_ms, instances_bytes, results_bytes, at_rest, held }
        }
    }

    proptest! {
        #[test]
        fn nothing_undelivered_or_unfinished_goes_and_quotas_are_met_when_they_can_be(
            mut kept in prop::collection::vec(any_study(), 0..40),
            instances_max_bytes in 0u64..800,
            results_max_bytes in 0u64..300,
            instances_max_age_days in 0u32..40,
            results_max_age_days in 0u32..40,
            missing in prop_oneof![Just(0u64), 0u64..600],
        ) {
            for (n, study) in kept.iter_mut().enumerate() {
                study.study_ref = name(n as u64);
            }
            let quotas = Config {
                instances_max_bytes,
                instances_max_age_days,
                results_max_bytes,
                results_max_age_days,
                min_free_bytes: 0,
            };
            let plan = plan(kept.clone(), &quotas, missing, NOW_MS);
            let parts: HashMap<_, _> = plan.removals.iter().cloned().collect();
            prop_assert_eq!(parts.len(), plan.removals.len(), "each study once");

            let (mut instances, mut results, mut freed) = (0, 0, 0);
            let (mut idle_instances, mut idle_results) = (0, 0);
            for study in &kept {
                let part = parts.get(&study.study_ref);
                if part.is_some() {
                    prop_assert!(study.at_rest);
                }
                let result_goes = part == Some(&Part::Everything);
                if study.results_bytes > 0 && result_goes {
                    prop_assert!(!study.held);
                }
                let [a, b] = [(part.is_some(), study.instances_bytes), (result_goes, study.results_bytes)];
                freed += [a, b].into_iter().filter(|(goes, _)| *goes).map(|(_, bytes)| bytes).sum::<u64>();
                instances += if part.is_some() { 0 } else { study.instances_bytes };
                results += if result_goes { 0 } else { study.results_bytes };
                if part.is_none() && study.at_rest {
                    idle_instances += study.instances_bytes;
                }
                if !result_goes && study.at_rest && !study.held {
                    idle_results += study.results_bytes;
                }
                let too_old = |days: u32| days > 0 && study.last_ms < NOW_MS - u64::from(days) * 86_400_000;
                if study.at_rest && study.instances_bytes > 0 && too_old(instances_max_age_days) {
                    prop_assert!(part.is_some());
                }
                if study.at_rest && !study.held && study.results_bytes > 0 && too_old(results_max_age_days) {
                    prop_assert!(result_goes);
                }
            }
            let over = |bytes, max| max > 0 && bytes > max;
            // Over a quota only if nothing that may go is left, and then it is said.
            if over(instances, instances_max_bytes) {
                prop_assert!(idle_instances == 0 && plan.unmet);
            }
            if over(results, results_max_bytes) {
                prop_assert!(idle_results == 0 && plan.unmet);
            }
            if freed < missing {
                prop_assert!(idle_instances == 0 && idle_results == 0);
            }
            // Nothing goes for nothing.
            if missing == 0 && instances_max_age_days == 0 && results_max_age_days == 0 {
                if instances_max_bytes == 0 {
                    prop_assert!(plan.removals.iter().all(|(_, part)| *part == Part::Everything));
                }
                if instances_max_bytes == 0 && results_max_bytes == 0 {
                    prop_assert!(plan.removals.is_empty() && !plan.unmet);
                }
            }
        }
    }
}
