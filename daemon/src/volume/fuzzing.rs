//! The pixels of one image, without the series that it belongs to.

use super::pixels::PixelFile;
use crate::study::SliceHeader;

/// Decodes the image that a header describes.
pub fn values(slice: &SliceHeader) {
    if let Ok(mut file) = PixelFile::open(&slice.path) {
        let _ = file.values(slice);
    }
}
