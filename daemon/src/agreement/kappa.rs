//! Cohen's kappa of two readers and Fleiss' kappa of several, plain and weighted.
//!
//! Both are sums over endplates first and figures afterwards, so that a bootstrap only adds up what studies
//! contribute. A kappa that isn't defined is `None`, never NaN: it is where chance alone would agree always, since only
//! one category was used.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// How much two categories agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// 1 in the same category, else 0.
    Unweighted,
    /// 1 less the distance over the largest one (Cicchetti and Allison 1971).
    Linear,
    /// 1 less the squared distance over the largest one (Fleiss and Cohen 1973).
    Quadratic,
}

impl Weights {
    /// All three.
    pub const ALL: [Weights; 3] = [Weights::Unweighted, Weights::Linear, Weights::Quadratic];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Weights::Unweighted => "unweighted",
            Weights::Linear => "linear",
            Weights::Quadratic => "quadratic",
        }
    }

    /// The agreement of categories `i` and `j` of `of` ones.
    fn agreement(self, i: usize, j: usize, of: usize) -> f64 {
        let distance = i.abs_diff(j) as f64 / of.saturating_sub(1).max(1) as f64;
        match self {
            Weights::Unweighted => f64::from(i == j),
            Weights::Linear => 1.0 - distance,
            Weights::Quadratic => 1.0 - distance * distance,
        }
    }
}

/// A kappa with what large samples of independent endplates say of its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Kappa {
    /// The agreement beyond chance: 1 always, 0 as by chance.
    pub value: f64,
    /// The (weighted) share of agreement.
    pub observed: f64,
    /// The share that chance alone gives.
    pub expected: f64,
    /// Its standard error; `None` where the sample is too small for one.
    pub standard_error: Option<f64>,
    /// The test statistic of kappa being 0; `None` where its standard error is 0.
    pub z: Option<f64>,
    /// The two-sided p-value of kappa being 0.
    pub p: Option<f64>,
}

/// Shares closer to 1 than this are 1: what differs is rounding.
const ROUNDING: f64 = 1e-12;

fn beyond_chance(observed: f64, expected: f64) -> Option<f64> {
    (expected < 1.0 - ROUNDING).then(|| (observed - expected) / (1.0 - expected))
}

/// The root of an endplate's variance, which is 0 where there is only what rounding left, on whatever side.
fn root(variance: f64) -> f64 {
    if variance > ROUNDING { variance.sqrt() } else { 0.0 }
}

/// Cohen's kappa of a square table (rows one reader, columns the other), given row by row.
///
/// The value alone, for resampling: see [`cohen`].
pub(crate) fn cohen_value(table: &[f64], categories: usize, weights: Weights) -> Option<f64> {
    let (observed, expected) = cohen_shares(table, &Margins::of(table, categories)?, weights);
    beyond_chance(observed, expected)
}

/// Shares of each category: of the rows, of the columns.
struct Margins {
    total: f64,
    rows: Vec<f64>,
    columns: Vec<f64>,
}

impl Margins {
    fn of(table: &[f64], categories: usize) -> Option<Margins> {
        let total: f64 = table.iter().sum();
        let row = |i| table[i * categories..][..categories].iter().sum::<f64>() / total;
        let column = |j| table.iter().skip(j).step_by(categories).sum::<f64>() / total;
        (total > 0.0).then(|| Margins {
            total,
            rows: (0..categories).map(row).collect(),
            columns: (0..categories).map(column).collect(),
        })
    }
}

fn cohen_shares(table: &[f64], margins: &Margins, weights: Weights) -> (f64, f64) {
    let of = margins.rows.len();
    let (mut observed, mut expected) = (0.0, 0.0);
    for i in 0..of {
        for j in 0..of {
            let agreement = weights.agreement(i, j, of);
            observed += agreement * table[i * of + j] / margins.total;
            expected += agreement * margins.rows[i] * margins.columns[j];
        }
    }
    (observed, expected)
}

/// Cohen's kappa of a square table of counts (rows one reader, columns the other), given row by row.
///
/// Cohen 1960 and 1968; standard errors by Fleiss, Cohen and Everitt 1969: [`Kappa::z`] uses the one that holds when
/// kappa is 0, and is standard normal then.
pub fn cohen(table: &[f64], categories: usize, weights: Weights) -> Option<Kappa> {
    let margins = Margins::of(table, categories)?;
    let (observed, expected) = cohen_shares(table, &margins, weights);
    let value = beyond_chance(observed, expected)?;
    let Margins { total, rows, columns } = &margins;
    let all = 0..categories;
    let agreement = |i, j| weights.agreement(i, j, categories);
    // The mean agreement of a category with what the other reader says.
    let of_row = |i| all.clone().map(|j| agreement(i, j) * columns[j]).sum::<f64>();
    let of_column = |j| all.clone().map(|i| agreement(i, j) * rows[i]).sum::<f64>();
    let (mut variance, mut variance_of_zero) = (0.0, 0.0);
    for i in all.clone() {
        for j in all.clone() {
            let (weight, mean) = (agreement(i, j), of_row(i) + of_column(j));
            let share = table[i * categories + j] / total;
            variance += share * (weight - mean * (1.0 - value)).powi(2);
            variance_of_zero += rows[i] * columns[j] * (weight - mean).powi(2);
        }
    }
    variance -= (value - expected * (1.0 - value)).powi(2);
    variance_of_zero -= expected.powi(2);
    let scale = (1.0 - expected) * total.sqrt();
    let error_of_zero = root(variance_of_zero) / scale;
    let z = (error_of_zero > 0.0).then(|| value / error_of_zero);
    let p = z.map(|z| 2.0 * Normal::standard().sf(z.abs()));
    let standard_error = Some(root(variance) / scale);
    Some(Kappa { value, observed, expected, standard_error, z, p })
}

/// What an endplate adds to a [`Fleiss`] sum.
///
/// `counts` says how many of the readers chose each category; all endplates need the same number of readers.
pub(super) fn fleiss_terms(counts: &[f64], weights: Weights) -> Vec<f64> {
    let readers: f64 = counts.iter().sum();
    let agreeing: f64 =
        agreeing(counts, weights).iter().zip(counts).map(|(w, n)| n * (w - 1.0)).sum();
    let mut terms = vec![1.0, agreeing / (readers * (readers - 1.0))];
    terms.extend(counts.iter().map(|count| count / readers));
    terms
}

/// For each category the readers that agree with it, by weight.
fn agreeing(counts: &[f64], weights: Weights) -> Vec<f64> {
    let of = counts.len();
    let sum = |i| counts.iter().enumerate().map(|(j, n)| weights.agreement(i, j, of) * n).sum();
    (0..of).map(sum).collect()
}

/// Fleiss' kappa of the sum of [`fleiss_terms`]. The value alone, for resampling: see [`fleiss`].
pub(super) fn fleiss_value(sum: &[f64], weights: Weights) -> Option<f64> {
    let (observed, expected) = fleiss_shares(sum, weights)?;
    beyond_chance(observed, expected)
}

fn fleiss_shares(sum: &[f64], weights: Weights) -> Option<(f64, f64)> {
    let [endplates, observed, categories @ ..] = sum else { return None };
    if *endplates <= 0.0 {
        return None;
    }
    let shares: Vec<f64> = categories.iter().map(|sum| sum / endplates).collect();
    let expected = agreeing(&shares, weights).iter().zip(&shares).map(|(w, p)| w * p).sum();
    Some((observed / endplates, expected))
}

/// Fleiss' kappa of several readers: for each endplate, how many of them chose each category.
///
/// Fleiss 1971; weighted, and with its standard error, as generalized by Gwet (Handbook of Inter-Rater Reliability, 2014):
/// the readers are taken as interchangeable. [`Kappa::z`] has Student's t distribution with one degree of freedom less
/// than there are endplates. `None` also where there are fewer than two readers.
pub fn fleiss(endplates: &[Vec<f64>], weights: Weights) -> Option<Kappa> {
    let readers: f64 = endplates.first()?.iter().sum();
    if readers < 2.0 {
        return None;
    }
    let n = endplates.len() as f64;
    let terms: Vec<Vec<f64>> = endplates.iter().map(|c| fleiss_terms(c, weights)).collect();
    let sum = super::bootstrap::add_up(terms.iter());
    let (observed, expected) = fleiss_shares(&sum, weights)?;
    let value = beyond_chance(observed, expected)?;
    let shares: Vec<f64> = sum[2..].iter().map(|sum| sum / n).collect();
    let mean = agreeing(&shares, weights);
    // Each endplate's own kappa, less its part in the chance agreement.
    let squares = terms.iter().map(|term| {
        let chance: f64 = term[2..].iter().zip(&mean).map(|(share, w)| share * w).sum();
        let own = (term[1] - expected) - 2.0 * (1.0 - value) * (chance - expected);
        (own / (1.0 - expected) - value).powi(2)
    });
    let variance = squares.sum::<f64>() / (n - 1.0);
    let standard_error = (endplates.len() > 1).then(|| root(variance) / n.sqrt());
    let z = standard_error.filter(|error| *error > 0.0).map(|error| value / error);
    let p = z.and_then(|z| two_sided(z, n - 1.0));
    Some(Kappa { value, observed, expected, standard_error, z, p })
}

/// The two-sided p-value of Student's t; `None` below one degree of freedom.
pub(super) fn two_sided(t: f64, degrees_of_freedom: f64) -> Option<f64> {
    if degrees_of_freedom < 1.0 {
        return None;
    }
    let distribution = StudentsT::new(0.0, 1.0, degrees_of_freedom).ok()?;
    Some(2.0 * distribution.sf(t.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Option<f64>, expected: f64) {
        assert!(found.is_some_and(|f| (f - expected).abs() < 1e-4), "{found:?}, not {expected}");
    }

    const TABLE: [f64; 9] = [10.0, 4.0, 1.0, 6.0, 8.0, 2.0, 2.0, 3.0, 14.0];

    #[test]
    fn cohens_kappa_is_its_definition() {
        let plain = cohen(&TABLE, 3, Weights::Unweighted).unwrap();
        let (observed, expected) =
            (32.0 / 50.0, (15.0 * 18.0 + 16.0 * 15.0 + 19.0 * 17.0) / 2500.0);
        close(Some(plain.value), (observed - expected) / (1.0 - expected));
        let [linear, quadratic] =
            [Weights::Linear, Weights::Quadratic].map(|w| cohen(&TABLE, 3, w).unwrap().value);
        assert!(plain.value < linear && linear < quadratic);
    }

    #[test]
    fn two_categories_leave_nothing_to_weigh() {
        let table = [20.0, 5.0, 10.0, 15.0];
        for weights in Weights::ALL {
            close(cohen(&table, 2, weights).map(|k| k.value), 0.4);
        }
    }

    #[test]
    fn what_is_not_defined_is_none_and_never_nan() {
        for weights in Weights::ALL {
            assert_eq!(cohen(&[0.0; 9], 3, weights), None, "nothing graded");
            assert_eq!(cohen(&[7.0, 0.0, 0.0, 0.0], 2, weights), None, "one category");
            assert_eq!(fleiss(&[], weights), None);
            assert_eq!(fleiss(&[vec![1.0, 0.0]], weights), None, "one reader");
            assert_eq!(fleiss(&[vec![3.0, 0.0]], weights), None, "one category");
            // One reader always says the same: agreement as by chance, and no test of it.
            let constant = cohen(&[7.0, 3.0, 0.0, 0.0], 2, weights).unwrap();
            assert_eq!((constant.value, constant.z), (0.0, None));
            let perfect = cohen(&[7.0, 0.0, 0.0, 3.0], 2, weights).unwrap();
            assert_eq!((perfect.value, perfect.standard_error), (1.0, Some(0.0)));
            let single = fleiss(&[vec![2.0, 1.0]], weights).unwrap();
            assert_eq!((single.standard_error, single.z, single.p), (None, None, None));
        }
    }

    #[test]
    fn fleiss_kappa_of_his_own_example() {
        // Fleiss 1971: 14 raters, 10 subjects, 5 categories; the example of many textbooks.
        let table = [
            [0, 0, 0, 0, 14],
            [0, 2, 6, 4, 2],
            [0, 0, 3, 5, 6],
            [0, 3, 9, 2, 0],
            [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0],
            [3, 2, 6, 3, 0],
            [2, 5, 3, 2, 2],
            [6, 5, 2, 1, 0],
            [0, 2, 2, 3, 7],
        ];
        let table: Vec<Vec<f64>> = table.iter().map(|r| r.map(f64::from).to_vec()).collect();
        let kappa = fleiss(&table, Weights::Unweighted).unwrap();
        close(Some(kappa.observed), 0.37802);
        close(Some(kappa.value), 0.20993);
    }
}
