//! What isn't a convolution, row by row: plain Rust, compiled for several instruction sets.

use multiversion::multiversion;

use super::kernels::rounded;
use super::program::Quantization;

/// The channels of a map within each pixel of a row.
#[derive(Clone, Copy)]
pub(super) struct Lane {
    /// Bytes from pixel to pixel.
    pub pixel: usize,
    pub offset: usize,
    pub channels: usize,
}

impl Lane {
    /// The map's part of every pixel of a row, `together` pixels at a time.
    #[inline(always)]
    fn of(self, row: &[u8], together: usize) -> impl Iterator<Item = &[u8]> {
        row[self.offset..].chunks(together * self.pixel)
    }

    #[inline(always)]
    fn of_mut(self, row: &mut [u8], together: usize) -> impl Iterator<Item = &mut [u8]> {
        row[self.offset..].chunks_mut(together * self.pixel)
    }
}

/// Calls `each` for every byte of both, sixteen at a time where there are as many.
#[inline(always)]
fn zip(out: &mut [u8], from: &[u8], each: impl Fn(&mut u8, u8)) {
    let (outs, last_outs) = out.as_chunks_mut::<16>();
    let (froms, last_froms) = from.as_chunks::<16>();
    for (out, from) in outs.iter_mut().zip(froms) {
        out.iter_mut().zip(from).for_each(|(out, from)| each(out, *from));
    }
    last_outs.iter_mut().zip(last_froms).for_each(|(out, from)| each(out, *from));
}

/// The largest of each byte of four.
#[inline(always)]
fn largest(out: &mut [u8], four: [&[u8]; 4]) {
    let (outs, last_outs) = out.as_chunks_mut::<16>();
    let [a, b, c, d] = four.map(|q| q.as_chunks::<16>().0);
    for (k, out) in outs.iter_mut().enumerate() {
        *out = std::array::from_fn(|i| a[k][i].max(b[k][i]).max(c[k][i].max(d[k][i])));
    }
    let first = 16 * outs.len();
    for (k, out) in last_outs.iter_mut().enumerate() {
        *out = four.iter().map(|q| q[first + k]).max().unwrap_or(0);
    }
}

/// `saturate(round(x / scale) + zero)`, ties to even, as ONNX defines it; one channel of a row.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn quantize(
    values: &[f32],
    to: Quantization,
    row: &mut [u8],
    lane: Lane,
    channel: usize,
) {
    for (value, pixel) in values.iter().zip(row.chunks_exact_mut(lane.pixel)) {
        pixel[lane.offset + channel] = rounded(value / to.scale, to.zero);
    }
}

/// `(q - zero) * scale`; one channel of a row.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn dequantize(
    row: &[u8],
    lane: Lane,
    channel: usize,
    from: Quantization,
    values: &mut [f32],
) {
    for (value, pixel) in values.iter_mut().zip(row.chunks_exact(lane.pixel)) {
        let q = i32::from(pixel[lane.offset + channel]) - i32::from(from.zero);
        *value = q as f32 * from.scale;
    }
}

/// From one quantization to another.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Requantizer {
    factor: f32,
    from_zero: u8,
    to_zero: u8,
}

impl Requantizer {
    /// `None` where nothing would change.
    pub fn new(from: Quantization, to: Quantization) -> Option<Requantizer> {
        let factor = from.scale / to.scale;
        (from != to).then_some(Requantizer { factor, from_zero: from.zero, to_zero: to.zero })
    }

    #[inline(always)]
    fn of(self, q: u8) -> u8 {
        let value = f32::from(i16::from(q) - i16::from(self.from_zero)) * self.factor;
        rounded(value, self.to_zero)
    }
}

/// Pixels of one row to another, every one `times` times.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn repeat(
    input: &[u8],
    from: Lane,
    change: Option<Requantizer>,
    times: usize,
    output: &mut [u8],
    to: Lane,
) {
    let channels = from.channels;
    for (outs, pixel) in to.of_mut(output, times).zip(from.of(input, 1)) {
        for out in outs.chunks_mut(to.pixel) {
            match change {
                None => zip(&mut out[..channels], &pixel[..channels], |out, q| *out = q),
                Some(change) => {
                    zip(&mut out[..channels], &pixel[..channels], |out, q| *out = change.of(q));
                }
            }
        }
    }
}

/// A window along one axis.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub size: usize,
    pub stride: usize,
    /// Padding before the first column.
    pub before: usize,
    /// Columns of the input.
    pub columns: usize,
}

/// The largest of each window; `rows` are the input's rows that the window has.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn max_pool(rows: &[&[u8]], from: Lane, window: Window, output: &mut [u8], to: Lane) {
    let channels = from.channels;
    if let ([above, below], Window { size: 2, stride: 2, before: 0, .. }) = (rows, window) {
        let pairs = from.of(above, 2).zip(from.of(below, 2));
        for (out, (a, b)) in to.of_mut(output, 1).zip(pairs) {
            let four = [a, &a[from.pixel..], b, &b[from.pixel..]].map(|q| &q[..channels]);
            largest(&mut out[..channels], four);
        }
        return;
    }
    for column in 0..output.len() / to.pixel {
        let first = (column * window.stride).saturating_sub(window.before);
        let last = (column * window.stride + window.size - window.before).min(window.columns);
        let out = &mut output[column * to.pixel + to.offset..][..channels];
        out.fill(0);
        for row in rows {
            for x in first..last {
                let pixel = &row[x * from.pixel + from.offset..][..channels];
                zip(out, pixel, |out, q| *out = (*out).max(q));
            }
        }
    }
}

/// `quantize(dequantize(a) + dequantize(b))`, not below `low`.
#[derive(Clone, Copy)]
pub(super) struct Adder {
    factors: [f32; 2],
    shift: f32,
    zero: u8,
    low: u8,
}

impl Adder {
    pub fn new(parts: [Quantization; 2], sum: Quantization, low: u8) -> Adder {
        let factors = parts.map(|part| part.scale / sum.scale);
        let shift = f32::from(parts[0].zero) * factors[0] + f32::from(parts[1].zero) * factors[1];
        Adder { factors, shift, zero: sum.zero, low }
    }
}

/// Adds two rows.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn add(adder: Adder, [a, b]: [(&[u8], Lane); 2], output: &mut [u8], to: Lane) {
    let Adder { factors, shift, zero, low } = adder;
    let parts = a.1.of(a.0, 1).zip(b.1.of(b.0, 1));
    for (out, (a, b)) in to.of_mut(output, 1).zip(parts) {
        let out = &mut out[..to.channels];
        zip(out, &a[..to.channels], |out, q| *out = q);
        zip(out, &b[..to.channels], |out, q| {
            let sum = f32::from(*out) * factors[0] + f32::from(q) * factors[1];
            *out = rounded(sum - shift, zero).max(low);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_stop_at_the_edge() {
        let lane = Lane { pixel: 1, offset: 0, channels: 1 };
        let mut out = [0; 3];
        let window = Window { size: 3, stride: 2, before: 1, columns: 5 };
        max_pool(&[&[9, 1, 2, 3, 4]], lane, window, &mut out, lane);
        assert_eq!(out, [9, 3, 4]);
    }
}
