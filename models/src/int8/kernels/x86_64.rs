//! AVX2, AVX-VNNI and AVX-512 VNNI.

use std::arch::x86_64::*;

use super::tiles::{Tile, in_order, parts, pixels_together, tiles};
use super::winograd::TILES;
use super::{BLOCK, Conv, Input, Output, Unsaturated, Weights};

/// # Safety
/// The CPU has the features, and `Conv::run` has checked the bounds.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn avx512_vnni(conv: &Conv, input: Input, output: &mut Output) {
    if conv.blocks.is_multiple_of(2) {
        tiles!(conv, input, output, 2, [
            14 => tile_512::<14, 2>, 12 => tile_512::<12, 2>, 10 => tile_512::<10, 2>,
            8 => tile_512::<8, 2>, 6 => tile_512::<6, 2>, 4 => tile_512::<4, 2>, 3 => tile_512::<3, 2>,
            2 => tile_512::<2, 2>, 1 => tile_512::<1, 2>,
        ]);
    } else {
        tiles!(conv, input, output, 1, [
            16 => tile_512::<16, 1>, 14 => tile_512::<14, 1>, 12 => tile_512::<12, 1>,
            10 => tile_512::<10, 1>, 8 => tile_512::<8, 1>, 6 => tile_512::<6, 1>,
            4 => tile_512::<4, 1>, 3 => tile_512::<3, 1>, 2 => tile_512::<2, 1>, 1 => tile_512::<1, 1>,
        ]);
    }
}

/// `P` pixels x `N` blocks in registers: a weight vector is loaded once for all pixels, four activations are
/// broadcast once for all blocks.
///
/// # Safety
/// As of its caller.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
#[inline]
unsafe fn tile_512<const P: usize, const N: usize>(conv: &Conv, tile: Tile) {
    let [rows, columns] = conv.kernel;
    let next_block = rows * columns * conv.groups * 4 * BLOCK;
    let mut weights = conv.dense(tile.block).as_ptr();
    // SAFETY: reads `groups` groups a tap, `taps x groups` vectors of weights, writes `N` blocks a pixel.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); N]; P];
        for row in 0..rows {
            for column in 0..columns {
                let mut x = tile.x.add(row * tile.row + column * tile.tap);
                for _ in 0..conv.groups {
                    let w: [_; N] = std::array::from_fn(|n| {
                        _mm512_loadu_si512(weights.add(n * next_block).cast())
                    });
                    for p in 0..P {
                        let four = x.add(p * tile.x_pixel).cast::<i32>().read_unaligned();
                        let four = _mm512_set1_epi32(four);
                        for n in 0..N {
                            sums[p][n] = _mm512_dpbusd_epi32(sums[p][n], four, w[n]);
                        }
                    }
                    x = x.add(4);
                    weights = weights.add(4 * BLOCK);
                }
            }
        }
        let low = _mm512_set1_ps(conv.bounds[0]);
        let high = _mm512_set1_ps(conv.bounds[1]);
        let zero = _mm512_set1_epi32(i32::from(conv.zero));
        for n in 0..N {
            let first = (tile.block + n) * BLOCK;
            let bias = _mm512_loadu_si512(conv.bias.as_ptr().add(first).cast());
            let scale = _mm512_loadu_ps(conv.scale.as_ptr().add(first));
            for p in 0..P {
                let sum = _mm512_cvtepi32_ps(_mm512_add_epi32(sums[p][n], bias));
                let value = _mm512_min_ps(_mm512_max_ps(_mm512_mul_ps(sum, scale), low), high);
                let bytes = _mm512_cvtepi32_epi8(_mm512_add_epi32(_mm512_cvtps_epi32(value), zero));
                _mm_storeu_si128(tile.y.add(p * tile.y_pixel + n * BLOCK).cast(), bytes);
            }
        }
    }
}

/// # Safety
/// The CPU has the features, and `Conv::run` has checked the bounds.
#[target_feature(enable = "avx2,avxvnni")]
pub(super) unsafe fn avx_vnni(conv: &Conv, input: Input, output: &mut Output) {
    tiles!(conv, input, output, 1, [
        6 => tile_256::<6>, 5 => tile_256::<5>, 4 => tile_256::<4>, 3 => tile_256::<3>,
        2 => tile_256::<2>, 1 => tile_256::<1>,
    ]);
}

/// `P` pixels x one block of two vectors.
///
/// # Safety
/// As of its caller.
#[target_feature(enable = "avx2,avxvnni")]
#[inline]
unsafe fn tile_256<const P: usize>(conv: &Conv, tile: Tile) {
    let mut weights = conv.dense(tile.block).as_ptr();
    // SAFETY: reads `groups` groups a tap, two vectors of weights each, writes a block a pixel.
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); 2]; P];
        for row in 0..conv.kernel[0] {
            for column in 0..conv.kernel[1] {
                let mut x = tile.x.add(row * tile.row + column * tile.tap);
                for _ in 0..conv.groups {
                    let w = [0, 32].map(|at| _mm256_loadu_si256(weights.add(at).cast()));
                    for p in 0..P {
                        let four = x.add(p * tile.x_pixel).cast::<i32>().read_unaligned();
                        let four = _mm256_set1_epi32(four);
                        for n in 0..2 {
                            sums[p][n] = _mm256_dpbusd_avx_epi32(sums[p][n], four, w[n]);
                        }
                    }
                    x = x.add(4);
                    weights = weights.add(4 * BLOCK);
                }
            }
        }
        for p in 0..P {
            write_256(conv, sums[p], tile.block, tile.y.add(p * tile.y_pixel));
        }
    }
}

/// # Safety
/// The CPU has the features, and `Conv::run` has checked the bounds.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn avx2(conv: &Conv, input: Input, output: &mut Output) {
    if let Weights::Winograd(winograd) = &conv.weights {
        // SAFETY: the CPU has the features.
        return unsafe { winograd.run(conv, input, output, multiply) };
    }
    tiles!(conv, input, output, 1, [
        12 => tile_half::<12>, 10 => tile_half::<10>, 8 => tile_half::<8>, 7 => tile_half::<7>,
        6 => tile_half::<6>, 5 => tile_half::<5>, 4 => tile_half::<4>, 3 => tile_half::<3>,
        2 => tile_half::<2>, 1 => tile_half::<1>,
    ]);
}

/// Multiplies Winograd's points, pairs of channels at a time: six tiles x a block in registers.
///
/// # Safety
/// The CPU has the features.
#[target_feature(enable = "avx2")]
unsafe fn multiply(
    tiles: &[i16],
    channels: usize,
    weights: &[i16],
    sums: &mut [[i32; BLOCK]; TILES],
) {
    const P: usize = 6;
    const { assert!(TILES.is_multiple_of(P)) };
    let (pairs, []) = weights.as_chunks::<{ 2 * BLOCK }>() else { unreachable!("whole pairs") };
    assert!(2 * pairs.len() <= channels && TILES * channels <= tiles.len());
    for (k, sums) in sums.as_chunks_mut::<P>().0.iter_mut().enumerate() {
        let mut in_registers = [[_mm256_setzero_si256(); 2]; P];
        // SAFETY: each tile has `channels` values, no fewer than there are in all pairs.
        unsafe {
            let mut x = tiles.as_ptr().add(k * P * channels);
            for pair in pairs {
                let w = [0, 16].map(|at| _mm256_loadu_si256(pair.as_ptr().add(at).cast()));
                for p in 0..P {
                    let two = x.add(p * channels).cast::<i32>().read_unaligned();
                    let two = _mm256_set1_epi32(two);
                    for n in 0..2 {
                        let products = _mm256_madd_epi16(two, w[n]);
                        in_registers[p][n] = _mm256_add_epi32(in_registers[p][n], products);
                    }
                }
                x = x.add(2);
            }
            for p in 0..P {
                for n in 0..2 {
                    _mm256_storeu_si256(sums[p].as_mut_ptr().add(8 * n).cast(), in_registers[p][n]);
                }
            }
        }
    }
}

/// `P` pixels x one block, its halves one after the other: there are no more than sixteen registers.
///
/// # Safety
/// As of its caller.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn tile_half<const P: usize>(conv: &Conv, tile: Tile) {
    let Weights::Unsaturated(packed) = &conv.weights else { unreachable!("packed for AVX2") };
    let taps = conv.kernel[0] * conv.kernel[1];
    let ones = _mm256_set1_epi16(1);
    for half in 2 * tile.block..2 * tile.block + 2 {
        let mut starts = packed.starts[half * taps..][..taps + 1].windows(2);
        let first = packed.starts[half * taps] as usize;
        let mut sums = [_mm256_setzero_si256(); P];
        // SAFETY: each part is four channels of a tap's pixel, and a vector of weights.
        unsafe {
            let mut weights = packed.weights.as_ptr().add(first * Unsaturated::BYTES);
            for row in 0..conv.kernel[0] {
                for column in 0..conv.kernel[1] {
                    let tap = tile.x.add(row * tile.row + column * tile.tap);
                    let Some(&[from, to]) = starts.next().and_then(|w| w.first_chunk()) else {
                        unreachable!("a start for each tap")
                    };
                    for group in packed.groups.get_unchecked(from as usize..to as usize) {
                        let x = tap.add(4 * usize::from(*group));
                        let w = _mm256_loadu_si256(weights.cast());
                        for p in 0..P {
                            let four = x.add(p * tile.x_pixel).cast::<i32>().read_unaligned();
                            let pairs = _mm256_maddubs_epi16(_mm256_set1_epi32(four), w);
                            let fours = _mm256_madd_epi16(pairs, ones);
                            sums[p] = _mm256_add_epi32(sums[p], fours);
                        }
                        weights = weights.add(Unsaturated::BYTES);
                    }
                }
            }
            for p in 0..P {
                let values = requantized(conv, sums[p], half * Unsaturated::OUTPUTS);
                let [low, high] =
                    [_mm256_castsi256_si128(values), _mm256_extracti128_si256::<1>(values)];
                let words = _mm_packus_epi32(low, high);
                let y = tile.y.add(p * tile.y_pixel + half % 2 * Unsaturated::OUTPUTS);
                _mm_storel_epi64(y.cast(), _mm_packus_epi16(words, words));
            }
        }
    }
}

/// Requantizes a block's sums and writes its bytes.
///
/// # Safety
/// `y` has room for a block.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn write_256(conv: &Conv, sums: [__m256i; 2], block: usize, y: *mut u8) {
    let [a, b] = [0, 1].map(|n| requantized(conv, sums[n], block * BLOCK + 8 * n));
    // Packing works in lanes of 128 bits: 64-bit parts come out in the order 0 2 1 3.
    let words = _mm256_permute4x64_epi64::<0xD8>(_mm256_packus_epi32(a, b));
    let halves = [_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words)];
    // SAFETY: as of the caller.
    unsafe { _mm_storeu_si128(y.cast(), _mm_packus_epi16(halves[0], halves[1])) };
}

/// The output values of eight sums, whose first is that of output `first`.
#[target_feature(enable = "avx2")]
#[inline]
fn requantized(conv: &Conv, sums: __m256i, first: usize) -> __m256i {
    let low = _mm256_set1_ps(conv.bounds[0]);
    let high = _mm256_set1_ps(conv.bounds[1]);
    // SAFETY: both have whole blocks.
    let (bias, scale) = unsafe {
        let bias = _mm256_loadu_si256(conv.bias[first..][..8].as_ptr().cast());
        (bias, _mm256_loadu_ps(conv.scale[first..][..8].as_ptr()))
    };
    let sum = _mm256_cvtepi32_ps(_mm256_add_epi32(sums, bias));
    let scaled = _mm256_min_ps(_mm256_max_ps(_mm256_mul_ps(sum, scale), low), high);
    _mm256_add_epi32(_mm256_cvtps_epi32(scaled), _mm256_set1_epi32(i32::from(conv.zero)))
}
