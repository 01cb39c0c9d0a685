//! What a core can multiply at most: the kernels' instructions on registers alone, nothing loaded.

use std::time::{Duration, Instant};

use super::Isa;

/// Independent sums: more than the instructions' latency times their rate.
const SUMS: usize = 12;
/// Instructions for each sum between two looks at the clock.
const ROUNDS: usize = 20_000;
const MEASURED: Duration = Duration::from_millis(100);

impl Isa {
    /// Multiply-accumulates per second that one core reaches on registers alone, the best of 0.1 s; `None` where the
    /// CPU hasn't the instructions or it isn't known how, as on ARM.
    ///
    /// For [`Isa::Avx2`] it is that of the direct way; Winograd's can pass it, since it multiplies less.
    pub fn peak(self) -> Option<f64> {
        if !self.runs_here() {
            return None;
        }
        let known: Option<(unsafe fn(), usize)> = match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Some((x86_64::avx2, 32)),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => Some((x86_64::avx_vnni, 32)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => Some((x86_64::avx512_vnni, 64)),
            _ => None,
        };
        let (round, macs) = known?;
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

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::{ROUNDS, SUMS};

    #[target_feature(enable = "avx2")]
    pub fn avx2() {
        let (x, ones) = (black_box(_mm256_set1_epi8(3)), black_box(_mm256_set1_epi16(1)));
        let mut sums = [_mm256_setzero_si256(); SUMS];
        for _ in 0..ROUNDS {
            // Products with the sum itself, so that the compiler can't compute them once for all rounds.
            for sum in &mut sums {
                let pairs = _mm256_maddubs_epi16(x, *sum);
                *sum = _mm256_add_epi32(_mm256_madd_epi16(pairs, ones), x);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,avxvnni")]
    pub fn avx_vnni() {
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
    pub fn avx512_vnni() {
        let (x, w) = (black_box(_mm512_set1_epi8(3)), black_box(_mm512_set1_epi8(2)));
        let mut sums = [_mm512_setzero_si512(); SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, x, w);
            }
        }
        black_box(sums);
    }
}
