//! Whole networks against what tract computes of the same file in `f32`.

use std::collections::HashMap;

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::Approximation;

use super::kernels::Isa;
use super::kernels::tests::Bytes;
use super::memory::Memory;
use super::program::{Map, Operator, Program, Quantization, Step};
use super::{Threads, qdq};
use crate::golden::GoldenCase;
use crate::{Kernels, Network, Runtime};

const NETWORKS: [(&[u8], &[u8]); 2] = [
    (
        include_bytes!("../../bundles/vertebrae/network.onnx"),
        include_bytes!("../../bundles/vertebrae/golden.bin"),
    ),
    (
        include_bytes!("../../bundles/modic/network.onnx"),
        include_bytes!("../../bundles/modic/golden.bin"),
    ),
];

fn proto(onnx: &[u8]) -> ModelProto {
    tract_onnx::onnx().proto_model_for_read(&mut std::io::Cursor::new(onnx)).unwrap()
}

/// The quantized values that a map's step makes: `QuantizeLinear`'s output after the step's node.
fn quantized_name(nodes: &[NodeProto], program: &Program, map: usize) -> String {
    let step = program.steps.iter().find(|step| step.output == map).unwrap();
    let mut name = match step.operator {
        Operator::Quantize(_) => step.name.clone(),
        _ => nodes.iter().find(|node| node.name == step.name).unwrap().output[0].clone(),
    };
    loop {
        let reader = nodes.iter().find(|node| node.input.contains(&name)).unwrap();
        name = reader.output[0].clone();
        if reader.op_type == "QuantizeLinear" {
            return name;
        }
    }
}

/// Every map of a network as tract's own operators compute it.
fn by_tract(onnx: &[u8], names: &[String], input: &Tensor) -> Vec<Vec<u8>> {
    let mut proto = proto(onnx);
    let graph = proto.graph.as_mut().unwrap();
    graph.value_info.clear();
    graph.output = names
        .iter()
        .map(|name| ValueInfoProto { name: name.clone(), ..ValueInfoProto::default() })
        .collect();
    let model = tract_onnx::onnx().model_for_proto_model(&proto).unwrap();
    let plan = model
        .with_input_fact(0, f32::fact(input.shape()).into())
        .unwrap()
        .into_optimized()
        .unwrap()
        .into_runnable()
        .unwrap();
    let outputs = plan.run(tvec!(input.clone().into())).unwrap();
    let bytes =
        |output: &TValue| output.try_as_plain_ram().unwrap().as_slice::<u8>().unwrap().to_vec();
    outputs.iter().map(bytes).collect()
}

/// A program of one step that takes its inputs from outside.
fn alone(program: &mut Program, index: usize) -> (Program, Vec<usize>) {
    let step = program.steps.remove(index);
    let inputs = step.inputs.clone();
    let maps: Vec<Map> = program
        .maps
        .iter()
        .map(|map| Map { channels: map.channels, quantization: map.quantization })
        .collect();
    let entries = inputs.iter().enumerate().map(|(k, map)| Step {
        name: format!("input {k}"),
        operator: Operator::Quantize(k),
        inputs: Vec::new(),
        output: *map,
    });
    let outputs = vec![step.output];
    let channels = inputs.iter().map(|map| maps[*map].channels).collect();
    let steps = entries.chain([step]).collect();
    (Program { maps, steps, inputs: channels, outputs }, inputs)
}

/// Each step is given what tract computed before it, so that one step's rounding isn't the next one's error.
#[test]
fn every_step_of_the_shipped_networks_is_within_one_of_tracts() {
    for (onnx, golden) in NETWORKS {
        let graph = proto(onnx).graph.unwrap();
        let rewritten = qdq::rewrite(&graph, Isa::best());
        assert_eq!(rewritten.programs.len(), 1, "the whole network is one program");
        assert_eq!(rewritten.graph.node.len(), 1, "and nothing is left to tract");
        let mut program = rewritten.programs.into_values().next().unwrap();
        let maps: Vec<usize> = program.steps.iter().map(|step| step.output).collect();
        let names: Vec<String> =
            maps.iter().map(|map| quantized_name(&graph.node, &program, *map)).collect();
        let input = GoldenCase::parse(golden).unwrap().input.insert_axis(ndarray::Axis(0));
        let sizes = program.sizes(&[[input.dim().2, input.dim().3]]).unwrap();
        let expected = by_tract(onnx, &names, &Tensor::from(input));
        let expected: HashMap<usize, Vec<u8>> = maps.iter().copied().zip(expected).collect();
        let real = |map: usize, quantization: Quantization| -> Vec<f32> {
            let of = |q: &u8| (f32::from(*q) - f32::from(quantization.zero)) * quantization.scale;
            expected[&map].iter().map(of).collect()
        };
        // The first step, the entry, is what the others' inputs go through here.
        for index in (1..program.steps.len()).rev() {
            let (step, inputs) = alone(&mut program, index);
            let planes: Vec<Vec<f32>> =
                inputs.iter().map(|map| real(*map, step.maps[*map].quantization)).collect();
            let input_sizes: Vec<_> = inputs.iter().map(|map| sizes[*map]).collect();
            let map = step.outputs[0];
            let mut found = vec![0.0f32; expected[&map].len()];
            step.run(
                &planes.iter().map(|plane| &plane[..]).collect::<Vec<_>>(),
                &mut Memory::plan(&step, &input_sizes).unwrap(),
                &Threads::default(),
                &mut [&mut found],
                &mut |_| (),
            );
            let Quantization { scale, zero } = step.maps[map].quantization;
            let apart = found.iter().zip(&expected[&map]).map(|(found, expected)| {
                ((found / scale).round() as i32 + i32::from(zero)).abs_diff(i32::from(*expected))
            });
            let name = &step.steps.last().unwrap().name;
            let differ = apart.clone().filter(|steps| *steps > 0).count();
            println!("{name}: {differ} of {} differ", found.len());
            assert!(apart.max().unwrap() <= 1, "{name}");
            assert!(differ * 100 <= found.len(), "{name}: {differ} of {}", found.len());
        }
    }
}

#[test]
fn only_kernels_of_our_own_take_the_network_out_of_tracts_hands() {
    let (onnx, golden) = NETWORKS[0];
    let channels = GoldenCase::parse(golden).unwrap().input.dim().0;
    for (kernels, integer) in [(Kernels::Integer(Isa::best()), true), (Kernels::Tract, false)] {
        let runtime = Runtime::new(kernels, 1).unwrap();
        let mut network = Network::parse(onnx, channels, 16, &runtime).unwrap();
        let explained = network.explain([32, 48], 3).unwrap();
        let known = explained.iter().filter(|operator| operator.macs > 0).count();
        assert_eq!(known > 20, integer);
    }
}

/// One program on one thread and on three: the same bytes.
#[test]
fn threads_change_nothing() {
    for (onnx, golden) in NETWORKS {
        let input = GoldenCase::parse(golden).unwrap().input;
        let mut logits = [1, 3].map(|threads| {
            let runtime = Runtime::new(Kernels::default(), threads).unwrap();
            let mut network = Network::parse(onnx, input.dim().0, 16, &runtime).unwrap();
            // Twice, and a smaller one in between: buffers are used again.
            network.run(input.view()).unwrap();
            network.run(input.slice(ndarray::s![.., ..40, ..56])).unwrap();
            network.run(input.view()).unwrap()
        });
        assert_eq!(logits[0], logits[1]);
        logits[0].fill(0.0);
        assert_ne!(logits[0], logits[1]);
    }
}

#[test]
fn threads_change_nothing_where_tract_runs_a_network() {
    for (onnx, golden) in NETWORKS {
        let input = GoldenCase::parse(golden).unwrap().input;
        let [one, three] = [1, 3].map(|threads| {
            let runtime = Runtime::new(Kernels::default(), threads).unwrap();
            let channels = input.dim().0;
            let mut network = Network::parse_unrounded(onnx, channels, 16, &runtime).unwrap();
            network.run(input.view()).unwrap()
        });
        assert_eq!(one, three);
    }
}

/// Builds a network in QDQ form, node by node.
#[derive(Default)]
struct Builder {
    graph: GraphProto,
    bytes: Bytes,
}

impl Builder {
    fn constant(&mut self, data_type: DataType, dims: &[usize], raw_data: Vec<u8>) -> String {
        let name = format!("constant{}", self.graph.initializer.len());
        self.graph.initializer.push(TensorProto {
            name: name.clone(),
            data_type: data_type as i32,
            dims: dims.iter().map(|n| *n as i64).collect(),
            raw_data,
            ..TensorProto::default()
        });
        name
    }

    fn float(&mut self, values: &[f32], dims: &[usize]) -> String {
        self.constant(DataType::Float, dims, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn node(&mut self, op_type: &str, inputs: &[&str], lists: &[(&str, &[i64])]) -> String {
        let name = format!("{op_type}{}", self.graph.node.len());
        let attribute = |(name, ints): &(&str, &[i64])| AttributeProto {
            name: (*name).to_owned(),
            r#type: if ints.len() == 1 { AttributeType::Int } else { AttributeType::Ints } as i32,
            i: ints[0],
            ints: if ints.len() == 1 { Vec::new() } else { ints.to_vec() },
            ..AttributeProto::default()
        };
        self.graph.node.push(NodeProto {
            op_type: op_type.to_owned(),
            name: name.clone(),
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            output: vec![name.clone()],
            attribute: lists.iter().map(attribute).collect(),
            ..NodeProto::default()
        });
        name
    }

    /// Quantizes and dequantizes a value; signed where the zero point is.
    fn quantized(&mut self, value: &str, scale: f32, zero: i16) -> String {
        let scale = self.float(&[scale], &[]);
        let kind = if zero < 0 { DataType::Int8 } else { DataType::Uint8 };
        let zero = self.constant(kind, &[], vec![zero as u8]);
        let q = self.node("QuantizeLinear", &[value, &scale, &zero], &[]);
        self.node("DequantizeLinear", &[&q, &scale, &zero], &[])
    }

    /// Random weights with a scale for each output channel, which is at `axis`.
    fn weights(&mut self, dims: [usize; 4], axis: usize) -> String {
        let bytes = (0..dims.iter().product()).map(|_| self.bytes.next()).collect();
        let weights = self.constant(DataType::Int8, &dims, bytes);
        let inputs = (dims.iter().product::<usize>() / dims[axis]) as f32;
        let scales: Vec<f32> =
            (0..dims[axis]).map(|k| (1.0 + k as f32 / 4.0) / (80.0 * inputs.sqrt())).collect();
        let scales = self.float(&scales, &[dims[axis]]);
        let zeros = self.constant(DataType::Int8, &[dims[axis]], vec![0; dims[axis]]);
        self.node("DequantizeLinear", &[&weights, &scales, &zeros], &[("axis", &[axis as i64])])
    }

    fn conv(&mut self, x: &str, dims: [usize; 4], stride: i64, group: i64) -> String {
        let weights = self.weights(dims, 0);
        let bias: Vec<f32> = (0..dims[0]).map(|k| k as f32 * 0.05 - 0.2).collect();
        let bias = self.float(&bias, &[dims[0]]);
        let pad = (dims[2] / 2) as i64;
        let lists: [(&str, &[i64]); 4] = [
            ("kernel_shape", &[dims[2] as i64, dims[3] as i64]),
            ("pads", &[pad; 4]),
            ("strides", &[stride; 2]),
            ("group", &[group]),
        ];
        self.node("Conv", &[x, &weights, &bias], &lists)
    }

    fn finish(mut self, channels: i64, output: &str) -> ModelProto {
        let dims = [1, channels, -1, -1].map(|n| tensor_shape_proto::Dimension {
            value: Some(match n {
                -1 => tensor_shape_proto::dimension::Value::DimParam("n".to_owned()),
                n => tensor_shape_proto::dimension::Value::DimValue(n),
            }),
            ..Default::default()
        });
        let shape = TensorShapeProto { dim: dims.to_vec() };
        let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(shape) };
        let value = Some(type_proto::Value::TensorType(tensor));
        self.graph.input.push(ValueInfoProto {
            name: "input".to_owned(),
            r#type: Some(TypeProto { value, ..TypeProto::default() }),
            ..ValueInfoProto::default()
        });
        self.graph.output.push(ValueInfoProto { name: output.to_owned(), ..Default::default() });
        let opset = OperatorSetIdProto { version: 13, ..OperatorSetIdProto::default() };
        let graph = Some(self.graph);
        ModelProto { ir_version: 8, opset_import: vec![opset], graph, ..ModelProto::default() }
    }
}

fn run(model: InferenceModel, input: &Tensor) -> Tensor {
    let model = model.with_input_fact(0, f32::fact(input.shape()).into()).unwrap();
    let plan = model.into_optimized().unwrap().into_runnable().unwrap();
    plan.run(tvec!(input.clone().into())).unwrap().remove(0).into_tensor()
}

/// All operators in one network, one of them (a grouped convolution) unknown here, on each instruction set.
#[test]
fn a_network_of_all_operators_computes_what_tract_computes() {
    let mut b = Builder::default();
    let x = b.quantized("input", 0.0101, 100);
    let conv = b.conv(&x, [8, 3, 3, 3], 2, 1);
    let conv = b.node("Relu", &[&conv], &[]);
    let half = b.quantized(&conv, 0.02, 0);
    let weights = b.weights([8, 24, 2, 2], 1);
    let up = b.node(
        "ConvTranspose",
        &[&half, &weights],
        &[("kernel_shape", &[2, 2]), ("strides", &[2, 2])],
    );
    let up = b.quantized(&up, 0.0307, 128);
    let straight = b.conv(&x, [24, 3, 3, 3], 1, 1);
    let straight = b.quantized(&straight, 0.0253, -10);
    let sum = b.node("Add", &[&up, &straight], &[]);
    let sum = b.node("Relu", &[&sum], &[]);
    let sum = b.quantized(&sum, 0.03, 0);
    let grouped = b.conv(&sum, [24, 1, 3, 3], 1, 24);
    let grouped = b.quantized(&grouped, 0.0407, 120);
    let pooled = b.node(
        "MaxPool",
        &[&sum],
        &[("kernel_shape", &[3, 3]), ("strides", &[1, 1]), ("pads", &[1, 1, 1, 1])],
    );
    let pooled = b.quantized(&pooled, 0.03, 0);
    let all = b.node("Concat", &[&sum, &grouped, &pooled], &[("axis", &[1])]);
    let all = b.quantized(&all, 0.0509, 100);
    let last = b.conv(&all, [5, 72, 1, 1], 1, 1);
    let last = b.quantized(&last, 0.05, 128);
    let proto = b.finish(3, &last);

    let left = agree(&proto, 2);
    assert_eq!(left.iter().filter(|kind| *kind == "Conv").count(), 1, "{left:?}");
    for gone in ["QuantizeLinear", "Concat"] {
        assert!(!left.iter().any(|kind| kind == gone), "{left:?}");
    }
}

/// One map, twice in a concatenation, can't be written where both of it are read.
#[test]
fn a_map_may_be_concatenated_with_itself() {
    let mut b = Builder::default();
    let x = b.quantized("input", 0.0101, 100);
    let conv = b.conv(&x, [16, 3, 3, 3], 1, 1);
    let conv = b.quantized(&conv, 0.02, 128);
    let twice = b.node("Concat", &[&conv, &conv], &[("axis", &[1])]);
    let twice = b.quantized(&twice, 0.02, 128);
    let last = b.conv(&twice, [5, 32, 3, 3], 1, 1);
    let last = b.quantized(&last, 0.05, 128);
    let left = agree(&b.finish(3, &last), 1);
    assert_eq!(left.len(), 1, "{left:?}");
}

/// A convolution whose ReLU was left out, pooled, beside one with values below 0.
#[test]
fn an_unrounded_network_is_the_one_before_its_values_were_quantized() {
    let network = |is_rounded: bool| {
        let mut b = Builder::default();
        let quantized = |b: &mut Builder, value: &str, scale, zero| match zero {
            _ if is_rounded => b.quantized(value, scale, zero),
            0 => b.node("Relu", &[value], &[]),
            _ => value.to_owned(),
        };
        let x = quantized(&mut b, "input", 0.0101, 100);
        let conv = b.conv(&x, [8, 3, 3, 3], 1, 1);
        let conv = quantized(&mut b, &conv, 0.02, 0);
        let window: [(&str, &[i64]); 3] =
            [("kernel_shape", &[3, 3]), ("strides", &[1, 1]), ("pads", &[1, 1, 1, 1])];
        let pooled = b.node("MaxPool", &[&conv], &window);
        let pooled = quantized(&mut b, &pooled, 0.02, 0);
        let signed = b.conv(&x, [8, 3, 3, 3], 1, 1);
        let signed = quantized(&mut b, &signed, 0.02, -10);
        let all = b.node("Concat", &[&pooled, &signed], &[("axis", &[1])]);
        let all = quantized(&mut b, &all, 0.05, 100);
        let last = b.conv(&all, [5, 16, 1, 1], 1, 1);
        let last = quantized(&mut b, &last, 0.05, 128);
        b.finish(3, &last)
    };
    let [rounded, before] = [true, false].map(network);
    assert!(super::is_rounded(&rounded) && !super::is_rounded(&before));
    let input =
        Tensor::from(tract_ndarray::Array4::from_shape_fn((1, 3, 26, 38), |(_, c, y, x)| {
            ((7 * c + 3 * y + 5 * x) % 17) as f32 / 12.1 - 0.6
        }));
    let of = |model: TractResult<InferenceModel>| run(model.unwrap(), &input);
    let expected = of(tract_onnx::onnx().model_for_proto_model(&before));
    let found = of(super::parse_unrounded(rounded.clone()));
    found.close_enough(&expected, Approximation::Close).unwrap();
    let rounded = of(tract_onnx::onnx().model_for_proto_model(&rounded));
    found.close_enough(&rounded, Approximation::VeryApproximate).unwrap_err();
    // Without anything to leave out, it stays what it is.
    let same = of(super::parse_unrounded(before));
    assert_eq!(same, expected);
}

#[test]
fn the_shipped_networks_say_much_the_same_unrounded() {
    for (onnx, golden) in NETWORKS {
        let GoldenCase { input, logits } = GoldenCase::parse(golden).unwrap();
        let runtime = Runtime::default();
        let mut network = Network::parse_unrounded(onnx, input.dim().0, 16, &runtime).unwrap();
        assert!(!network.is_rounded());
        let found = network.run(input.view()).unwrap();
        let rms = |values: ndarray::Array3<f32>| values.pow2().mean().unwrap().sqrt();
        let (error, span) = (rms(&found - &logits), rms(logits));
        println!("{error} of {span}");
        assert!(error > 0.0 && error < 0.1 * span, "{error} of {span}");
    }
}

/// Runs a network of three channels, whose output's scale is 0.05, by tract and on each instruction set: they may be one
/// step apart, seldom. Gives the kinds of nodes that `programs` programs leave of it.
fn agree(proto: &ModelProto, programs: usize) -> Vec<String> {
    let mut bytes = Bytes::default();
    let input = tract_ndarray::Array4::from_shape_fn((1, 3, 26, 38), |_| {
        f32::from(bytes.next()) / 121.7 - 0.9
    });
    let input = Tensor::from(input);
    let expected = run(tract_onnx::onnx().model_for_proto_model(proto).unwrap(), &input);
    let values = |tensor: &Tensor| -> Vec<f32> {
        tensor.try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec()
    };
    let expected = values(&expected);
    assert!(expected.iter().any(|v| *v > 0.5) && expected.iter().any(|v| *v < -0.5));
    let mut left = Vec::new();
    for isa in Isa::available() {
        let rewritten = qdq::rewrite(proto.graph.as_ref().unwrap(), isa);
        assert_eq!(rewritten.programs.len(), programs);
        left = rewritten.graph.node.into_iter().map(|node| node.op_type).collect();
        let found =
            values(&run(super::parse(proto.clone(), isa, &Threads::default()).unwrap(), &input));
        let apart: Vec<f32> =
            found.iter().zip(&expected).map(|(a, b)| ((a - b) / 0.05).abs().round()).collect();
        let differ = apart.iter().filter(|steps| **steps > 0.0).count();
        let most = apart.iter().copied().fold(0.0, f32::max);
        println!("{isa}: {differ} of {} differ, by {most} at most", found.len());
        assert!(most <= 1.0, "{isa}: {most} steps");
        assert!(differ * 50 < found.len(), "{isa}: {differ} of {}", found.len());
    }
    left
}
