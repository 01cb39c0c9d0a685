//! The pixels of one image: read from its file, decoded, turned into values.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use dicom::dictionary_std::uids;
use dicom::encoding::adapters::{PixelDataObject, RawPixelData};
use dicom::encoding::{Codec, TransferSyntaxIndex};
use dicom::transfer_syntax::TransferSyntaxRegistry;

use super::codestream::{self, Dimensions};
use super::{jpeg_2000, jpeg_ls, rle};
use crate::study::file::{FileError, PixelData, Scan, guarded, scan};
use crate::study::{PixelFormat, SliceHeader};

/// Retired from the standard, still sent by old archives.
const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// Most rows or columns of an image.
const MAX_SIDE: u16 = 2048;

/// Why an image has no pixels.
#[derive(Debug)]
pub(super) enum PixelError {
    /// The disk's fault.
    Io(io::Error),
    /// Fewer pixels than the header says.
    Short,
    /// An encoding that isn't supported, or damaged data.
    Unsupported,
}

impl From<FileError> for PixelError {
    fn from(e: FileError) -> PixelError {
        match e {
            FileError::Io(e) => PixelError::Io(e),
            FileError::PixelDataShort => PixelError::Short,
            FileError::Unreadable => PixelError::Unsupported,
        }
    }
}

/// An opened file whose frames are read one at a time.
pub(super) struct PixelFile {
    file: File,
    scan: Scan,
}

impl PixelFile {
    /// Opens a file and finds its pixel data.
    pub(super) fn open(path: &Path) -> Result<PixelFile, PixelError> {
        Ok(PixelFile { scan: scan(path)?, file: File::open(path).map_err(PixelError::Io)? })
    }

    /// The values of one image, row by row as stored, rescaled.
    pub(super) fn values(&mut self, header: &SliceHeader) -> Result<Vec<f32>, PixelError> {
        let format = &header.pixels;
        let bits_fit = format.bits_stored >= 1
            && format.bits_stored <= format.high_bit + 1
            && format.high_bit < format.bits_allocated;
        let supported = format.samples_per_pixel == 1
            && matches!(format.bits_allocated, 8 | 16)
            && bits_fit
            && matches!(format.photometric.as_str(), "MONOCHROME1" | "MONOCHROME2")
            && (1..=MAX_SIDE).contains(&header.rows)
            && (1..=MAX_SIDE).contains(&header.columns)
            && format.slope != 0.0;
        if !supported {
            return Err(PixelError::Unsupported);
        }
        let bytes = self.encoded_frame(header)?;
        let samples = guarded(|| decode(&self.scan.transfer_syntax, bytes, header))??;
        let count = usize::from(header.rows) * usize::from(header.columns);
        if samples.len() < count {
            return Err(PixelError::Short);
        }
        let to_value = value_of(format);
        Ok(samples[..count].iter().map(|s| to_value(*s)).collect())
    }

    /// The bytes of one frame as they stand in the file.
    fn encoded_frame(&mut self, header: &SliceHeader) -> Result<Vec<u8>, PixelError> {
        match &self.scan.pixels {
            PixelData::Absent => Err(PixelError::Short),
            PixelData::Native { offset, len } => {
                let sample = u64::from(header.pixels.bits_allocated / 8);
                let frame_len = u64::from(header.rows) * u64::from(header.columns) * sample;
                let start = frame_len * u64::from(header.frame);
                if start + frame_len > *len {
                    return Err(PixelError::Short);
                }
                read_ranges(&mut self.file, &[(offset + start, frame_len as u32)])
            }
            PixelData::Encapsulated { fragments, offset_table } => {
                let ranges = fragments_of_frame(header, fragments, offset_table);
                if ranges.is_empty() {
                    return Err(PixelError::Short);
                }
                read_ranges(&mut self.file, ranges)
            }
        }
    }
}

/// The fragments that hold a frame (PS3.5 A.4): all of a single-frame image; one each when there are as many
/// as frames; else by the basic offset table, which counts from the first fragment's item header.
fn fragments_of_frame<'a>(
    header: &SliceHeader,
    fragments: &'a [(u64, u32)],
    offset_table: &[u32],
) -> &'a [(u64, u32)] {
    let frame = header.frame as usize;
    if header.frame_count <= 1 {
        return fragments;
    }
    if fragments.len() == header.frame_count as usize {
        return &fragments[frame..=frame];
    }
    let (Some((first, _)), Some(start)) = (fragments.first(), offset_table.get(frame)) else {
        return &[];
    };
    let place = |offset: u32| fragments.partition_point(|(at, _)| at - first < offset.into());
    let end = offset_table.get(frame + 1).map_or(fragments.len(), |next| place(*next));
    fragments.get(place(*start)..end).unwrap_or_default()
}

fn read_ranges(file: &mut File, ranges: &[(u64, u32)]) -> Result<Vec<u8>, PixelError> {
    let mut bytes = Vec::new();
    for (offset, len) in ranges {
        file.seek(SeekFrom::Start(*offset)).map_err(PixelError::Io)?;
        let read = file.take((*len).into()).read_to_end(&mut bytes).map_err(PixelError::Io)?;
        if read < *len as usize {
            return Err(PixelError::Short);
        }
    }
    Ok(bytes)
}

/// Samples as stored, in 16-bit cells.
fn decode(
    transfer_syntax: &str,
    bytes: Vec<u8>,
    header: &SliceHeader,
) -> Result<Vec<u16>, PixelError> {
    let wide = header.pixels.bits_allocated == 16;
    let native = match transfer_syntax {
        uids::EXPLICIT_VR_LITTLE_ENDIAN | uids::IMPLICIT_VR_LITTLE_ENDIAN => bytes,
        EXPLICIT_VR_BIG_ENDIAN if wide => {
            return Ok(pairs(&bytes).map(u16::from_be_bytes).collect());
        }
        EXPLICIT_VR_BIG_ENDIAN => bytes,
        uids::JPEGLS_LOSSLESS => {
            check_codestream(&bytes, header)?;
            return jpeg_ls::decode(bytes, header.rows, header.columns);
        }
        uids::RLE_LOSSLESS => {
            let count = usize::from(header.rows) * usize::from(header.columns);
            return rle::decode(&bytes, count, if wide { 2 } else { 1 });
        }
        uids::JPEG2000_LOSSLESS | uids::JPEG2000 => {
            let found = check_codestream(&bytes, header)?;
            return jpeg_2000::decode(&bytes, &found);
        }
        uids::JPEG_LOSSLESS_SV1 | uids::JPEG_LOSSLESS => {
            check_codestream(&bytes, header)?;
            adapted(transfer_syntax, bytes, header)?
        }
        _ => return Err(PixelError::Unsupported),
    };
    Ok(if wide {
        pairs(&native).map(u16::from_le_bytes).collect()
    } else {
        native.into_iter().map(u16::from).collect()
    })
}

fn pairs(bytes: &[u8]) -> impl Iterator<Item = [u8; 2]> {
    bytes.chunks_exact(2).map(|p| [p[0], p[1]])
}

fn check_codestream(bytes: &[u8], header: &SliceHeader) -> Result<Dimensions, PixelError> {
    let found = codestream::dimensions(bytes).ok_or(PixelError::Unsupported)?;
    let (rows, columns) = (u32::from(header.rows), u32::from(header.columns));
    if found.rows < rows || found.columns < columns {
        return Err(PixelError::Short);
    }
    let same_width = (found.bits > 8) == (header.pixels.bits_allocated == 16);
    if (found.rows, found.columns, found.components) == (rows, columns, 1) && same_width {
        Ok(found)
    } else {
        Err(PixelError::Unsupported)
    }
}

/// Decodes with the adapter that dicom-rs registers for the transfer syntax.
fn adapted(
    transfer_syntax: &str,
    bytes: Vec<u8>,
    header: &SliceHeader,
) -> Result<Vec<u8>, PixelError> {
    let ts = TransferSyntaxRegistry.get(transfer_syntax).ok_or(PixelError::Unsupported)?;
    let Codec::EncapsulatedPixelData(Some(decoder), _) = ts.codec() else {
        return Err(PixelError::Unsupported);
    };
    let mut decoded = Vec::new();
    let frame = OneFrame { transfer_syntax, bytes, header };
    decoder.decode_frame(&frame, 0, &mut decoded).map_err(|_| PixelError::Unsupported)?;
    Ok(decoded)
}

/// One encoded frame, posing as the object the adapters want: they see exactly the bytes that were checked,
/// and none of the attributes (windows, look-up tables) that dicom-pixeldata would trip over.
struct OneFrame<'a> {
    transfer_syntax: &'a str,
    bytes: Vec<u8>,
    header: &'a SliceHeader,
}

impl PixelDataObject for OneFrame<'_> {
    fn transfer_syntax_uid(&self) -> &str {
        self.transfer_syntax
    }
    fn rows(&self) -> Option<u16> {
        Some(self.header.rows)
    }
    fn cols(&self) -> Option<u16> {
        Some(self.header.columns)
    }
    fn samples_per_pixel(&self) -> Option<u16> {
        Some(self.header.pixels.samples_per_pixel)
    }
    fn bits_allocated(&self) -> Option<u16> {
        Some(self.header.pixels.bits_allocated)
    }
    fn bits_stored(&self) -> Option<u16> {
        Some(self.header.pixels.bits_stored)
    }
    fn photometric_interpretation(&self) -> Option<&str> {
        Some(&self.header.pixels.photometric)
    }
    fn number_of_frames(&self) -> Option<u32> {
        Some(1)
    }
    fn number_of_fragments(&self) -> Option<u32> {
        Some(1)
    }
    fn fragment(&self, fragment: usize) -> Option<Cow<'_, [u8]>> {
        (fragment == 0).then_some(Cow::Borrowed(&self.bytes))
    }
    fn offset_table(&self) -> Option<Cow<'_, [u32]>> {
        Some(Cow::Borrowed(&[]))
    }
    fn raw_pixel_data(&self) -> Option<RawPixelData> {
        let fragments = vec![self.bytes.clone()].into();
        Some(RawPixelData { fragments, offset_table: Vec::new().into() })
    }
}

/// From a stored sample to its value: the bits in use, their sign, MONOCHROME1 turned round, rescale.
fn value_of(format: &PixelFormat) -> impl Fn(u16) -> f32 + use<> {
    let shift = format.high_bit + 1 - format.bits_stored;
    let unused = 16 - u32::from(format.bits_stored);
    let (signed, inverted) = (format.signed, format.photometric == "MONOCHROME1");
    let (slope, intercept) = (format.slope, format.intercept);
    let all_ones = i32::from(u16::MAX >> unused);
    move |sample| {
        let top_aligned = (sample >> shift) << unused;
        let stored = if signed {
            i32::from(top_aligned as i16 >> unused)
        } else {
            i32::from(top_aligned >> unused)
        };
        let stored = match (inverted, signed) {
            (false, _) => stored,
            (true, false) => all_ones - stored,
            (true, true) => -1 - stored,
        };
        (f64::from(stored) * slope + intercept) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(bits_stored: u16, high_bit: u16, signed: bool, photometric: &str) -> PixelFormat {
        PixelFormat {
            samples_per_pixel: 1,
            bits_allocated: 16,
            bits_stored,
            high_bit,
            signed,
            photometric: photometric.into(),
            slope: 2.0,
            intercept: -10.0,
        }
    }

    #[test]
    fn samples_become_values() {
        assert_eq!(value_of(&format(16, 15, false, "MONOCHROME2"))(0xffff), 131_060.0);
        assert_eq!(value_of(&format(16, 15, true, "MONOCHROME2"))(0xffff), -12.0);
        // 12 bits in use: what stands above them (an overlay, once) is not part of the value.
        assert_eq!(value_of(&format(12, 11, false, "MONOCHROME2"))(0xf00a), 10.0);
        assert_eq!(value_of(&format(12, 11, true, "MONOCHROME2"))(0x0fff), -12.0);
        assert_eq!(value_of(&format(12, 15, false, "MONOCHROME2"))(0x00a0), 10.0);
        assert_eq!(value_of(&format(12, 11, false, "MONOCHROME1"))(0x0fff), -10.0);
        assert_eq!(value_of(&format(12, 11, true, "MONOCHROME1"))(0x0800), 4084.0);
    }
}
