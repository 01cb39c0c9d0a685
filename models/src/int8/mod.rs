//! Integer operators for tract: networks in ONNX's QDQ form run on u8 maps from end to end.
//!
//! [`parse`] takes the quantized parts of a graph out of tract's hands and puts one operator in the place of
//! each. What it doesn't know stays as it is. `kernels` are the convolutions, one set an instruction set. `unrounded`
//! is for those who want such a network's answer in `f32`.

mod elementwise;
mod graph;
mod kernels;
mod memory;
mod op;
mod program;
mod qdq;
#[cfg(test)]
mod tests;
mod threads;
mod unrounded;

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::expand;

pub use kernels::Isa;
pub(crate) use op::Int8Program;
pub(crate) use threads::Threads;

/// Parses a network for tract, its quantized parts as integer operators for `isa`.
pub(crate) fn parse(
    mut proto: ModelProto,
    isa: Isa,
    threads: &Threads,
) -> TractResult<InferenceModel> {
    let mut programs = std::collections::HashMap::new();
    if let Some(graph) = &mut proto.graph {
        let rewritten = qdq::rewrite(graph, isa);
        *graph = rewritten.graph;
        programs = rewritten.programs;
    }
    let mut model = tract_onnx::onnx().model_for_proto_model(&proto)?;
    for node in model.nodes_mut() {
        if let Some(program) = programs.remove(&node.name) {
            node.op = expand(op::Untyped(Int8Program::new(program, threads.clone())));
        }
    }
    Ok(model)
}

/// Whether values are rounded in a network.
pub(crate) fn is_rounded(proto: &ModelProto) -> bool {
    proto.graph.as_ref().is_some_and(unrounded::is_rounded)
}

/// Parses a network for tract with nothing rounded between its weights.
pub(crate) fn parse_unrounded(mut proto: ModelProto) -> TractResult<InferenceModel> {
    if let Some(graph) = &mut proto.graph {
        unrounded::unround(graph);
    }
    tract_onnx::onnx().model_for_proto_model(&proto)
}
