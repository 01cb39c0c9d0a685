//! A series' files become one volume.

use std::io;
use std::path::Path;

use ndarray::{Array3, ArrayView2, Axis};

use super::pixels::{PixelError, PixelFile};
use crate::domain::Volume;
use crate::study::{Reason, Series};

/// Why a series can't be assembled.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The study's fault: it is refused.
    #[error("the series' pixels are refused: {0}")]
    Refused(Reason),
    /// The disk's fault: worth another try.
    #[error("reading an instance file of the series")]
    Io(#[source] io::Error),
}

impl From<PixelError> for AssembleError {
    fn from(e: PixelError) -> AssembleError {
        match e {
            PixelError::Io(e) => AssembleError::Io(e),
            PixelError::Short => AssembleError::Refused(Reason::PixelDataShort),
            PixelError::Unsupported => AssembleError::Refused(Reason::UnsupportedPixels),
        }
    }
}

/// Decodes a series slice by slice onto its canonical grid; values are rescaled, in the file's unit. Blocking.
/// Beyond the volume it needs memory for one image.
pub fn assemble(series: &Series) -> Result<Volume, AssembleError> {
    let mut data = Array3::<f32>::zeros(series.grid.shape);
    let mut open: Option<(&Path, PixelFile)> = None;
    for (mut canonical, header) in data.axis_iter_mut(Axis(0)).zip(&series.slices) {
        let file = match open.take() {
            // The frames of a multi-frame file are read from one opened file.
            Some((path, file)) if path == header.path => file,
            _ => PixelFile::open(&header.path)?,
        };
        let (_, file) = open.insert((&header.path, file));
        let values = file.values(header)?;
        let stored = ArrayView2::from_shape((header.rows.into(), header.columns.into()), &values)
            .expect("as many values as rows times columns were read");
        series.layout.as_stored(canonical.view_mut()).assign(&stored);
    }
    Ok(Volume::new(data, series.grid.clone()))
}

#[cfg(test)]
mod tests {
    use dicom::dictionary_std::{tags, uids};
    use proptest::prelude::*;

    use super::*;
    use crate::study::testing::{Encoder, Synthetic, folder, headers_of};
    use crate::study::{Config, Headers, SeriesPair, select};

    fn pair(headers: &Headers) -> SeriesPair {
        select(headers, &Config::default()).outcome.expect("the study should be taken")
    }

    fn assembled(t1: &Synthetic) -> Volume {
        let folder = folder();
        let t2 = Synthetic { number: 2, tr_te: Some((3500.0, 105.0)), ..t1.clone() };
        assemble(&pair(&headers_of(folder.path(), &[t1.clone(), t2])).t1).expect("assembled")
    }

    fn refusal(t1: &Synthetic) -> Reason {
        let folder = folder();
        let headers = headers_of(folder.path(), &[t1.clone(), Synthetic::t2()]);
        match assemble(&pair(&headers).t1) {
            Err(AssembleError::Refused(reason)) => reason,
            other => panic!("should be refused: {other:?}"),
        }
    }

    /// Every voxel holds what the synthetic patient has at the voxel's place; rounding is allowed for.
    fn assert_true_to_the_patient(volume: &Volume, offset: f32) {
        for ((s, r, c), value) in volume.data.indexed_iter() {
            let p = volume.grid.to_patient([s as f64, r as f64, c as f64]);
            let want = f32::from(Synthetic::value_at(p)) + offset;
            assert!((value - want).abs() <= 1.0, "{value} for {want} at {s} {r} {c}");
        }
        let [across, down, back] = volume.grid.axes;
        assert!(across[0] > 0.8 && down[2] < -0.8 && back[1] > 0.8, "{:?}", volume.grid.axes);
    }

    #[test]
    fn a_plain_stack_is_its_files() {
        let volume = assembled(&Synthetic::t1());
        assert_eq!(volume.grid.shape, [6, 12, 10]);
        assert_eq!(volume.grid.origin, [-11.0, -60.0, 80.0]);
        assert_eq!(volume.grid.spacing, [4.4, 1.0, 1.5]);
        assert_true_to_the_patient(&volume, 0.0);
    }

    #[test]
    fn every_stored_order_becomes_the_same_upright_patient() {
        let (x, y, z) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]);
        let negative = |v: [f64; 3]| v.map(|a: f64| -a);
        for (row, column) in [(y, z), (z, y)] {
            for row in [row, negative(row)] {
                for column in [column, negative(column)] {
                    for step in [x.map(|a| 4.0 * a), x.map(|a| -4.0 * a)] {
                        let stored = Synthetic {
                            row_cosines: row,
                            column_cosines: column,
                            step,
                            ..Synthetic::t1()
                        };
                        assert_true_to_the_patient(&assembled(&stored), 0.0);
                    }
                }
            }
        }
    }

    #[test]
    fn enhanced_frames_become_the_same_volume_as_single_files() {
        let folder = folder();
        let files = [Synthetic::t1(), Synthetic::t2()].map(|s| s.write_enhanced(folder.path()));
        let headers = Headers::read(files, &Config::default()).unwrap();
        let enhanced = assemble(&pair(&headers).t1).expect("assembled");
        let classic = assembled(&Synthetic::t1());
        assert_eq!((enhanced.data, enhanced.grid), (classic.data, classic.grid));
    }

    #[test]
    fn signed_and_rescaled_pixels_keep_their_values() {
        let signed = Synthetic { signed: true, ..Synthetic::t1() };
        assert_true_to_the_patient(&assembled(&signed), -400.0);
        let rescaled = signed.text(tags::RESCALE_INTERCEPT, "400").text(tags::RESCALE_SLOPE, "1");
        assert_true_to_the_patient(&assembled(&rescaled), 0.0);
    }

    #[test]
    fn uncompressed_transfer_syntaxes_give_the_same_values() {
        let expected = assembled(&Synthetic::t1()).data;
        for transfer_syntax in [uids::IMPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.2"] {
            let other = Synthetic { transfer_syntax, ..Synthetic::t1() };
            assert_eq!(assembled(&other).data, expected, "{transfer_syntax}");
        }
    }

    /// RLE Lossless (PS3.5 Annex G): the high bytes' segment, then the low bytes', all literal runs.
    fn rle(samples: &[u16], _rows: u16, _columns: u16) -> Vec<u8> {
        let segment = |bytes: Vec<u8>| {
            let runs = bytes.chunks(128).flat_map(|run| {
                std::iter::once(run.len() as u8 - 1).chain(run.iter().copied()).collect::<Vec<_>>()
            });
            let mut segment: Vec<u8> = runs.collect();
            segment.resize(segment.len().next_multiple_of(2), 0x80);
            segment
        };
        let high = segment(samples.iter().map(|s| (s >> 8) as u8).collect());
        let low = segment(samples.iter().map(|s| *s as u8).collect());
        let offsets = [2, 64, 64 + high.len() as u32].into_iter().chain([0; 13]);
        offsets.flat_map(u32::to_le_bytes).chain(high).chain(low).collect()
    }

    fn jpeg_ls(samples: &[u16], rows: u16, columns: u16) -> Vec<u8> {
        // As many bits as are allocated, as archives encode 16-bit images.
        let mut options = jpegls::EncodeOptions::default();
        options.precision = Some(16);
        let mut bytes = Vec::new();
        let (columns, rows) = (columns.into(), rows.into());
        jpegls::encode_with_options(samples, columns, rows, &options, &mut bytes).expect("encodes");
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes
    }

    #[test]
    fn compressed_series_have_the_same_values_classic_and_enhanced() {
        let expected = assembled(&Synthetic::t1()).data;
        let codecs: [(_, Encoder); 2] =
            [(uids::RLE_LOSSLESS, rle), (uids::JPEGLS_LOSSLESS, jpeg_ls)];
        for (transfer_syntax, encoder) in codecs {
            let t1 = Synthetic { transfer_syntax, encoder: Some(encoder), ..Synthetic::t1() };
            assert_eq!(assembled(&t1).data, expected, "{transfer_syntax}");
            let folder = folder();
            let files = [t1, Synthetic::t2()].map(|s| s.write_enhanced(folder.path()));
            let headers = Headers::read(files, &Config::default()).unwrap();
            let enhanced = assemble(&pair(&headers).t1).expect("assembled");
            assert_eq!(enhanced.data, expected, "{transfer_syntax}, Enhanced");
        }
    }

    #[test]
    fn damaged_or_lying_compressed_pixels_are_refused() {
        let half: Encoder = |samples, rows, columns| {
            let whole = jpeg_ls(samples, rows, columns);
            whole[..whole.len() / 4 * 2].to_vec()
        };
        let smaller: Encoder = |samples, rows, columns| {
            jpeg_ls(&samples[..usize::from((rows - 1) * columns)], rows - 1, columns)
        };
        let garbage: Encoder = |_, _, _| vec![0x5a; 40];
        let refused = |transfer_syntax, encoder| {
            refusal(&Synthetic { transfer_syntax, encoder: Some(encoder), ..Synthetic::t1() })
        };
        assert_eq!(refused(uids::JPEGLS_LOSSLESS, half), Reason::UnsupportedPixels);
        assert_eq!(refused(uids::JPEGLS_LOSSLESS, smaller), Reason::PixelDataShort);
        for ts in [uids::RLE_LOSSLESS, uids::JPEG_LOSSLESS_SV1, uids::JPEG2000_LOSSLESS] {
            assert_eq!(refused(ts, garbage), Reason::UnsupportedPixels, "{ts}");
        }
    }

    #[test]
    fn pixel_data_shorter_than_the_header_says_is_refused() {
        let short = Synthetic { pixel_bytes_missing: 2, ..Synthetic::t1() };
        assert_eq!(refusal(&short), Reason::PixelDataShort);
        // What stands behind the pixel data isn't taken for pixels.
        let followed = short.text(tags::DATA_SET_TRAILING_PADDING, "padding");
        assert_eq!(refusal(&followed), Reason::PixelDataShort);
    }

    #[test]
    fn a_file_cut_off_in_its_pixels_is_refused_for_that() {
        let folder = folder();
        let headers = headers_of(folder.path(), &[Synthetic::t1(), Synthetic::t2()]);
        let t1 = pair(&headers).t1;
        let bytes = std::fs::read(&t1.slices[3].path).unwrap();
        std::fs::write(&t1.slices[3].path, &bytes[..bytes.len() - 20]).unwrap();
        let headers = Headers::read(headers.slices.iter().map(|s| &s.path), &Config::default());
        let headers = headers.expect("the files are there");
        assert_eq!(headers.unreadable_files, 0, "the header is whole");
        let result = assemble(&pair(&headers).t1);
        assert!(matches!(result, Err(AssembleError::Refused(Reason::PixelDataShort))));
    }

    #[test]
    fn colour_is_not_supported() {
        let colour = Synthetic::t1().text(tags::PHOTOMETRIC_INTERPRETATION, "RGB");
        assert_eq!(refusal(&colour), Reason::UnsupportedPixels);
    }

    #[test]
    fn a_vanished_file_is_the_disk_s_fault() {
        let folder = folder();
        let t1 = pair(&headers_of(folder.path(), &[Synthetic::t1(), Synthetic::t2()])).t1;
        std::fs::remove_file(&t1.slices[0].path).unwrap();
        assert!(matches!(assemble(&t1), Err(AssembleError::Io(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Oblique and scoliotic stacks: turned about all three axes by as much as is accepted together.
        #[test]
        fn oblique_stacks_are_true_to_the_patient(
            yaw in -0.3..0.3f64,
            pitch in -0.3..0.3f64,
            roll in -0.3..0.3f64,
            mirrored: bool,
        ) {
            let turn = |v: [f64; 3]| {
                let about = |[a, b]: [f64; 2], t: f64| [a * t.cos() - b * t.sin(), a * t.sin() + b * t.cos()];
                let [x, y] = about([v[0], v[1]], yaw);
                let [y, z] = about([y, v[2]], pitch);
                let [z, x] = about([z, x], roll);
                [x, y, z]
            };
            let across = turn([if mirrored { -4.0 } else { 4.0 }, 0.0, 0.0]);
            let oblique = Synthetic {
                row_cosines: turn([0.0, 1.0, 0.0]),
                column_cosines: turn([0.0, 0.0, -1.0]),
                step: across,
                ..Synthetic::t1()
            };
            prop_assume!(across[0].abs() / 4.0 > 0.88);
            assert_true_to_the_patient(&assembled(&oblique), 0.0);
        }
    }
}
