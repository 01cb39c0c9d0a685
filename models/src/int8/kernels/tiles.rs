//! How a convolution is cut into tiles that a kernel computes in registers.

use super::Conv;

/// Some pixels of one row and a block of outputs: where they are read and written, and by which strides.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// The first pixel's first tap.
    pub x: *const u8,
    /// The first pixel's first output of the block.
    pub y: *mut u8,
    /// Bytes from row to row and from tap to tap of the input.
    pub row: usize,
    pub tap: usize,
    /// Bytes from pixel to pixel.
    pub x_pixel: usize,
    pub y_pixel: usize,
    /// The first block of outputs.
    pub block: usize,
}

/// Calls a kernel on every tile of the output: `$blocks` blocks of outputs by as many pixels as do a row with least
/// left over, out of those that there are kernels for, largest first.
macro_rules! tiles {
    ($conv:expr, $input:expr, $output:expr, $blocks:literal, [$($pixels:literal => $kernel:expr),+ $(,)?]) => {{
        let (conv, input, output): (&Conv, Input, &mut Output) = ($conv, $input, $output);
        let together = pixels_together(output.columns, &[$($pixels),+]);
        let (x, y) = (input.data.as_ptr(), output.data.as_mut_ptr());
        in_order(conv, output.rows, $blocks, |row, block| {
            for column in parts(output.columns, together) {
                // SAFETY: within what `Conv::run` checked.
                unsafe {
                    let tile = Tile {
                        x: x.add(conv.stride * (row * input.row + column * input.pixel)),
                        y: y.add(row * output.row + column * output.pixel + block * BLOCK),
                        row: input.row,
                        tap: input.pixel,
                        x_pixel: conv.stride * input.pixel,
                        y_pixel: output.pixel,
                        block,
                    };
                    match together {
                        $($pixels => $kernel(conv, tile),)+
                        _ => unreachable!("a size of the list"),
                    }
                }
            }
        });
    }};
}
pub(super) use tiles;

/// Calls `each` with the row and the first of `together` blocks of every part of the work: rows share a block's
/// weights, unless all weights stay in a first-level cache beside the activations.
pub(super) fn in_order(
    conv: &Conv,
    rows: usize,
    together: usize,
    mut each: impl FnMut(usize, usize),
) {
    const SMALL: usize = 24 * 1024;
    let blocks = (0..conv.blocks).step_by(together);
    if conv.weights.bytes() <= SMALL {
        (0..rows).for_each(|row| blocks.clone().for_each(|block| each(row, block)));
    } else {
        blocks.for_each(|block| (0..rows).for_each(|row| each(row, block)));
    }
}

/// The number of pixels out of `sizes` (largest first) by which a row of `columns` is done with least left over.
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(dead_code))]
pub(super) fn pixels_together(columns: usize, sizes: &[usize]) -> usize {
    let fitting = sizes.iter().copied().filter(|size| *size <= columns);
    fitting.min_by_key(|size| columns.div_ceil(*size) * size).expect("a size is one")
}

/// The first pixels of each part of a row when `together` are done at once: the last part may overlap.
pub(super) fn parts(columns: usize, together: usize) -> impl Iterator<Item = usize> {
    (0..columns.div_ceil(together)).map(move |part| (part * together).min(columns - together))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_covered_by_the_fewest_pixels() {
        assert_eq!(pixels_together(28, &[14, 12, 10, 8, 6, 4, 3, 2, 1]), 14);
        assert_eq!(pixels_together(40, &[14, 12, 10, 8, 6, 4, 3, 2, 1]), 10);
        assert_eq!(pixels_together(7, &[6, 4, 1]), 1);
        assert_eq!(parts(10, 4).collect::<Vec<_>>(), [0, 4, 6]);
    }
}
