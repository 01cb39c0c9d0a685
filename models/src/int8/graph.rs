//! An ONNX graph as it was read: constants by name, producers by name.

use std::collections::HashMap;

use tract_onnx::data_resolver::MmapDataResolver;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};
use tract_onnx::prelude::*;
use tract_onnx::tensor::load_tensor;

use super::program::Quantization;

pub(super) struct Graph<'a> {
    pub nodes: &'a [NodeProto],
    producers: HashMap<&'a str, usize>,
    constants: HashMap<&'a str, &'a TensorProto>,
}

/// A convolution's weights as a file has them.
pub(super) struct Weights {
    pub shape: Vec<usize>,
    pub bytes: Vec<i8>,
    /// One for all, or one for each channel along `axis`.
    pub scales: Vec<f32>,
    pub axis: i64,
}

impl<'a> Graph<'a> {
    pub fn new(graph: &'a GraphProto) -> Graph<'a> {
        let outputs = graph.node.iter().enumerate();
        Graph {
            nodes: &graph.node,
            producers: outputs
                .flat_map(|(index, node)| node.output.iter().map(move |name| (&**name, index)))
                .collect(),
            constants: graph.initializer.iter().map(|tensor| (&*tensor.name, tensor)).collect(),
        }
    }

    /// Index of the node that makes a value.
    pub fn producer(&self, name: &str) -> Option<usize> {
        self.producers.get(name).copied()
    }

    /// The node that makes a value, if it is of this kind.
    pub fn made_by(&self, name: &str, kind: &str) -> Option<&'a NodeProto> {
        self.producer(name).map(|index| &self.nodes[index]).filter(|node| node.op_type == kind)
    }

    /// What a node of this kind that makes a value reads first, and the node.
    pub fn read_by(&self, name: &str, kind: &str) -> Option<(&'a str, &'a NodeProto)> {
        let node = self.made_by(name, kind)?;
        Some((node.input.first()?, node))
    }

    /// A constant: an initializer, or a `Constant` node's value.
    pub fn constant(&self, name: &str) -> Option<Tensor> {
        let proto = match self.constants.get(name) {
            Some(tensor) => *tensor,
            None => attribute(self.made_by(name, "Constant")?, "value")?.t.as_ref()?,
        };
        load_tensor(&MmapDataResolver, proto, None).ok()
    }

    /// A constant's values as `f32`.
    pub fn floats(&self, name: &str) -> Option<Vec<f32>> {
        let tensor = self.constant(name)?.cast_to::<f32>().ok()?.into_owned();
        Some(tensor.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?.to_vec())
    }

    /// Scale and zero point of a (de)quantizing node that has one of each. Signed values are taken as unsigned ones
    /// plus 128.
    pub fn quantization(&self, node: &NodeProto) -> Option<Quantization> {
        let [scale] = self.floats(node.input.get(1)?)?[..] else { return None };
        let zero = match node.input.get(2).filter(|name| !name.is_empty()) {
            None => 0,
            Some(name) => {
                let tensor = self.constant(name)?;
                let shift = match tensor.datum_type().unquantized() {
                    DatumType::U8 => 0,
                    DatumType::I8 => 128,
                    _ => return None,
                };
                let [zero] = self.floats(name)?[..] else { return None };
                u8::try_from(zero as i32 + shift).ok()?
            }
        };
        (scale.is_finite() && scale > 0.0).then_some(Quantization { scale, zero })
    }

    /// Weights as signed bytes with a scale for each output channel (or one for all) and their shape.
    ///
    /// Knows `DequantizeLinear` of a constant, and of a constant that `QuantizeLinear` makes.
    pub fn weights(&self, name: &str) -> Option<Weights> {
        let (source, node) = self.read_by(name, "DequantizeLinear")?;
        let scales = self.floats(node.input.get(1)?)?;
        let axis = integer(node, "axis").unwrap_or(1);
        let zeros = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(name) => (self.constant(name)?.datum_type(), self.floats(name)?),
            None => (DatumType::I8, vec![0.0]),
        };
        let offset = match zeros {
            (DatumType::I8, zeros) if zeros.iter().all(|zero| *zero == 0.0) => 0.0,
            (DatumType::U8, zeros) if zeros.iter().all(|zero| *zero == 128.0) => 128.0,
            _ => return None,
        };
        if let Some(tensor) = self.constant(source) {
            let shape = tensor.shape().to_vec();
            let bytes = self.floats(source)?.iter().map(|q| (q - offset) as i8).collect();
            return Some(Weights { shape, bytes, scales, axis });
        }
        let (floats, quantizer) = self.read_by(source, "QuantizeLinear")?;
        if quantizer.input.get(1) != node.input.get(1) {
            return None;
        }
        let shape = self.constant(floats)?.shape().to_vec();
        let (channels, inner) = shape.get(usize::try_from(axis).ok()?..)?.split_first()?;
        let (channels, per_axis) = (*channels, inner.iter().product::<usize>());
        if scales.len() != 1 && scales.len() != channels {
            return None;
        }
        let bytes = self.floats(floats)?.into_iter().enumerate().map(|(at, value)| {
            let scale = scales[if scales.len() == 1 { 0 } else { at / per_axis % channels }];
            (value / scale).round_ties_even() as i8
        });
        Some(Weights { shape, bytes: bytes.collect(), scales, axis })
    }

    /// Real values of a constant, be it plain or dequantized from integers.
    pub fn real(&self, name: &str) -> Option<Vec<f64>> {
        if let Some(floats) = self.floats(name) {
            return Some(floats.into_iter().map(f64::from).collect());
        }
        let (source, node) = self.read_by(name, "DequantizeLinear")?;
        let integers = self.constant(source)?.cast_to::<i64>().ok()?.into_owned();
        let scales = self.floats(node.input.get(1)?)?;
        let zeroed = node.input.get(2).and_then(|name| self.floats(name));
        if zeroed.is_some_and(|zeros| zeros.iter().any(|zero| *zero != 0.0)) {
            return None;
        }
        let integers = integers.try_as_plain_ram().ok()?.as_slice::<i64>().ok()?.to_vec();
        if scales.len() != 1 && scales.len() != integers.len() {
            return None;
        }
        let scaled = integers
            .iter()
            .enumerate()
            .map(|(k, q)| *q as f64 * f64::from(scales[if scales.len() == 1 { 0 } else { k }]));
        Some(scaled.collect())
    }
}

/// An attribute by name.
pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

pub(super) fn integer(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name).map(|attribute| attribute.i)
}

/// A list of integers, or `default` where it is left out; `None` where one is negative.
pub(super) fn integers<const N: usize>(
    node: &NodeProto,
    name: &str,
    default: [usize; N],
) -> Option<[usize; N]> {
    let Some(found) = attribute(node, name) else { return Some(default) };
    let values: Option<Vec<usize>> = found.ints.iter().map(|n| usize::try_from(*n).ok()).collect();
    values?.try_into().ok()
}

/// A text attribute.
pub(super) fn text<'a>(node: &'a NodeProto, name: &str) -> Option<&'a str> {
    attribute(node, name).and_then(|attribute| std::str::from_utf8(&attribute.s).ok())
}
