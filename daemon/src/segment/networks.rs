//! The two networks, slice by slice, between T1's grid and the square pixels they were trained with.

use std::path::Path;

use modic_models::{Bundle, BundleError, Manifest, Normalisation, Runtime, Shipped};
use ndarray::{Array2, Array3, ArrayView3, Axis, Zip, stack};

use super::axis::turn_deg;
use super::{MarrowField, OnSlice, SegmentError, Segmentation, anatomy, normalise};
use crate::domain::Volume;
use crate::mask;
use crate::volume::{View, covered, moved_mm, resample_onto};

/// Marrow counts as a reference this far inside the cortex, mm.
pub const MARROW_DEPTH_MM: f64 = 2.0;
/// The final reference keeps this far from every candidate, mm.
const CANDIDATE_MARGIN_MM: f64 = 2.0;
/// Network 2 sees this much around the vertebral bodies, mm.
const MARGIN_MM: f64 = 20.0;
/// Network 2 sees each slice turned so around the way the spine usually lies, and its answers are averaged: one alone
/// depends on where the pixels happen to lie. The largest first: the others fit in its memory.
const VIEWS_DEG: [f64; 5] = [20.0, -20.0, 10.0, -10.0, 0.0];
/// How often a slice is looked at: once by network 1, in each view by network 2.
pub const LOOKS: usize = 1 + VIEWS_DEG.len();
/// Whether the patient moved is told by what lies this near to the bodies, mm.
const NEAR_MM: f64 = 8.0;
/// Fewer voxels than this are no vertebral body, mm³.
const MIN_BODIES_MM3: f64 = 1500.0;

/// Both networks, loaded and verified.
pub struct Segmenter {
    vertebrae: Bundle,
    modic: Bundle,
}

impl Segmenter {
    /// The networks that ship inside the program.
    pub fn shipped(runtime: &Runtime) -> Result<Segmenter, BundleError> {
        let load = |which| Bundle::shipped(which, runtime);
        Self::new(load(Shipped::Vertebrae)?, load(Shipped::Modic)?)
    }

    /// The networks of a folder that holds `vertebrae/` and `modic/`.
    pub fn load(folder: &Path, runtime: &Runtime) -> Result<Segmenter, BundleError> {
        let load = |name| Bundle::load(&folder.join(name), runtime);
        Self::new(load("vertebrae")?, load("modic")?)
    }

    /// These two networks.
    ///
    /// # Errors
    /// One isn't what this stage was written for, see [`check_contract`].
    pub fn new(vertebrae: Bundle, modic: Bundle) -> Result<Segmenter, BundleError> {
        check_contract(Shipped::Vertebrae, vertebrae.manifest())?;
        check_contract(Shipped::Modic, modic.manifest())?;
        Ok(Segmenter { vertebrae, modic })
    }

    /// Whether a network rounds values between its weights.
    pub fn is_rounded(&self) -> bool {
        self.vertebrae.is_rounded() || self.modic.is_rounded()
    }

    /// The same networks with nothing rounded, which takes longer.
    ///
    /// # Errors
    /// tract doesn't know one in this form.
    pub fn unrounded(&self) -> Result<Segmenter, BundleError> {
        Ok(Segmenter { vertebrae: self.vertebrae.unrounded()?, modic: self.modic.unrounded()? })
    }

    /// What identifies both bundles as a whole, for the cache's key.
    pub fn identities(&self) -> [&str; 2] {
        [self.vertebrae.identity(), self.modic.identity()]
    }

    /// Name, version and digest of both bundles, for results.
    pub fn bundles(&self) -> [(&str, &str, &str); 2] {
        [&self.vertebrae, &self.modic]
            .map(|b| (b.manifest().name.as_str(), b.manifest().version.as_str(), b.digest()))
    }

    /// Segments one exam; `t1` and `t2` each on its own grid. Nothing is found where T2 was not measured.
    /// `on_slice` is called for every look at a slice, and may say that it is enough.
    ///
    /// # Errors
    /// No vertebral bodies are seen, a series is black where they lie, a network fails, or `on_slice` broke it off.
    pub fn segment(
        &mut self,
        t1: &Volume,
        t2: Volume,
        on_slice: OnSlice,
    ) -> Result<Segmentation, SegmentError> {
        let anatomy = self.anatomy(t1, on_slice)?;
        self.vertebrae.rest();
        let bodies = anatomy.mapv(is_body);
        let bodies_mm3 = bodies.iter().filter(|b| **b).count() as f64 * t1.grid.voxel_mm3();
        if bodies_mm3 < MIN_BODIES_MM3 {
            return Err(SegmentError::NoVertebrae);
        }
        let Aligned { t2, covered, moved_mm } = align(t1, t2, bodies.view());
        let pixel_mm = [t1.grid.spacing[1], t1.grid.spacing[2]];
        let marrow = mask::erode(bodies.view(), MARROW_DEPTH_MM, pixel_mm);
        let fields = [marrow_field("T1", t1, &marrow)?, marrow_field("T2", &t2, &marrow)?];
        let mut modic_probability = self.changes([t1, &t2], &fields, bodies.view(), on_slice)?;
        self.modic.rest();
        // Without T2 marrow would pass for dark.
        Zip::from(&mut modic_probability).and(&covered).for_each(|p, covered| {
            if !covered {
                *p = 0.0;
            }
        });
        let threshold = self.modic.manifest().output.threshold.unwrap_or(0.5);

        // Now that the candidates are known, the reference is taken again without them: a large change
        // pulls the field towards itself.
        let changed = modic_probability.mapv(|p| p >= threshold);
        let mut normal = mask::dilate(changed.view(), CANDIDATE_MARGIN_MM, pixel_mm);
        Zip::from(&mut normal)
            .and(&marrow)
            .for_each(|normal, marrow| *normal = *marrow && !*normal);
        let ratio =
            |signal, first| MarrowField::fit(signal, normal.view()).unwrap_or(first).ratio(signal);
        let [t1_field, t2_field] = fields;
        let (t1_ratio, t2_ratio) = (ratio(t1, t1_field), ratio(&t2, t2_field));
        Ok(Segmentation { anatomy, t2, moved_mm, t1_ratio, t2_ratio, modic_probability, threshold })
    }

    /// Network 1 over every slice, which it sees between its neighbours as network 2 does.
    fn anatomy(&mut self, t1: &Volume, on_slice: OnSlice) -> Result<Array3<u8>, SegmentError> {
        let pixel = self.vertebrae.manifest().input.pixel_mm;
        let spacing = [t1.grid.spacing[1], t1.grid.spacing[2]];
        let (_, rows, columns) = t1.data.dim();
        let view = View::whole((rows, columns), spacing, pixel);
        let mut classes = Array3::zeros(t1.data.dim());
        let mut shown = Window::new(t1.data.len_of(Axis(0)));
        for (index, mut classes) in classes.outer_iter_mut().enumerate() {
            let channels = shown.around(index, |k| {
                let square = view.take(t1.data.index_axis(Axis(0), k), spacing);
                normalise::local(square.view(), pixel)
            });
            let input =
                stack(Axis(0), &channels.map(|slice| slice.view())).expect("all are of one view");
            let logits = self.vertebrae.run(input.view())?;
            let mut best = Array2::from_elem((rows, columns), f32::NEG_INFINITY);
            // Between logits a border lies where it does; between probabilities, which are 0 or 1 on either side of it,
            // always near the middle of two pixels.
            for (class, logit) in (0u8..).zip(logits.outer_iter()) {
                let map = view.give_back(logit, (rows, columns), spacing, 0.0);
                Zip::from(&mut classes).and(&mut best).and(&map).for_each(|at, best, logit| {
                    if logit > best {
                        (*at, *best) = (class, *logit);
                    }
                });
            }
            if on_slice().is_break() {
                return Err(SegmentError::BrokenOff);
            }
        }
        Ok(classes)
    }

    /// Network 2 over every slice, on the part of it where vertebral bodies are; `signals` are T1 and T2, divided by their
    /// fields as each slice comes.
    fn changes(
        &mut self,
        signals: [&Volume; 2],
        fields: &[MarrowField; 2],
        bodies: ArrayView3<bool>,
        on_slice: OnSlice,
    ) -> Result<Array3<f32>, SegmentError> {
        let pixel = self.modic.manifest().input.pixel_mm;
        let spacing = [signals[0].grid.spacing[1], signals[0].grid.spacing[2]];
        let turn = turn_deg(bodies, spacing);
        let is_seen: Vec<bool> = bodies.outer_iter().map(|one| one.iter().any(|b| *b)).collect();
        // Sums of logits until every view has answered.
        let mut probability = Array3::zeros(bodies.dim());
        for degrees in VIEWS_DEG {
            let view = View::around(bodies, spacing, turn + degrees, MARGIN_MM, pixel);
            let mut shown = Window::new(bodies.len_of(Axis(0)));
            for (index, mut sum) in probability.outer_iter_mut().enumerate() {
                if on_slice().is_break() {
                    return Err(SegmentError::BrokenOff);
                }
                if !is_seen[index] {
                    continue;
                }
                let around = shown.around(index, |k| {
                    [0, 1].map(|of| {
                        let ratio = fields[of].ratio_of_slice(signals[of], k);
                        view.take(ratio.view(), spacing)
                    })
                });
                let channels: Vec<_> = [0, 1]
                    .into_iter()
                    .flat_map(|of| around.map(|slice| slice[of].view()))
                    .collect();
                let input = stack(Axis(0), &channels).expect("all are of one view");
                let logits = self.modic.run(input.view())?;
                let logits = logits.index_axis(Axis(0), 0);
                sum += &view.give_back(logits, sum.dim(), spacing, f32::NEG_INFINITY);
            }
        }
        for (mut slice, _) in probability.outer_iter_mut().zip(is_seen).filter(|(_, seen)| *seen) {
            slice.mapv_inplace(|sum| 1.0 / (1.0 + (-sum / VIEWS_DEG.len() as f32).exp()));
        }
        Ok(probability)
    }
}

/// Slices of a stack that is gone through, each made once and kept while a network still sees it beside another.
struct Window<T> {
    slices: Vec<Option<T>>,
}

impl<T> Window<T> {
    fn new(count: usize) -> Window<T> {
        Window { slices: std::iter::repeat_with(|| None).take(count).collect() }
    }

    /// The slice `index` between its neighbours; at the ends of the stack, and where there's one slice, the slice itself
    /// stands in for a missing one. `index` never falls from call to call.
    fn around(&mut self, index: usize, make: impl Fn(usize) -> T) -> [&T; 3] {
        let last = self.slices.len() - 1;
        let around = [index.saturating_sub(1), index, (index + 1).min(last)];
        self.slices[..around[0]].fill_with(|| None);
        for k in around {
            self.slices[k].get_or_insert_with(|| make(k));
        }
        around.map(|k| self.slices[k].as_ref().expect("made above"))
    }
}

/// T2 as it lies on T1.
struct Aligned {
    /// On T1's grid.
    t2: Volume,
    /// False where T2 was not measured.
    covered: Array3<bool>,
    /// By how much it was moved back, towards the head and the front.
    moved_mm: [f64; 2],
}

/// Brings T2 onto T1's grid, and the patient back to where they lay during T1.
fn align(t1: &Volume, mut t2: Volume, bodies: ArrayView3<bool>) -> Aligned {
    let pixel_mm = [t1.grid.spacing[1], t1.grid.spacing[2]];
    let near = mask::dilate(bodies, NEAR_MM, pixel_mm);
    let mut on_t1 = resample_onto(&t2, &t1.grid);
    let moved_mm = moved_mm(t1, &on_t1, near.view());
    if moved_mm != [0.0; 2] {
        for (axis, mm) in t1.grid.axes[1..].iter().zip(moved_mm) {
            for (origin, direction) in t2.grid.origin.iter_mut().zip(axis) {
                *origin -= mm * direction;
            }
        }
        on_t1 = resample_onto(&t2, &t1.grid);
    }
    Aligned { covered: covered(&t1.grid, &t2.grid), t2: on_t1, moved_mm }
}

/// The marrow reference of a series.
fn marrow_field(
    series: &'static str,
    signal: &Volume,
    marrow: &Array3<bool>,
) -> Result<MarrowField, SegmentError> {
    MarrowField::fit(signal, marrow.view())
        .map_err(|source| SegmentError::Marrow { series, source })
}

fn is_body(class: u8) -> bool {
    class == anatomy::VERTEBRA || class == anatomy::S1
}

/// Checks that a bundle's manifest is that of the network this stage was written for.
///
/// # Errors
/// Channels, classes or normalisation are others.
pub fn check_contract(which: Shipped, manifest: &Manifest) -> Result<(), BundleError> {
    let (channels, classes, normalisation): (&[&str], &[&str], _) = match which {
        Shipped::Vertebrae => {
            let channels = &["t1-1", "t1", "t1+1"];
            (channels, &["background", "vertebra", "s1", "disc", "canal"], Normalisation::Local)
        }
        Shipped::Modic => {
            let channels = &["t1-1", "t1", "t1+1", "t2-1", "t2", "t2+1"];
            (channels, &["modic"], Normalisation::Marrow)
        }
    };
    let problem = if manifest.input.channels != channels {
        format!("input.channels must be {channels:?}")
    } else if manifest.output.classes != classes {
        format!("output.classes must be {classes:?}")
    } else if manifest.input.normalisation != normalisation {
        format!("normalisation must be {normalisation:?}")
    } else {
        return Ok(());
    };
    Err(BundleError::Contract { bundle: manifest.name.clone(), problem })
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use ndarray::s;

    use super::*;
    use crate::phantom::{Settings, generate};

    #[test]
    fn nothing_is_found_where_t2_was_not_measured() {
        let settings = Settings::small(3);
        let exam = generate(7, &settings);
        let middle = settings.rows / 2;
        // The upper half of T2 is missing.
        let at = exam.t1.grid.to_patient([1.0, middle as f64, 0.0]);
        let t2 = exam.t2.below_row(exam.t2.grid.to_index(at)[1] as usize);
        let mut segmenter = Segmenter::shipped(&Runtime::default()).unwrap();
        let found = segmenter
            .segment(&exam.t1, t2, &mut || ControlFlow::Continue(()))
            .unwrap()
            .modic_probability;
        let middle = middle - 3;
        assert!(found.slice(s![.., ..middle, ..]).iter().all(|p| *p == 0.0));
        assert!(found.slice(s![.., middle.., ..]).iter().any(|p| *p > 0.0));
    }
}
