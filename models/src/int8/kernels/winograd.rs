//! 3x3 convolutions at stride 1 with 4 multiplications a pixel instead of 9, exact in integers.
//!
//! Winograd's F(2x2, 3x3), after Lavin and Gray 2016 (arXiv:1509.09308): 4x4 input pixels, a tile, give 2x2 output
//! pixels. Tile and weights are each transformed to 16 points, multiplied point by point and summed up over the
//! input channels; the 16 sums transformed back are the output. The weights' transform has halves, so it is done
//! doubled in both directions, which makes the outputs exactly four times too large.
//!
//! Activations grow to 1020, weights to 1152: it takes a 16-bit multiplication where the direct way takes one of 8
//! bits, and pays where the latter isn't twice as fast.

use std::cell::RefCell;

use multiversion::multiversion;

use super::rounding::{between, rounded};
use super::{BLOCK, Conv, Input, Output};

/// Products of transformed tile and weights that are summed up.
const POINTS: usize = 16;

/// Tiles that share a load of the weights.
pub(super) const TILES: usize = 12;

/// Channels that are transformed together.
const LANES: usize = 16;

/// The weights of a 3x3 convolution, transformed.
#[derive(Debug)]
pub(super) struct Winograd {
    /// `[block][point][group of input channels][output of block][input of group]`.
    weights: Vec<i16>,
    /// Input channels of a group: those that an instruction sums up.
    group: usize,
    /// Groups, whole eights of channels.
    groups: usize,
}

/// Sums up one point of [`TILES`] tiles over `groups` groups of channels: of tiles `[tile][channel]`, `channels` values
/// apart, and weights `[group][output of block][input of group]`.
pub(super) type Multiply =
    unsafe fn(tiles: &[i16], channels: usize, weights: &[i16], sums: &mut [[i32; BLOCK]; TILES]);

impl Winograd {
    /// Of weights `[output][row][column][input]`, 3x3.
    pub fn new(weights: &[i8], outputs: usize, inputs: usize, group: usize) -> Winograd {
        let (blocks, groups) = (outputs.div_ceil(BLOCK), inputs.next_multiple_of(8) / group);
        let mut packed = vec![0i16; blocks * POINTS * groups * BLOCK * group];
        for output in 0..outputs {
            for input in 0..inputs {
                let weight = |tap| i16::from(weights[(output * 9 + tap) * inputs + input]);
                let rows: [[i16; 4]; 3] = std::array::from_fn(|row| {
                    twice_transformed([0, 1, 2].map(|column| weight(3 * row + column)))
                });
                for column in 0..4 {
                    let points = twice_transformed(rows.map(|row| row[column]));
                    for (row, point) in points.into_iter().enumerate() {
                        let line = (output / BLOCK * POINTS + 4 * row + column) * groups;
                        let at = (line + input / group) * BLOCK + output % BLOCK;
                        packed[at * group + input % group] = point;
                    }
                }
            }
        }
        Winograd { weights: packed, group, groups }
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&self.weights[..])
    }

    /// Channels of a tile in memory.
    fn channels(&self) -> usize {
        (self.groups * self.group).next_multiple_of(LANES)
    }

    /// Computes all rows of `output`.
    ///
    /// # Safety
    /// `multiply` may run on this CPU.
    pub unsafe fn run(&self, conv: &Conv, input: Input, output: &mut Output, multiply: Multiply) {
        let tiles_in_row = output.columns.div_ceil(2);
        let all = tiles_in_row * output.rows.div_ceil(2);
        let channels = self.channels();
        let of_point = TILES * channels;
        let of_weights = self.groups * self.group * BLOCK;
        let [last_row, last_column] = [output.rows + 1, output.columns + 1];
        // A tile at an odd edge repeats the last pixels: they only matter to outputs that aren't there.
        let inputs = |[row, column]: [usize; 2]| {
            [0, 1, 2, 3].map(|r| {
                let row = (row + r).min(last_row) * input.row;
                [0, 1, 2, 3].map(|c| row + (column + c).min(last_column) * input.pixel)
            })
        };
        SCRATCH.with_borrow_mut(|Scratch { points, sums }| {
            points.resize(points.len().max(POINTS * of_point), 0);
            for first in (0..all).step_by(TILES) {
                let tiles = TILES.min(all - first);
                let pixel = |tile| [(first + tile) / tiles_in_row, (first + tile) % tiles_in_row];
                let pixel = |tile| pixel(tile).map(|n| 2 * n);
                for tile in 0..tiles {
                    transform_tile(input.data, inputs(pixel(tile)), channels, tile, points);
                }
                for block in 0..conv.blocks {
                    let weights = self.weights[block * POINTS * of_weights..].chunks(of_weights);
                    let points = points.chunks(of_point).zip(weights);
                    for ((points, weights), sums) in points.zip(sums.iter_mut()) {
                        // SAFETY: as of the caller.
                        unsafe { multiply(points, channels, weights, sums) };
                    }
                    for tile in 0..tiles {
                        write_tile(conv, sums, tile, block, pixel(tile), output);
                    }
                }
            }
        });
    }
}

/// What a thread keeps.
struct Scratch {
    /// `[point][tile][channel]`.
    points: Vec<i16>,
    /// `[point][tile][output of block]`.
    sums: Box<[[[i32; BLOCK]; TILES]; POINTS]>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> =
        RefCell::new(Scratch { points: Vec::new(), sums: Box::new([[[0; BLOCK]; TILES]; POINTS]) });
}

/// Of three weights in a line, twice their transform.
fn twice_transformed([a, b, c]: [i16; 3]) -> [i16; 4] {
    [2 * a, a + b + c, a - b + c, 2 * c]
}

/// The points of a tile, of pixels that begin at these places of `data`.
#[multiversion(targets("x86_64+avx2"))]
fn transform_tile(
    data: &[u8],
    places: [[usize; 4]; 4],
    channels: usize,
    tile: usize,
    points: &mut [i16],
) {
    for channel in (0..channels).step_by(LANES) {
        let mut of_rows = [[[0i16; LANES]; 4]; 4];
        for (of_row, places) in of_rows.iter_mut().zip(&places) {
            let mut pixels = [[0i16; LANES]; 4];
            for (pixel, place) in pixels.iter_mut().zip(places) {
                let bytes: &[u8; LANES] =
                    data[place + channel..].first_chunk().expect("within the slack");
                for k in 0..LANES {
                    pixel[k] = i16::from(bytes[k]);
                }
            }
            let [a, b, c, d] = pixels;
            for k in 0..LANES {
                of_row[0][k] = a[k] - c[k];
                of_row[1][k] = b[k] + c[k];
                of_row[2][k] = c[k] - b[k];
                of_row[3][k] = b[k] - d[k];
            }
        }
        let [a, b, c, d] = of_rows;
        for column in 0..4 {
            let mut of_column = [[0i16; LANES]; 4];
            for k in 0..LANES {
                of_column[0][k] = a[column][k] - c[column][k];
                of_column[1][k] = b[column][k] + c[column][k];
                of_column[2][k] = c[column][k] - b[column][k];
                of_column[3][k] = b[column][k] - d[column][k];
            }
            for (row, values) in of_column.iter().enumerate() {
                let point = 4 * row + column;
                points[(point * TILES + tile) * channels + channel..][..LANES]
                    .copy_from_slice(values);
            }
        }
    }
}

/// Transforms a tile's sums back, requantizes them and writes those of its 2x2 pixels that there are.
#[multiversion(targets("x86_64+avx2"))]
fn write_tile(
    conv: &Conv,
    sums: &[[[i32; BLOCK]; TILES]; POINTS],
    tile: usize,
    block: usize,
    [row, column]: [usize; 2],
    output: &mut Output,
) {
    let bias: &[i32; BLOCK] = conv.bias[block * BLOCK..].first_chunk().expect("whole blocks");
    let scale: &[f32; BLOCK] = conv.scale[block * BLOCK..].first_chunk().expect("whole blocks");
    let [low, high] = conv.bounds;
    let mut of_rows = [[[0i32; BLOCK]; 2]; 4];
    for (r, of_row) in of_rows.iter_mut().enumerate() {
        let [a, b, c, d] = [0, 1, 2, 3].map(|column| &sums[4 * r + column][tile]);
        for k in 0..BLOCK {
            of_row[0][k] = a[k].wrapping_add(b[k]).wrapping_add(c[k]);
            of_row[1][k] = b[k].wrapping_sub(c[k]).wrapping_sub(d[k]);
        }
    }
    let [a, b, c, d] = of_rows;
    let mut pixels = [[[0u8; BLOCK]; 2]; 2];
    for column in 0..2 {
        let [a, b, c, d] = [a[column], b[column], c[column], d[column]];
        for k in 0..BLOCK {
            let above = a[k].wrapping_add(b[k]).wrapping_add(c[k]);
            let below = b[k].wrapping_sub(c[k]).wrapping_sub(d[k]);
            for (row, sum) in [above, below].into_iter().enumerate() {
                let value = ((sum >> 2) + bias[k]) as f32 * scale[k];
                pixels[row][column][k] = rounded(between(value, low, high), conv.zero);
            }
        }
    }
    for (r, pixels) in pixels.iter().enumerate().take(output.rows - row) {
        for (c, pixel) in pixels.iter().enumerate().take(output.columns - column) {
            let at = (row + r) * output.row + (column + c) * output.pixel + block * BLOCK;
            output.data[at..][..BLOCK].copy_from_slice(pixel);
        }
    }
}
