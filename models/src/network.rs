//! A network as tract runs it: the only module that knows tract.

use std::sync::Arc;

use ndarray::{Array3, ArrayView3, s};
use tract_onnx::prelude::*;

/// A parsed network and the plan for the slice size that was run last.
///
/// Slices of one series all have one size, so one plan is enough and memory stays bounded.
pub(crate) struct Network {
    parsed: InferenceModel,
    channels: usize,
    size_multiple: usize,
    plan: Option<Plan>,
}

struct Plan {
    size: [usize; 2],
    runnable: Arc<TypedRunnableModel>,
}

impl Network {
    /// Parses an ONNX file's bytes.
    pub fn parse(onnx: &[u8], channels: usize, size_multiple: usize) -> Result<Network, String> {
        let parsed = tract_onnx::onnx()
            .model_for_read(&mut std::io::Cursor::new(onnx))
            .map_err(|e| format!("{e:#}"))?;
        Ok(Network { parsed, channels, size_multiple, plan: None })
    }

    /// Runs one slice `[channel, row, column]` of any size; gives logits `[class, row, column]`.
    ///
    /// Zeros are added at the bottom and the right up to the network's size multiple and cut off again.
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
        for ((c, y, x), value) in slice.indexed_iter() {
            padded[[0, c, y, x]] = *value;
        }
        let runnable = self.plan_for(size).map_err(|e| format!("{e:#}"))?;
        let outputs =
            runnable.run(tvec!(Tensor::from(padded).into())).map_err(|e| format!("{e:#}"))?;
        let view = outputs[0].to_plain_array_view::<f32>().map_err(|e| format!("{e:#}"))?;
        let &[1, classes, out_height, out_width] = view.shape() else {
            return Err(format!("logits have shape {:?}", view.shape()));
        };
        if [out_height, out_width] != size {
            return Err(format!("logits of {out_height}x{out_width} for a slice of {size:?}"));
        }
        let logits = Array3::from_shape_vec(
            (classes, out_height, out_width),
            view.iter().copied().collect(),
        )
        .map_err(|e| e.to_string())?;
        Ok(logits.slice(s![.., ..height, ..width]).to_owned())
    }

    /// Frees the plan; the next run makes one for its own size.
    pub fn forget_plan(&mut self) {
        self.plan = None;
    }

    fn plan_for(&mut self, size: [usize; 2]) -> TractResult<Arc<TypedRunnableModel>> {
        if let Some(plan) = self.plan.as_ref().filter(|plan| plan.size == size) {
            return Ok(plan.runnable.clone());
        }
        let runnable = self
            .parsed
            .clone()
            .with_input_fact(0, f32::fact([1, self.channels, size[0], size[1]]).into())?
            .into_optimized()?
            .into_runnable()?;
        self.plan = Some(Plan { size, runnable: runnable.clone() });
        Ok(runnable)
    }
}
