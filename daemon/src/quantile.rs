//! Quantiles of a sample.

/// Of sorted values, the nearest one to the quantile `q` (0 to 1); `None` without values.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    sorted.get((sorted.len().checked_sub(1)? as f64 * q).round() as usize).copied()
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
