//! What a core can multiply at most: the kernels' instruction on registers alone, nothing loaded.

use std::arch::x86_64::*;
use std::hint::black_box;
use std::time::{Duration, Instant};

use super::Isa;

/// Independent sums: more than the instruction's latency times its rate.
const SUMS: usize = 12;
/// Instructions for each sum between two looks at the clock.
const ROUNDS: usize = 20_000;
const MEASURED: Duration = Duration::from_millis(100);

impl Isa {
    /// Multiply-accumulates per second that one core reaches on registers alone, the best of 0.1 s; `None` where it
    /// isn't known how.
    pub fn peak(self) -> Option<f64> {
        if !self.runs_here() {
            return None;
        }
        let (round, macs): (unsafe fn(), usize) = match self {
            Isa::Avx2 => (avx2, 16),
            Isa::AvxVnni => (avx_vnni, 32),
            Isa::Avx512Vnni => (avx512_vnni, 64),
            _ => return None,
        };
        let (start, mut best) = (Instant::now(), f64::INFINITY);
        while start.elapsed() < MEASURED {
            let since = Instant::now();
            // SAFETY: the CPU has the instructions, see above.
            unsafe { round() };
            best = best.min(since.elapsed().as_secs_f64());
        }
        Some((macs * SUMS * ROUNDS) as f64 / best)
    }
}

#[target_feature(enable = "avx2")]
fn avx2() {
    let x = black_box(_mm256_set1_epi16(3));
    let mut sums = [_mm256_setzero_si256(); SUMS];
    for _ in 0..ROUNDS {
        // A product of the sum itself, so that the compiler can't compute it once for all rounds.
        for sum in &mut sums {
            *sum = _mm256_add_epi32(_mm256_madd_epi16(x, *sum), x);
        }
    }
    black_box(sums);
}

#[target_feature(enable = "avx2,avxvnni")]
fn avx_vnni() {
    let (x, w) = (black_box(_mm256_set1_epi8(3)), black_box(_mm256_set1_epi8(2)));
    let mut sums = [_mm256_setzero_si256(); SUMS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm256_dpbusd_avx_epi32(*sum, x, w);
        }
    }
    black_box(sums);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn avx512_vnni() {
    let (x, w) = (black_box(_mm512_set1_epi8(3)), black_box(_mm512_set1_epi8(2)));
    let mut sums = [_mm512_setzero_si512(); SUMS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, x, w);
        }
    }
    black_box(sums);
}
