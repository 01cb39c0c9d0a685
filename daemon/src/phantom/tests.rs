//! What a phantom promises, tried on a few seeds at a coarse resolution.

use std::path::Path;

use dicom::dictionary_std::tags;
use nifti::{NiftiObject, ReaderOptions};

use crate::domain::{EndplateSide, ModicType};

use super::*;

fn coarse() -> Settings {
    Settings {
        slices: 11,
        rows: 160,
        columns: 160,
        pixel_mm: 1.75,
        slice_thickness_mm: 5.0,
        slice_gap_mm: 0.5,
        healthy_share: 0.0,
        lesion_mm3: [400.0, 6000.0],
        ..Settings::default()
    }
}

fn scene(seed: u64) -> Scene {
    let protocol = Protocol::draw(&mut Draw::new(seed, stream::ACQUISITION), Protocols::Usual);
    Scene::draw(&mut Draw::new(seed, stream::PATIENT), &coarse(), protocol)
}

#[test]
fn the_same_seed_gives_the_same_exam_and_another_seed_another() {
    let [a, b, other] = [5, 5, 6].map(|seed| generate(seed, &coarse()));
    assert_eq!(a.t1.data, b.t1.data);
    assert_eq!(a.t2.data, b.t2.data);
    assert_eq!(a.t2.grid, b.t2.grid);
    assert_eq!(a.truth.modic, b.truth.modic);
    assert_eq!(a.truth.lesions, b.truth.lesions);
    assert_ne!(a.t1.data, other.t1.data);
}

#[test]
fn lesion_volumes_add_up_to_the_modic_map() {
    for seed in 0..4 {
        let exam = generate(seed, &coarse());
        let voxels = exam.truth.modic.iter().filter(|m| **m > 0).count();
        let listed: f64 = exam.truth.lesions.iter().map(|l| l.volume_mm3).sum();
        assert!(voxels > 0 && (listed - voxels as f64 * exam.t1.grid.voxel_mm3()).abs() < 1e-6);
        for lesion in &exam.truth.lesions {
            assert!((lesion.composition_percent.iter().sum::<f64>() - 100.0).abs() < 1e-9);
            let second = lesion.composition_percent.iter().filter(|p| **p >= 20.0).count();
            assert_eq!(lesion.pattern.contains('-'), second > 1, "{lesion:?}");
        }
    }
}

#[test]
fn every_lesion_lies_in_its_body_and_reaches_its_endplate() {
    for seed in 0..8 {
        let scene = scene(seed);
        for (k, lesion) in scene.lesions.iter().enumerate() {
            let body = &scene.spine.bodies[lesion.body];
            let step = 0.5;
            let mut shallowest = f32::INFINITY;
            for [x, y, z] in lattice(body.half, step) {
                let sample = scene.sample(body.to_patient([x, y, z]));
                if usize::from(sample.lesion) == k + 1 {
                    assert_eq!(
                        usize::from(sample.body),
                        lesion.endplate.level.count_above_sacrum() + 1
                    );
                    let depth = body.depth(lesion.endplate.side, [x, y, z]);
                    shallowest = shallowest.min(depth);
                }
            }
            let lid = spine::ENDPLATE_MM + 2.0 * step;
            assert!(shallowest < lid, "seed {seed} lesion {k}: {shallowest} mm deep");
        }
    }
}

#[test]
fn without_noise_every_lesion_obeys_the_rule_of_its_type() {
    let mut seen = [0; 3];
    for seed in 0..30 {
        let scene = scene(seed);
        let normal = scene.palette.marrow.total();
        for lesion in &scene.lesions {
            let body = &scene.spine.bodies[lesion.body];
            for q in lattice(body.half, 2.0) {
                let sample = scene.sample(body.to_patient(q));
                let Some(kind) = ModicType::from_voxel_value(sample.modic) else { continue };
                let total = sample.signal.total();
                let (r1, r2) = (total[0] / normal[0], total[1] / normal[1]);
                let obeys = match kind {
                    ModicType::Type1 => r1 < 0.80 && r2 > 1.20,
                    ModicType::Type2 => r1 > 1.20 && r2 > 0.95,
                    ModicType::Type3 => r1 < 0.75 && r2 < 0.75,
                    ModicType::Indeterminate => false,
                };
                assert!(obeys, "seed {seed}: {kind:?} with r1 {r1}, r2 {r2}");
                seen[usize::from(sample.modic) - 1] += 1;
            }
        }
    }
    assert!(seen.iter().all(|n| *n > 100), "{seen:?}");
}

#[test]
fn haemangiomas_touch_no_endplate_and_are_no_modic_change() {
    let mut seen = 0;
    for seed in 0..120 {
        let scene = scene(seed);
        for ball in &scene.haemangiomas {
            seen += 1;
            let body = &scene.spine.bodies[ball.body];
            for offset in lattice([ball.radius; 3], 1.0) {
                if offset.iter().map(|d| d * d).sum::<f32>() < ball.radius * ball.radius {
                    let q = std::array::from_fn(|k| ball.centre[k] + offset[k]);
                    for side in [EndplateSide::Superior, EndplateSide::Inferior] {
                        assert!(body.depth(side, q) > 2.5, "seed {seed}");
                    }
                }
            }
            assert_eq!(scene.sample(body.to_patient(ball.centre)).modic, 0);
        }
    }
    assert!(seen > 5, "{seen} haemangiomas");
}

#[test]
fn the_tissue_map_names_what_the_bodies_map_names() {
    let exam = generate(9, &coarse());
    let mut levels = std::collections::BTreeSet::new();
    for (tissue, body) in exam.truth.tissue.iter().zip(&exam.truth.bodies) {
        if *body > 1 {
            levels.insert(*body);
        }
        let want = match *body {
            0 => ![tissue_class::VERTEBRA, tissue_class::S1].contains(tissue),
            1 => *tissue == tissue_class::S1,
            _ => *tissue == tissue_class::VERTEBRA,
        };
        assert!(want, "tissue {tissue}, body {body}");
    }
    assert!(levels.len() >= 6, "{levels:?}");
    for class in 1..=4 {
        assert!(exam.truth.tissue.iter().any(|t| *t == class), "class {class}");
    }
}

#[test]
fn dicom_files_give_grid_and_pixels_back_and_are_the_same_each_time() {
    let exam = generate(7, &coarse());
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&first, &second] {
        write_dicom(&exam, 7, folder.path()).unwrap();
    }
    for (name, volume) in [("t1", &exam.t1), ("t2", &exam.t2)] {
        for slice in 0..volume.grid.shape[0] {
            let file = format!("{name}/{:03}.dcm", slice + 1);
            let [a, b] = [&first, &second].map(|f| std::fs::read(f.path().join(&file)).unwrap());
            assert!(a == b, "{file}");
            same_slice(&first.path().join(&file), volume, slice);
        }
    }
}

fn same_slice(path: &Path, volume: &Volume, slice: usize) {
    let object = dicom::object::open_file(path).unwrap();
    let numbers = |tag| object.element(tag).unwrap().value().to_multi_float64().unwrap();
    let want = volume.grid.to_patient([slice as f64, 0.0, 0.0]);
    let orientation = [volume.grid.axes[2], volume.grid.axes[1]].concat();
    let pairs = [
        (numbers(tags::IMAGE_POSITION_PATIENT), want.to_vec()),
        (numbers(tags::IMAGE_ORIENTATION_PATIENT), orientation),
        (numbers(tags::PIXEL_SPACING), volume.grid.spacing[1..].to_vec()),
        (numbers(tags::SPACING_BETWEEN_SLICES), volume.grid.spacing[..1].to_vec()),
    ];
    for (got, want) in pairs {
        assert_eq!(got.len(), want.len());
        assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 1e-6), "{got:?} {want:?}");
    }
    let stored = object.element(tags::PIXEL_DATA).unwrap().value().to_multi_int::<u16>().unwrap();
    let drawn = volume.data.index_axis(ndarray::Axis(0), slice);
    assert!(stored.iter().zip(&drawn).all(|(s, d)| f32::from(*s) == *d));
}

#[test]
fn truth_files_lie_where_the_grid_says_in_ras() {
    let exam = generate(3, &coarse());
    let folder = tempfile::tempdir().unwrap();
    write_truth(&exam, folder.path()).unwrap();
    let file = ReaderOptions::new().read_file(folder.path().join("truth_modic.nii.gz")).unwrap();
    let header = file.header();
    let [s, r, c] = [4.0, 30.0, 50.0];
    let want = exam.t1.grid.to_patient([s, r, c]);
    for (row, want) in
        [header.srow_x, header.srow_y, header.srow_z].iter().zip([-want[0], -want[1], want[2]])
    {
        let got = [s, r, c, 1.0].iter().zip(row).map(|(i, v)| i * f64::from(*v)).sum::<f64>();
        assert!((got - want).abs() < 1e-3, "{got} {want}");
    }
    let text = std::fs::read_to_string(folder.path().join("truth.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["lesions"].as_array().unwrap().len(), exam.truth.lesions.len());
}

#[test]
fn t2_has_a_grid_of_its_own() {
    let exam = generate(2, &coarse());
    assert_ne!(exam.t1.grid.spacing, exam.t2.grid.spacing);
    assert_eq!(exam.t1.grid.axes, exam.t2.grid.axes);
}

#[test]
fn wide_settings_leave_the_usual_ranges_and_differ_between_seeds() {
    let all: Vec<Settings> = (0..40).map(Settings::wide).collect();
    let thick = all.iter().map(|s| s.slice_thickness_mm);
    assert!(thick.clone().any(|t| t < 3.5) && thick.clone().any(|t| t > 5.5));
    assert!(all.iter().all(|s| (9..=22).contains(&s.slices)));
    let fields: Vec<f32> = (0..40)
        .map(|seed| Protocol::draw(&mut Draw::new(seed, stream::ACQUISITION), Protocols::Wide))
        .map(|p| p.field_t)
        .collect();
    assert!(fields.iter().any(|f| *f < 0.6) && fields.iter().all(|f| (0.3..3.0).contains(f)));
}

/// Points of a box of these half sides, `step` apart.
fn lattice(half: [f32; 3], step: f32) -> impl Iterator<Item = [f32; 3]> {
    let count = half.map(|h| (h / step).ceil() as i32);
    (-count[0]..=count[0]).flat_map(move |i| {
        (-count[1]..=count[1]).flat_map(move |j| {
            (-count[2]..=count[2]).map(move |k| [i as f32 * step, j as f32 * step, k as f32 * step])
        })
    })
}
