//! Simulated readers whose agreement is known.
//!
//! A reader either knows an endplate's grade or guesses with the frequencies of the population. Two readers who know it
//! together with probability `a * b` then have exactly that kappa, whatever the weights: where one of them guesses, they
//! agree as by chance. Changes gather in some studies, and some studies are hard for all readers, as in patients.

use modicd::agreement::{Grade, Grading, Session};
use modicd::domain::{Endplate, EndplateSide, Level};
use rand::Rng;

/// How often 0, 1, 2, 3 are there, in all and in the studies that have few or many changes.
const FEW: [f64; 4] = [0.92, 0.03, 0.045, 0.005];
const MANY: [f64; 4] = [0.52, 0.17, 0.275, 0.035];
/// How much better readers know an easy study and worse a hard one.
const EASE: f64 = 0.08;
/// How often a reader says in the second session what was said in the first, for the same reason.
const REMEMBERED: f64 = 0.4;

/// A reader, by how often the grade is known: blind, with the map.
#[derive(Debug, Clone)]
pub struct SimulatedReader {
    /// The pseudonym.
    pub name: &'static str,
    /// How often the grade of an endplate is known in each session.
    pub knows: [f64; 2],
}

impl SimulatedReader {
    /// Three readers of whom the junior and the senior agree as those of Gao et al. 2022 did: kappa 0.52 without the model,
    /// 0.58 with it.
    pub fn of_the_paper() -> [SimulatedReader; 3] {
        let junior = [0.52, 0.58].map(|kappa| (kappa - EASE * EASE) / 0.85);
        [
            SimulatedReader { name: "junior", knows: junior },
            SimulatedReader { name: "middle", knows: [0.75, 0.80] },
            SimulatedReader { name: "senior", knows: [0.85, 0.85] },
        ]
    }

    /// The kappa of this reader and another in a session, in the population.
    pub fn kappa(&self, other: &SimulatedReader, session: usize) -> f64 {
        self.knows[session] * other.knows[session] + EASE * EASE
    }
}

/// The twelve endplates from T12 inferior to S1 superior.
pub fn endplates() -> Vec<Endplate> {
    let levels = Level::FROM_SACRUM[..7].iter().rev();
    let sides = [EndplateSide::Superior, EndplateSide::Inferior];
    let all = levels.flat_map(|level| sides.map(|side| Endplate { level: *level, side }));
    all.skip(1).take(12).collect()
}

/// Both sessions of all readers over `studies`, named by `name`.
pub fn simulate(
    readers: &[SimulatedReader],
    studies: usize,
    name: &dyn Fn(usize) -> String,
    random: &mut impl Rng,
) -> Vec<Grading> {
    let frequencies: Vec<f64> =
        FEW.iter().zip(MANY).map(|(few, many)| (few + many) / 2.0).collect();
    let mut gradings = Vec::new();
    for study in 0..studies {
        let truth = if random.random_bool(0.5) { FEW } else { MANY };
        let ease = if random.random_bool(0.5) { EASE } else { -EASE };
        let seconds: Vec<[f64; 2]> = readers
            .iter()
            .map(|_| [random.random_range(60.0..140.0), random.random_range(50.0..120.0)])
            .collect();
        for endplate in endplates() {
            let is = draw(&truth, random);
            for (reader, seconds) in readers.iter().zip(&seconds) {
                // The same luck and the same guess where the reader remembers.
                let mut luck: f64 = random.random();
                let mut guess = draw(&frequencies, random);
                for (i, session) in Session::BOTH.into_iter().enumerate() {
                    if i == 1 && !random.random_bool(REMEMBERED) {
                        (luck, guess) = (random.random(), draw(&frequencies, random));
                    }
                    let knows = luck < reader.knows[i] + ease;
                    let grade = if knows { is } else { guess };
                    gradings.push(Grading {
                        study_ref: name(study),
                        reader: reader.name.to_owned(),
                        session,
                        endplate,
                        grade: if grade == 0 { Grade::None } else { Grade::Type(grade) },
                        seconds: Some(seconds[i].round()),
                        time: None,
                    });
                }
            }
        }
    }
    gradings
}

fn draw(frequencies: &[f64], random: &mut impl Rng) -> u8 {
    let mut left: f64 = random.random();
    for (grade, frequency) in frequencies.iter().enumerate() {
        left -= frequency;
        if left < 0.0 {
            return grade as u8;
        }
    }
    0
}
