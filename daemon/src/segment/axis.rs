//! How the spine is tilted in the slices: network 2 sees it as it usually lies, however the patient lay.

use ndarray::ArrayView3;

/// How the spine is tilted as a rule, degrees, its lower end towards higher columns positive: the mean of SPIDER's 108
/// training and validation patients, who range from -15 to 6.
const USUAL_TILT_DEG: f64 = -4.5;
/// Bodies are a column where the variance along their longest axis is this many times that across.
const COLUMN: f64 = 3.0;
/// A longest axis tilted by more than this is no spine's.
const MAX_TILT_DEG: f64 = 45.0;

/// By how much the spine is turned against how it usually lies, degrees, its lower end towards higher columns
/// positive; 0 where `bodies`, whose rows and columns are `spacing_mm` apart, are no column.
pub(super) fn turn_deg(bodies: ArrayView3<bool>, spacing_mm: [f64; 2]) -> f64 {
    let (mut count, mut sum, mut squares) = (0.0, [0.0; 2], [0.0; 3]);
    for ((_, r, c), _) in bodies.indexed_iter().filter(|(_, body)| **body) {
        let [y, x] = [r as f64 * spacing_mm[0], c as f64 * spacing_mm[1]];
        count += 1.0;
        sum = [sum[0] + y, sum[1] + x];
        squares = [squares[0] + y * y, squares[1] + y * x, squares[2] + x * x];
    }
    if count == 0.0 {
        return 0.0;
    }
    let [y, x] = sum.map(|s| s / count);
    let [yy, yx, xx] = squares.map(|s| s / count);
    let [yy, yx, xx] = [yy - y * y, yx - y * x, xx - x * x];
    // The covariance's eigenvalues are mean ± spread.
    let (mean, spread) = ((yy + xx) / 2.0, ((yy - xx) / 2.0).hypot(yx));
    let tilt = ((2.0 * yx).atan2(yy - xx) / 2.0).to_degrees();
    if mean + spread < COLUMN * (mean - spread) || tilt.abs() > MAX_TILT_DEG {
        return 0.0;
    }
    tilt - USUAL_TILT_DEG
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;

    const SPACING: [f64; 2] = [0.5, 1.0];

    /// A bar of `length` by 20 mm around the middle of a picture of 150 mm.
    fn bar(tilt_deg: f64, length: f64) -> Array3<bool> {
        let (sin, cos) = tilt_deg.to_radians().sin_cos();
        Array3::from_shape_fn((2, 300, 150), |(_, r, c)| {
            let [y, x] = [r as f64 * 0.5 - 75.0, c as f64 - 75.0];
            let [along, across] = [y * cos + x * sin, x * cos - y * sin];
            along.abs() < length / 2.0 && across.abs() < 10.0
        })
    }

    #[test]
    fn it_follows_the_column() {
        for tilt in [-30.0, -5.0, 0.0, 20.0] {
            let turn = turn_deg(bar(tilt, 100.0).view(), SPACING);
            assert!((turn - (tilt - USUAL_TILT_DEG)).abs() < 0.5, "{tilt} {turn}");
        }
    }

    #[test]
    fn what_is_no_column_is_left_as_it_lies() {
        for bodies in [bar(90.0, 100.0), bar(20.0, 25.0), bar(0.0, 0.0)] {
            assert_eq!(turn_deg(bodies.view(), SPACING), 0.0);
        }
    }
}
