//! NEON: multiply-accumulate long, dot product, int8 matrix.
//!
//! The dot product and matrix instructions have no stable intrinsics yet (rust-lang/rust#117224, #117223), so
//! each is one line of assembly.

use std::arch::aarch64::*;
use std::arch::asm;

use super::tiles::{Tile, in_order, parts, pixels_together, tiles};
use super::winograd::TILES;
use super::{BLOCK, Conv, Input, Output, Weights};

/// # Safety
/// `Conv::run` has checked the bounds.
#[target_feature(enable = "neon")]
pub(super) unsafe fn mlal(conv: &Conv, input: Input, output: &mut Output) {
    if let Weights::Winograd(winograd) = &conv.weights {
        // SAFETY: every aarch64 has NEON.
        return unsafe { winograd.run(conv, input, output, multiply) };
    }
    tiles!(conv, input, output, 1, [
        4 => tile_mlal::<4>, 3 => tile_mlal::<3>, 2 => tile_mlal::<2>, 1 => tile_mlal::<1>,
    ]);
}

/// # Safety
/// The CPU has the features, and `Conv::run` has checked the bounds.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn dot(conv: &Conv, input: Input, output: &mut Output) {
    tiles!(conv, input, output, 1, [
        5 => tile_dot::<5>, 4 => tile_dot::<4>, 3 => tile_dot::<3>, 2 => tile_dot::<2>,
        1 => tile_dot::<1>,
    ]);
}

/// # Safety
/// The CPU has the features, and `Conv::run` has checked the bounds.
#[target_feature(enable = "neon,i8mm")]
pub(super) unsafe fn i8mm(conv: &Conv, input: Input, output: &mut Output) {
    tiles!(conv, input, output, 1, [
        4 => tile_i8mm::<2, true>, 2 => tile_i8mm::<1, true>, 1 => tile_i8mm::<1, false>,
    ]);
}

/// Multiplies Winograd's points: four tiles x a block in registers, eight channels a load, taken by lane.
///
/// # Safety
/// None is asked: every aarch64 has NEON. It is what `Multiply` wants.
#[target_feature(enable = "neon")]
unsafe fn multiply(
    tiles: &[i16],
    channels: usize,
    weights: &[i16],
    sums: &mut [[i32; BLOCK]; TILES],
) {
    const P: usize = 4;
    const { assert!(TILES.is_multiple_of(P)) };
    let (eights, []) = weights.as_chunks::<{ 8 * BLOCK }>() else { unreachable!("whole eights") };
    assert!(8 * eights.len() <= channels && TILES * channels <= tiles.len());
    for (k, sums) in sums.as_chunks_mut::<P>().0.iter_mut().enumerate() {
        let mut in_registers = [[vdupq_n_s32(0); 4]; P];
        // SAFETY: each tile has `channels` values, no fewer than there are in all eights.
        unsafe {
            let mut x = tiles.as_ptr().add(k * P * channels);
            for eight in eights {
                let values: [_; P] = std::array::from_fn(|p| vld1q_s16(x.add(p * channels)));
                macro_rules! lane {
                    ($($lane:literal)+) => {$(
                        let w = [0, 8].map(|n| vld1q_s16(eight.as_ptr().add($lane * BLOCK + n)));
                        for p in 0..P {
                            for n in 0..2 {
                                let [low, high] = [2 * n, 2 * n + 1];
                                let of = &mut in_registers[p];
                                of[low] = vmlal_laneq_s16::<$lane>(of[low], vget_low_s16(w[n]), values[p]);
                                of[high] = vmlal_high_laneq_s16::<$lane>(of[high], w[n], values[p]);
                            }
                        }
                    )+};
                }
                lane!(0 1 2 3 4 5 6 7);
                x = x.add(8);
            }
            for p in 0..P {
                for n in 0..4 {
                    vst1q_s32(sums[p].as_mut_ptr().add(4 * n), in_registers[p][n]);
                }
            }
        }
    }
}

/// Two pairs of channels at a time: their products fit 16 bits, then pairs are added up in 32.
///
/// # Safety
/// As of its caller.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn tile_mlal<const P: usize>(conv: &Conv, tile: Tile) {
    let mut weights = conv.dense(tile.block).as_ptr();
    // SAFETY: reads `groups` pairs a tap, two vectors of weights each, writes a block a pixel.
    unsafe {
        let mut sums = [[vdupq_n_s32(0); 4]; P];
        macro_rules! two_pairs {
            ($x:expr, $first:literal, $second:literal) => {{
                let w = [0, 16, 32, 48].map(|at| vld1q_s8(weights.add(at)));
                for p in 0..P {
                    let a = vreinterpretq_s8_s16(vdupq_laneq_s16::<$first>($x[p]));
                    let b = vreinterpretq_s8_s16(vdupq_laneq_s16::<$second>($x[p]));
                    for n in 0..2 {
                        let low = vmull_s8(vget_low_s8(w[n]), vget_low_s8(a));
                        let low = vmlal_s8(low, vget_low_s8(w[n + 2]), vget_low_s8(b));
                        let high = vmull_high_s8(w[n], a);
                        let high = vmlal_high_s8(high, w[n + 2], b);
                        sums[p][2 * n] = vpadalq_s16(sums[p][2 * n], low);
                        sums[p][2 * n + 1] = vpadalq_s16(sums[p][2 * n + 1], high);
                    }
                }
                weights = weights.add(4 * BLOCK);
            }};
        }
        for row in 0..conv.kernel[0] {
            for column in 0..conv.kernel[1] {
                let mut x = tile.x.add(row * tile.row + column * tile.tap);
                for _ in 0..conv.groups / 4 {
                    let pixels: [_; P] = std::array::from_fn(|p| {
                        let eight = x.add(p * tile.x_pixel).cast::<u64>().read_unaligned();
                        vreinterpretq_s16_s8(signed(vreinterpretq_u8_u64(vdupq_n_u64(eight))))
                    });
                    two_pairs!(pixels, 0, 1);
                    two_pairs!(pixels, 2, 3);
                    x = x.add(8);
                }
                for _ in 0..conv.groups % 4 {
                    let w = [0, 16].map(|at| vld1q_s8(weights.add(at)));
                    for p in 0..P {
                        let a = pair(x.add(p * tile.x_pixel));
                        for n in 0..2 {
                            let low = vmull_s8(vget_low_s8(w[n]), vget_low_s8(a));
                            let high = vmull_high_s8(w[n], a);
                            sums[p][2 * n] = vpadalq_s16(sums[p][2 * n], low);
                            sums[p][2 * n + 1] = vpadalq_s16(sums[p][2 * n + 1], high);
                        }
                    }
                    x = x.add(2);
                    weights = weights.add(2 * BLOCK);
                }
            }
        }
        for p in 0..P {
            write(conv, sums[p], tile.block, tile.y.add(p * tile.y_pixel));
        }
    }
}

/// Two activations less 128, eight times.
///
/// # Safety
/// `x` has two bytes.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn pair(x: *const u8) -> int8x16_t {
    // SAFETY: as of the caller.
    let two = unsafe { x.cast::<i16>().read_unaligned() };
    signed(vreinterpretq_u8_s16(vdupq_n_s16(two)))
}

/// Bytes less 128.
#[target_feature(enable = "neon")]
#[inline]
fn signed(x: uint8x16_t) -> int8x16_t {
    vreinterpretq_s8_u8(veorq_u8(x, vdupq_n_u8(0x80)))
}

/// Sixteen channels of a pixel are one load; `sdot` takes its four by lane.
///
/// # Safety
/// As of its caller.
#[target_feature(enable = "neon,dotprod")]
#[inline]
unsafe fn tile_dot<const P: usize>(conv: &Conv, tile: Tile) {
    let mut weights = conv.dense(tile.block).as_ptr();
    // SAFETY: reads `groups` groups a tap, four vectors of weights each, writes a block a pixel.
    unsafe {
        let mut sums = [[vdupq_n_s32(0); 4]; P];
        macro_rules! group {
            ($x:expr, $lane:literal) => {{
                for n in 0..4 {
                    let w = vld1q_s8(weights.add(16 * n));
                    for p in 0..P {
                        sums[p][n] = sdot::<$lane>(sums[p][n], w, $x[p]);
                    }
                }
                weights = weights.add(4 * BLOCK);
            }};
        }
        for row in 0..conv.kernel[0] {
            for column in 0..conv.kernel[1] {
                let mut x = tile.x.add(row * tile.row + column * tile.tap);
                for _ in 0..conv.groups / 4 {
                    let pixels: [_; P] =
                        std::array::from_fn(|p| signed(vld1q_u8(x.add(p * tile.x_pixel))));
                    group!(pixels, 0);
                    group!(pixels, 1);
                    group!(pixels, 2);
                    group!(pixels, 3);
                    x = x.add(16);
                }
                for _ in 0..conv.groups % 4 {
                    let pixels: [_; P] = std::array::from_fn(|p| {
                        let four = x.add(p * tile.x_pixel).cast::<u32>().read_unaligned();
                        signed(vreinterpretq_u8_u32(vdupq_n_u32(four)))
                    });
                    group!(pixels, 0);
                    x = x.add(4);
                }
            }
        }
        for p in 0..P {
            write(conv, sums[p], tile.block, tile.y.add(p * tile.y_pixel));
        }
    }
}

/// `sums[i] + sum over k of w[4 i + k] x[4 LANE + k]`.
#[target_feature(enable = "neon,dotprod")]
#[inline]
fn sdot<const LANE: usize>(mut sums: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: touches registers only, and the CPU has the extension.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {w:v}.16b, {x:v}.4b[{lane}]",
            sums = inout(vreg) sums,
            w = in(vreg) w,
            x = in(vreg) x,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Two pixels x two outputs x eight channels an instruction; `N` pairs of pixels, or a single pixel twice.
///
/// # Safety
/// As of its caller.
#[target_feature(enable = "neon,i8mm")]
#[inline]
unsafe fn tile_i8mm<const N: usize, const PAIRED: bool>(conv: &Conv, tile: Tile) {
    let mut weights = conv.dense(tile.block).as_ptr();
    // SAFETY: reads `groups` groups a tap, eight vectors of weights each, writes a block a pixel.
    unsafe {
        // Of each pair of pixels, and outputs 2 n and 2 n + 1.
        let mut sums = [[vdupq_n_s32(0); 8]; N];
        let neighbour = if PAIRED { tile.x_pixel } else { 0 };
        for row in 0..conv.kernel[0] {
            for column in 0..conv.kernel[1] {
                let mut x = tile.x.add(row * tile.row + column * tile.tap);
                for _ in 0..conv.groups {
                    let pairs: [_; N] = std::array::from_fn(|p| {
                        let first = x.add(2 * p * tile.x_pixel);
                        vcombine_u8(vld1_u8(first), vld1_u8(first.add(neighbour)))
                    });
                    for n in 0..8 {
                        let w = vld1q_s8(weights.add(16 * n));
                        for p in 0..N {
                            sums[p][n] = usmmla(sums[p][n], pairs[p], w);
                        }
                    }
                    x = x.add(8);
                    weights = weights.add(8 * BLOCK);
                }
            }
        }
        for p in 0..N {
            let of = sums[p].map(|sums| vreinterpretq_s64_s32(sums));
            let y = tile.y.add(2 * p * tile.y_pixel);
            let first = [0, 2, 4, 6].map(|n| vreinterpretq_s32_s64(vzip1q_s64(of[n], of[n + 1])));
            write(conv, first, tile.block, y);
            if PAIRED {
                let second =
                    [0, 2, 4, 6].map(|n| vreinterpretq_s32_s64(vzip2q_s64(of[n], of[n + 1])));
                write(conv, second, tile.block, y.add(tile.y_pixel));
            }
        }
    }
}

/// `sums[2 i + j] + sum over k of x[8 i + k] w[8 j + k]`.
#[target_feature(enable = "neon,i8mm")]
#[inline]
fn usmmla(mut sums: int32x4_t, x: uint8x16_t, w: int8x16_t) -> int32x4_t {
    // SAFETY: touches registers only, and the CPU has the extension.
    unsafe {
        asm!(
            "usmmla {sums:v}.4s, {x:v}.16b, {w:v}.16b",
            sums = inout(vreg) sums,
            x = in(vreg) x,
            w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Requantizes a block's sums and writes its bytes.
///
/// # Safety
/// `y` has room for a block.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn write(conv: &Conv, sums: [int32x4_t; 4], block: usize, y: *mut u8) {
    let [low, high] = conv.bounds.map(|bound| vdupq_n_f32(bound));
    let zero = vdupq_n_s32(i32::from(conv.zero));
    let words: [uint16x4_t; 4] = std::array::from_fn(|n| {
        let first = block * BLOCK + 4 * n;
        // SAFETY: bias and scale have whole blocks.
        let (bias, scale) = unsafe {
            (vld1q_s32(conv.bias.as_ptr().add(first)), vld1q_f32(conv.scale.as_ptr().add(first)))
        };
        let sum = vcvtq_f32_s32(vaddq_s32(sums[n], bias));
        let value = vminq_f32(vmaxq_f32(vmulq_f32(sum, scale), low), high);
        vqmovun_s32(vaddq_s32(vcvtnq_s32_f32(value), zero))
    });
    let bytes = [0, 2].map(|n| vqmovn_u16(vcombine_u16(words[n], words[n + 1])));
    // SAFETY: as of the caller.
    unsafe { vst1q_u8(y, vcombine_u8(bytes[0], bytes[1])) };
}
