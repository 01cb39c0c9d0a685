//! What is known to be in a phantom exam.

use ndarray::Array3;
use serde::{Deserialize, Serialize};

use crate::dataset::{Place, TruthLesion};
use crate::domain::{Grid, Level, ModicType};

use super::render::Maps;
use super::scene::Scene;

/// Classes of the tissue map.
pub mod tissue_class {
    /// Anything else.
    pub const BACKGROUND: u8 = 0;
    /// Body of a vertebra above S1.
    pub const VERTEBRA: u8 = 1;
    /// Body of S1.
    pub const S1: u8 = 2;
    /// Intervertebral disc.
    pub const DISC: u8 = 3;
    /// Spinal canal: the dural sac and what it holds.
    pub const CANAL: u8 = 4;
}

/// A lesion of the marrow that is no Modic change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OtherMarrowLesion {
    /// What it is: `haemangioma`.
    pub kind: String,
    /// The vertebra.
    pub level: Level,
    /// Its middle in LPS, mm.
    pub centre_mm: [f32; 3],
    /// Its radius, mm.
    pub radius_mm: f32,
}

/// The truth of an exam; the maps lie on T1's grid.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Truth {
    /// [`tissue_class`] of each voxel.
    #[serde(skip)]
    pub tissue: Array3<u8>,
    /// 0, or 1 + [`Level::count_above_sacrum`] of the body a voxel lies in.
    #[serde(skip)]
    pub bodies: Array3<u8>,
    /// 0, or the number of the disc a voxel lies in, from L5-S1 (1) up.
    #[serde(skip)]
    pub discs: Array3<u8>,
    /// 0, or [`ModicType::voxel_value`].
    #[serde(skip)]
    pub modic: Array3<u8>,
    /// The Modic changes that have at least one voxel.
    pub lesions: Vec<TruthLesion>,
    /// Haemangiomas.
    pub other_marrow_lesions: Vec<OtherMarrowLesion>,
}

/// Least share of a type that makes a lesion mixed, %.
const MIXED_PERCENT: f64 = 20.0;

impl Truth {
    /// Measures the lesions of a scene in its maps.
    pub(super) fn measure(scene: &Scene, maps: Maps, grid: &Grid) -> Truth {
        let count = scene.lesions.len();
        let mut by_type = vec![[0usize; 3]; count];
        let mut place_sum = vec![0.0f64; count];
        let mut depths = vec![Vec::new(); count];
        for ((s, r, c), &lesion) in maps.lesion.indexed_iter() {
            let Some(k) = usize::from(lesion).checked_sub(1) else { continue };
            by_type[k][usize::from(maps.modic[[s, r, c]]) - 1] += 1;
            let body = &scene.spine.bodies[scene.lesions[k].body];
            let p = grid.to_patient([s as f64, r as f64, c as f64]).map(|v| v as f32);
            let q = body.to_local(p);
            place_sum[k] += f64::from(q[1] / body.half[1]);
            depths[k].push(body.depth(scene.lesions[k].endplate.side, q) / (2.0 * body.half[2]));
        }
        depths.iter_mut().for_each(|d| d.sort_by(f32::total_cmp));
        let lesions = (0..count)
            .filter_map(|k| {
                let voxels: usize = by_type[k].iter().sum();
                (voxels > 0).then(|| {
                    let composition = by_type[k].map(|n| 100.0 * n as f64 / voxels as f64);
                    TruthLesion {
                        endplate: scene.lesions[k].endplate,
                        pattern: pattern(composition),
                        composition_percent: composition,
                        volume_mm3: voxels as f64 * grid.voxel_mm3(),
                        height_percent: 100.0 * f64::from(depths[k][(voxels - 1) * 95 / 100]),
                        place: match place_sum[k] / voxels as f64 {
                            v if v < -1.0 / 3.0 => Place::Anterior,
                            v if v > 1.0 / 3.0 => Place::Posterior,
                            _ => Place::Central,
                        },
                    }
                })
            })
            .collect();
        let other_marrow_lesions = scene
            .haemangiomas
            .iter()
            .filter_map(|h| {
                let body = &scene.spine.bodies[h.body];
                Some(OtherMarrowLesion {
                    kind: "haemangioma".to_owned(),
                    level: body.level?,
                    centre_mm: body.to_patient(h.centre),
                    radius_mm: h.radius,
                })
            })
            .collect();
        let Maps { tissue, bodies, discs, modic, .. } = maps;
        Truth { tissue, bodies, discs, modic, lesions, other_marrow_lesions }
    }
}

/// The name of a composition: its commonest type, and the second if it is large enough.
fn pattern(percent: [f64; 3]) -> String {
    let mut order = ModicType::ALL[..3].to_vec();
    let share = |t: &ModicType| percent[usize::from(t.voxel_value()) - 1];
    order.sort_by(|a, b| share(b).total_cmp(&share(a)));
    let [first, second] = [order[0], order[1]];
    if share(&second) >= MIXED_PERCENT {
        format!("{}-{}", first.voxel_value(), second.voxel_value())
    } else {
        first.voxel_value().to_string()
    }
}
