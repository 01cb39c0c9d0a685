//! JPEG 2000 (ISO/IEC 15444-1) through a decoder in safe Rust: the one that dicom-rs offers is OpenJPEG's C translated, and
//! damaged images led it into undefined behaviour.

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

use super::codestream::Dimensions;
use super::pixels::PixelError;

/// Decodes one grey image to its samples, row by row; those of a signed one as two's complement.
pub(super) fn decode(bytes: &[u8], found: &Dimensions) -> Result<Vec<u16>, PixelError> {
    let settings = DecodeSettings { strict: true, ..DecodeSettings::default() };
    let image = Image::new(bytes, &settings).map_err(|_| PixelError::Unsupported)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(|_| PixelError::Unsupported)?;
    let [component] = decoded.components() else { return Err(PixelError::Unsupported) };
    // The decoder takes every image for an unsigned one, and so moves it up by half its range (Annex G.1).
    let moved = if found.is_signed { 1 << (found.bits - 1) } else { 0 };
    Ok(component.samples().iter().map(|sample| (sample.round() as i32 - moved) as u16).collect())
}
