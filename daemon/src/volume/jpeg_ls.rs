//! JPEG-LS lossless (ISO/IEC 14495-1) through a decoder in plain Rust: dicom-rs's own adapter builds CharLS in
//! C++ with cmake, which a cross build for the boxes would have to carry along.

use super::pixels::PixelError;

/// Decodes one grey image of the given size to its samples, row by row.
pub(super) fn decode(bytes: &[u8], rows: u16, columns: u16) -> Result<Vec<u16>, PixelError> {
    // DICOM pads a fragment of odd length with a zero byte; the decoder wants the end marker last.
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    jpegls::decode(&bytes[..end], columns.into(), rows.into())
        .map(|(samples, _, _)| samples)
        .map_err(|_| PixelError::Unsupported)
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_encoded_image_comes_back_with_or_without_padding() {
        let image: Vec<u16> = (0..12).map(|i| i * 301 % 4096).collect();
        let mut bytes = Vec::new();
        jpegls::encode(&image, 4, 3, &mut bytes).expect("encodes");
        assert_eq!(super::decode(&bytes, 3, 4).unwrap(), image);
        bytes.push(0);
        assert_eq!(super::decode(&bytes, 3, 4).unwrap(), image);
        assert!(super::decode(&bytes[..bytes.len() / 2], 3, 4).is_err());
    }
}
