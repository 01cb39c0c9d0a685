//! Quantiles of a sample.

/// Of sorted values, the nearest one to the quantile `q` (0 to 1); `None` without values.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    sorted.get((sorted.len().checked_sub(1)? as f64 * q).round() as usize).copied()
}

/// The middle of some values; `None` without any.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn the_nearest_value_is_taken() {
        assert_eq!(quantile(&[], 0.5), None);
        let values = [1.0, 2.0, 3.0, 10.0];
        assert_eq!(
            [0.0, 0.3, 0.9, 1.0].map(|q| quantile(&values, q)),
            [1.0, 2.0, 10.0, 10.0].map(Some)
        );
    }
}
