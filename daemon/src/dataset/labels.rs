//! SPIDER's labels, and what is read from them.

use std::collections::BTreeMap;

use ndarray::{Array3, ArrayView3, Zip};

use super::Disc;
use crate::domain::Grid;

/// Value of voxels of which nobody knows what they are.
pub const UNKNOWN: u8 = 255;
/// The spinal canal.
const CANAL: u8 = 100;
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
pub(super) fn vertebral_bodies(mask: ArrayView3<u8>) -> Array3<u8> {
    let front = canal_front(mask);
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

/// The canal's first column in every row: the median over the slices that show it, interpolated between rows
/// and held beyond them; infinite where no canal is marked.
fn canal_front(mask: ArrayView3<u8>) -> Vec<f64> {
    let rows = mask.len_of(ndarray::Axis(1));
    let known: Vec<(usize, f64)> = (0..rows)
        .filter_map(|r| {
            let mut fronts: Vec<usize> = mask
                .outer_iter()
                .filter_map(|slice| slice.row(r).iter().position(|label| *label == CANAL))
                .collect();
            fronts.sort_unstable();
            Some((r, *fronts.get(fronts.len() / 2)? as f64))
        })
        .collect();
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
