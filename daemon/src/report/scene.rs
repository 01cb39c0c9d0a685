//! Where on the pictures the vertebrae and the findings are: for viewers, kept beside the result and never published.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use super::picture;
use crate::domain::{Grid, Level, Volume};
use crate::modic::{ModicResult, Vertebra};

type Vec3 = [f64; 3];

/// How far in front of a body its name stands, mm.
const LABEL_MM: f64 = 9.0;

/// Places in DICOM's patient coordinates (LPS, mm); slices count from 0 at the patient's right.
#[derive(Debug, Serialize)]
struct Scene {
    grid: GridPlace,
    /// The signal in the files of T1 and T2 that is best shown white.
    white: [f32; 2],
    vertebrae: Vec<Body>,
    /// In the order of the finding document.
    findings: Vec<Region>,
    /// Likewise.
    other_marrow_lesions: Vec<Region>,
}

/// See [`Grid`].
#[derive(Debug, Serialize)]
struct GridPlace {
    shape: [usize; 3],
    origin: Vec3,
    axes: [Vec3; 3],
    spacing: Vec3,
}

#[derive(Debug, Serialize)]
struct Body {
    level: Level,
    centre: Vec3,
    /// Where its name doesn't hide it.
    label: Vec3,
}

#[derive(Debug, Serialize)]
struct Region {
    centre: Vec3,
    /// The slice that shows most of it.
    slice: usize,
    /// Its part in each slice that it reaches.
    parts: Vec<Part>,
}

/// Two opposite corners of the rectangle around a region in one slice, in the slice's plane.
#[derive(Debug, Serialize)]
struct Part {
    slice: usize,
    corners: [Vec3; 2],
}

/// Writes the places; the volumes' files hold their signal times `scales`.
pub(crate) fn write(
    path: &Path,
    volumes: [&Volume; 2],
    scales: [f32; 2],
    result: &ModicResult,
) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    serde_json::to_writer(&mut file, &Scene::new(volumes, scales, result))?;
    file.flush()
}

impl Scene {
    fn new(volumes: [&Volume; 2], scales: [f32; 2], result: &ModicResult) -> Scene {
        let grid = &volumes[0].grid;
        let mut voxels = vec![Vec::new(); result.findings.len()];
        for (at, number) in result.finding_numbers.indexed_iter().filter(|(_, n)| **n != 0) {
            voxels[usize::from(*number) - 1].push(at);
        }
        let others = result.other_marrow_lesions.iter().map(|lesion| &lesion.voxels);
        let Grid { shape, origin, axes, spacing } = grid.clone();
        Scene {
            grid: GridPlace { shape, origin, axes, spacing },
            white: [0, 1].map(|k| picture::white(volumes[k], result) * scales[k]),
            vertebrae: result.spine.vertebrae.iter().map(|v| Body::new(v, grid)).collect(),
            findings: voxels.iter().filter_map(|voxels| Region::around(voxels, grid)).collect(),
            other_marrow_lesions: others.filter_map(|v| Region::around(v, grid)).collect(),
        }
    }
}

impl Body {
    fn new(vertebra: &Vertebra, grid: &Grid) -> Body {
        let patient = |mm: Vec3| {
            let index = [0, 1, 2].map(|k| mm[k] / grid.spacing[k]);
            grid.to_patient(index).map(rounded)
        };
        let in_front = vertebra.depth_mm / 2.0 + LABEL_MM;
        let label = [0, 1, 2].map(|k| vertebra.centre[k] - in_front * vertebra.posterior[k]);
        Body { level: vertebra.level, centre: patient(vertebra.centre), label: patient(label) }
    }
}

impl Region {
    /// `None` without voxels: nothing is nowhere.
    fn around(voxels: &[(usize, usize, usize)], grid: &Grid) -> Option<Region> {
        let count = voxels.len() as f64;
        let index = |at: &(usize, usize, usize)| [at.0, at.1, at.2].map(|i| i as f64);
        let mut centre = [0.0; 3];
        for at in voxels {
            for (sum, i) in centre.iter_mut().zip(index(at)) {
                *sum += i / count;
            }
        }
        let (first, last) = (voxels.iter().map(|v| v.0).min()?, voxels.iter().map(|v| v.0).max()?);
        let mut parts = Vec::new();
        let mut most = (0, first);
        for slice in first..=last {
            let inside: Vec<_> = voxels.iter().filter(|v| v.0 == slice).map(index).collect();
            if inside.is_empty() {
                continue;
            }
            most = most.max((inside.len(), slice));
            let bound = |k: usize, pick: fn(f64, f64) -> f64, start: f64| {
                inside.iter().map(|i| i[k]).fold(start, pick)
            };
            let low = [1, 2].map(|k| bound(k, f64::min, f64::INFINITY) - 0.5);
            let high = [1, 2].map(|k| bound(k, f64::max, f64::NEG_INFINITY) + 0.5);
            let corners = [low, high]
                .map(|[row, column]| grid.to_patient([slice as f64, row, column]).map(rounded));
            parts.push(Part { slice, corners });
        }
        Some(Region { centre: grid.to_patient(centre).map(rounded), slice: most.1, parts })
    }
}

/// To a thousandth of a mm.
fn rounded(mm: f64) -> f64 {
    (mm * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_lies_around_its_voxels_in_the_patients_coordinates() {
        let grid = Grid::upright([5, 10, 10], [4.0, 1.0, 1.0]);
        let voxels = [(1, 2, 3), (1, 2, 5), (2, 2, 4), (2, 4, 4), (2, 3, 4)];
        let region = Region::around(&voxels, &grid).unwrap();
        assert_eq!(region.slice, 2);
        assert_eq!(region.parts.len(), 2);
        let [low, high] = region.parts[1].corners;
        assert_eq!((low, high), ([8.0, 3.5, -1.5], [8.0, 4.5, -4.5]));
        assert_eq!(region.centre, [6.4, 4.0, -2.6]);
        assert!(Region::around(&[], &grid).is_none());
    }
}
