//! A quantized network as a list of steps on u8 maps, from float planes to float planes.
//!
//! A [`Program`] doesn't know any size. Maps lie as `[row][column][channel]` with a border that holds the zero
//! point, so a convolution needs no case for the edge. A concatenation's parts are written where it will be
//! read, if their quantization is its own.

use super::elementwise::{
    Adder, Lane, Requantizer, Window, add, dequantize, max_pool, quantize, repeat,
};
use super::kernels::{Conv, Input, Output};
use super::memory::{Layout, Memory};
use super::threads::Threads;

/// `real = (q - zero) * scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quantization {
    pub scale: f32,
    pub zero: u8,
}

/// A map of the network; its size follows from the input's.
#[derive(Debug)]
pub(crate) struct Map {
    pub channels: usize,
    pub quantization: Quantization,
}

/// Index of a [`Map`] in [`Program::maps`].
pub(crate) type MapId = usize;

/// One operator.
#[derive(Debug)]
pub(crate) struct Step {
    /// The ONNX node's name.
    pub name: String,
    pub operator: Operator,
    pub inputs: Vec<MapId>,
    pub output: MapId,
}

#[derive(Debug)]
pub(crate) enum Operator {
    /// The program's float input of this number, quantized.
    Quantize(usize),
    /// Padding `[top, left, bottom, right]`.
    Conv {
        conv: Conv,
        pads: [usize; 4],
    },
    /// Kernel 2x2, stride 2: a 1x1 convolution for each place of the 2x2 output pixels.
    ConvTranspose(Box<[Conv; 4]>),
    MaxPool {
        size: [usize; 2],
        stride: usize,
        pads: [usize; 4],
    },
    /// Nearest neighbour by a whole factor.
    Upsample(usize),
    Concat,
    /// Not below this value.
    Add {
        low: u8,
    },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Program {
    pub maps: Vec<Map>,
    /// In an order in which they can run.
    pub steps: Vec<Step>,
    /// Channels of each float input.
    pub inputs: Vec<usize>,
    /// What is dequantized for each float output.
    pub outputs: Vec<MapId>,
}

impl Operator {
    /// How explanations call it.
    pub fn describe(&self) -> String {
        match self {
            Operator::Quantize(_) => "quantize".into(),
            Operator::Conv { conv, .. } => format!("{conv}"),
            Operator::ConvTranspose(convs) => format!("transposed 2x2, as four {}", convs[0]),
            Operator::MaxPool { size: [rows, columns], stride, .. } => {
                format!("max-pool {rows}x{columns} / {stride}")
            }
            Operator::Upsample(factor) => format!("nearest x{factor}"),
            Operator::Concat => "concat".into(),
            Operator::Add { .. } => "add".into(),
        }
    }

    /// Rows and columns of the output for those of the first input.
    pub fn size(&self, [rows, columns]: [usize; 2]) -> [usize; 2] {
        let windows = |size: [usize; 2], stride: usize, pads: [usize; 4]| {
            [0, 1].map(|k| {
                let padded = [rows, columns][k] + pads[k] + pads[k + 2];
                (padded + stride).saturating_sub(size[k]) / stride
            })
        };
        match self {
            Operator::Conv { conv, pads } => windows(conv.kernel(), conv.stride(), *pads),
            Operator::MaxPool { size, stride, pads } => windows(*size, *stride, *pads),
            Operator::ConvTranspose(_) => [2 * rows, 2 * columns],
            Operator::Upsample(factor) => [factor * rows, factor * columns],
            Operator::Quantize(_) | Operator::Concat | Operator::Add { .. } => [rows, columns],
        }
    }

    /// Multiplications of it for an output of this size.
    pub fn macs(&self, [rows, columns]: [usize; 2]) -> usize {
        match self {
            Operator::Conv { conv, .. } => rows * columns * conv.macs(),
            // Each of the four makes a quarter of the pixels.
            Operator::ConvTranspose(convs) => rows * columns * convs[0].macs(),
            _ => 0,
        }
    }
}

impl Program {
    /// Rows and columns of every map for those of the inputs; `None` where two parts of one operator don't fit.
    pub fn sizes(&self, inputs: &[[usize; 2]]) -> Option<Vec<[usize; 2]>> {
        let mut sizes = vec![[0, 0]; self.maps.len()];
        for step in &self.steps {
            if let Operator::Quantize(input) = step.operator {
                sizes[step.output] = *inputs.get(input)?;
            }
            if let [first, rest @ ..] = &step.inputs[..] {
                if rest.iter().any(|map| sizes[*map] != sizes[*first]) {
                    return None;
                }
                sizes[step.output] = step.operator.size(sizes[*first]);
            }
        }
        Some(sizes)
    }

    /// Multiplications of every step.
    pub fn macs(&self, inputs: &[[usize; 2]]) -> Vec<usize> {
        let sizes = self.sizes(inputs).unwrap_or_default();
        let of = |step: &Step| sizes.get(step.output).map_or(0, |size| step.operator.macs(*size));
        self.steps.iter().map(of).collect()
    }

    /// Runs all steps on float planes `[channel][row][column]`; calls `done` after each with its index.
    pub fn run(
        &self,
        inputs: &[&[f32]],
        memory: &mut Memory,
        threads: &Threads,
        outputs: &mut [&mut [f32]],
        done: &mut (dyn FnMut(usize) + Send),
    ) {
        for (index, step) in self.steps.iter().enumerate() {
            let to = memory.place(step.output);
            let mut bytes = memory.take(step.output);
            self.step(step, inputs, memory, threads, &mut bytes, to);
            memory.put_back(step.output, bytes);
            done(index);
        }
        for (map, planes) in self.outputs.iter().zip(outputs) {
            let (place, bytes) = (memory.place(*map), memory.bytes(*map));
            let quantization = self.maps[*map].quantization;
            for (channel, plane) in planes.chunks_exact_mut(place.rows * place.columns).enumerate()
            {
                threads.share(plane, place.columns, |row, values| {
                    let pixels = &bytes[place.pixel_at(row)..];
                    dequantize(pixels, place.lane(), channel, quantization, values);
                });
            }
        }
    }

    fn step(
        &self,
        step: &Step,
        inputs: &[&[f32]],
        memory: &Memory,
        threads: &Threads,
        bytes: &mut [u8],
        to: Layout,
    ) {
        let quantization = self.maps[step.output].quantization;
        let from = |k: usize| (memory.place(step.inputs[k]), memory.bytes(step.inputs[k]));
        let row_of = |k: usize, row: usize| -> (&[u8], Lane) {
            let (place, bytes) = from(k);
            (&bytes[place.pixel_at(row)..][..place.row_bytes()], place.lane())
        };
        match &step.operator {
            Operator::Quantize(input) => threads.rows(bytes, to, |row, out| {
                let planes = inputs[*input].chunks_exact(to.rows * to.columns);
                for (channel, plane) in planes.enumerate() {
                    let values = &plane[row * to.columns..][..to.columns];
                    quantize(values, quantization, out, to.lane(), channel);
                }
            }),
            Operator::Conv { conv, pads } => {
                let (place, data) = from(0);
                threads.parts(bytes, to, 1, |row, rows, out| {
                    let first = place.tap_at(conv.stride() * row, [pads[0], pads[1]]);
                    let input = Input { data: &data[first..], row: place.row, pixel: place.pixel };
                    let columns = to.columns;
                    let (row, pixel) = (to.row, to.pixel);
                    conv.run(input, Output { data: out, row, pixel, rows, columns });
                });
            }
            Operator::ConvTranspose(convs) => {
                let (place, data) = from(0);
                threads.parts(bytes, to, 2, |row, rows, out| {
                    let first = place.tap_at(row / 2, [0, 0]);
                    let input = Input { data: &data[first..], row: place.row, pixel: place.pixel };
                    for (k, conv) in convs.iter().enumerate() {
                        let output = Output {
                            data: &mut out[k / 2 * to.row + k % 2 * to.pixel..],
                            row: 2 * to.row,
                            pixel: 2 * to.pixel,
                            rows: rows / 2,
                            columns: to.columns / 2,
                        };
                        conv.run(input, output);
                    }
                });
            }
            Operator::MaxPool { size, stride, pads } => threads.rows(bytes, to, |row, out| {
                let (place, _) = from(0);
                let first = (row * stride).saturating_sub(pads[0]);
                let last = (row * stride + size[0] - pads[0]).min(place.rows);
                let mut rows = [&[][..]; MAX_WINDOW];
                for (slot, row) in rows.iter_mut().zip(first..last) {
                    *slot = row_of(0, row).0;
                }
                let (stride, before) = (*stride, pads[1]);
                let window = Window { size: size[1], stride, before, columns: place.columns };
                max_pool(&rows[..last - first], place.lane(), window, out, to.lane());
            }),
            Operator::Upsample(factor) => {
                let change = Requantizer::new(self.maps[step.inputs[0]].quantization, quantization);
                threads.rows(bytes, to, |row, out| {
                    let (input, lane) = row_of(0, row / factor);
                    repeat(input, lane, change, *factor, out, to.lane());
                });
            }
            Operator::Concat => {
                let mut offset = to.offset;
                for (k, map) in step.inputs.iter().enumerate() {
                    let channels = self.maps[*map].channels;
                    let lane = Lane { pixel: to.pixel, offset, channels };
                    offset += channels;
                    if memory.shares(*map, step.output) {
                        continue;
                    }
                    let change = Requantizer::new(self.maps[*map].quantization, quantization);
                    threads.rows(bytes, to, |row, out| {
                        let (input, from) = row_of(k, row);
                        repeat(input, from, change, 1, out, lane);
                    });
                }
            }
            Operator::Add { low } => {
                let parts = [0, 1].map(|k| self.maps[step.inputs[k]].quantization);
                let adder = Adder::new(parts, quantization, *low);
                threads.rows(bytes, to, |row, out| {
                    add(adder, [row_of(0, row), row_of(1, row)], out, to.lane());
                });
            }
        }
    }
}

/// The largest window of a max-pool, and padding of anything.
pub(super) const MAX_WINDOW: usize = 8;
