//! Readers beside each other: which endplates count, kappa without and with the map, the difference; reading times.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::bootstrap::{Bootstrap, Difference, Interval, Resampling, add_up, bootstrap};
use super::categories::Categories;
use super::gradings::{Gradings, Session};
use super::kappa::{self, Kappa, Weights};
use crate::domain::Endplate;

/// Kappa in one session.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SessionKappa {
    /// The kappa, with what large samples of independent endplates say of it.
    #[serde(flatten)]
    pub kappa: Kappa,
    /// Its 95 % interval over studies.
    pub interval: Option<Interval>,
}

/// Kappa with one kind of weights.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// The weights.
    pub weights: Weights,
    /// Without the map; `None` where it isn't defined.
    pub blind: Option<SessionKappa>,
    /// With the map; `None` where it isn't defined.
    pub with_map: Option<SessionKappa>,
    /// With less without.
    pub difference: Option<Difference>,
}

/// What kappa is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// Cohen's, of two readers.
    Cohen,
    /// Fleiss', of all.
    Fleiss,
}

/// Readers compared with each other.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// What kappa is meant.
    pub statistic: Statistic,
    /// Who is compared.
    pub readers: Vec<String>,
    /// The sessions that all of them have.
    pub sessions: Vec<Session>,
    /// Studies that count.
    pub studies: usize,
    /// Endplates that count: those that each of the readers graded in each of the sessions.
    pub endplates: usize,
    /// Endplates that one of the readers graded in one of the sessions, but that don't count.
    pub left_out: usize,
    /// For Cohen's kappa, by session: how often the first reader said the row's category and the second the column's.
    pub tables: Vec<Vec<Vec<usize>>>,
    /// Kappa by weights.
    pub figures: Vec<Figure>,
}

/// The categories of an endplate: by session, by reader.
type Ratings = Vec<Vec<usize>>;

impl Comparison {
    /// Compares readers.
    pub(super) fn new(
        statistic: Statistic,
        readers: &[&str],
        gradings: &Gradings,
        categories: Categories,
        resampling: Resampling,
    ) -> Comparison {
        let has = |session: &Session| readers.iter().all(|r| gradings.of(r, *session).is_some());
        let sessions: Vec<Session> = Session::BOTH.into_iter().filter(has).collect();
        let (studies, left_out) = complete(readers, &sessions, gradings, categories);
        let count = categories.names().len();
        let kinds = if categories.are_ordered() { &Weights::ALL[..] } else { &Weights::ALL[..1] };
        let mut comparison = Comparison {
            statistic,
            readers: readers.iter().map(|&r| r.to_owned()).collect(),
            studies: studies.len(),
            endplates: studies.iter().map(Vec::len).sum(),
            left_out,
            tables: Vec::new(),
            figures: Vec::new(),
            sessions,
        };
        if statistic == Statistic::Cohen {
            let sum = comparison.sum(&studies, count, Weights::Unweighted);
            let rows = |t: &[f64]| {
                t.chunks(count).map(|r| r.iter().map(|n| *n as usize).collect()).collect()
            };
            comparison.tables = sum.chunks(count * count).map(rows).collect();
        }
        comparison.figures =
            kinds.iter().map(|w| comparison.figure(&studies, count, *w, resampling)).collect();
        comparison
    }

    /// Who is compared, for people.
    pub fn name(&self) -> String {
        match (self.statistic, &self.readers[..]) {
            (Statistic::Cohen, [first, second]) => format!("{first}, {second}"),
            _ => "all".to_owned(),
        }
    }

    /// What a study adds, one session after the other.
    fn terms(&self, study: &[Ratings], categories: usize, weights: Weights) -> Vec<f64> {
        let of_session = |session: usize| {
            add_up(study.iter().map(|endplate| match (self.statistic, &endplate[session][..]) {
                (Statistic::Cohen, [row, column]) => {
                    let mut table = vec![0.0; categories * categories];
                    table[row * categories + column] = 1.0;
                    table
                }
                (_, readers) => kappa::fleiss_terms(&counts(readers, categories), weights),
            }))
        };
        (0..self.sessions.len()).flat_map(of_session).collect()
    }

    fn sum(&self, studies: &[Vec<Ratings>], categories: usize, weights: Weights) -> Vec<f64> {
        add_up(studies.iter().map(|study| self.terms(study, categories, weights)))
    }

    fn figure(
        &self,
        studies: &[Vec<Ratings>],
        categories: usize,
        weights: Weights,
        resampling: Resampling,
    ) -> Figure {
        let place = |session| self.sessions.iter().position(|s| *s == session);
        let terms: Vec<Vec<f64>> =
            studies.iter().map(|study| self.terms(study, categories, weights)).collect();
        let Bootstrap { intervals, difference } = bootstrap(&terms, resampling, |sum| {
            let part = sum.len() / self.sessions.len();
            Session::BOTH.map(|session| {
                let sum = &sum[place(session)? * part..][..part];
                match self.statistic {
                    Statistic::Cohen => kappa::cohen_value(sum, categories, weights),
                    Statistic::Fleiss => kappa::fleiss_value(sum, weights),
                }
            })
        });
        let of = |session, interval| {
            let place = place(session)?;
            let endplates = studies.iter().flatten().map(|endplate| &endplate[place][..]);
            let kappa = match self.statistic {
                Statistic::Cohen => {
                    let sum = self.sum(studies, categories, weights);
                    let part = categories * categories;
                    kappa::cohen(sum.get(place * part..)?.get(..part)?, categories, weights)
                }
                Statistic::Fleiss => {
                    let counts: Vec<_> = endplates.map(|r| counts(r, categories)).collect();
                    kappa::fleiss(&counts, weights)
                }
            }?;
            Some(SessionKappa { kappa, interval })
        };
        let [blind, with_map] = intervals;
        Figure {
            weights,
            blind: of(Session::Blind, blind),
            with_map: of(Session::WithMap, with_map),
            difference,
        }
    }
}

/// How many readers chose each category.
fn counts(readers: &[usize], categories: usize) -> Vec<f64> {
    let mut counts = vec![0.0; categories];
    readers.iter().for_each(|category| counts[*category] += 1.0);
    counts
}

/// By study, the endplates that each reader graded in each session; and how many others were graded at all.
fn complete(
    readers: &[&str],
    sessions: &[Session],
    gradings: &Gradings,
    categories: Categories,
) -> (Vec<Vec<Ratings>>, usize) {
    let of = |reader, session| gradings.of(reader, session).into_iter().flatten();
    let any: BTreeSet<&(String, Endplate)> = readers
        .iter()
        .flat_map(|reader| sessions.iter().flat_map(move |s| of(reader, *s).map(|(key, _)| key)))
        .collect();
    let mut studies: BTreeMap<&str, Vec<Ratings>> = BTreeMap::new();
    let mut left_out = 0;
    for key in any {
        let rating = |reader: &&str, session| {
            gradings.of(reader, session)?.get(key).and_then(|grade| categories.of(*grade))
        };
        let by_reader = |session: &Session| readers.iter().map(|r| rating(r, *session)).collect();
        match sessions.iter().map(by_reader).collect::<Option<Ratings>>() {
            Some(ratings) => studies.entry(&key.0).or_default().push(ratings),
            None => left_out += 1,
        }
    }
    (studies.into_values().collect(), left_out)
}

/// How long a reader needs for an exam.
#[derive(Debug, Clone, Serialize)]
pub struct Times {
    /// The reader; `None`: all who read in both sessions, or all where nobody did, each time counting alike.
    pub reader: Option<String>,
    /// Studies that have a time in each session that the reader has times for.
    pub studies: usize,
    /// The mean without the map, s.
    pub blind: Option<f64>,
    /// The mean with the map, s.
    pub with_map: Option<f64>,
    /// With less without, s.
    pub difference: Option<Difference>,
}

impl Times {
    /// One reader's times, or those of all.
    pub(super) fn new(reader: Option<&str>, gradings: &Gradings, resampling: Resampling) -> Times {
        let readers = reader.map_or_else(|| gradings.readers(), |reader| [reader].into());
        let seconds = |reader| Session::BOTH.map(|session| gradings.seconds(reader, session));
        let mut times: Vec<[BTreeMap<&str, f64>; 2]> = readers.into_iter().map(seconds).collect();
        // Only pairs of times of one reader and study are compared, else readers would be weighed differently.
        let has_both = |of: &[BTreeMap<&str, f64>; 2]| of.iter().all(|times| !times.is_empty());
        if times.iter().any(has_both) {
            times.retain(has_both);
        }
        let mut studies: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for [blind, with_map] in &times {
            let all: BTreeSet<&str> = blind.keys().chain(with_map.keys()).copied().collect();
            for study in all {
                let one =
                    |of: &BTreeMap<&str, f64>, other: &BTreeMap<&str, f64>| match of.get(study) {
                        Some(seconds) => Some([1.0, *seconds]),
                        None => (of.is_empty() || other.is_empty()).then_some([0.0, 0.0]),
                    };
                if let (Some(a), Some(b)) = (one(blind, with_map), one(with_map, blind)) {
                    let sum = studies.entry(study).or_insert_with(|| vec![0.0; 4]);
                    sum.iter_mut().zip(a.iter().chain(&b)).for_each(|(sum, part)| *sum += part);
                }
            }
        }
        let terms: Vec<Vec<f64>> = studies.into_values().collect();
        let mean = |sum: &[f64], at: usize| (sum[at] > 0.0).then(|| sum[at + 1] / sum[at]);
        let figures = |sum: &[f64]| [mean(sum, 0), mean(sum, 2)];
        let [blind, with_map] =
            if terms.is_empty() { [None, None] } else { figures(&add_up(terms.iter())) };
        let difference = bootstrap(&terms, resampling, figures).difference;
        let reader = reader.map(str::to_owned);
        Times { reader, studies: terms.len(), blind, with_map, difference }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::{Grade, Grading};

    fn times(of: &[(&str, Session, [f64; 2])]) -> Times {
        let rows = of.iter().flat_map(|(reader, session, seconds)| {
            (1..).zip(seconds).map(move |(study, seconds): (u8, _)| Grading {
                study_ref: study.to_string(),
                reader: (*reader).to_owned(),
                session: *session,
                endplate: "L4 inferior".parse().unwrap(),
                grade: Grade::None,
                seconds: Some(*seconds),
                time: None,
            })
        });
        Times::new(None, &Gradings::new(rows).unwrap(), Resampling::default())
    }

    #[test]
    fn times_of_all_are_those_of_readers_who_read_in_both_sessions() {
        let of_a = ("A", Session::Blind, [100.0, 110.0]);
        let of_b = [("B", Session::Blind, [40.0, 60.0]), ("B", Session::WithMap, [30.0, 40.0])];
        let all = times(&[of_a, of_b[0], of_b[1]]);
        assert_eq!((all.studies, all.blind, all.with_map), (2, Some(50.0), Some(35.0)));
        assert_eq!(all.difference.unwrap().value, -15.0);
        // Where nobody has both there is nothing to compare, only to tell.
        let all = times(&[of_a, of_b[0]]);
        assert_eq!((all.blind, all.with_map), (Some(77.5), None));
    }
}
