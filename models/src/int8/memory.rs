//! Where the maps of a program lie: planned once a size, used again for every slice.

use std::collections::HashMap;

use super::elementwise::Lane;
use super::kernels::{BLOCK, SLACK};
use super::program::{MapId, Operator, Program};

/// Where a map lies in its buffer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Layout {
    buffer: usize,
    pub rows: usize,
    pub columns: usize,
    channels: usize,
    /// Pixels around the map that hold the zero point.
    border: usize,
    /// Bytes from row to row.
    pub row: usize,
    /// Bytes from pixel to pixel.
    pub pixel: usize,
    /// Bytes of a pixel before the map's own.
    pub offset: usize,
}

impl Layout {
    /// The map's channels within a pixel.
    pub fn lane(&self) -> Lane {
        Lane { pixel: self.pixel, offset: self.offset, channels: self.channels }
    }

    /// The same with all channels of its pixels, not only the map's own.
    pub fn whole_pixels(self) -> Layout {
        Layout { offset: 0, ..self }
    }

    /// Where the first pixel of a row begins, border and offset left out.
    pub fn pixel_at(&self, row: usize) -> usize {
        (row + self.border) * self.row + self.border * self.pixel
    }

    /// Bytes of a row's pixels.
    pub fn row_bytes(&self) -> usize {
        self.columns * self.pixel
    }

    /// Where the map's first channel stands, `before` rows and columns before the pixel of `row`.
    pub fn tap_at(&self, row: usize, before: [usize; 2]) -> usize {
        (row + self.border - before[0]) * self.row
            + (self.border - before[1]) * self.pixel
            + self.offset
    }
}

/// The buffers of a program for one size.
#[derive(Debug)]
pub(crate) struct Memory {
    layouts: Vec<Layout>,
    buffers: Vec<Vec<u8>>,
}

/// What maps must agree in to lie in one buffer at different times: then its border stays true.
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
struct Shape {
    size: [usize; 2],
    border: usize,
    pixel: usize,
    zero: u8,
}

impl Memory {
    /// Plans the maps of `program` for inputs of these sizes; `None` where two parts of one operator don't fit.
    pub fn plan(program: &Program, inputs: &[[usize; 2]]) -> Option<Memory> {
        let sizes = program.sizes(inputs)?;
        let within = concatenations(program);
        let root = |map: MapId| within.get(&map).map_or(map, |(whole, _)| *whole);
        let roots: Vec<_> = (0..program.maps.len()).map(root).collect();

        let mut border = vec![0; program.maps.len()];
        let mut blocks = vec![false; program.maps.len()];
        let mut last_use = vec![0; program.maps.len()];
        for (index, step) in program.steps.iter().enumerate() {
            let pads = match &step.operator {
                Operator::Conv { pads, .. } => pads.iter().copied().max().unwrap_or(0),
                _ => 0,
            };
            for map in &step.inputs {
                border[roots[*map]] = border[roots[*map]].max(pads);
                last_use[roots[*map]] = index;
            }
            let convolved =
                matches!(step.operator, Operator::Conv { .. } | Operator::ConvTranspose(_));
            blocks[roots[step.output]] |= convolved;
            last_use[roots[step.output]] = last_use[roots[step.output]].max(index);
        }
        for output in &program.outputs {
            last_use[roots[*output]] = usize::MAX;
        }

        let mut memory = Memory { layouts: Vec::new(), buffers: Vec::new() };
        let mut free: HashMap<Shape, Vec<usize>> = HashMap::new();
        let mut held: HashMap<MapId, (usize, Shape)> = HashMap::new();
        // Of a map that no step makes, nothing is asked.
        let mut layouts = vec![Layout::default(); program.maps.len()];
        for (index, step) in program.steps.iter().enumerate() {
            let map = step.output;
            let whole = roots[map];
            let channels = program.maps[whole].channels;
            let shape = Shape {
                size: sizes[map],
                border: border[whole],
                pixel: if blocks[whole] {
                    channels.next_multiple_of(BLOCK)
                } else {
                    channels.next_multiple_of(4)
                },
                zero: program.maps[whole].quantization.zero,
            };
            let (buffer, _) = *held.entry(whole).or_insert_with(|| {
                let again = free.get_mut(&shape).and_then(Vec::pop);
                (again.unwrap_or_else(|| memory.add(shape)), shape)
            });
            let [rows, columns] = shape.size;
            layouts[map] = Layout {
                buffer,
                rows,
                columns,
                channels: program.maps[map].channels,
                border: shape.border,
                row: (columns + 2 * shape.border) * shape.pixel,
                pixel: shape.pixel,
                offset: within.get(&map).map_or(0, |(_, offset)| *offset),
            };
            held.retain(|map, (buffer, shape)| {
                let in_use = last_use[*map] > index;
                if !in_use {
                    free.entry(*shape).or_default().push(*buffer);
                }
                in_use
            });
        }
        memory.layouts = layouts;
        Some(memory)
    }

    fn add(&mut self, shape: Shape) -> usize {
        let [rows, columns] = shape.size.map(|n| n + 2 * shape.border);
        self.buffers.push(vec![shape.zero; rows * columns * shape.pixel + SLACK]);
        self.buffers.len() - 1
    }

    pub(super) fn place(&self, map: MapId) -> Layout {
        self.layouts[map]
    }

    pub(super) fn bytes(&self, map: MapId) -> &[u8] {
        &self.buffers[self.layouts[map].buffer]
    }

    /// A map's buffer, to be written; nothing else of it may be read until it is put back.
    pub(super) fn take(&mut self, map: MapId) -> Vec<u8> {
        std::mem::take(&mut self.buffers[self.layouts[map].buffer])
    }

    pub(super) fn put_back(&mut self, map: MapId, bytes: Vec<u8>) {
        self.buffers[self.layouts[map].buffer] = bytes;
    }

    pub(super) fn shares(&self, a: MapId, b: MapId) -> bool {
        self.layouts[a].buffer == self.layouts[b].buffer
    }
}

/// Maps that can be written straight into a concatenation: which, and at which byte of its pixels.
fn concatenations(program: &Program) -> HashMap<MapId, (MapId, usize)> {
    let mut within: HashMap<MapId, (MapId, usize)> = HashMap::new();
    for step in program.steps.iter().filter(|step| matches!(step.operator, Operator::Concat)) {
        let whole = step.output;
        // Their blocks must not reach into the next part's bytes.
        let aligned = step.inputs.iter().all(|m| program.maps[*m].channels.is_multiple_of(BLOCK));
        let mut offset = 0;
        for map in &step.inputs {
            let made_by = program.steps.iter().find(|step| step.output == *map);
            // A step reads and writes different buffers.
            let apart = made_by.is_some_and(|made_by| {
                !matches!(made_by.operator, Operator::Concat)
                    && made_by.inputs.iter().all(|input| !step.inputs.contains(input))
            });
            let same = program.maps[*map].quantization == program.maps[whole].quantization;
            let read = program.outputs.contains(map);
            let once = step.inputs.iter().filter(|other| *other == map).count() == 1;
            if aligned && apart && same && once && !read && !within.contains_key(map) {
                within.insert(*map, (whole, offset));
            }
            offset += program.maps[*map].channels;
        }
    }
    within
}
