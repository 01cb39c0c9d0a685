//! Quantiles of a sample.

/// Of sorted values, the nearest one to the quantile `q` (0 to 1); `None` without values.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    sorted.get((sorted.len().checked_sub(1)? as f64 * q).round() as usize).copied()
}

/// The middle of some values, of an even number the upper one; `None` without any.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::{median, quantile};

    #[test]
    fn the_nearest_value_is_taken() {
        assert_eq!(quantile(&[], 0.5), None);
        let values = [1.0, 2.0, 3.0, 10.0];
        assert_eq!(
            [0.0, 0.3, 0.9, 1.0].map(|q| quantile(&values, q)),
            [1.0, 2.0, 10.0, 10.0].map(Some)
        );
    }

    #[test]
    fn the_median_is_the_quantile_at_a_half() {
        assert_eq!(median([]), None);
        let sorted = [1.0, 2.0, 3.0, 10.0, 11.0, 12.0];
        for n in 1..=sorted.len() {
            assert_eq!(median(sorted[..n].iter().rev().copied()), quantile(&sorted[..n], 0.5));
        }
    }
}
