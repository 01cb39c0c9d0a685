//! The figures of a report: what is counted, over whom, in which unit.

use std::collections::BTreeSet;

use serde::Serialize;

use super::changes::{Change, DiscOutcome, EndplateOutcome, MIN_LESION_MM3};
use super::statistics::{Estimate, TwoByTwo, auc, bootstrap, kappa, mean, share};
use super::{Body, Disturbance, Exam, calibration};
use crate::quantile::median;

/// Composition that is off by no more than this is right, points of %.
const COMPOSITION_POINTS: f64 = 10.0;

pub(super) const ANALYSIS: &str = "Analysis";
pub(super) const BODIES: &str = "Vertebral bodies";
pub(super) const LEVELS: &str = "Levels";
pub(super) const ENDPLATES: &str = "Modic changes by endplate";
pub(super) const DISCS: &str = "Modic changes by disc";
pub(super) const ROBUSTNESS: &str = "Findings that stay the same";
pub(super) const AGAINST: &str = "Against the other bundles";

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What it belongs to.
    pub group: &'static str,
    /// What it is.
    pub name: &'static str,
    /// Its value and 95 % interval.
    pub estimate: Estimate,
    /// How many of what it rests on.
    pub of: String,
}

/// A table of truth against found.
#[derive(Debug, Clone, Serialize)]
pub struct Confusion {
    /// What is counted.
    pub title: &'static str,
    /// Names of the rows: the truth.
    pub rows: Vec<String>,
    /// Names of the columns: what was found.
    pub columns: Vec<String>,
    /// Counts.
    pub counts: Vec<Vec<usize>>,
}

/// All figures that the exams allow.
pub(super) fn of(exams: &[Exam]) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut add = |group, name, of: String, value: &dyn Fn(&[&Exam]) -> Option<f64>| {
        if let Some(estimate) = bootstrap(exams, value) {
            figures.push(Figure { group, name, estimate, of });
        }
    };
    let all: Vec<&Exam> = exams.iter().collect();

    add(ANALYSIS, "done again without rounding", format!("{} exams", exams.len()), &|exams| {
        part(exams.iter().map(|e| e.unrounded))
    });

    let those = |that: &dyn Fn(&Exam) -> bool| {
        format!("{} exams", exams.iter().filter(|e| that(e)).count())
    };
    let each = format!("{} bodies", of_bodies(&all).count());
    let outlined = of_bodies(&all).filter(|b| b.surface_mm.is_some()).count();
    let outlined = format!("{outlined} found bodies");
    add(BODIES, "Dice, bodies above S1", those(&|e| e.bodies.is_some()), &|exams| {
        mean(exams.iter().filter_map(|e| Some(e.bodies.as_ref()?.dice)))
    });
    let s1_dice = |e: &Exam| e.bodies.as_ref()?.s1_dice;
    add(BODIES, "Dice, S1", those(&|e| s1_dice(e).is_some()), &|exams| {
        mean(exams.iter().filter_map(|e| s1_dice(e)))
    });
    add(BODIES, "Dice, body by body", each.clone(), &|e| mean(of_bodies(e).map(|b| b.dice)));
    add(BODIES, "surface distance, mean, mm", outlined.clone(), &|exams| {
        mean(of_bodies(exams).filter_map(|b| b.surface_mm))
    });
    add(BODIES, "surface distance, 95th percentile, mm", outlined, &|exams| {
        mean(of_bodies(exams).filter_map(|b| b.hausdorff95_mm))
    });
    add(BODIES, "missed or merged", each.clone(), &|exams| {
        part(of_bodies(exams).map(|b| b.named.is_none() || b.merged))
    });
    add(BODIES, "named as in the truth", each, &|exams| {
        part(of_bodies(exams).map(|b| b.named == Some(b.level)))
    });
    add(BODIES, "Dice, changed voxels", those(&|e| e.modic_dice.is_some()), &|exams| {
        mean(exams.iter().filter_map(|e| e.modic_dice))
    });

    let is_placed = |e: &Exam| e.discs.iter().any(|d| d.placed);
    add(LEVELS, "exams with every disc right", those(&is_placed), &|exams| {
        part(exams.iter().filter(|e| is_placed(e)).map(|e| {
            let mut placed = e.discs.iter().filter(|d| d.placed);
            placed.all(|d| d.counted == Some(d.number))
        }))
    });
    add(LEVELS, "exams without a wrong name", those(&is_placed), &|exams| {
        part(exams.iter().filter(|e| is_placed(e)).map(|e| names_nothing_wrong(&e.discs)))
    });
    let discs = of_discs(&all).filter(|d| d.placed).count();
    add(LEVELS, "discs right", format!("{discs} discs"), &|exams| {
        part(of_discs(exams).filter(|d| d.placed).map(|d| d.counted == Some(d.number)))
    });
    let graded = format!("{} discs", graded(&all).count());
    add(LEVELS, "graded discs that are seen", graded.clone(), &|e| {
        part(self::graded(e).map(|(_, d)| d.seen))
    });

    let table = format!("{} endplates", counted(&all).count());
    let there = format!("{} lesions", lesions(&all).count());
    let hits = format!("{} found lesions", found_lesions(&all).count());
    let of_endplates =
        |e: &[&Exam]| TwoByTwo::count(counted(e).map(|e| (e.truth.is_some(), e.found.is_some())));
    add(ENDPLATES, "sensitivity", table.clone(), &|e| of_endplates(e).sensitivity());
    add(ENDPLATES, "specificity", table.clone(), &|e| of_endplates(e).specificity());
    add(ENDPLATES, "balanced accuracy", table.clone(), &|e| of_endplates(e).balanced_accuracy());
    add(ENDPLATES, "kappa", table, &|e| of_endplates(e).kappa());
    let is_known = |e: &Exam| !e.endplates.is_empty();
    add(ENDPLATES, "false findings an exam", those(&is_known), &|exams| {
        mean(exams.iter().filter(|e| is_known(e)).map(|e| {
            let wrong = |e: &&EndplateOutcome| e.truth.is_none() && e.found.is_some();
            (e.endplates.iter().filter(wrong).count() + e.false_beyond.len()) as f64
        }))
    });
    add(ENDPLATES, "found with the right type", there, &|exams| {
        part(lesions(exams).map(|(t, found)| found.is_some_and(|f| f.pattern == t.pattern)))
    });
    add(ENDPLATES, "type right where found", hits.clone(), &|exams| {
        part(found_lesions(exams).map(|(truth, found)| truth.pattern == found.pattern))
    });
    add(ENDPLATES, "the same types, either the larger", hits.clone(), &|exams| {
        part(found_lesions(exams).map(|(truth, found)| same_types(&truth.pattern, &found.pattern)))
    });
    add(ENDPLATES, "volume error, median, %", hits.clone(), &|exams| {
        median(
            found_lesions(exams)
                .map(|(t, f)| 100.0 * (f.volume_mm3 - t.volume_mm3).abs() / t.volume_mm3),
        )
    });
    add(ENDPLATES, "volume, found minus true, mean, mm³", hits.clone(), &|exams| {
        mean(found_lesions(exams).map(|(t, f)| f.volume_mm3 - t.volume_mm3))
    });
    add(ENDPLATES, "height, found minus true, mean, points", hits, &|exams| {
        mean(found_lesions(exams).map(|(t, f)| f.height_percent - t.height_percent))
    });
    let mixed = format!("{} found mixed lesions", mixed_errors(&all).count());
    add(ENDPLATES, "mixed composition, largest error, median, points", mixed.clone(), &|e| {
        median(mixed_errors(e))
    });
    add(ENDPLATES, "mixed composition within 10 points", mixed, &|exams| {
        part(mixed_errors(exams).map(|error| error <= COMPOSITION_POINTS))
    });

    add(ENDPLATES, "calibration error of voxels", those(&|e| e.voxels.count() > 0), &|exams| {
        calibration::of_voxels(exams).error()
    });

    let of_graded =
        |e: &[&Exam]| TwoByTwo::count(self::graded(e).map(|(g, d)| (g > 0, d.found.is_some())));
    add(DISCS, "sensitivity", graded.clone(), &|e| of_graded(e).sensitivity());
    add(DISCS, "specificity", graded.clone(), &|e| of_graded(e).specificity());
    add(DISCS, "balanced accuracy", graded.clone(), &|e| of_graded(e).balanced_accuracy());
    add(DISCS, "kappa", graded.clone(), &|e| of_graded(e).kappa());
    let seen =
        format!("{} discs that are seen", self::graded(&all).filter(|(_, d)| d.seen).count());
    let of_seen = |e: &[&Exam]| {
        let seen = self::graded(e).filter(|(_, d)| d.seen);
        TwoByTwo::count(seen.map(|(g, d)| (g > 0, d.found.is_some())))
    };
    add(DISCS, "specificity where seen", seen.clone(), &|e| of_seen(e).specificity());
    add(DISCS, "kappa where seen", seen.clone(), &|e| of_seen(e).kappa());
    add(DISCS, "kappa of grades, linear weights", graded.clone(), &|exams| {
        let mut table = [[0; 4]; 4];
        for (grade, disc) in self::graded(exams) {
            table[usize::from(grade)][type_of(disc.found.as_deref(), grade)] += 1;
        }
        kappa(&table)
    });
    add(DISCS, "area under the ROC curve of the score", graded, &|exams| {
        let scores: Vec<_> = self::graded(exams).map(|(g, d)| (g > 0, d.score)).collect();
        auc(&scores)
    });
    add(DISCS, "calibration error of the score", seen, &|e| calibration::of_discs(e).error());
    for (index, (name, _)) in Disturbance::ALL.into_iter().enumerate() {
        let tried = |exams: &[&Exam]| -> (usize, usize) {
            let outcomes = exams.iter().filter_map(|e| e.robustness.get(index));
            outcomes.fold((0, 0), |(same, all), o| (same + o.same, all + o.all()))
        };
        let of = format!("{} findings", tried(&all).1);
        add(ROBUSTNESS, name, of, &|exams| {
            let (same, all) = tried(exams);
            share(same, all)
        });
    }
    let both = those(&|e| e.against.is_some());
    add(AGAINST, "findings with the same type", both.clone(), &|exams| {
        let outcomes = exams.iter().filter_map(|e| Some(&e.against.as_ref()?.findings));
        let (same, all) = outcomes.fold((0, 0), |(s, n), o| (s + o.same, n + o.all()));
        share(same, all)
    });
    add(AGAINST, "findings with another type, in all", both, &|exams| {
        let mut outcomes =
            exams.iter().filter_map(|e| Some(&e.against.as_ref()?.findings)).peekable();
        outcomes.peek()?;
        Some(outcomes.map(|o| o.retyped as f64).sum())
    });
    let bodies = |e: &Exam| Some(e.against.as_ref()?.bodies_dice? - e.bodies.as_ref()?.dice);
    let of = those(&|e| bodies(e).is_some());
    add(AGAINST, "Dice, bodies above S1: theirs minus ours", of, &|exams| {
        mean(exams.iter().filter_map(|e| bodies(e)))
    });
    let changed = |e: &Exam| Some(e.against.as_ref()?.modic_dice? - e.modic_dice?);
    let of = those(&|e| changed(e).is_some());
    add(AGAINST, "Dice, changed voxels: theirs minus ours", of, &|exams| {
        mean(exams.iter().filter_map(|e| changed(e)))
    });
    figures
}

fn part(these: impl IntoIterator<Item = bool>) -> Option<f64> {
    let (yes, all) = these.into_iter().fold((0, 0), |(y, n), is| (y + usize::from(is), n + 1));
    share(yes, all)
}

fn of_bodies<'a>(exams: &'a [&Exam]) -> impl Iterator<Item = &'a Body> {
    exams.iter().filter_map(|e| e.bodies.as_ref()).flat_map(|b| &b.each)
}

fn of_discs<'a>(exams: &'a [&Exam]) -> impl Iterator<Item = &'a DiscOutcome> {
    exams.iter().flat_map(|e| &e.discs)
}

/// Whether all discs that the program sees at a known place have their number, and there are any.
fn names_nothing_wrong(discs: &[DiscOutcome]) -> bool {
    let mut right = discs.iter().filter_map(|d| Some(d.counted? == d.number)).peekable();
    right.peek().is_some() && right.all(|right| right)
}

/// Graded discs, seen or not. Where an exam was refused nothing was found.
fn graded<'a>(exams: &'a [&Exam]) -> impl Iterator<Item = (u8, &'a DiscOutcome)> {
    of_discs(exams).filter_map(|d| Some((d.grade?, d)))
}

/// Endplates without a lesion, and those with one large enough.
fn counted<'a>(exams: &'a [&Exam]) -> impl Iterator<Item = &'a EndplateOutcome> {
    exams
        .iter()
        .flat_map(|e| &e.endplates)
        .filter(|e| e.truth.as_ref().is_none_or(|t| t.volume_mm3 >= MIN_LESION_MM3))
}

fn lesions<'a>(exams: &'a [&Exam]) -> impl Iterator<Item = (&'a Change, Option<&'a Change>)> {
    counted(exams).filter_map(|e| Some((e.truth.as_ref()?, e.found.as_ref())))
}

pub(super) fn found_lesions<'a>(
    exams: &'a [&Exam],
) -> impl Iterator<Item = (&'a Change, &'a Change)> {
    lesions(exams).filter_map(|(truth, found)| Some((truth, found?)))
}

/// The largest error of a share, in points, of every mixed lesion that was found.
fn mixed_errors(exams: &[&Exam]) -> impl Iterator<Item = f64> {
    found_lesions(exams).filter(|(truth, _)| truth.pattern.contains('-')).map(|(truth, found)| {
        let shares = truth.composition_percent.iter().zip(found.composition_percent);
        shares.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    })
}

/// Whether two patterns name the same types: `1-2` and `2-1` do.
fn same_types(a: &str, b: &str) -> bool {
    a == b || a.split('-').rev().eq(b.split('-'))
}

/// A pattern's first type, 0 for nothing found. Indeterminate is no type, so it counts as the grade that is farthest from the
/// true one: left out, a false finding would be forgiven.
fn type_of(pattern: Option<&str>, grade: u8) -> usize {
    let farthest = if grade < 2 { 3 } else { 0 };
    let first = |pattern: &str| pattern.get(..1)?.parse().ok();
    pattern.map_or(0, |pattern| first(pattern).unwrap_or(farthest))
}

/// Tables of truth against found: by endplate with mixed types apart, by disc as graded.
pub(super) fn confusions(exams: &[Exam]) -> Vec<Confusion> {
    let all: Vec<&Exam> = exams.iter().collect();
    let name = |change: Option<&Change>| change.map_or("none", |c| c.pattern.as_str()).to_owned();
    let endplates = counted(&all).map(|e| (name(e.truth.as_ref()), name(e.found.as_ref())));
    let discs = graded(&all).map(|(grade, disc)| {
        let grade = if grade == 0 { "none".to_owned() } else { grade.to_string() };
        (grade, disc.found.clone().unwrap_or_else(|| "none".to_owned()))
    });
    [
        table("Type by endplate: truth (rows) and found (columns)", endplates.collect()),
        table("Type by disc: graded (rows) and found (columns)", discs.collect()),
    ]
    .into_iter()
    .filter(|t| !t.rows.is_empty())
    .collect()
}

fn table(title: &'static str, pairs: Vec<(String, String)>) -> Confusion {
    // "none" first, then in the order of their names.
    let sorted = |names: &mut dyn Iterator<Item = &String>| -> Vec<String> {
        let names: BTreeSet<(bool, &String)> = names.map(|n| (n != "none", n)).collect();
        names.into_iter().map(|(_, n)| n.clone()).collect()
    };
    let rows = sorted(&mut pairs.iter().map(|p| &p.0));
    let columns = sorted(&mut pairs.iter().map(|p| &p.1));
    let count = |row: &String, column: &String| {
        pairs.iter().filter(|(truth, found)| truth == row && found == column).count()
    };
    let counts = rows.iter().map(|r| columns.iter().map(|c| count(r, c)).collect()).collect();
    Confusion { title, rows, columns, counts }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Endplate, EndplateSide, Level};
    use crate::evaluate::Bodies;

    fn disc(number: usize, grade: u8, found: Option<&str>) -> DiscOutcome {
        DiscOutcome {
            number,
            grade: Some(grade),
            seen: found.is_some(),
            found: found.map(str::to_owned),
            score: 0.0,
            counted: None,
            placed: true,
        }
    }

    fn figure(figures: &[Figure], group: &str, name: &str) -> (f64, String) {
        let one = figures.iter().find(|f| f.group == group && f.name == name).unwrap();
        (one.estimate.value, one.of.clone())
    }

    #[test]
    fn an_indeterminate_finding_is_as_wrong_as_can_be() {
        let indeterminate = [0, 1, 2, 3].map(|grade| type_of(Some("indeterminate"), grade));
        assert_eq!(indeterminate, [3, 3, 0, 0]);
        assert_eq!([None, Some("1"), Some("2-1")].map(|found| type_of(found, 0)), [0, 1, 2]);
        let discs =
            vec![disc(1, 2, Some("2")), disc(2, 0, None), disc(3, 0, Some("indeterminate"))];
        let figures = of(&[Exam { discs, ..Exam::default() }]);
        let (kappa, _) = figure(&figures, DISCS, "kappa of grades, linear weights");
        assert!(kappa < 0.5, "{kappa}");
    }

    #[test]
    fn figures_rest_on_those_alone_that_contribute() {
        let body = |surface_mm| Body {
            level: Level::L5,
            named: None,
            dice: 0.5,
            surface_mm,
            hausdorff95_mm: surface_mm,
            merged: false,
        };
        let bodies =
            |s1_dice| Bodies { dice: 0.5, s1_dice, each: vec![body(Some(1.0)), body(None)] };
        let exam = |s1_dice| Exam { bodies: Some(bodies(s1_dice)), ..Exam::default() };
        let mut exams = [exam(Some(0.9)), exam(None)];
        exams[1].modic_dice = Some(0.0);
        let figures = of(&exams);
        let of = |name| figure(&figures, BODIES, name);
        assert_eq!(of("Dice, S1"), (0.9, "1 exams".to_owned()));
        assert_eq!(of("Dice, changed voxels"), (0.0, "1 exams".to_owned()));
        assert_eq!(of("Dice, bodies above S1"), (0.5, "2 exams".to_owned()));
        assert_eq!(of("surface distance, mean, mm"), (1.0, "2 found bodies".to_owned()));
    }

    #[test]
    fn what_is_not_seen_is_named_neither_right_nor_wrong() {
        let counted = |counted| vec![DiscOutcome { counted, ..disc(1, 0, None) }];
        assert!(names_nothing_wrong(&counted(Some(1))));
        assert!(!names_nothing_wrong(&counted(Some(2))) && !names_nothing_wrong(&counted(None)));
        let discs = vec![disc(1, 0, None), disc(2, 0, Some("2")), disc(3, 1, Some("1"))];
        let figures = of(&[Exam { discs, ..Exam::default() }]);
        let name = "exams without a wrong name";
        assert_eq!(figure(&figures, LEVELS, name), (0.0, "1 exams".to_owned()));
        assert_eq!(figure(&figures, DISCS, "specificity"), (0.5, "3 discs".to_owned()));
        let seen = figure(&figures, DISCS, "specificity where seen");
        assert_eq!(seen, (0.0, "2 discs that are seen".to_owned()));
    }

    #[test]
    fn false_findings_count_wherever_they_are() {
        let endplate = Endplate { level: Level::L4, side: EndplateSide::Inferior };
        let beyond = Endplate { level: Level::T12, side: EndplateSide::Inferior };
        let outcome = EndplateOutcome { endplate, truth: None, found: None };
        let endplates = vec![outcome];
        let figures = of(&[Exam { endplates, false_beyond: vec![beyond], ..Exam::default() }]);
        assert_eq!(figure(&figures, ENDPLATES, "false findings an exam").0, 1.0);
    }

    #[test]
    fn the_order_of_two_types_is_not_their_names() {
        assert!(same_types("1-2", "2-1") && same_types("3", "3") && same_types("1-2", "1-2"));
        assert!(!same_types("1-2", "1") && !same_types("1-2", "1-3") && !same_types("1", "2"));
    }
}
