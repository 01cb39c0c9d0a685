//! The golden case: an input and the logits its makers got, to be met again on every machine.
//!
//! Layout of `golden.bin`, little-endian: `u32` channels, height, width; `f32` input
//! `[channels, height, width]`; `u32` classes; `f32` logits `[classes, height, width]`.

use ndarray::{Array3, ArrayView3, Axis, Zip};

/// Logits agree that differ by no more than this part of the golden case's span.
const TOLERANCE: f32 = 0.02;

/// Upper bound for each count in the header, so that a damaged file can't ask for much memory.
const MAX_COUNT: u32 = 1024;

/// Input and expected logits, both `[channel, row, column]`.
#[derive(Debug)]
pub(crate) struct GoldenCase {
    pub input: Array3<f32>,
    pub logits: Array3<f32>,
}

impl GoldenCase {
    /// Reads the file's bytes; the error says what is wrong with them.
    pub fn parse(bytes: &[u8]) -> Result<GoldenCase, &'static str> {
        let mut reader = Reader(bytes);
        let [channels, height, width] = [reader.count()?, reader.count()?, reader.count()?];
        let input = reader.array([channels, height, width])?;
        let classes = reader.count()?;
        let logits = reader.array([classes, height, width])?;
        if !reader.0.is_empty() {
            return Err("bytes left over");
        }
        let case = GoldenCase { input, logits };
        if case.has_every_class() { Ok(case) } else { Err("a class is nowhere in it") }
    }

    /// Otherwise a network that never says a class would pass.
    fn has_every_class(&self) -> bool {
        let classes = self.logits.len_of(Axis(0));
        let mut seen = vec![false; classes.max(2)];
        for pixel in self.logits.lanes(Axis(0)) {
            seen[class_of(pixel.iter())] = true;
        }
        seen.into_iter().all(|seen| seen)
    }

    /// Fraction of logits that are as in the golden case.
    pub fn agreement(&self, logits: ArrayView3<f32>) -> f64 {
        if logits.dim() != self.logits.dim() {
            return 0.0;
        }
        let low = self.logits.fold(f32::INFINITY, |a, b| a.min(*b));
        let high = self.logits.fold(f32::NEG_INFINITY, |a, b| a.max(*b));
        let tolerance = TOLERANCE * (high - low);
        let same = Zip::from(&self.logits).and(&logits).fold(0usize, |same, expected, got| {
            same + usize::from((expected - got).abs() <= tolerance)
        });
        same as f64 / self.logits.len() as f64
    }
}

/// Index of the largest logit; for a single one, whether it is positive.
fn class_of<'a>(logits: impl ExactSizeIterator<Item = &'a f32>) -> usize {
    let single = logits.len() == 1;
    let (index, value) = logits
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(b.1))
        .expect("a network has at least one class");
    if single { usize::from(*value > 0.0) } else { index }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn word(&mut self) -> Result<[u8; 4], &'static str> {
        let (head, tail) = self.0.split_first_chunk::<4>().ok_or("it ends too early")?;
        self.0 = tail;
        Ok(*head)
    }

    fn count(&mut self) -> Result<usize, &'static str> {
        match u32::from_le_bytes(self.word()?) {
            n @ 1..=MAX_COUNT => Ok(n as usize),
            _ => Err("a count is out of range"),
        }
    }

    fn array(&mut self, shape: [usize; 3]) -> Result<Array3<f32>, &'static str> {
        let n: usize = shape.iter().product();
        if self.0.len() < n * 4 {
            return Err("it ends too early");
        }
        let values: Result<Vec<f32>, _> =
            (0..n).map(|_| self.word().map(f32::from_le_bytes)).collect();
        Array3::from_shape_vec(shape, values?).map_err(|_| "its shape doesn't fit its length")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Vec<u8> {
        let mut bytes = Vec::new();
        for n in [1u32, 1, 2] {
            bytes.extend(n.to_le_bytes());
        }
        bytes.extend([0.5f32, -0.5].map(f32::to_le_bytes).concat());
        bytes.extend(2u32.to_le_bytes());
        bytes.extend([1.0f32, 0.0, 0.0, 1.0].map(f32::to_le_bytes).concat());
        bytes
    }

    #[test]
    fn a_case_is_read_and_compared_logit_by_logit() {
        let golden = GoldenCase::parse(&case()).unwrap();
        assert_eq!(golden.input[[0, 0, 1]], -0.5);
        assert_eq!(golden.agreement(golden.logits.view()), 1.0);
        assert_eq!(golden.agreement((&golden.logits + 0.01).view()), 1.0);
        for wrong in [2.0, f32::NAN] {
            let mut other = golden.logits.clone();
            other[[0, 0, 1]] = wrong;
            assert_eq!(golden.agreement(other.view()), 0.75);
        }
    }

    #[test]
    fn a_case_without_one_of_the_classes_is_refused() {
        let mut bytes = case();
        let end = bytes.len();
        bytes[end - 8..].copy_from_slice(&[2.0f32, 1.0].map(f32::to_le_bytes).concat());
        bytes[end - 16..end - 8].copy_from_slice(&[3.0f32, 3.0].map(f32::to_le_bytes).concat());
        assert_eq!(GoldenCase::parse(&bytes).unwrap_err(), "a class is nowhere in it");
    }

    #[test]
    fn damaged_cases_are_refused() {
        let good = case();
        assert!(GoldenCase::parse(&good[..good.len() - 1]).is_err());
        assert!(GoldenCase::parse(&[good.clone(), vec![0]].concat()).is_err());
        let mut huge = good;
        huge[0..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(GoldenCase::parse(&huge).is_err());
    }
}
