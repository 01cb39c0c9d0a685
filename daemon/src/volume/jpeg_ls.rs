//! JPEG-LS lossless (ISO/IEC 14495-1) through a decoder in plain Rust: dicom-rs's own adapter builds CharLS in
//! C++ with cmake, which a cross build for the boxes would have to carry along.

use super::pixels::PixelError;

/// The marker that ends an image.
const END: [u8; 2] = [0xff, 0xd9];

/// Decodes one grey image of the given size to its samples, row by row.
pub(super) fn decode(mut bytes: Vec<u8>, rows: u16, columns: u16) -> Result<Vec<u16>, PixelError> {
    remove_padding(&mut bytes);
    jpegls::decode(&bytes, columns.into(), rows.into())
        .map(|(samples, _, _)| samples)
        .map_err(|_| PixelError::Unsupported)
}

/// A fragment has an even length (PS3.5 A.4): odd ones are padded with a zero behind the end marker, or, as
/// dcmtk does, with a fill byte 0xff before it. The decoder wants neither. Coded data can't end in 0xff
/// (T.87 A.1 stuffs a zero bit behind it), so no data is lost.
fn remove_padding(bytes: &mut Vec<u8>) {
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    while bytes.ends_with(&[0xff, END[0], END[1]]) {
        bytes.remove(bytes.len() - 3);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_encoded_image_comes_back_however_it_is_padded() {
        let image: Vec<u16> = (0..12).map(|i| i * 301 % 4096).collect();
        let mut bytes = Vec::new();
        jpegls::encode(&image, 4, 3, &mut bytes).expect("encodes");
        let decode = |bytes: &[u8]| super::decode(bytes.to_vec(), 3, 4);
        assert_eq!(decode(&bytes).unwrap(), image);
        assert_eq!(decode(&[&bytes[..], &[0]].concat()).unwrap(), image);
        let (coded, end) = bytes.split_at(bytes.len() - 2);
        assert_eq!(decode(&[coded, &[0xff], end].concat()).unwrap(), image);
        assert!(decode(&bytes[..bytes.len() / 2]).is_err());
    }
}
