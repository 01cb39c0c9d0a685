//! Between pixels: Catmull and Rom's cubic, which keeps edges where a linear interpolation would blur them by up to half a
//! pixel. Its values may go beyond those around, also below 0.

use ndarray::ArrayView2;

/// The pixels around a place along one axis and the share of each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Taps {
    at: [usize; 4],
    share: [f32; 4],
}

impl Taps {
    /// At `at` among `n > 0` pixels; what lies beyond the outermost has their value. Towards them the picture goes on as
    /// straight as it ends, so that a ramp stays a ramp.
    pub fn new(at: f64, n: usize) -> Taps {
        let last = n - 1;
        let at = at.clamp(0.0, last as f64);
        let low = (at as usize).min(last.saturating_sub(1));
        let f = (at - low as f64) as f32;
        let [f2, f3] = [f * f, f * f * f];
        let mut share = [
            -0.5 * f3 + f2 - 0.5 * f,
            1.5 * f3 - 2.5 * f2 + 1.0,
            -1.5 * f3 + 2.0 * f2 + 0.5 * f,
            0.5 * f3 - 0.5 * f2,
        ];
        if low == 0 {
            share = [0.0, share[1] + 2.0 * share[0], share[2] - share[0], share[3]];
        }
        if low + 2 > last {
            share = [share[0], share[1] - share[3], share[2] + 2.0 * share[3], 0.0];
        }
        let at = [low.saturating_sub(1), low, (low + 1).min(last), (low + 2).min(last)];
        Taps { at, share }
    }
}

/// A slice's value where these meet.
pub(super) fn value(slice: ArrayView2<f32>, rows: &Taps, columns: &Taps) -> f32 {
    let along_row = |r: usize| -> f32 {
        columns.at.iter().zip(columns.share).map(|(c, share)| slice[[r, *c]] * share).sum()
    };
    rows.at.iter().zip(rows.share).map(|(r, share)| along_row(*r) * share).sum()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_ramp_stays_a_ramp_up_to_its_last_pixel(
            n in 1..9usize, m in 1..9usize, at in prop::array::uniform2(-3.0..12.0f64),
        ) {
            let ramp = Array2::from_shape_fn((n, m), |(r, c)| 3.0 * r as f32 - c as f32);
            let [r, c] = [at[0].clamp(0.0, n as f64 - 1.0), at[1].clamp(0.0, m as f64 - 1.0)];
            let got = value(ramp.view(), &Taps::new(at[0], n), &Taps::new(at[1], m));
            prop_assert!((got as f64 - (3.0 * r - c)).abs() < 1e-4, "{got} at {at:?}");
        }
    }

    #[test]
    fn a_pixel_keeps_its_value_and_an_edge_is_steeper_than_a_line() {
        let edge = ndarray::array![[0.0], [0.0], [1.0], [1.0]];
        let at = |row: f64| value(edge.view(), &Taps::new(row, 4), &Taps::new(0.0, 1));
        assert_eq!([0.0, 1.0, 2.0, 3.0].map(at), [0.0, 0.0, 1.0, 1.0]);
        assert_eq!(at(1.5), 0.5);
        assert!(at(1.25) < 0.25 && at(1.75) > 0.75);
    }
}
