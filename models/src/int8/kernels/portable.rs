//! The reference: plain Rust.

use super::{BLOCK, Conv, Input, Output, in_order};

pub(super) fn run(conv: &Conv, input: Input, output: &mut Output) {
    let [tap_rows, tap_columns] = conv.kernel;
    in_order(conv, output.rows, 1, |row, block| {
        for column in 0..output.columns {
            let mut sums = [0i32; BLOCK];
            sums.copy_from_slice(&conv.bias[block * BLOCK..][..BLOCK]);
            let mut weights = conv.dense(block).as_chunks::<BLOCK>().0.iter();
            for tap_row in 0..tap_rows {
                for tap_column in 0..tap_columns {
                    let at = (conv.stride * row + tap_row) * input.row
                        + (conv.stride * column + tap_column) * input.pixel;
                    let pixel = &input.data[at..][..conv.groups];
                    for (value, weights) in pixel.iter().zip(&mut weights) {
                        for (sum, weight) in sums.iter_mut().zip(weights) {
                            *sum += i32::from(*value) * i32::from(*weight);
                        }
                    }
                }
            }
            let pixel =
                &mut output.data[row * output.row + column * output.pixel + block * BLOCK..];
            let scales = &conv.scale[block * BLOCK..];
            for ((out, sum), scale) in pixel.iter_mut().zip(sums).zip(scales) {
                let [low, high] = conv.bounds;
                let value = (sum as f32 * scale).clamp(low, high).round_ties_even();
                *out = (value as i32 + i32::from(conv.zero)) as u8;
            }
        }
    });
}
