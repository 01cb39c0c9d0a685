//! A network in QDQ form as it was before its values were quantized.

use std::collections::HashSet;

use tract_onnx::pb::{GraphProto, NodeProto};

use super::graph::Graph;

/// Whether values are rounded between the operators of a graph.
pub(super) fn is_rounded(graph: &GraphProto) -> bool {
    let known = Graph::new(graph);
    graph.node.iter().any(|node| passed(&known, node).is_some())
}

/// Takes the rounding of values out of a graph: what is quantized and dequantized again passes as it is.
///
/// Weights stay what their bytes say. Exporters leave a ReLU out where the quantization after it has no values below
/// 0; there it comes back. Saturation at the other end is gone.
pub(super) fn unround(graph: &mut GraphProto) {
    let known = Graph::new(graph);
    let passes: Vec<(usize, NodeProto)> = (graph.node.iter().enumerate())
        .filter_map(|(index, node)| Some((index, passed(&known, node)?)))
        .collect();
    for (index, pass) in passes {
        graph.node[index] = pass;
    }
    let read: HashSet<String> = (graph.node.iter().flat_map(|node| node.input.iter()))
        .chain(graph.output.iter().map(|value| &value.name))
        .cloned()
        .collect();
    graph.node.retain(|node| {
        node.op_type != "QuantizeLinear" || node.output.iter().any(|name| read.contains(name))
    });
}

/// What stands for a `DequantizeLinear` node of a value that was just quantized.
fn passed(graph: &Graph, node: &NodeProto) -> Option<NodeProto> {
    let (quantized, _) = graph.read_by(node.output.first()?, "DequantizeLinear")?;
    let (value, quantizer) = graph.read_by(quantized, "QuantizeLinear")?;
    if graph.floats(value).is_some() {
        return None; // a constant's: weights
    }
    let from_zero = graph.quantization(quantizer)?.zero == 0;
    Some(NodeProto {
        name: node.name.clone(),
        op_type: if from_zero { "Relu" } else { "Identity" }.into(),
        input: vec![value.to_owned()],
        output: node.output.clone(),
        ..NodeProto::default()
    })
}
