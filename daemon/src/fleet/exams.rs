//! Made-up exams: plausible in size and content, of the program's own types, the same for the same draw.

use std::path::PathBuf;

use ndarray::Array3;
use rand::Rng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand_pcg::Pcg64;

use crate::deliver::payload::{EventBody, RefusedSeries};
use crate::domain::{Endplate, EndplateSide, Level, ModicType, StudyRef};
use crate::modic::{
    Composition, Config, Finding, ModicResult, OtherMarrowLesion, QualityFlag, Spine, Third,
    Vertebra,
};
use crate::receive::{self, Origin, RefusedInstances};
use crate::report::{BundleUsed, FindingBody};
use crate::study::{Reason, Weighting};

/// Shares of exams; the others are completed.
const REJECTED: f64 = 0.08;
const FAILED: f64 = 0.01;

/// Share of exams of which instances were refused.
const INSTANCES_REFUSED: f64 = 0.03;

/// Mean number of endplates with a finding is this share of all, near what the paper's patients had.
const FINDING_AT_ENDPLATE: f64 = 0.15;

/// One exam, from the first instance to its end.
pub(super) struct Exam {
    pub study_ref: StudyRef,
    pub instances: usize,
    pub refused_instances: Option<RefusedInstances>,
    pub outcome: Outcome,
}

/// What became of it.
pub(super) enum Outcome {
    Completed(Box<FindingBody>),
    Rejected(EventBody),
    Failed(EventBody),
}

impl Exam {
    /// Draws one.
    pub(super) fn draw(random: &mut Pcg64) -> Exam {
        let uid = random.random::<u64>().to_string();
        let refused_instances = random.random_bool(INSTANCES_REFUSED).then(|| {
            let counts = [(receive::Reason::Truncated, random.random_range(1..5))].into();
            RefusedInstances { origin: Origin::Folder(PathBuf::new()), counts }
        });
        let outcome = match random.random::<f64>() {
            share if share < REJECTED => Outcome::Rejected(rejection(random)),
            share if share < REJECTED + FAILED => {
                Outcome::Failed(EventBody::StudyFailed { reason: "analysis_failed", attempts: 3 })
            }
            _ => Outcome::Completed(Box::new(body(random))),
        };
        Exam {
            study_ref: StudyRef::derive(b"a simulated fleet", &uid),
            instances: 2 * random.random_range(11..=20),
            refused_instances,
            outcome,
        }
    }
}

/// What simulated boxes say that they ran.
pub(super) fn bundles() -> Vec<BundleUsed> {
    let bundle = |name: &str, digit: &str| BundleUsed {
        name: name.to_owned(),
        version: "0.0.0-simulated".to_owned(),
        sha256: digit.repeat(64),
    };
    vec![bundle("vertebrae", "0"), bundle("modic", "1")]
}

fn rejection(random: &mut Pcg64) -> EventBody {
    let reason = [Reason::NoT1, Reason::NoT2, Reason::WrongBodyPart, Reason::Minor]
        .choose(random)
        .copied()
        .unwrap_or(Reason::NoT2);
    let series =
        |series| RefusedSeries { series, weighting: Weighting::Other, reason: Reason::NotT1OrT2 };
    EventBody::StudyRejected {
        reason,
        what_to_do: reason.what_to_do(),
        series: (1..=random.random_range(1..=4)).map(series).collect(),
    }
}

fn body(random: &mut Pcg64) -> FindingBody {
    let levels = random.random_range(6..=9);
    let vertebrae = Level::FROM_SACRUM[..levels].iter().map(|level| vertebra(random, *level));
    let vertebrae: Vec<Vertebra> = vertebrae.collect();
    let config = Config::default();
    let mut findings = Vec::new();
    for vertebra in &vertebrae {
        for side in [EndplateSide::Superior, EndplateSide::Inferior] {
            let endplate = Endplate { level: vertebra.level, side };
            if endplate.disc().is_some() && random.random_bool(FINDING_AT_ENDPLATE) {
                findings.push(finding(random, findings.len() + 1, endplate, &config));
            }
        }
    }
    let other_marrow_lesions = (0..random.random_range(0..3)).map(|_| lesion(random)).collect();
    let nothing = [0, 0, 0];
    let result = ModicResult {
        map: Array3::zeros(nothing),
        finding_numbers: Array3::zeros(nothing),
        spine: Spine { vertebrae, labels: Array3::zeros(nothing), confidence: 1.0 },
        findings,
        other_marrow_lesions,
        quality: QualityFlag::ALL.iter().copied().filter(|_| random.random_bool(0.1)).collect(),
    };
    let fingerprint = (0..4).map(|_| format!("{:016x}", random.random::<u64>())).collect();
    FindingBody::new(&result, &config, bundles(), fingerprint, Vec::new(), Vec::new())
}

fn vertebra(random: &mut Pcg64, level: Level) -> Vertebra {
    let (height_mm, depth_mm) = (random.random_range(22.0..32.0), random.random_range(30.0..40.0));
    Vertebra {
        level,
        label: 1 + level.count_above_sacrum() as u16,
        centre: [0.0; 3],
        superior: [0.0, -1.0, 0.0],
        inferior: [0.0, 1.0, 0.0],
        posterior: [0.0, 0.0, 1.0],
        height_mm,
        depth_mm,
        volume_mm3: height_mm * depth_mm * 42.0,
    }
}

fn finding(random: &mut Pcg64, number: usize, endplate: Endplate, config: &Config) -> Finding {
    let kinds = ModicType::ALL.into_iter().choose_multiple(random, 2);
    let voxels = random.random_range(20..600);
    let mostly = random.random_range(0.5..1.0);
    let voxels = (0..voxels).map(|_| (kinds[usize::from(!random.random_bool(mostly))], 1.0));
    let composition = Composition::of(voxels);
    let height_percent = random.random_range(5.0..80.0f32);
    Finding {
        number,
        level: endplate.level,
        side: endplate.side,
        disc: endplate.disc(),
        pattern: composition.pattern(config),
        composition_percent: composition,
        volume_mm3: random.random_range(30.0..6000.0),
        area_mm2: random.random_range(20.0..900.0),
        height_percent,
        height_grade: match height_percent {
            h if h < 25.0 => 'A',
            h if h <= 50.0 => 'B',
            _ => 'C',
        },
        place: [Third::Anterior, Third::Central, Third::Posterior]
            .into_iter()
            .choose_multiple(random, 2),
        t1_ratio: random.random_range(0.4..1.6),
        t2_ratio: random.random_range(0.4..1.8),
        probability: random.random_range(0.3..1.0),
        slice: random.random_range(2..14),
        endplate,
    }
}

fn lesion(random: &mut Pcg64) -> OtherMarrowLesion {
    OtherMarrowLesion {
        level: *Level::FROM_SACRUM[1..6].choose(random).unwrap_or(&Level::L3),
        volume_mm3: random.random_range(50.0..3000.0),
        t1_ratio: random.random_range(1.1..1.8),
        t2_ratio: random.random_range(1.1..1.8),
        probability: random.random_range(0.3..1.0),
        voxels: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_same_draw_is_the_same_exam_and_all_outcomes_come_up() {
        let (mut one, mut two) = (Pcg64::seed_from_u64(3), Pcg64::seed_from_u64(3));
        let (mut completed, mut rejected, mut failed, mut with_findings) = (0, 0, 0, 0);
        for _ in 0..1000 {
            let (exam, same) = (Exam::draw(&mut one), Exam::draw(&mut two));
            assert_eq!(exam.study_ref, same.study_ref);
            match (exam.outcome, same.outcome) {
                (Outcome::Completed(a), Outcome::Completed(b)) => {
                    let text = serde_json::to_string(&a).unwrap();
                    assert_eq!(text, serde_json::to_string(&b).unwrap());
                    assert!((500..50_000).contains(&text.len()), "{}", text.len());
                    with_findings += usize::from(!a.findings.is_empty());
                    completed += 1;
                }
                (Outcome::Rejected(a), Outcome::Rejected(b)) => {
                    assert_eq!(a, b);
                    rejected += 1;
                }
                (Outcome::Failed(a), Outcome::Failed(b)) => {
                    assert_eq!(a, b);
                    failed += 1;
                }
                _ => panic!("the same draw ended otherwise"),
            }
        }
        assert!((850..970).contains(&completed) && with_findings > 700, "{completed}");
        assert!((40..130).contains(&rejected) && failed > 0, "{rejected} {failed}");
    }
}
