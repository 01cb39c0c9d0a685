//! Recognises networks quantized in ONNX's QDQ form and turns what it can into [`Program`]s.
//!
//! In that form every operator stands between `DequantizeLinear` and `QuantizeLinear` nodes, as onnxruntime,
//! PyTorch and NNCF export it. An operator whose inputs and output are quantized so, and which [`Operator`]
//! knows, becomes a step; everything else stays in the graph and runs in `f32` as tract runs it. Where a float
//! operator stands between quantized ones, the network becomes several programs.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, NodeProto};

use super::graph::{Graph, Weights, integer, integers, text};
use super::kernels::{Conv, Isa, Spec};
use super::program::{MAX_WINDOW, Map, MapId, Operator, Program, Quantization, Step};

/// `op_type` of the node that stands for a program in the rewritten graph.
const OP_TYPE: &str = "Int8Program";

/// A graph with its quantized parts replaced.
pub(super) struct Rewritten {
    pub graph: GraphProto,
    /// By the name of the node that stands for each.
    pub programs: HashMap<String, Program>,
}

/// Rewrites what can be rewritten, for the kernels of `isa`.
pub(super) fn rewrite(graph: &GraphProto, isa: Isa) -> Rewritten {
    let mut rewriter =
        Rewriter { graph: Graph::new(graph), isa, drafts: Vec::new(), maps: HashMap::new() };
    let whole = |node: &&NodeProto| !node.input.is_empty() && !node.output.is_empty();
    for node in graph.node.iter().filter(|node| node.op_type == "QuantizeLinear").filter(whole) {
        rewriter.quantized(node);
    }
    rewriter.finish(graph)
}

/// A program in the making: those steps that have the same number of float operators before them.
#[derive(Default)]
struct Draft {
    maps: Vec<Map>,
    steps: Vec<Step>,
    /// Names of the float inputs.
    inputs: Vec<String>,
    channels: Vec<usize>,
    /// Maps by the name of the quantized value.
    known: HashMap<String, MapId>,
}

#[derive(Clone, Copy)]
struct Place {
    draft: usize,
    map: MapId,
}

struct Rewriter<'a> {
    graph: Graph<'a>,
    isa: Isa,
    drafts: Vec<Draft>,
    /// Where quantized values come from, by name.
    maps: HashMap<&'a str, Place>,
}

/// An operator found, before its inputs are in one program.
struct Found {
    name: String,
    operator: Operator,
    /// Names of the dequantized inputs.
    inputs: Vec<String>,
    channels: usize,
}

impl<'a> Rewriter<'a> {
    /// Takes up the value that a `QuantizeLinear` node makes.
    fn quantized(&mut self, node: &'a NodeProto) {
        let Some(quantization) = self.graph.quantization(node) else { return };
        if self.graph.floats(&node.input[0]).is_some() {
            return; // a constant's: weights
        }
        let place = match self.operator(&node.input[0], quantization) {
            Some(found) => self.append(found, quantization),
            None => match self.channels(&node.input[0]) {
                Some(channels) => self.enter(&node.input[0], channels, quantization),
                None => return,
            },
        };
        self.maps.insert(&node.output[0], place);
    }

    /// The map whose dequantized value has this name.
    fn dequantized(&self, name: &str) -> Option<Place> {
        let (quantized, node) = self.graph.read_by(name, "DequantizeLinear")?;
        let place = *self.maps.get(quantized)?;
        let map = &self.drafts[place.draft].maps[place.map];
        (self.graph.quantization(node)? == map.quantization).then_some(place)
    }

    /// The operator that makes a float value out of quantized ones.
    fn operator(&self, name: &str, to: Quantization) -> Option<Found> {
        let node = &self.graph.nodes[self.graph.producer(name)?];
        let (node, low, high) = match &*node.op_type {
            "Relu" => (&self.graph.nodes[self.graph.producer(node.input.first()?)?], to.zero, 255),
            "Clip" => {
                let bound = |k: usize, default: u8| -> Option<u8> {
                    match node.input.get(k).filter(|name| !name.is_empty()) {
                        None => Some(default),
                        Some(name) => {
                            let [value] = self.graph.floats(name)?[..] else { return None };
                            Some(((value / to.scale).round_ties_even() + f32::from(to.zero)) as u8)
                        }
                    }
                };
                (
                    &self.graph.nodes[self.graph.producer(node.input.first()?)?],
                    bound(1, 0)?,
                    bound(2, 255)?,
                )
            }
            _ => (node, 0, 255),
        };
        let limited = (low, high) != (0, 255);
        let places: Option<Vec<Place>> = match &*node.op_type {
            "Concat" | "Add" => node.input.iter().map(|name| self.dequantized(name)).collect(),
            _ => Some(vec![self.dequantized(node.input.first()?)?]),
        };
        let maps: Vec<&Map> =
            places?.iter().map(|place| &self.drafts[place.draft].maps[place.map]).collect();
        let from = *maps.first()?;
        let (operator, channels) = match &*node.op_type {
            "Conv" => self.conv(node, from, to, [low, high])?,
            "ConvTranspose" => self.conv_transpose(node, from, to, [low, high])?,
            "Add" if maps.len() == 2 && maps[1].channels == from.channels && high == 255 => {
                (Operator::Add { low }, from.channels)
            }
            "MaxPool" if !limited && from.quantization == to => {
                (self.max_pool(node)?, from.channels)
            }
            "Resize" | "Upsample" if !limited => (self.upsample(node)?, from.channels),
            "Concat" if !limited && integer(node, "axis") == Some(1) => {
                (Operator::Concat, maps.iter().map(|map| map.channels).sum())
            }
            _ => return None,
        };
        Some(Found {
            name: if node.name.is_empty() { node.output[0].clone() } else { node.name.clone() },
            operator,
            inputs: node.input[..maps.len()].to_vec(),
            channels,
        })
    }

    fn conv(
        &self,
        node: &NodeProto,
        from: &Map,
        to: Quantization,
        bounds: [u8; 2],
    ) -> Option<(Operator, usize)> {
        let Weights { shape, bytes, scales, axis } = self.graph.weights(node.input.get(1)?)?;
        let [outputs, inputs, rows, columns] = shape[..] else { return None };
        let pads = pads(node)?;
        let stride = square_stride(node)?;
        let plain = integer(node, "group").unwrap_or(1) == 1
            && integers(node, "dilations", [1, 1])? == [1, 1]
            && (axis == 0 || scales.len() == 1)
            && inputs == from.channels
            && rows.max(columns) <= MAX_WINDOW;
        if !plain {
            return None;
        }
        let spec = Spec {
            shape: [outputs, rows, columns, inputs],
            weights: channels_last(&bytes, [outputs, inputs, rows * columns]),
            ..self.requantized(node, from, to, bounds, outputs, &scales, stride)?
        };
        Some((Operator::Conv { conv: Conv::new(&spec, self.isa), pads }, outputs))
    }

    fn conv_transpose(
        &self,
        node: &NodeProto,
        from: &Map,
        to: Quantization,
        bounds: [u8; 2],
    ) -> Option<(Operator, usize)> {
        let Weights { shape, bytes, scales, axis } = self.graph.weights(node.input.get(1)?)?;
        let [inputs, outputs, 2, 2] = shape[..] else { return None };
        let plain = integer(node, "group").unwrap_or(1) == 1
            && pads(node)? == [0; 4]
            && square_stride(node)? == 2
            && integers(node, "output_padding", [0, 0])? == [0, 0]
            && integers(node, "dilations", [1, 1])? == [1, 1]
            && (axis == 1 || scales.len() == 1)
            && inputs == from.channels;
        if !plain {
            return None;
        }
        let spec = self.requantized(node, from, to, bounds, outputs, &scales, 1)?;
        let convs = [0, 1, 2, 3].map(|tap| {
            let of = |k: usize| bytes[(k % inputs * outputs + k / inputs) * 4 + tap];
            let weights = (0..outputs * inputs).map(of).collect();
            let spec = Spec { shape: [outputs, 1, 1, inputs], weights, ..spec.clone() };
            Conv::new(&spec, self.isa)
        });
        Some((Operator::ConvTranspose(Box::new(convs)), outputs))
    }

    /// What all convolutions have in common, shape and weights left empty.
    #[allow(clippy::too_many_arguments)]
    fn requantized(
        &self,
        node: &NodeProto,
        from: &Map,
        to: Quantization,
        [low, high]: [u8; 2],
        outputs: usize,
        scales: &[f32],
        stride: usize,
    ) -> Option<Spec> {
        let of = |output: usize| scales[if scales.len() == 1 { 0 } else { output }];
        let unit = |output| f64::from(from.quantization.scale) * f64::from(of(output));
        let bias = match node.input.get(2).filter(|name| !name.is_empty()) {
            None => vec![0.0; outputs],
            Some(name) => self.graph.real(name)?,
        };
        if bias.len() != outputs || !(scales.len() == 1 || scales.len() == outputs) {
            return None;
        }
        Some(Spec {
            shape: [0; 4],
            weights: Vec::new(),
            bias: (0..outputs).map(|k| (bias[k] / unit(k)).round_ties_even() as i32).collect(),
            scale: (0..outputs).map(|k| (unit(k) / f64::from(to.scale)) as f32).collect(),
            stride,
            zero_in: from.quantization.zero,
            zero_out: to.zero,
            low,
            high,
        })
    }

    fn max_pool(&self, node: &NodeProto) -> Option<Operator> {
        let size = integers(node, "kernel_shape", [0, 0])?;
        let pads = pads(node)?;
        let plain = integer(node, "ceil_mode").unwrap_or(0) == 0
            && integers(node, "dilations", [1, 1])? == [1, 1]
            && size.iter().all(|n| (1..=MAX_WINDOW).contains(n))
            && pads.iter().enumerate().all(|(k, pad)| *pad < size[k % 2]);
        plain.then_some(Operator::MaxPool { size, stride: square_stride(node)?, pads })
    }

    /// Nearest neighbour by the same whole factor along rows and columns.
    fn upsample(&self, node: &NodeProto) -> Option<Operator> {
        let nearest = text(node, "mode").unwrap_or("nearest") == "nearest";
        let scales = node.input.iter().skip(1).rev().find_map(|name| self.graph.floats(name))?;
        let [1.0, 1.0, rows, columns] = scales[..] else { return None };
        let whole = rows == columns && (1.0..=8.0).contains(&rows) && rows.fract() == 0.0;
        // For whole factors these pick the same pixels.
        let places = matches!(
            (text(node, "coordinate_transformation_mode"), text(node, "nearest_mode")),
            (Some("asymmetric"), Some("floor"))
                | (None | Some("half_pixel"), None | Some("round_prefer_floor"))
                | (Some("pytorch_half_pixel"), None | Some("round_prefer_floor"))
        ) || node.op_type == "Upsample";
        (nearest && whole && places).then_some(Operator::Upsample(rows as usize))
    }

    /// Channels of a float value: from what makes it, else from what reads it once it is quantized.
    fn channels(&self, name: &str) -> Option<usize> {
        if let Some(place) = self.dequantized(name) {
            return Some(self.drafts[place.draft].maps[place.map].channels);
        }
        let dims = |node: &NodeProto| {
            let name = node.input.get(1)?;
            let weights = self.graph.weights(name).map(|weights| weights.shape);
            weights.or_else(|| Some(self.graph.constant(name)?.shape().to_vec()))
        };
        let node = self.graph.producer(name).map(|index| &self.graph.nodes[index]);
        let made = node.and_then(|node| match &*node.op_type {
            "Conv" => dims(node)?.first().copied(),
            "Relu" | "LeakyRelu" | "Sigmoid" | "HardSigmoid" | "Tanh" | "Clip" | "MaxPool"
            | "AveragePool" | "Resize" => self.channels(node.input.first()?),
            _ => None,
        });
        made.or_else(|| {
            let reads = |value: &'a str, kind| {
                let nodes = self.graph.nodes.iter();
                nodes.filter(move |node: &&NodeProto| {
                    node.op_type == kind && node.input.first().is_some_and(|input| input == value)
                })
            };
            let node = self.graph.nodes.iter().find(|node| {
                node.op_type == "QuantizeLinear" && node.input.first().is_some_and(|x| x == name)
            })?;
            let dequantizers = reads(&node.output[0], "DequantizeLinear");
            let mut readers = dequantizers.flat_map(|node| reads(&node.output[0], "Conv"));
            readers.find_map(|node| {
                let plain = integer(node, "group").unwrap_or(1) == 1;
                if plain { dims(node)?.get(1).copied() } else { None }
            })
        })
    }

    /// A float value becomes an input of the program after all programs that it depends on.
    fn enter(&mut self, name: &str, channels: usize, quantization: Quantization) -> Place {
        let draft = self.depth(name, &mut HashMap::new());
        self.enter_at(draft, name, channels, quantization)
    }

    fn enter_at(
        &mut self,
        index: usize,
        name: &str,
        channels: usize,
        quantization: Quantization,
    ) -> Place {
        if self.drafts.len() <= index {
            self.drafts.resize_with(index + 1, Draft::default);
        }
        let draft = &mut self.drafts[index];
        let key = format!("{name} {quantization:?}");
        if let Some(map) = draft.known.get(&key) {
            return Place { draft: index, map: *map };
        }
        let input = draft.inputs.iter().position(|input| input == name).unwrap_or_else(|| {
            draft.inputs.push(name.to_owned());
            draft.channels.push(channels);
            draft.inputs.len() - 1
        });
        let map = draft.push(
            name.to_owned(),
            Operator::Quantize(input),
            Vec::new(),
            Map { channels, quantization },
        );
        draft.known.insert(key, map);
        Place { draft: index, map }
    }

    /// How many programs at most come before a float value.
    fn depth(&self, name: &str, seen: &mut HashMap<String, usize>) -> usize {
        if let Some(depth) = seen.get(name) {
            return *depth;
        }
        let depth = match self.dequantized(name) {
            Some(place) => place.draft + 1,
            None => self.graph.producer(name).map_or(0, |index| {
                let inputs = self.graph.nodes[index].input.iter();
                inputs.map(|input| self.depth(input, seen)).max().unwrap_or(0)
            }),
        };
        seen.insert(name.to_owned(), depth);
        depth
    }

    /// Appends an operator to the latest of its inputs' programs; inputs of an earlier one pass through `f32`,
    /// which changes nothing.
    fn append(&mut self, found: Found, quantization: Quantization) -> Place {
        let places: Vec<_> = found
            .inputs
            .iter()
            .map(|name| self.dequantized(name).expect("looked up when it was found"))
            .collect();
        let draft = places.iter().map(|place| place.draft).max().unwrap_or(0);
        let mut inputs = Vec::new();
        for (place, name) in places.iter().zip(&found.inputs) {
            let map = if place.draft == draft {
                place.map
            } else {
                let Map { channels, quantization } = self.drafts[place.draft].maps[place.map];
                self.enter_at(draft, name, channels, quantization).map
            };
            inputs.push(map);
        }
        let map = Map { channels: found.channels, quantization };
        let map = self.drafts[draft].push(found.name, found.operator, inputs, map);
        Place { draft, map }
    }

    /// Keeps what the graph's outputs need: float nodes as they are, programs as a node each.
    fn finish(mut self, source: &'a GraphProto) -> Rewritten {
        let mut outputs: Vec<Vec<(String, MapId)>> = vec![Vec::new(); self.drafts.len()];
        let mut kept = HashSet::new();
        let mut asked = HashSet::new();
        let mut open: Vec<String> = source.output.iter().map(|value| value.name.clone()).collect();
        while let Some(name) = open.pop() {
            if !asked.insert(name.clone()) {
                continue;
            }
            if let Some(place) = self.dequantized(&name) {
                outputs[place.draft].push((name, place.map));
                open.extend(self.drafts[place.draft].inputs.iter().cloned());
            } else if let Some(index) = self.graph.producer(&name)
                && kept.insert(index)
            {
                open.extend(self.graph.nodes[index].input.iter().cloned());
            }
        }

        let mut graph = source.clone();
        let keep = |(index, node): (usize, NodeProto)| kept.contains(&index).then_some(node);
        graph.node = graph.node.into_iter().enumerate().filter_map(keep).collect();
        let mut programs = HashMap::new();
        for (index, (draft, outputs)) in self.drafts.drain(..).zip(outputs).enumerate() {
            if outputs.is_empty() {
                continue;
            }
            let name = format!("int8-{index}");
            let (names, maps): (Vec<_>, Vec<_>) = outputs.into_iter().unzip();
            graph.node.push(NodeProto {
                name: name.clone(),
                op_type: OP_TYPE.into(),
                input: draft.inputs.clone(),
                output: names,
                ..NodeProto::default()
            });
            programs.insert(name, draft.finish(maps));
        }
        let read: HashSet<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
        graph.initializer.retain(|tensor| read.contains(&tensor.name));
        graph.value_info.clear();
        Rewritten { graph, programs }
    }
}

impl Draft {
    fn push(&mut self, name: String, operator: Operator, inputs: Vec<MapId>, map: Map) -> MapId {
        self.maps.push(map);
        let output = self.maps.len() - 1;
        self.steps.push(Step { name, operator, inputs, output });
        output
    }

    /// Leaves out the steps that no output needs.
    fn finish(mut self, outputs: Vec<MapId>) -> Program {
        let mut needed: HashSet<MapId> = outputs.iter().copied().collect();
        for step in self.steps.iter().rev() {
            if needed.contains(&step.output) {
                needed.extend(&step.inputs);
            }
        }
        self.steps.retain(|step| {
            needed.contains(&step.output) || matches!(step.operator, Operator::Quantize(_))
        });
        Program { maps: self.maps, steps: self.steps, inputs: self.channels, outputs }
    }
}

/// `[output][input][tap]` to `[output][tap][input]`.
fn channels_last(weights: &[i8], [outputs, inputs, taps]: [usize; 3]) -> Vec<i8> {
    let of =
        |k: usize| weights[(k / (inputs * taps) * inputs + k % inputs) * taps + k / inputs % taps];
    (0..outputs * inputs * taps).map(of).collect()
}

/// Explicit padding, not so large that whole windows lie in it.
fn pads(node: &NodeProto) -> Option<[usize; 4]> {
    let explicit = matches!(text(node, "auto_pad"), None | Some("" | "NOTSET"));
    let pads = integers(node, "pads", [0; 4])?;
    (explicit && pads.iter().all(|pad| *pad < MAX_WINDOW)).then_some(pads)
}

fn square_stride(node: &NodeProto) -> Option<usize> {
    let [rows, columns] = integers(node, "strides", [1, 1])?;
    (rows == columns && (1..=4).contains(&rows)).then_some(rows)
}
