//! SPIDER's labels, and what is read from them.

use std::collections::BTreeMap;

use ndarray::{Array3, ArrayView1, ArrayView3, Axis, Zip};

use super::Disc;
use crate::domain::Grid;
use crate::quantile::median;

/// Value of voxels of which nobody knows what they are.
pub const UNKNOWN: u8 = 255;
/// The spinal canal.
const CANAL: u8 = 100;
/// Where it is narrower in a row, mm, that is a scrap.
const CANAL_MM: f64 = 4.0;
/// Over so much height, mm, its front is smooth.
const CANAL_STEADY_MM: f64 = 20.0;
/// Vertebrae that the field of view cuts are labelled this much higher.
const PARTIAL: u8 = 100;
/// The highest label of a vertebra.
const LAST_VERTEBRA: u8 = 25;
/// The label of a disc is its number, counted up from L5-S1 (1), and this.
const DISC: u8 = 200;

/// The label of the `number`-th disc from L5-S1 (1) up.
pub fn disc_label(number: u8) -> u8 {
    DISC + number
}

/// A mask in SPIDER's labels from maps of bodies (1 is S1, which SPIDER doesn't mark) and discs (by number)
/// and where the canal is.
pub fn mask_of(bodies: &Array3<u8>, discs: &Array3<u8>, canal: &Array3<bool>) -> Array3<u8> {
    Zip::from(bodies).and(discs).and(canal).map_collect(|body, disc, canal| {
        match (*body, *disc, *canal) {
            (body @ 2.., ..) => body - 1,
            (_, disc @ 1.., _) => disc_label(disc),
            (_, _, true) => CANAL,
            _ => 0,
        }
    })
}

/// A disc's number from L5-S1 (1) up.
fn disc(label: u8) -> Option<u8> {
    label.checked_sub(DISC).filter(|number| (1..=LAST_VERTEBRA).contains(number))
}

/// A vertebra's number from L5 (1) up.
fn vertebra(label: u8) -> Option<u8> {
    let whole = if label > PARTIAL { label - PARTIAL } else { label };
    (1..=LAST_VERTEBRA).contains(&whole).then_some(whole)
}

/// The bodies of a mask that marks whole vertebrae: what lies in front of the canal. 2 is L5; S1 isn't marked. Not
/// every body in the picture is: above the topmost mark nothing is known.
pub(super) fn vertebral_bodies(mask: ArrayView3<u8>, grid: &Grid) -> Array3<u8> {
    let front = canal_front(mask, grid);
    let is_mark = |label: u8| vertebra(label).is_some() || disc(label).is_some();
    let top: Vec<usize> = mask
        .outer_iter()
        .map(|slice| {
            let marked = slice.outer_iter().position(|row| row.iter().any(|label| is_mark(*label)));
            marked.unwrap_or(slice.nrows())
        })
        .collect();
    Array3::from_shape_fn(mask.dim(), |(s, r, c)| match mask[[s, r, c]] {
        UNKNOWN => UNKNOWN,
        _ if r < top[s] => UNKNOWN,
        label => match vertebra(label) {
            Some(number) if (c as f64) < front[r] => number + 1,
            _ => 0,
        },
    })
}

/// The canal's first column in every row: the median over the slices that show it, and over the rows around, since readers
/// leave scraps that stand out; interpolated between rows and held beyond them; infinite where no canal is marked.
fn canal_front(mask: ArrayView3<u8>, grid: &Grid) -> Vec<f64> {
    let [_, row_mm, column_mm] = grid.spacing;
    let first = |row: ArrayView1<u8>| {
        let width = row.iter().filter(|label| **label == CANAL).count() as f64 * column_mm;
        row.iter().position(|label| *label == CANAL).filter(|_| width >= CANAL_MM)
    };
    let rows = mask.len_of(Axis(1));
    let fronts: Vec<(usize, f64)> = (0..rows)
        .filter_map(|r| {
            let fronts = mask.outer_iter().filter_map(|slice| first(slice.row(r)));
            Some((r, median(fronts.map(|column| column as f64))?))
        })
        .collect();
    let reach = (CANAL_STEADY_MM / 2.0 / row_mm).round() as usize;
    let around = |k: usize| &fronts[k.saturating_sub(reach)..(k + reach + 1).min(fronts.len())];
    let steady = |k: usize| median(around(k).iter().map(|(_, column)| *column));
    let known: Vec<(usize, f64)> =
        (0..fronts.len()).filter_map(|k| Some((fronts[k].0, steady(k)?))).collect();
    (0..rows)
        .map(|r| match known.binary_search_by_key(&r, |(row, _)| *row) {
            Ok(i) => known[i].1,
            Err(i) => match (i.checked_sub(1).map(|k| known[k]), known.get(i).copied()) {
                (Some((low, a)), Some((high, b))) => {
                    a + (b - a) * (r - low) as f64 / (high - low) as f64
                }
                (Some((_, only)), None) | (None, Some((_, only))) => only,
                (None, None) => f64::INFINITY,
            },
        })
        .collect()
}

/// The middle of every disc of a mask, LPS mm.
pub(super) fn disc_middles(mask: ArrayView3<u8>, grid: &Grid) -> Vec<Disc> {
    let mut sums: BTreeMap<u8, ([f64; 3], f64)> = BTreeMap::new();
    for ((s, r, c), label) in mask.indexed_iter() {
        if let Some(number) = disc(*label) {
            let (sum, count) = sums.entry(number).or_default();
            for (sum, x) in sum.iter_mut().zip([s, r, c]) {
                *sum += x as f64;
            }
            *count += 1.0;
        }
    }
    let middle = |(sum, count): ([f64; 3], f64)| grid.to_patient(sum.map(|x| x / count));
    sums.into_iter()
        .map(|(number, sum)| Disc { number: number.into(), middle: middle(sum) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrap_of_the_canal_cuts_no_body() {
        let mut mask = Array3::zeros([1, 120, 60]);
        mask.slice_mut(ndarray::s![0, 20..50, 10..40]).fill(1);
        mask.slice_mut(ndarray::s![0, 10..100, 36..46]).fill(CANAL);
        let grid = Grid::upright([1, 120, 60], [4.0, 1.0, 1.0]);
        let whole = vertebral_bodies(mask.view(), &grid);
        assert_eq!(whole.iter().filter(|label| **label == 2).count(), 30 * 26);
        // As wide as the canal but in a few rows, and in more rows but narrow; also where the canal ends.
        mask.slice_mut(ndarray::s![0, 10..14, 12..46]).fill(CANAL);
        mask.slice_mut(ndarray::s![0, 100..118, 20..23]).fill(CANAL);
        mask.slice_mut(ndarray::s![0, 60..64, 20..46]).fill(CANAL);
        assert_eq!(vertebral_bodies(mask.view(), &grid), whole);
        mask.slice_mut(ndarray::s![0, 30..33, 20..26]).fill(CANAL);
        let cut = vertebral_bodies(mask.view(), &grid);
        assert_eq!(cut.iter().filter(|label| **label == 2).count(), 30 * 26 - 3 * 6);
    }
}
