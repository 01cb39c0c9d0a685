//! Binary masks of a stack of slices: erosion, dilation, connected components.
//!
//! Slices are several times thicker than pixels are wide, so erosion and dilation work within a slice,
//! with a disc given in mm; components are joined across slices too.

use ndarray::{Array3, ArrayView3, Axis, Zip};

/// Offsets `[row, column]` of a disc's pixels.
fn disc(radius_mm: f64, pixel_mm: [f64; 2]) -> Vec<[isize; 2]> {
    let reach = pixel_mm.map(|p| (radius_mm / p).floor() as isize);
    let inside = |[r, c]: [isize; 2]| {
        (r as f64 * pixel_mm[0]).hypot(c as f64 * pixel_mm[1]) <= radius_mm + 1e-9
    };
    (-reach[0]..=reach[0])
        .flat_map(|r| (-reach[1]..=reach[1]).map(move |c| [r, c]))
        .filter(|o| inside(*o))
        .collect()
}

/// Grows the mask within each slice by `radius_mm`; `pixel_mm` is the distance of rows and of columns.
pub fn dilate(mask: ArrayView3<bool>, radius_mm: f64, pixel_mm: [f64; 2]) -> Array3<bool> {
    let disc = disc(radius_mm, pixel_mm);
    let (_, rows, columns) = mask.dim();
    let mut grown = Array3::from_elem(mask.dim(), false);
    for ((s, r, c), _) in mask.indexed_iter().filter(|(_, set)| **set) {
        for [dr, dc] in &disc {
            let (Some(r), Some(c)) = (r.checked_add_signed(*dr), c.checked_add_signed(*dc)) else {
                continue;
            };
            if r < rows && c < columns {
                grown[[s, r, c]] = true;
            }
        }
    }
    grown
}

/// Shrinks the mask within each slice by `radius_mm`. What lies beyond the picture counts as set, so a
/// body cut by its edge isn't shrunk from there.
pub fn erode(mask: ArrayView3<bool>, radius_mm: f64, pixel_mm: [f64; 2]) -> Array3<bool> {
    let mut shrunk = dilate(mask.mapv(|set| !set).view(), radius_mm, pixel_mm);
    shrunk.mapv_inplace(|set| !set);
    shrunk
}

/// Closes notches and holes narrower than twice `radius_mm` within each slice.
pub fn close(mask: ArrayView3<bool>, radius_mm: f64, pixel_mm: [f64; 2]) -> Array3<bool> {
    let mut closed = erode(dilate(mask, radius_mm, pixel_mm).view(), radius_mm, pixel_mm);
    Zip::from(&mut closed).and(mask).for_each(|closed, set| *closed |= set);
    closed
}

/// Connected components of voxels with the same value: their number, and an array with 0 outside and 1, 2,
/// … inside, in the order of their first voxel. `T`'s default (`false`, 0) is outside. Voxels that touch by
/// a face are connected; so are those that touch by an edge or corner within one slice.
pub fn components<T: Copy + Default + PartialEq>(values: ArrayView3<T>) -> (usize, Array3<u16>) {
    const NEIGHBOURS: [[isize; 3]; 10] = [
        [-1, 0, 0],
        [1, 0, 0],
        [0, -1, -1],
        [0, -1, 0],
        [0, -1, 1],
        [0, 0, -1],
        [0, 0, 1],
        [0, 1, -1],
        [0, 1, 0],
        [0, 1, 1],
    ];
    let mut labels = Array3::<u16>::zeros(values.dim());
    let mut count = 0u16;
    let mut open = Vec::new();
    for (start, value) in values.indexed_iter().filter(|(_, value)| **value != T::default()) {
        if labels[start] != 0 {
            continue;
        }
        // More components than a u16 counts is noise; the rest stays unlabelled.
        let Some(next) = count.checked_add(1) else { break };
        count = next;
        labels[start] = count;
        open.push(start);
        while let Some((s, r, c)) = open.pop() {
            for [ds, dr, dc] in NEIGHBOURS {
                let (Some(s), Some(r), Some(c)) =
                    (s.checked_add_signed(ds), r.checked_add_signed(dr), c.checked_add_signed(dc))
                else {
                    continue;
                };
                let at = [s, r, c];
                if values.get(at) == Some(value) && labels[at] == 0 {
                    labels[at] = count;
                    open.push((s, r, c));
                }
            }
        }
    }
    (usize::from(count), labels)
}

/// Spreads labels over the voxels of `mask` that have none, each from its nearest labelled neighbours, at
/// most `steps` pixels far and within the slice.
pub fn spread(labels: &mut Array3<u16>, mask: ArrayView3<bool>, steps: usize) {
    for (mut slice, mask) in labels.axis_iter_mut(Axis(0)).zip(mask.axis_iter(Axis(0))) {
        let (rows, columns) = slice.dim();
        let mut front: Vec<[usize; 2]> =
            slice.indexed_iter().filter(|(_, l)| **l != 0).map(|((r, c), _)| [r, c]).collect();
        for _ in 0..steps {
            let mut next = Vec::new();
            for [r, c] in front {
                let label = slice[[r, c]];
                for (dr, dc) in [(-1, 0), (1, 0), (0, -1), (0, 1)] {
                    let (Some(r), Some(c)) = (r.checked_add_signed(dr), c.checked_add_signed(dc))
                    else {
                        continue;
                    };
                    if r < rows && c < columns && mask[[r, c]] && slice[[r, c]] == 0 {
                        slice[[r, c]] = label;
                        next.push([r, c]);
                    }
                }
            }
            front = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::s;

    fn square(side: usize) -> Array3<bool> {
        let mut mask = Array3::from_elem((1, 20, 20), false);
        mask.slice_mut(s![0, 5..5 + side, 5..5 + side]).fill(true);
        mask
    }

    fn count(mask: &Array3<bool>) -> usize {
        mask.iter().filter(|set| **set).count()
    }

    #[test]
    fn erosion_takes_the_rim_and_dilation_gives_it() {
        assert_eq!(count(&erode(square(8).view(), 1.0, [0.5, 1.0])), 4 * 6);
        assert_eq!(count(&dilate(square(1).view(), 1.0, [1.0, 1.0])), 5);
    }

    #[test]
    fn closing_fills_a_hole_and_keeps_the_outline() {
        let mut holed = square(9);
        holed[[0, 9, 9]] = false;
        assert_eq!(close(holed.view(), 2.0, [1.0, 1.0]), square(9));
    }

    #[test]
    fn components_join_across_slices_but_not_diagonally() {
        let mut mask = Array3::from_elem((2, 4, 4), false);
        for at in [[0, 0, 0], [1, 0, 0], [1, 1, 1], [0, 3, 3], [1, 2, 2]] {
            mask[at] = true;
        }
        let (count, labels) = components(mask.view());
        assert_eq!(count, 2);
        assert_eq!(labels[[0, 0, 0]], labels[[1, 2, 2]]);
        assert_ne!(labels[[0, 0, 0]], labels[[0, 3, 3]]);
    }

    #[test]
    fn components_of_labels_keep_neighbours_apart() {
        let values = ndarray::array![[[3u16, 3, 7, 0, 3]]];
        assert_eq!(components(values.view()), (3, ndarray::array![[[1, 1, 2, 0, 3]]]));
    }

    #[test]
    fn labels_spread_inside_the_mask_only() {
        let mask = square(8);
        let mut labels = Array3::<u16>::zeros(mask.dim());
        labels[[0, 8, 8]] = 7;
        spread(&mut labels, mask.view(), 30);
        assert_eq!(labels.iter().filter(|l| **l == 7).count(), 64);
    }
}
