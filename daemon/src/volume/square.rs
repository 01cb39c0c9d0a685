//! Slices with square pixels as a network sees them, and its maps back on the slice's own matrix.

use ndarray::{Array2, ArrayView2, ArrayView3};

use super::cubic::{self, Taps};

/// Square pixels laid over the slices of a stack, upright or turned in their plane.
///
/// Places are in mm `[down, right]` from the corner of the picture; the centre of pixel `[r, c]` of a matrix
/// lies at `[(r + 0.5) * row_mm, (c + 0.5) * column_mm]`.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Centre of its own pixel `[0, 0]`.
    origin_mm: [f64; 2],
    /// Direction of its columns, `[down, right]`, unit length.
    down: [f64; 2],
    pixel_mm: f64,
    shape: [usize; 2],
}

impl View {
    /// All of a slice whose rows and columns are `spacing_mm` apart, as it lies.
    pub fn whole(slice: (usize, usize), spacing_mm: [f64; 2], pixel_mm: f64) -> View {
        let size = [slice.0 as f64 * spacing_mm[0], slice.1 as f64 * spacing_mm[1]];
        let shape = size.map(|mm| ((mm / pixel_mm).round() as usize).max(1));
        View { origin_mm: [pixel_mm / 2.0; 2], down: direction(0.0), pixel_mm, shape }
    }

    /// The smallest view turned by `turn_deg` that holds `mask` on all slices, and `margin_mm` around.
    pub fn around(
        mask: ArrayView3<bool>,
        spacing_mm: [f64; 2],
        turn_deg: f64,
        margin_mm: f64,
        pixel_mm: f64,
    ) -> View {
        let down = direction(turn_deg);
        let mut view = View { origin_mm: [0.0; 2], down, pixel_mm, shape: [1; 2] };
        let mut low = [f64::INFINITY; 2];
        let mut high = [f64::NEG_INFINITY; 2];
        for ((_, r, c), _) in mask.indexed_iter().filter(|(_, set)| **set) {
            let at = view.pixel_of(centre_mm([r, c], spacing_mm));
            for k in 0..2 {
                low[k] = low[k].min(at[k]);
                high[k] = high[k].max(at[k]);
            }
        }
        if low[0] > high[0] {
            return view;
        }
        let margin = margin_mm / pixel_mm;
        view.shape = [0, 1].map(|k| (high[k] - low[k] + 2.0 * margin).ceil() as usize + 1);
        view.origin_mm = view.place_of(low.map(|at| at - margin));
        view
    }

    /// What the view shows of a slice's signal: cubic, not below 0; 0 beyond the picture.
    pub fn take(&self, slice: ArrayView2<f32>, spacing_mm: [f64; 2]) -> Array2<f32> {
        Array2::from_shape_fn(self.shape, |(r, c)| {
            let [y, x] = self.place_of([r as f64, c as f64]);
            let at = [y / spacing_mm[0] - 0.5, x / spacing_mm[1] - 0.5];
            if !is_near(slice, at) {
                return 0.0;
            }
            let [rows, columns] = [0, 1].map(|k| Taps::new(at[k], slice.shape()[k]));
            cubic::value(slice, &rows, &columns).max(0.0)
        })
    }

    /// The way back: a map of the view's pixels on the matrix of `shape` that it was taken from, bilinear, `beyond` where
    /// the view doesn't reach.
    pub fn give_back(
        &self,
        map: ArrayView2<f32>,
        shape: (usize, usize),
        spacing_mm: [f64; 2],
        beyond: f32,
    ) -> Array2<f32> {
        Array2::from_shape_fn(shape, |(r, c)| {
            bilinear(map, self.pixel_of(centre_mm([r, c], spacing_mm))).unwrap_or(beyond)
        })
    }

    fn place_of(&self, [r, c]: [f64; 2]) -> [f64; 2] {
        let [cos, sin] = self.down.map(|d| d * self.pixel_mm);
        [self.origin_mm[0] + r * cos - c * sin, self.origin_mm[1] + r * sin + c * cos]
    }

    fn pixel_of(&self, at: [f64; 2]) -> [f64; 2] {
        let [y, x] = [0, 1].map(|k| (at[k] - self.origin_mm[k]) / self.pixel_mm);
        let [cos, sin] = self.down;
        [y * cos + x * sin, x * cos - y * sin]
    }
}

/// Of columns that are turned, `[down, right]`; 0 is straight down, exactly.
fn direction(turn_deg: f64) -> [f64; 2] {
    let (sin, cos) = turn_deg.to_radians().sin_cos();
    [cos, sin]
}

fn centre_mm([r, c]: [usize; 2], spacing_mm: [f64; 2]) -> [f64; 2] {
    [(r as f64 + 0.5) * spacing_mm[0], (c as f64 + 0.5) * spacing_mm[1]]
}

/// False more than half a pixel beyond the outer edges of the outermost pixels: sizes are rounded to whole pixels.
fn is_near(source: ArrayView2<f32>, at: [f64; 2]) -> bool {
    at.iter().zip(source.shape()).all(|(at, n)| (-1.0..=*n as f64).contains(at))
}

/// `None` where `source` doesn't reach.
fn bilinear(source: ArrayView2<f32>, at: [f64; 2]) -> Option<f32> {
    if !is_near(source, at) {
        return None;
    }
    let [(r0, r1, fr), (c0, c1, fc)] = [0, 1].map(|k| {
        let last = source.shape()[k] - 1;
        let at = at[k].clamp(0.0, last as f64);
        let low = at as usize;
        (low, (low + 1).min(last), (at - low as f64) as f32)
    });
    let upper = source[[r0, c0]] * (1.0 - fc) + source[[r0, c1]] * fc;
    let lower = source[[r1, c0]] * (1.0 - fc) + source[[r1, c1]] * fc;
    Some(upper * (1.0 - fr) + lower * fr)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACING: [f64; 2] = [0.7, 0.55];

    /// Its value is the place: 100 times the mm down, and the mm right.
    fn ramp() -> Array2<f32> {
        Array2::from_shape_fn((80, 100), |(r, c)| {
            let [y, x] = centre_mm([r, c], SPACING);
            (100.0 * y + x) as f32
        })
    }

    #[test]
    fn a_ramp_stays_a_ramp_there_and_back() {
        let view = View::whole((80, 100), SPACING, 1.0);
        let square = view.take(ramp().view(), SPACING);
        assert_eq!(square.dim(), (56, 55));
        let back = view.give_back(square.view(), (80, 100), SPACING, 0.0);
        for at in [[10, 10], [40, 50], [70, 90]] {
            assert!((back[at] - ramp()[at]).abs() < 1e-2, "{} {}", back[at], ramp()[at]);
        }
    }

    #[test]
    fn a_turned_view_holds_the_mask_with_its_margin_and_gives_back_what_it_took() {
        let mut mask = ndarray::Array3::from_elem((2, 80, 100), false);
        mask[[0, 30, 40]] = true;
        mask[[1, 50, 60]] = true;
        let view = View::around(mask.view(), SPACING, 60.0, 5.0, 1.0);
        for place in [[30, 40], [50, 60]] {
            let [r, c] = view.pixel_of(centre_mm(place, SPACING));
            assert!(
                r.min(c) > 4.99
                    && r < view.shape[0] as f64 - 5.99
                    && c < view.shape[1] as f64 - 5.99
            );
        }
        // One pixel down the view is 0.5 mm down and 0.87 mm right in the picture.
        let seen = view.take(ramp().view(), SPACING);
        let middle = view.shape.map(|n| n / 2);
        let step = seen[[middle[0] + 1, middle[1]]] - seen[middle];
        assert!((step - 50.87).abs() < 0.1, "{step}");
        let back = view.give_back(seen.view(), (80, 100), SPACING, -1.0);
        assert!((back[[40, 50]] - ramp()[[40, 50]]).abs() < 0.1);
        assert_eq!(back[[0, 99]], -1.0);
    }

    #[test]
    fn beyond_the_picture_there_is_nothing() {
        let mut mask = ndarray::Array3::from_elem((1, 80, 100), false);
        mask[[0, 0, 0]] = true;
        let view = View::around(mask.view(), SPACING, 0.0, 5.0, 1.0);
        let seen = view.take(Array2::from_elem((80, 100), 3.0).view(), SPACING);
        assert_eq!(seen[[0, 0]], 0.0);
        assert!((seen[[10, 10]] - 3.0).abs() < 1e-5);
    }
}
