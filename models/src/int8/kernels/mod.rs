//! Convolution kernels: u8 activations, s8 weights, exact i32 sums, requantized on the way out.
//!
//! Every instruction set computes the same bytes as [`Isa::Portable`]. One is chosen when a convolution is
//! packed, since each wants its weights in its own order. This is the only module of the project with
//! `unsafe` code: [`Conv::run`] checks the bounds of everything that a kernel then reads and writes by pointer.

#![allow(unsafe_code)]
// The kernels' loops run over registers: an index says which.
#![allow(clippy::needless_range_loop)]

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod peak;
mod portable;
mod rounding;
mod tiles;
mod winograd;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::fmt;
use std::str::FromStr;

pub(crate) use rounding::rounded;
use tiles::in_order;
use winograd::Winograd;

/// Output channels that a kernel computes together.
pub(crate) const BLOCK: usize = 16;

/// Bytes that must follow an input's last channel: kernels load whole groups and whole vectors.
pub(crate) const SLACK: usize = 64;

/// Numbers of input channels for which Winograd's way is used: fewer don't pay for the transforms, with more the
/// outputs, four times too large, might not fit 32 bits.
const WINOGRAD_INPUTS: std::ops::RangeInclusive<usize> = 8..=1024;

/// An instruction set that there are kernels for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust, the reference.
    Portable,
    /// x86-64 with AVX2: `vpmaddwd` on tiles of Winograd's; where those don't apply, `vpmaddubsw` on weights that
    /// are split where it would saturate.
    Avx2,
    /// x86-64 with AVX-VNNI: `vpdpbusd` on 256 bits.
    AvxVnni,
    /// x86-64 with AVX-512 VNNI: `vpdpbusd` on 512 bits.
    Avx512Vnni,
    /// Any aarch64: `smlal` on tiles of Winograd's, else `smull`, `smlal`, `sadalp` (Cortex-A53, A57, A72).
    NeonMlal,
    /// aarch64 with the dot product extension: `sdot` (Cortex-A55, A76, A78AE, Neoverse).
    NeonDot,
    /// aarch64 with the int8 matrix extension: `usmmla`.
    NeonI8mm,
}

const NAMES: [(Isa, &str); 7] = [
    (Isa::Portable, "portable"),
    (Isa::Avx2, "avx2"),
    (Isa::AvxVnni, "avx-vnni"),
    (Isa::Avx512Vnni, "avx512-vnni"),
    (Isa::NeonMlal, "neon-mlal"),
    (Isa::NeonDot, "neon-dot"),
    (Isa::NeonI8mm, "neon-i8mm"),
];

impl Isa {
    /// Those that this CPU has, slowest first.
    pub fn available() -> Vec<Isa> {
        NAMES.iter().map(|(isa, _)| *isa).filter(|isa| isa.runs_here()).collect()
    }

    /// The fastest that this CPU has.
    pub fn best() -> Isa {
        *Self::available().last().expect("the portable one runs everywhere")
    }

    fn runs_here(self) -> bool {
        match self {
            Isa::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "aarch64")]
            Isa::NeonMlal => true,
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonI8mm => std::arch::is_aarch64_feature_detected!("i8mm"),
            _ => false,
        }
    }

    /// Input channels that one instruction sums up for an output channel.
    fn group(self) -> usize {
        match self {
            Isa::Portable => 1,
            Isa::NeonMlal => 2,
            Isa::Avx2 | Isa::AvxVnni | Isa::Avx512Vnni | Isa::NeonDot => 4,
            Isa::NeonI8mm => 8,
        }
    }

    /// The same for its 16-bit multiplication of Winograd's points, if that is the faster way.
    fn winograd_group(self) -> Option<usize> {
        match self {
            Isa::NeonMlal => Some(1),
            Isa::Avx2 => Some(2),
            _ => None,
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(isa, _)| isa == self).expect("every one has a name").1)
    }
}

impl FromStr for Isa {
    type Err = String;

    /// By its name; refuses one that this CPU doesn't have.
    fn from_str(name: &str) -> Result<Isa, String> {
        let names = || Isa::available().iter().map(Isa::to_string).collect::<Vec<_>>().join(", ");
        match NAMES.iter().find(|(_, n)| *n == name) {
            Some((isa, _)) if isa.runs_here() => Ok(*isa),
            Some(_) => Err(format!("this CPU has no {name}; it has {}", names())),
            None => Err(format!("no instruction set is called {name:?}; this CPU has {}", names())),
        }
    }
}

/// A convolution as an ONNX file states it, in integers.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// Output channels, kernel rows, kernel columns, input channels.
    pub shape: [usize; 4],
    /// `[output][row][column][input]`.
    pub weights: Vec<i8>,
    /// One an output channel, in units of input scale x weight scale.
    pub bias: Vec<i32>,
    /// Input scale x weight scale / output scale, one an output channel.
    pub scale: Vec<f32>,
    /// Rows and columns from one output pixel's input to the next one's.
    pub stride: usize,
    /// The input's zero point; its border must hold it.
    pub zero_in: u8,
    /// The output's zero point.
    pub zero_out: u8,
    /// Least output value: the zero point where ReLU follows.
    pub low: u8,
    /// Largest output value.
    pub high: u8,
}

/// A convolution packed for one instruction set.
#[derive(Debug)]
pub(crate) struct Conv {
    isa: Isa,
    kernel: [usize; 2],
    stride: usize,
    /// Groups of input channels, see [`Isa::group`].
    groups: usize,
    /// Blocks of [`BLOCK`] output channels, the last filled up with zeros.
    blocks: usize,
    weights: Weights,
    /// Zero points folded in.
    bias: Vec<i32>,
    scale: Vec<f32>,
    zero: u8,
    /// Bounds of the scaled sum before the zero point is added.
    bounds: [f32; 2],
    /// Multiplications for an output pixel, those with filled-up zeros left out.
    macs: usize,
}

impl fmt::Display for Conv {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let [rows, columns] = self.kernel;
        write!(f, "convolution {rows}x{columns} / {} by {}", self.stride, self.isa)?;
        if let Weights::Winograd(_) = self.weights {
            write!(f, " (Winograd)")?;
        }
        Ok(())
    }
}

#[derive(Debug)]
enum Weights {
    /// `[block][kernel row][kernel column][group][output of block][input of group]`.
    Dense(Vec<i8>),
    /// For a kernel that sums two products in 16 bits with saturation.
    Unsaturated(Unsaturated),
    /// For one that multiplies Winograd's points.
    Winograd(Winograd),
}

impl Weights {
    fn bytes(&self) -> usize {
        match self {
            Weights::Dense(all) | Weights::Unsaturated(Unsaturated { weights: all, .. }) => {
                all.len()
            }
            Weights::Winograd(all) => all.bytes(),
        }
    }
}

/// Weights in half blocks of 8 outputs x 4 inputs, in which no pair can saturate: a group in which one could is
/// split into two whose sum it is.
#[derive(Debug, Default)]
struct Unsaturated {
    /// `[part][output of half block][input of group]`.
    weights: Vec<i8>,
    /// The group of each part.
    groups: Vec<u16>,
    /// `[half block][kernel row][kernel column]`: where its parts begin, and at last their number.
    starts: Vec<u32>,
}

impl Unsaturated {
    /// Outputs of a half block.
    const OUTPUTS: usize = BLOCK / 2;
    const BYTES: usize = Self::OUTPUTS * 4;

    /// Of dense weights in groups of four.
    fn new(dense: &[i8], groups: usize, taps: usize) -> Unsaturated {
        let mut packed = Unsaturated::default();
        for block in dense.chunks_exact(taps * groups * BLOCK * 4) {
            for half in 0..2 {
                for tap in block.chunks_exact(groups * BLOCK * 4) {
                    packed.starts.push(packed.groups.len() as u32);
                    for (group, all) in tap.chunks_exact(BLOCK * 4).enumerate() {
                        let part = &all[half * Self::BYTES..][..Self::BYTES];
                        let first = |w: &i8| (*w).clamp(-64, 64);
                        if part.chunks_exact(2).all(|pair| Self::fits(pair[0], pair[1])) {
                            packed.push(group, part.iter().copied());
                        } else {
                            packed.push(group, part.iter().map(first));
                            packed.push(group, part.iter().map(|w| w - first(w)));
                        }
                    }
                }
            }
        }
        packed.starts.push(packed.groups.len() as u32);
        packed
    }

    fn push(&mut self, group: usize, weights: impl Iterator<Item = i8>) {
        self.weights.extend(weights);
        self.groups.push(group as u16);
    }

    /// Whether `x a + y b` fits 16 bits for all bytes `x` and `y`.
    fn fits(a: i8, b: i8) -> bool {
        let [a, b] = [a, b].map(i32::from);
        let bound = i32::from(i16::MAX) / 255;
        a.max(0) + b.max(0) <= bound && a.min(0) + b.min(0) >= -bound
    }
}

/// Where a convolution reads: `data` begins at the first tap of the first output pixel.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub data: &'a [u8],
    /// Bytes from row to row.
    pub row: usize,
    /// Bytes from pixel to pixel.
    pub pixel: usize,
}

/// Where it writes: `data` begins at the first channel of the first pixel.
pub(crate) struct Output<'a> {
    pub data: &'a mut [u8],
    pub row: usize,
    pub pixel: usize,
    pub rows: usize,
    pub columns: usize,
}

impl Conv {
    /// Packs `spec` for `isa`.
    pub fn new(spec: &Spec, isa: Isa) -> Conv {
        let [outputs, rows, columns, inputs] = spec.shape;
        let winograd = isa.winograd_group().filter(|_| {
            spec.stride == 1 && [rows, columns] == [3, 3] && WINOGRAD_INPUTS.contains(&inputs)
        });
        // Two products of -128 x -128 don't fit the 16 bits that this one sums in.
        let isa = match isa {
            Isa::NeonMlal if winograd.is_none() && spec.weights.contains(&i8::MIN) => Isa::Portable,
            isa => isa,
        };
        let (group, taps) = (isa.group(), rows * columns);
        let (groups, blocks) = (inputs.div_ceil(group), outputs.div_ceil(BLOCK));
        let mut packed = vec![0i8; blocks * taps * groups * BLOCK * group];
        let mut sums = vec![0i32; blocks * BLOCK];
        for (at, &weight) in spec.weights.iter().enumerate() {
            let (output, tap, input) = (at / (taps * inputs), at / inputs % taps, at % inputs);
            let line = (output / BLOCK * taps + tap) * groups + input / group;
            packed[(line * BLOCK + output % BLOCK) * group + input % group] = weight;
            sums[output] += i32::from(weight);
        }
        // Kernels that multiply signed by signed see activations less 128.
        let seen_as = match isa {
            Isa::NeonMlal | Isa::NeonDot if winograd.is_none() => 128,
            _ => 0,
        };
        let bias = sums.iter().enumerate().map(|(output, sum)| {
            spec.bias.get(output).unwrap_or(&0) + (seen_as - i32::from(spec.zero_in)) * sum
        });
        let mut scale = spec.scale.clone();
        scale.resize(blocks * BLOCK, 0.0);
        Conv {
            isa,
            kernel: [rows, columns],
            stride: spec.stride,
            groups,
            blocks,
            bias: bias.collect(),
            weights: match (isa, winograd) {
                (_, Some(group)) => {
                    Weights::Winograd(Winograd::new(&spec.weights, outputs, inputs, group))
                }
                (Isa::Avx2, _) => Weights::Unsaturated(Unsaturated::new(&packed, groups, taps)),
                _ => Weights::Dense(packed),
            },
            scale,
            macs: outputs * taps * inputs,
            zero: spec.zero_out,
            bounds: [spec.low, spec.high]
                .map(|bound| f32::from(i16::from(bound) - i16::from(spec.zero_out))),
        }
    }

    pub fn kernel(&self) -> [usize; 2] {
        self.kernel
    }

    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Multiplications for an output pixel.
    pub fn macs(&self) -> usize {
        self.macs
    }

    /// Bytes of a pixel that it writes: its output channels, filled up to whole blocks.
    pub fn written(&self) -> usize {
        self.blocks * BLOCK
    }

    /// Computes all rows of `output`.
    ///
    /// # Panics
    /// When `input` or `output` is too small for that.
    pub fn run(&self, input: Input, mut output: Output) {
        if output.rows == 0 || output.columns == 0 {
            return;
        }
        let last_in = (self.stride * (output.rows - 1) + self.kernel[0] - 1) * input.row
            + (self.stride * (output.columns - 1) + self.kernel[1] - 1) * input.pixel;
        let last_out = (output.rows - 1) * output.row + (output.columns - 1) * output.pixel;
        let read = self.groups * self.isa.group() + SLACK / 2;
        assert!(last_in + read <= input.data.len(), "input too small for a convolution");
        assert!(last_out + self.written() <= output.data.len(), "output too small for it");
        assert!(output.pixel >= self.written() || output.columns == 1, "output pixels overlap");
        match self.isa {
            Isa::Portable => portable::run(self, input, &mut output),
            // Safety, all of them: the CPU has the instructions, or `runs_here` would have kept this `isa` from
            // being chosen; the bounds were checked above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { x86_64::avx2(self, input, &mut output) },
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => unsafe { x86_64::avx_vnni(self, input, &mut output) },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => unsafe { x86_64::avx512_vnni(self, input, &mut output) },
            #[cfg(target_arch = "aarch64")]
            Isa::NeonMlal => unsafe { aarch64::mlal(self, input, &mut output) },
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot => unsafe { aarch64::dot(self, input, &mut output) },
            #[cfg(target_arch = "aarch64")]
            Isa::NeonI8mm => unsafe { aarch64::i8mm(self, input, &mut output) },
            other => unreachable!("{other} is of another architecture"),
        }
    }

    /// The packed weights from `block` on.
    fn dense(&self, block: usize) -> &[i8] {
        match &self.weights {
            Weights::Dense(all) => &all[block * (all.len() / self.blocks)..],
            _ => unreachable!("packed in another way"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
