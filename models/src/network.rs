//! A network as tract runs it, its quantized parts by this crate's integer operators.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use ndarray::{Array3, ArrayView3, s};
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::plan;

use crate::int8::{self, Int8Program, Threads};
use crate::{Kernels, Runtime};

/// A parsed network and the plan for the slice size that was run last.
///
/// Slices of one series all have one size, so one plan is enough and memory stays bounded. From slice to slice
/// nothing is planned, and integer operators allocate nothing but what they give.
pub struct Network {
    parsed: InferenceModel,
    is_rounded: bool,
    channels: usize,
    size_multiple: usize,
    threads: Threads,
    plan: Option<Plan>,
}

struct Plan {
    size: [usize; 2],
    /// Keeps the buffers of integer operators from slice to slice.
    state: TypedSimpleState,
}

/// How one operator of a network runs.
#[derive(Debug, Clone)]
pub struct Explained {
    /// The node's name in the ONNX file, or tract's own.
    pub node: String,
    /// What it does, and by which kernel.
    pub operator: String,
    /// Runs in integers; else in `f32` by tract.
    pub integer: bool,
    /// Multiplications a slice; 0 where it has none, or where tract runs it.
    pub macs: usize,
    /// Median time a slice.
    pub time: Duration,
}

impl Network {
    /// Parses an ONNX file's bytes. The network has one input `[1, channels, height, width]` and one output
    /// `[1, classes, height, width]`, both `f32`; `size_multiple` divides height and width.
    ///
    /// # Errors
    /// It isn't ONNX, or holds what tract doesn't know. The text is for people.
    pub fn parse(
        onnx: &[u8],
        channels: usize,
        size_multiple: usize,
        runtime: &Runtime,
    ) -> Result<Network, String> {
        let proto = read(onnx).map_err(|e| format!("{e:#}"))?;
        let is_rounded = int8::is_rounded(&proto);
        let threads = runtime.threads().clone();
        let parsed = match runtime.kernels() {
            Kernels::Integer(isa) => int8::parse(proto, isa, &threads),
            Kernels::Tract => tract_onnx::onnx().model_for_proto_model(&proto),
        };
        let parsed = parsed.map_err(|e| format!("{e:#}"))?;
        Ok(Network { parsed, is_rounded, channels, size_multiple, threads, plan: None })
    }

    /// Parses the same network with nothing rounded between its weights, for tract to run in `f32`: slower, and what
    /// a quantized one stands for.
    ///
    /// # Errors
    /// As of [`Network::parse`].
    pub fn parse_unrounded(
        onnx: &[u8],
        channels: usize,
        size_multiple: usize,
        runtime: &Runtime,
    ) -> Result<Network, String> {
        let parsed = read(onnx).and_then(int8::parse_unrounded).map_err(|e| format!("{e:#}"))?;
        let threads = runtime.threads().clone();
        Ok(Network { parsed, is_rounded: false, channels, size_multiple, threads, plan: None })
    }

    /// Whether values are rounded to integers between its weights.
    pub fn is_rounded(&self) -> bool {
        self.is_rounded
    }

    /// Runs one slice `[channel, row, column]` of any size; gives logits `[class, row, column]`.
    ///
    /// Zeros are added at the bottom and the right up to the network's size multiple and cut off again.
    ///
    /// # Errors
    /// The number of channels is wrong, the slice is empty or larger than 2048 pixels, or tract fails.
    pub fn run(&mut self, slice: ArrayView3<f32>) -> Result<Array3<f32>, String> {
        let (channels, height, width) = slice.dim();
        if channels != self.channels {
            return Err(format!("{channels} channels given, {} expected", self.channels));
        }
        let size = [height, width].map(|n| n.div_ceil(self.size_multiple) * self.size_multiple);
        if size.contains(&0) || size.iter().any(|n| *n > crate::manifest::MAX_SIDE) {
            return Err(format!("a slice of {height}x{width} pixels is out of range"));
        }
        let mut padded = tract_ndarray::Array4::<f32>::zeros((1, channels, size[0], size[1]));
        padded.slice_mut(s![0, .., ..height, ..width]).assign(&slice);
        let threads = self.threads.clone();
        let state = self.plan_for(size).map_err(|e| format!("{e:#}"))?;
        let outputs = threads.lend(|| state.run(tvec!(Tensor::from(padded).into())));
        let outputs = outputs.map_err(|e| format!("{e:#}"))?;
        let view = outputs[0].to_plain_array_view::<f32>().map_err(|e| format!("{e:#}"))?;
        let &[1, classes, out_height, out_width] = view.shape() else {
            return Err(format!("logits have shape {:?}", view.shape()));
        };
        if [out_height, out_width] != size {
            return Err(format!("logits of {out_height}x{out_width} for a slice of {size:?}"));
        }
        let logits = view.into_shape_with_order((classes, out_height, out_width));
        let logits = logits.map_err(|e| e.to_string())?;
        Ok(logits.slice(s![.., ..height, ..width]).to_owned())
    }

    /// Runs slices of nothing, some `times`, and says of every operator how it ran and how long it took.
    ///
    /// # Errors
    /// As of [`Network::run`].
    pub fn explain(&mut self, size: [usize; 2], times: usize) -> Result<Vec<Explained>, String> {
        let empty = Array3::zeros((self.channels, size[0], size[1]));
        self.run(empty.view())?;
        let threads = self.threads.clone();
        let plan = self.plan.as_mut().expect("it has just run");
        let mut runs: Vec<Vec<Explained>> = Vec::new();
        for _ in 0..times.max(1) {
            let mut found = Vec::new();
            let input = Tensor::zero::<f32>(&[1, self.channels, plan.size[0], plan.size[1]]);
            let input = tvec!(input.map_err(|e| format!("{e:#}"))?.into());
            let result = threads.lend(|| {
                plan.state.run_plan_with_eval(input, |ctx, state, node, inputs| {
                    let since = Instant::now();
                    let outputs = plan::eval(ctx, state, node, inputs);
                    explain_node(node, since.elapsed(), &mut found);
                    outputs
                })
            });
            result.map_err(|e| format!("{e:#}"))?;
            runs.push(found);
        }
        let middle = runs.len() / 2;
        let mut explained = runs[0].clone();
        for (k, operator) in explained.iter_mut().enumerate() {
            let mut times: Vec<Duration> = runs.iter().map(|run| run[k].time).collect();
            operator.time = *times.select_nth_unstable(middle).1;
        }
        Ok(explained)
    }

    /// Frees the plan; the next run makes one for its own size.
    pub(crate) fn forget_plan(&mut self) {
        self.plan = None;
    }

    fn plan_for(&mut self, size: [usize; 2]) -> TractResult<&mut TypedSimpleState> {
        if self.plan.as_ref().is_none_or(|plan| plan.size != size) {
            self.plan = None;
            let state = self
                .parsed
                .clone()
                .with_input_fact(0, f32::fact([1, self.channels, size[0], size[1]]).into())?
                .into_optimized()?
                .into_runnable()?
                .spawn()?;
            self.plan = Some(Plan { size, state });
        }
        Ok(&mut self.plan.as_mut().expect("made above").state)
    }
}

fn read(onnx: &[u8]) -> TractResult<ModelProto> {
    tract_onnx::onnx().proto_model_for_read(&mut std::io::Cursor::new(onnx))
}

/// A node of the plan; a program as its steps.
fn explain_node(node: &TypedNode, time: Duration, found: &mut Vec<Explained>) {
    let Some(op) = node.op_as::<Int8Program>() else {
        let (node, operator) = (node.name.clone(), node.op.name().into_owned());
        return found.push(Explained { node, operator, integer: false, macs: 0, time });
    };
    let took = op.took.lock().unwrap_or_else(PoisonError::into_inner);
    let steps = op.program.steps.iter().zip(&took.steps).zip(&took.macs);
    found.extend(steps.map(|((step, time), macs)| Explained {
        node: step.name.clone(),
        operator: step.operator.describe(),
        integer: true,
        macs: *macs,
        time: *time,
    }));
    found.push(Explained {
        node: node.name.clone(),
        operator: "dequantize".into(),
        integer: true,
        macs: 0,
        time: time.saturating_sub(took.steps.iter().sum()),
    });
}
