//! The picture for people: for each slice with a finding, T1 and T2 side by side with the map over them.

use font8x8::{BASIC_FONTS, UnicodeFonts};
use image::{Rgb, RgbImage};
use ndarray::{ArrayView2, Axis};

use crate::domain::{ModicType, Volume};
use crate::modic::{Finding, ModicResult};
use crate::volume::View;

/// Pixels of the picture per mm.
const PIXEL_MM: f64 = 0.6;
/// No more slices than this are drawn: those with most findings.
const MAX_SLICES: usize = 4;
/// Height of the strip for text above each slice, pixels.
const STRIP: u32 = 24;
/// Height of the legend and of what stands below it, but for the findings' lines, pixels.
const LEGEND: u32 = 64;
/// Height of a finding's line, pixels.
const LINE: u32 = 14;
/// Width of the text, pixels.
const MIN_WIDTH: u32 = 620;
/// Share of the map's colour over the picture.
const OPACITY: f32 = 0.55;
const WHITE: Rgb<u8> = Rgb([235, 235, 235]);

/// Colours that the colour-blind tell apart (Okabe and Ito 2008), for the picture, the DICOM objects and the page.
pub(crate) fn colour(kind: ModicType) -> (Rgb<u8>, &'static str) {
    match kind {
        ModicType::Type1 => (Rgb([213, 94, 0]), "TYPE 1"),
        ModicType::Type2 => (Rgb([240, 228, 66]), "TYPE 2"),
        ModicType::Type3 => (Rgb([86, 180, 233]), "TYPE 3"),
        ModicType::Indeterminate => (Rgb([204, 121, 167]), "INDETERMINATE"),
    }
}

/// Draws the slices that show the findings best, or the middle one where there is none.
pub(crate) fn draw(t1: &Volume, t2: &Volume, result: &ModicResult) -> RgbImage {
    let slices = slices_to_show(result, t1.grid.shape[0]);
    let pixel_mm = [t1.grid.spacing[1], t1.grid.spacing[2]];
    let (_, rows, columns) = t1.data.dim();
    let view = View::whole((rows, columns), pixel_mm, PIXEL_MM);
    let square = |v: &Volume, s: usize| view.take(v.data.index_axis(Axis(0), s), pixel_mm);
    let panel = square(t1, slices[0]);
    let (height, width) = (panel.nrows() as u32, panel.ncols() as u32);
    let lines = lines(result);
    let mut picture = RgbImage::new(
        (2 * width).max(MIN_WIDTH),
        (height + STRIP) * slices.len() as u32 + LEGEND + LINE * lines.len() as u32,
    );
    let whites = [t1, t2].map(|volume| white(volume, result));
    for (i, slice) in slices.iter().enumerate() {
        let top = i as u32 * (height + STRIP);
        for (k, (name, volume)) in [("T1", t1), ("T2", t2)].into_iter().enumerate() {
            let at = [top + STRIP, k as u32 * width];
            paint_grey(&mut picture, at, square(volume, *slice).view(), whites[k]);
            let map = result.map.index_axis(Axis(0), *slice);
            paint_map(&mut picture, at, [height, width], map, pixel_mm);
            let title = format!("{name}  slice {}/{}", slice + 1, t1.grid.shape[0]);
            write(&mut picture, [top + 8, at[1] + 8], &title, WHITE);
        }
        for vertebra in &result.spine.vertebrae {
            let [row, column] = [1, 2].map(|k| (vertebra.centre[k] / PIXEL_MM) as u32);
            let label = vertebra.level.to_string();
            write(&mut picture, [top + STRIP + row, column], &label, Rgb([120, 255, 120]));
        }
    }
    let bottom = slices.len() as u32 * (height + STRIP);
    let mut column = 8;
    for kind in ModicType::ALL {
        let (colour, name) = colour(kind);
        for (r, c) in (0..10).flat_map(|r| (0..10).map(move |c| (r, c))) {
            put(&mut picture, [bottom + 8 + r, column + c], colour);
        }
        write(&mut picture, [bottom + 9, column + 14], name, WHITE);
        column += 14 + 8 * name.len() as u32 + 10;
    }
    let mut top = bottom + 28;
    for line in &lines {
        write(&mut picture, [top, 8], line, WHITE);
        top += LINE;
    }
    write(&mut picture, [top + 6, 8], "RESEARCH USE, NOT FOR DIAGNOSIS", Rgb([255, 120, 120]));
    picture
}

/// The findings as a table, and what must be known of it.
fn lines(result: &ModicResult) -> Vec<String> {
    let mut lines = vec![match result.findings.len() {
        1 => "1 finding; levels counted from S1".to_owned(),
        n => format!("{n} findings; levels counted from S1"),
    }];
    lines.extend(result.findings.iter().map(|f| {
        let side = f.side.as_str();
        let (level, disc) = (f.level.to_string(), f.disc.as_deref().unwrap_or("-"));
        let Finding { pattern, volume_mm3, height_percent, height_grade, slice, .. } = f;
        let kind = match &pattern[..] {
            "indeterminate" => pattern.clone(),
            _ => format!("type {pattern}"),
        };
        let slice = slice + 1;
        format!(
            "{level:3} {side} {disc:7} {kind:13} {volume_mm3:5.0} mm3  height {height_percent:.0} % ({height_grade})  slice {slice}"
        )
    }));
    lines
}

fn slices_to_show(result: &ModicResult, slices: usize) -> Vec<usize> {
    let mut counts: Vec<(usize, usize)> = (0..slices)
        .map(|s| (result.findings.iter().filter(|f| f.slice == s).count(), s))
        .filter(|(n, _)| *n > 0)
        .collect();
    counts.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
    counts.truncate(MAX_SLICES);
    let mut shown: Vec<usize> = counts.into_iter().map(|(_, s)| s).collect();
    shown.sort_unstable();
    if shown.is_empty() { vec![slices / 2] } else { shown }
}

/// The signal that is painted white: the 95th percentile beside the vertebrae, since fat under the skin, near the coil,
/// would leave the spine dark.
pub(super) fn white(volume: &Volume, result: &ModicResult) -> f32 {
    const MARGIN_MM: f64 = 15.0;
    let grid = &volume.grid;
    let bodies = result.spine.labels.indexed_iter().filter(|(_, label)| **label != 0);
    let mut span: Option<[[usize; 2]; 2]> = None;
    for ((_, row, column), _) in bodies {
        let [rows, columns] = span.get_or_insert([[row; 2], [column; 2]]);
        *rows = [rows[0].min(row), rows[1].max(row)];
        *columns = [columns[0].min(column), columns[1].max(column)];
    }
    let [rows, columns] = span.unwrap_or([[0, grid.shape[1]], [0, grid.shape[2]]]);
    let around = |[from, to]: [usize; 2], axis: usize| {
        let margin = (MARGIN_MM / grid.spacing[axis]) as usize;
        from.saturating_sub(margin)..(to + margin).min(grid.shape[axis])
    };
    let (rows, columns) = (around(rows, 1), around(columns, 2));
    let mut values: Vec<f32> =
        volume.data.slice(ndarray::s![.., rows, columns]).iter().copied().collect();
    let index = values.len().saturating_sub(1) * 95 / 100;
    values.select_nth_unstable_by(index, f32::total_cmp).1.max(f32::MIN_POSITIVE)
}

fn paint_grey(picture: &mut RgbImage, at: [u32; 2], slice: ArrayView2<f32>, white: f32) {
    for ((r, c), value) in slice.indexed_iter() {
        let grey = (255.0 * (value / white).clamp(0.0, 1.0)) as u8;
        put(picture, [at[0] + r as u32, at[1] + c as u32], Rgb([grey; 3]));
    }
}

/// Lays the map's colours over a slice; its values are looked up, not interpolated.
fn paint_map(
    picture: &mut RgbImage,
    at: [u32; 2],
    size: [u32; 2],
    map: ArrayView2<u8>,
    pixel_mm: [f64; 2],
) {
    for (r, c) in (0..size[0]).flat_map(|r| (0..size[1]).map(move |c| (r, c))) {
        let source = [(r, pixel_mm[0]), (c, pixel_mm[1])]
            .map(|(i, mm)| ((f64::from(i) + 0.5) * PIXEL_MM / mm) as usize);
        let Some(kind) = map.get(source).and_then(|v| ModicType::from_voxel_value(*v)) else {
            continue;
        };
        let (colour, _) = colour(kind);
        let [r, c] = [at[0] + r, at[1] + c];
        if let Some(pixel) = picture.get_pixel_mut_checked(c, r) {
            for (channel, over) in pixel.0.iter_mut().zip(colour.0) {
                *channel =
                    (f32::from(*channel) * (1.0 - OPACITY) + f32::from(over) * OPACITY) as u8;
            }
        }
    }
}

/// Writes ASCII text with its upper left corner at `[row, column]`; what falls outside is cut off.
fn write(picture: &mut RgbImage, [row, column]: [u32; 2], text: &str, colour: Rgb<u8>) {
    for (i, glyph) in text.chars().filter_map(|c| BASIC_FONTS.get(c)).enumerate() {
        for (r, bits) in (0u32..).zip(glyph) {
            for c in (0u32..8).filter(|c| bits & (1 << c) != 0) {
                put(picture, [row + r, column + 8 * i as u32 + c], colour);
            }
        }
    }
}

fn put(picture: &mut RgbImage, [row, column]: [u32; 2], colour: Rgb<u8>) {
    if let Some(pixel) = picture.get_pixel_mut_checked(column, row) {
        *pixel = colour;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn grey_levels_span_the_slice_and_text_leaves_ink() {
        let mut picture = RgbImage::new(64, 32);
        let ramp = Array2::from_shape_fn((10, 10), |(_, c)| c as f32);
        paint_grey(&mut picture, [0, 0], ramp.view(), 9.0);
        assert_eq!(picture.get_pixel(0, 5).0, [0; 3]);
        assert_eq!(picture.get_pixel(9, 5).0, [255; 3]);
        write(&mut picture, [20, 20], "L5", WHITE);
        assert!(picture.pixels().filter(|p| **p == WHITE).count() > 15);
        write(&mut picture, [30, 60], "cut off", WHITE);
    }

    #[test]
    fn the_map_is_painted_where_its_voxels_are() {
        let mut picture = RgbImage::new(20, 20);
        let mut map = Array2::<u8>::zeros((10, 10));
        map[[2, 7]] = 1;
        paint_map(&mut picture, [0, 0], [12, 12], map.view(), [PIXEL_MM; 2]);
        let painted: Vec<_> = picture
            .enumerate_pixels()
            .filter(|(_, _, p)| p.0 != [0; 3])
            .map(|p| (p.0, p.1))
            .collect();
        assert_eq!(painted, [(7, 2)]);
    }
}
