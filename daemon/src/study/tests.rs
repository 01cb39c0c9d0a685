//! The stage's behaviours, on files.

use std::collections::BTreeSet;
use std::path::PathBuf;

use dicom::dictionary_std::tags;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;

use super::testing::{Synthetic, folder, headers_of, selection_of};
use super::*;

fn reason(series: &[Synthetic]) -> Reason {
    selection_of(series).outcome.expect_err("the study should be refused")
}

fn flags(series: &[Synthetic]) -> Vec<QualityFlag> {
    selection_of(series).outcome.expect("the study should be taken").quality
}

fn series(number: u32, of: Synthetic) -> Synthetic {
    Synthetic { number, ..of }
}

#[test]
fn a_plain_pair_is_taken_without_doubts_but_few_slices() {
    let selection = selection_of(&[Synthetic::t2(), Synthetic::t1()]);
    let pair = selection.outcome.expect("taken");
    assert_eq!((pair.t1.weighting, pair.t2.weighting), (Weighting::T1, Weighting::T2));
    assert_eq!((pair.t1.number_in_study, pair.t2.number_in_study), (1, 2));
    assert_eq!(pair.t1.grid.shape, [6, 12, 10]);
    assert_eq!(pair.quality, [QualityFlag::FewSlices]);
    assert!(selection.refused_series.is_empty());
}

#[test]
fn an_enhanced_series_is_read_frame_by_frame() {
    let folder = folder();
    let files = [
        Synthetic::t1().write_enhanced(folder.path()),
        Synthetic::t2().write_enhanced(folder.path()),
    ];
    let headers = Headers::read(files, &Config::default()).unwrap();
    assert_eq!(headers.slices.len(), 12);
    let pair = select(&headers, &Config::default()).outcome.expect("taken");
    let frames: Vec<u32> = pair.t2.slices.iter().map(|s| s.frame).collect();
    assert_eq!(frames, [0, 1, 2, 3, 4, 5]);
    assert_eq!(completeness(&headers, &Config::default()), Completeness::Complete);
}

#[test]
fn a_missing_weighting_refuses_the_study() {
    assert_eq!(reason(&[Synthetic::t1()]), Reason::NoT2);
    assert_eq!(reason(&[Synthetic::t2()]), Reason::NoT1);
}

#[test]
fn a_reason_that_every_series_shares_is_the_study_s() {
    let neck = |s: Synthetic| s.text(tags::BODY_PART_EXAMINED, "CSPINE");
    assert_eq!(reason(&[neck(Synthetic::t1()), neck(Synthetic::t2())]), Reason::WrongBodyPart);
    let scout = Synthetic::t1().text(tags::IMAGE_TYPE, "ORIGINAL\\PRIMARY\\LOCALIZER");
    assert_eq!(reason(&[scout]), Reason::Localizer);
    let ct = Synthetic::t1().text(tags::MODALITY, "CT");
    assert_eq!(reason(&[ct]), Reason::NotMr);
    let computed = Synthetic::t1().text(tags::IMAGE_TYPE, "DERIVED\\SECONDARY\\MPR");
    assert_eq!(reason(&[computed]), Reason::Derived);
}

#[test]
fn the_part_of_the_spine_may_be_written_out() {
    let part = |name| Synthetic::t1().text(tags::BODY_PART_EXAMINED, name);
    assert_eq!(reason(&[part("THORACIC SPINE")]), Reason::WrongBodyPart);
    assert_eq!(reason(&[part("THORACOLUMBAR SPINE")]), Reason::NoT2);
}

#[test]
fn a_series_that_was_only_compressed_is_an_original_with_a_doubt() {
    let derived = |s: Synthetic, code| {
        let s = s.text(tags::IMAGE_TYPE, "DERIVED\\PRIMARY\\M\\SE");
        let s = s.text(tags::LOSSY_IMAGE_COMPRESSION, "01");
        Synthetic { derivation: Some(code), ..s }
    };
    let [t1, t2] = [Synthetic::t1(), Synthetic::t2()].map(|s| derived(s, "113040"));
    assert!(flags(&[t1, t2]).contains(&QualityFlag::LossyCompression));
    // 113062: pixel by pixel calculation.
    assert_eq!(reason(&[derived(Synthetic::t1(), "113062")]), Reason::Derived);
}

#[test]
fn a_described_neck_is_refused_only_where_the_body_part_is_silent() {
    let described = |s: Synthetic| s.text(tags::STUDY_DESCRIPTION, "MRT HWS nativ");
    let silent = |s: Synthetic| described(s).without(tags::BODY_PART_EXAMINED);
    assert_eq!(reason(&[silent(Synthetic::t1()), silent(Synthetic::t2())]), Reason::WrongBodyPart);
    assert!(
        selection_of(&[described(Synthetic::t1()), described(Synthetic::t2())]).outcome.is_ok()
    );
}

#[test]
fn axial_series_are_not_sagittal_and_do_not_hide_a_missing_one() {
    let axial = Synthetic {
        number: 3,
        row_cosines: [1.0, 0.0, 0.0],
        column_cosines: [0.0, 1.0, 0.0],
        step: [0.0, 0.0, 4.4],
        ..Synthetic::t1()
    };
    assert_eq!(reason(std::slice::from_ref(&axial)), Reason::NotSagittal);
    assert_eq!(reason(&[axial, Synthetic::t2()]), Reason::NoT1);
}

#[test]
fn series_after_contrast_are_refused_those_before_it_taken() {
    let post = series(3, Synthetic::t1()).text(tags::CONTRAST_BOLUS_AGENT, "GADOVIST");
    assert_eq!(reason(&[post.clone(), Synthetic::t2()]), Reason::ContrastAgent);
    let selection = selection_of(&[Synthetic::t1(), Synthetic::t2(), post]);
    assert_eq!(selection.outcome.expect("taken").t1.number_in_study, 1);
    let refusal = &selection.refused_series[0];
    assert_eq!((refusal.series_number_in_study, refusal.reason), (3, Reason::ContrastAgent));
    let none = |s: Synthetic| s.text(tags::CONTRAST_BOLUS_AGENT, "NONE");
    assert!(selection_of(&[none(Synthetic::t1()), none(Synthetic::t2())]).outcome.is_ok());
}

#[test]
fn fat_suppressed_series_are_named_not_taken() {
    let stir = Synthetic { tr_te: Some((4000.0, 60.0)), ..series(3, Synthetic::t2()) }
        .text(tags::SCANNING_SEQUENCE, "SE\\IR")
        .text(tags::INVERSION_TIME, "160");
    let fs = series(4, Synthetic::t2()).text(tags::SCAN_OPTIONS, "PFP\\FS");
    let selection = selection_of(&[Synthetic::t1(), Synthetic::t2(), stir, fs.clone()]);
    assert_eq!(selection.fat_suppressed, [Weighting::Stir, Weighting::T2FatSuppressed]);
    assert_eq!(selection.outcome.expect("taken").t2.number_in_study, 2);
    assert_eq!(reason(&[Synthetic::t1(), fs]), Reason::NoT2);
}

#[test]
fn of_a_dixon_sequence_the_in_phase_images_alone_are_taken() {
    let part =
        |number, image_type| series(number, Synthetic::t2()).text(tags::IMAGE_TYPE, image_type);
    let selection = selection_of(&[
        Synthetic::t1(),
        part(2, "DERIVED\\PRIMARY\\M\\NORM\\IN_PHASE\\DIS2D\\MFSPLIT"),
        part(3, "ORIGINAL\\PRIMARY\\M\\NORM\\OPP_PHASE\\DIS2D"),
        part(4, "DERIVED\\PRIMARY\\M\\NORM\\FAT\\DIS2D\\MFSPLIT"),
        part(5, "DERIVED\\PRIMARY\\DIXON\\WATER"),
    ]);
    assert_eq!(selection.outcome.expect("taken").t2.number_in_study, 2);
    assert_eq!(selection.fat_suppressed, [Weighting::T2FatSuppressed]);
    let refused = selection.refused_series.iter().map(|r| (r.series_number_in_study, r.reason));
    assert_eq!(refused.collect::<Vec<_>>(), [(3, Reason::Derived), (4, Reason::Derived)]);

    let described = |text| Synthetic::t2().text(tags::SERIES_DESCRIPTION, text);
    assert_eq!(reason(&[Synthetic::t1(), described("t2_tse_dixon_sag_F")]), Reason::NoT2);
    assert!(selection_of(&[Synthetic::t1(), described("t2_tse_dixon_sag_in")]).outcome.is_ok());
}

#[test]
fn diffusion_is_neither_t2_nor_a_fat_suppressed_series() {
    let planar = series(3, Synthetic::t2()).text(tags::SCANNING_SEQUENCE, "EP\\SE");
    let image_type = |number, value| series(number, Synthetic::t2()).text(tags::IMAGE_TYPE, value);
    let selection = selection_of(&[
        Synthetic::t1(),
        planar.text(tags::SCAN_OPTIONS, "FS"),
        image_type(4, "ORIGINAL\\PRIMARY\\DIFFUSION\\NONE\\ND"),
        image_type(5, "DERIVED\\PRIMARY\\DIFFUSION\\TRACEW\\NORM\\DIS2D"),
    ]);
    assert_eq!(selection.outcome.unwrap_err(), Reason::NoT2);
    assert!(selection.fat_suppressed.is_empty());
    let reasons = selection.refused_series.iter().map(|r| r.reason);
    let expected = [Reason::NoT2, Reason::NotT1OrT2, Reason::NotT1OrT2, Reason::Derived];
    assert_eq!(reasons.collect::<Vec<_>>(), expected);
}

#[test]
fn every_series_of_a_refused_study_has_a_reason() {
    let reasons = |t1: Synthetic, t2: Synthetic| {
        let refused = selection_of(&[t1, t2]).refused_series;
        refused.iter().map(|r| (r.series_number_in_study, r.reason)).collect::<Vec<_>>()
    };
    let suppressed = Synthetic::t2().text(tags::SCAN_OPTIONS, "FS");
    let found = reasons(Synthetic::t1(), suppressed);
    assert_eq!(found, [(1, Reason::NoT2), (2, Reason::NotT1OrT2)]);
    let young = Synthetic::t1().text(tags::PATIENT_AGE, "017Y");
    let found = reasons(young, Synthetic::t2());
    assert_eq!(found, [(1, Reason::Minor), (2, Reason::Minor)]);
    let moved = Synthetic { frame_of_reference: "1.2.3.10", ..Synthetic::t2() };
    let found = reasons(Synthetic::t1(), moved);
    let apart = Reason::DifferentFrameOfReference;
    assert_eq!(found, [(1, apart), (2, apart)]);
    let elsewhere = Synthetic { first_position: [-11.0, -60.0, 300.0], ..Synthetic::t2() };
    let found = reasons(Synthetic::t1(), elsewhere);
    assert_eq!(found, [(1, Reason::NoOverlap), (2, Reason::NoOverlap)]);
}

#[test]
fn minors_are_refused_and_an_unknown_age_is_flagged() {
    let young = Synthetic::t1().text(tags::PATIENT_AGE, "017Y");
    assert_eq!(reason(&[young, Synthetic::t2()]), Reason::Minor);
    for age in ["", "000Y"] {
        let ageless = |s: Synthetic| s.text(tags::PATIENT_AGE, age);
        let flags = flags(&[ageless(Synthetic::t1()), ageless(Synthetic::t2())]);
        assert!(flags.contains(&QualityFlag::AgeUnknown), "{age}");
    }
}

#[test]
fn impossible_and_unusual_spacings_are_refused() {
    let t1 = |change: fn(&mut Synthetic)| {
        let mut t1 = Synthetic::t1();
        change(&mut t1);
        reason(&[t1, Synthetic::t2()])
    };
    assert_eq!(t1(|s| s.pixel_spacing = [0.0, 0.0]), Reason::ZeroSpacing);
    assert_eq!(t1(|s| s.step = [0.0; 3]), Reason::ZeroSpacing);
    assert_eq!(t1(|s| s.step = [1.0, 0.0, 0.0]), Reason::SpacingOutOfRange);
    assert_eq!(t1(|s| s.pixel_spacing = [2.5, 2.5]), Reason::SpacingOutOfRange);
    assert_eq!(t1(|s| s.slices = 1), Reason::TooFewSlices);
    assert_eq!(t1(|s| s.slices = 61), Reason::TooLarge);
    assert_eq!(t1(|s| s.step = [4.4, 1.5, 0.0]), Reason::ShearedStack);
}

#[test]
fn a_single_slice_is_taken_when_configured_with_its_thickness_as_distance() {
    let folder = folder();
    let one = |s: Synthetic| Synthetic { slices: 1, ..s };
    let headers = headers_of(folder.path(), &[one(Synthetic::t1()), one(Synthetic::t2())]);
    let config = Config { min_slices: 1, ..Config::default() };
    assert_eq!(select(&headers, &config).outcome.expect("taken").t1.grid.spacing[0], 4.0);
}

#[test]
fn gaps_and_doubles_in_a_stack_are_found_and_an_instance_sent_twice_is_not_one() {
    let folder = folder();
    let mut headers = headers_of(folder.path(), &[Synthetic::t1(), Synthetic::t2()]);
    headers.slices.push(headers.slices[2].clone());
    assert!(select(&headers, &Config::default()).outcome.is_ok());
    headers.slices[2].sop_instance_uid = "1.2.3.4.5".into();
    let reason_of = |headers: &Headers| select(headers, &Config::default()).outcome.unwrap_err();
    assert_eq!(reason_of(&headers), Reason::DuplicatePositions);
    headers.slices.pop();
    headers.slices.remove(2);
    assert_eq!(reason_of(&headers), Reason::GapInStack);
}

#[test]
fn missing_tags_are_told_and_a_description_can_stand_in_for_timing() {
    let blind = Synthetic::t1().without(tags::IMAGE_ORIENTATION_PATIENT);
    assert_eq!(reason(&[blind, Synthetic::t2()]), Reason::MissingTag);
    let placeless = Synthetic::t1().without(tags::FRAME_OF_REFERENCE_UID);
    assert_eq!(reason(&[placeless, Synthetic::t2()]), Reason::MissingTag);
    let timeless = Synthetic { tr_te: None, ..Synthetic::t1() };
    assert_eq!(reason(std::slice::from_ref(&timeless)), Reason::MissingTag);
    let described = timeless.text(tags::SERIES_DESCRIPTION, "t1_tse_sag");
    let flags = flags(&[described, Synthetic::t2()]);
    assert!(flags.contains(&QualityFlag::WeightingFromDescription));
}

#[test]
fn the_pair_shares_a_frame_of_reference_and_a_region() {
    let moved = Synthetic { frame_of_reference: "1.2.3.10", ..Synthetic::t2() };
    assert_eq!(reason(&[Synthetic::t1(), moved.clone()]), Reason::DifferentFrameOfReference);
    let elsewhere = Synthetic { first_position: [-11.0, -60.0, 300.0], ..Synthetic::t2() };
    assert_eq!(reason(&[Synthetic::t1(), elsewhere]), Reason::NoOverlap);
    // Acquired anew after the patient moved: only the pair within one frame of reference fits.
    let selection = selection_of(&[Synthetic::t1(), Synthetic::t2(), series(3, moved)]);
    assert_eq!(selection.outcome.expect("taken").t2.number_in_study, 2);
    assert_eq!(selection.refused_series[0].reason, Reason::Superseded);
}

#[test]
fn more_slices_win_then_the_later_series() {
    let longer = Synthetic { slices: 8, ..series(3, Synthetic::t1()) };
    let later = series(4, Synthetic::t2());
    let all = [later, longer, series(5, Synthetic::t1()), Synthetic::t2()];
    let pair = selection_of(&all).outcome.expect("taken");
    assert_eq!((pair.t1.number_in_study, pair.t2.number_in_study), (2, 3));
}

/// What scanners send beside a pair, each with a number of its own.
fn protocol() -> Vec<Synthetic> {
    let stir = Synthetic { tr_te: Some((4000.0, 60.0)), ..series(3, Synthetic::t2()) };
    let axial = Synthetic {
        row_cosines: [1.0, 0.0, 0.0],
        column_cosines: [0.0, 1.0, 0.0],
        step: [0.0, 0.0, 4.4],
        ..series(7, Synthetic::t2())
    };
    vec![
        Synthetic::t1(),
        Synthetic::t2(),
        stir.text(tags::SCANNING_SEQUENCE, "SE\\IR").text(tags::INVERSION_TIME, "160"),
        series(4, Synthetic::t1()).text(tags::CONTRAST_BOLUS_AGENT, "GADOVIST"),
        Synthetic { slices: 8, ..series(5, Synthetic::t1()) },
        Synthetic { frame_of_reference: "1.2.3.10", ..series(6, Synthetic::t2()) },
        axial,
        series(8, Synthetic::t1()).text(tags::IMAGE_TYPE, "ORIGINAL\\PRIMARY\\LOCALIZER"),
        Synthetic { pixel_spacing: [0.0, 0.0], ..series(9, Synthetic::t2()) },
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a study holds, and in whatever order its files came.
    #[test]
    fn the_choice_follows_from_what_there_is_and_not_from_its_order(
        chosen in prop::sample::subsequence(Vec::from_iter(0..9), 1..=9),
        seed: u64,
    ) {
        let all = protocol();
        let chosen: Vec<Synthetic> = chosen.into_iter().map(|n| all[n].clone()).collect();
        let folder = folder();
        let mut headers = headers_of(folder.path(), &chosen);
        let config = Config::default();
        let first = select(&headers, &config);
        headers.slices.shuffle(&mut Pcg64::seed_from_u64(seed));
        let second = select(&headers, &config);
        prop_assert_eq!(format!("{:?}", first), format!("{:?}", second));
        if let Ok(pair) = first.outcome {
            prop_assert_eq!((pair.t1.weighting, pair.t2.weighting), (Weighting::T1, Weighting::T2));
            let frames = pair.t1.slices.iter().chain(&pair.t2.slices).map(|s| &s.frame_of_reference_uid);
            prop_assert_eq!(frames.collect::<BTreeSet<_>>().len(), 1);
            let taken = [pair.t1.number_in_study, pair.t2.number_in_study];
            for unfit in [3, 4, 7, 8, 9] {
                let place = chosen.iter().position(|s| s.number == unfit);
                prop_assert!(place.is_none_or(|place| !taken.contains(&(place + 1))));
            }
        }
    }
}

#[test]
fn files_that_are_not_dicom_are_counted_and_alone_make_a_study_unreadable() {
    let folder = folder();
    let bad = folder.path().join("notes.txt");
    std::fs::write(&bad, [0x55; 4096]).unwrap();
    let headers = Headers::read([&bad], &Config::default()).unwrap();
    assert_eq!(select(&headers, &Config::default()).outcome.unwrap_err(), Reason::Unreadable);

    let mut files: Vec<PathBuf> = Synthetic::t1().write(folder.path());
    files.extend(Synthetic::t2().write(folder.path()));
    files.push(bad);
    let headers = Headers::read(files, &Config::default()).unwrap();
    assert_eq!(headers.unreadable_files, 1);
    assert!(select(&headers, &Config::default()).outcome.is_ok());
}

#[test]
fn a_file_cut_anywhere_is_read_or_counted_and_never_a_crash() {
    let folder = folder();
    let file = Synthetic::t1().write_slice(folder.path(), 0);
    let whole = std::fs::read(&file).unwrap();
    let before_pixels = whole.len() - 12 * 10 * 2 - 12;
    for len in 0..before_pixels {
        std::fs::write(&file, &whole[..len]).unwrap();
        let headers = Headers::read([&file], &Config::default()).unwrap();
        assert_eq!(headers.slices.len() + headers.unreadable_files, 1, "cut at {len}");
        assert!(len > 200 || headers.unreadable_files == 1, "cut at {len}");
    }
}

#[test]
fn a_length_beyond_the_file_is_refused_before_anything_is_allocated() {
    let folder = folder();
    let file = Synthetic::t1().write_slice(folder.path(), 0);
    let mut bytes = std::fs::read(&file).unwrap();
    // A private OB element that claims 4 GB, put before the pixel data.
    let pixel_data = [0xe0, 0x7f, 0x10, 0x00, b'O', b'W'];
    let at = bytes.windows(6).position(|w| w == pixel_data).unwrap();
    let hostile = [0x09, 0x70, 0x10, 0x10, b'O', b'B', 0, 0, 0xf0, 0xff, 0xff, 0xff];
    bytes.splice(at..at, hostile);
    std::fs::write(&file, bytes).unwrap();
    // The scan itself refuses, so no reader that allocates ever sees the element.
    assert!(matches!(file::scan(&file), Err(file::FileError::Unreadable)));
    assert_eq!(Headers::read([&file], &Config::default()).unwrap().unreadable_files, 1);
}

#[test]
fn a_study_is_complete_only_when_senders_announced_what_has_arrived() {
    let folder = folder();
    let of = |announced| {
        let s = |s: Synthetic| Synthetic { images_in_acquisition: announced, ..s };
        let headers = headers_of(folder.path(), &[s(Synthetic::t1()), s(Synthetic::t2())]);
        completeness(&headers, &Config::default())
    };
    assert_eq!(of(Some(6)), Completeness::Complete);
    assert_eq!(of(Some(7)), Completeness::Waiting);
    assert_eq!(of(None), Completeness::Waiting);
}

#[test]
fn the_choice_does_not_depend_on_the_order_of_the_files() {
    let folder = folder();
    let all = [Synthetic::t1(), Synthetic::t2(), series(3, Synthetic::t2())];
    let mut headers = headers_of(folder.path(), &all);
    let choice = |h: &Headers| {
        let pair = select(h, &Config::default()).outcome.expect("taken");
        let uids = |s: &Series| -> Vec<String> {
            s.slices.iter().map(|s| s.sop_instance_uid.clone()).collect()
        };
        (uids(&pair.t1), uids(&pair.t2), pair.t2.number_in_study)
    };
    let forward = choice(&headers);
    headers.slices.reverse();
    assert_eq!(choice(&headers), forward);
}

#[test]
fn debug_output_of_a_header_holds_no_identifier() {
    let folder = folder();
    let headers = headers_of(folder.path(), &[Synthetic::t1()]);
    let debug = format!("{headers:?}");
    assert!(!debug.contains("1.2.3.") && !debug.contains(".dcm"));
}

#[test]
fn the_configuration_knows_its_fields_only() {
    let config: Config = toml::from_str("min_slices = 1\nmax_slice_distance_mm = 6.0").unwrap();
    assert_eq!((config.min_slices, config.max_slice_distance_mm), (1, 6.0));
    assert!(toml::from_str::<Config>("min_slice = 1").is_err());
}
