//! A [`Program`] as an operator of tract.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tract_ndarray::Axis;
use tract_onnx::tract_hir::internal::*;

use super::memory::Memory;
use super::program::Program;
use super::threads::Threads;

/// The operator: float planes `[batch, channel, row, column]` in and out.
#[derive(Clone)]
pub(crate) struct Int8Program {
    pub program: Arc<Program>,
    pub threads: Threads,
    pub took: Arc<Mutex<Took>>,
}

/// What each step took when the program last ran.
#[derive(Debug, Default)]
pub(crate) struct Took {
    pub steps: Vec<Duration>,
    pub macs: Vec<usize>,
}

impl Int8Program {
    pub fn new(program: Program, threads: Threads) -> Int8Program {
        Int8Program { program: Arc::new(program), threads, took: Arc::default() }
    }

    /// Shapes of the outputs for those of the inputs.
    fn shapes(&self, inputs: &[[usize; 4]]) -> TractResult<TVec<[usize; 4]>> {
        let batch = inputs.first().context("no input")?[0];
        let sizes = self.program.sizes(&sizes_of(inputs)).context(MISFIT)?;
        let shape =
            |map: &usize| [batch, self.program.maps[*map].channels, sizes[*map][0], sizes[*map][1]];
        Ok(self.program.outputs.iter().map(shape).collect())
    }
}

const MISFIT: &str = "the parts of a sum or concatenation differ in size";

fn sizes_of(inputs: &[[usize; 4]]) -> TVec<[usize; 2]> {
    inputs.iter().map(|[_, _, rows, columns]| [*rows, *columns]).collect()
}

/// A shape of four axes; `None` while it is symbolic or another.
fn known(shape: &[TDim]) -> Option<[usize; 4]> {
    let known: TVec<usize> = shape.iter().map_while(|dim| dim.to_usize().ok()).collect();
    known[..].try_into().ok()
}

impl fmt::Debug for Int8Program {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Int8Program of {} steps", self.program.steps.len())
    }
}

impl PartialEq for Int8Program {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.program, &other.program)
    }
}

impl Eq for Int8Program {}

impl Op for Int8Program {
    fn name(&self) -> StaticName {
        "Int8Program".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Int8Program {
    not_out_of_plan!();

    fn state(&self, _ctx: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(State(None))))
    }
}

impl TypedOp for Int8Program {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let known: Option<TVec<_>> = inputs.iter().map(|fact| known(&fact.shape)).collect();
        let shapes = self.shapes(&known.context("the size of every input must be known")?)?;
        Ok(shapes.into_iter().map(f32::fact).collect())
    }

    as_op!();
}

/// The buffers for the size that ran last.
#[derive(Debug)]
struct State(Option<(TVec<[usize; 2]>, Memory)>);

impl Clone for State {
    fn clone(&self) -> State {
        State(None)
    }
}

impl OpState for State {
    fn eval(
        &mut self,
        _ctx: &EvalContext,
        op: &dyn Op,
        inputs: TVec<TValue>,
    ) -> TractResult<TVec<TValue>> {
        let op = op.downcast_ref::<Int8Program>().context("the state of another operator")?;
        let shapes: TVec<[usize; 4]> = inputs
            .iter()
            .map(|input| input.shape().try_into().context("an input hasn't four axes"))
            .collect::<TractResult<_>>()?;
        let batch = shapes.first().context("no input")?[0];
        for (shape, channels) in shapes.iter().zip(&op.program.inputs) {
            ensure!(shape[..2] == [batch, *channels], "an input has shape {shape:?}");
        }
        let sizes = sizes_of(&shapes);
        let memory = match &mut self.0 {
            Some((known, memory)) if *known == sizes => memory,
            stale => {
                op.took.lock().unwrap_or_else(PoisonError::into_inner).macs =
                    op.program.macs(&sizes);
                let plan = Memory::plan(&op.program, &sizes).context(MISFIT)?;
                &mut stale.insert((sizes, plan)).1
            }
        };
        let views: TVec<_> = inputs
            .iter()
            .map(|input| input.to_plain_array_view::<f32>())
            .collect::<TractResult<_>>()?;
        let mut outputs: TVec<_> = op
            .shapes(&shapes)?
            .iter()
            .map(|shape| tract_ndarray::Array4::<f32>::zeros(*shape))
            .collect();
        let mut took =
            std::mem::take(&mut op.took.lock().unwrap_or_else(PoisonError::into_inner).steps);
        took.clear();
        took.resize(op.program.steps.len(), Duration::ZERO);
        for image in 0..batch {
            let planes: TVec<&[f32]> = views
                .iter()
                .map(|view| {
                    let image = view.index_axis(Axis(0), image);
                    image.to_slice().context("an input isn't in order")
                })
                .collect::<TractResult<_>>()?;
            let mut targets: TVec<&mut [f32]> = outputs
                .iter_mut()
                .map(|output| {
                    let image = output.index_axis_mut(Axis(0), image);
                    image.into_slice().expect("made above, in order")
                })
                .collect();
            let mut since = Instant::now();
            op.threads.enter(|| {
                op.program.run(&planes, memory, &op.threads, &mut targets, &mut |step| {
                    took[step] += since.elapsed();
                    since = Instant::now();
                });
            });
        }
        op.took.lock().unwrap_or_else(PoisonError::into_inner).steps = took;
        Ok(outputs.into_iter().map(|output| Tensor::from(output).into()).collect())
    }

    fn reset_lanes(&mut self, _lanes: &[LaneId]) -> TractResult<()> {
        Ok(())
    }
}

/// The operator while tract still infers shapes.
#[derive(Debug, Clone)]
pub(crate) struct Untyped(pub Int8Program);

impl Expansion for Untyped {
    fn name(&self) -> StaticName {
        "Int8Program".into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.0.program.outputs.len())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        for tensor in inputs.iter().chain(outputs) {
            s.equals(&tensor.datum_type, f32::datum_type())?;
            s.equals(&tensor.rank, 4)?;
        }
        s.given_all(inputs.iter().map(|input| &input.shape), move |s, shapes| {
            let shapes: Option<TVec<_>> = shapes.iter().map(|shape| known(shape)).collect();
            let Some(shapes) = shapes else { return Ok(()) };
            for (output, shape) in outputs.iter().zip(self.0.shapes(&shapes)?) {
                s.equals(&output.shape, ShapeFactoid::from(shape))?;
            }
            Ok(())
        })
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.0.clone(), inputs)
    }
}
