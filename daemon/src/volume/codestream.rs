//! What a compressed image says of its own size.
//!
//! Decoders allocate by the codestream's dimensions, which a hostile file may choose freely: they are compared
//! with the checked header before any decoder sees the bytes.

/// Dimensions at the start of a codestream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dimensions {
    pub rows: u32,
    pub columns: u32,
    pub bits: u8,
    pub is_signed: bool,
    pub components: u16,
}

/// Reads the frame header of JPEG and JPEG-LS (ITU-T T.81 B.2.2, T.87 C.2.2) or the SIZ segment of JPEG 2000
/// (ISO/IEC 15444-1 A.5.1); `None` for anything else.
pub(super) fn dimensions(bytes: &[u8]) -> Option<Dimensions> {
    match bytes {
        [0xff, 0xd8, rest @ ..] => jpeg(rest),
        [0xff, 0x4f, 0xff, 0x51, siz @ ..] => jpeg_2000(siz),
        _ => None,
    }
}

fn jpeg(mut segments: &[u8]) -> Option<Dimensions> {
    while let [0xff, marker, rest @ ..] = segments {
        if *marker == 0xff {
            // A fill byte before a marker.
            segments = &segments[1..];
            continue;
        }
        let is_frame_header =
            matches!(marker, 0xc0..=0xcf | 0xf7) && ![0xc4, 0xc8, 0xcc].contains(marker);
        if is_frame_header {
            return Some(Dimensions {
                bits: *rest.get(2)?,
                is_signed: false,
                rows: be16(rest, 3)?.into(),
                columns: be16(rest, 5)?.into(),
                components: (*rest.get(7)?).into(),
            });
        }
        segments = rest.get(usize::from(be16(rest, 0)?)..)?;
    }
    None
}

fn jpeg_2000(siz: &[u8]) -> Option<Dimensions> {
    let be32 = |at: usize| Some(u32::from(be16(siz, at)?) << 16 | u32::from(be16(siz, at + 2)?));
    Some(Dimensions {
        columns: be32(4)?.checked_sub(be32(12)?)?,
        rows: be32(8)?.checked_sub(be32(16)?)?,
        components: be16(siz, 36)?,
        bits: (siz.get(38)? & 0x7f) + 1,
        is_signed: siz.get(38)? & 0x80 != 0,
    })
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{Dimensions, dimensions};

    #[test]
    fn jpeg_frame_headers_are_found_behind_other_segments() {
        // SOI, a 4-byte APP0, a fill byte, SOF3 of 12 bits, 384 rows, 320 columns.
        let jpeg = [
            0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xc3, 0, 11, 12, 1, 0x80, 1, 0x40, 1,
            1, 0x11, 0,
        ];
        let expected =
            Dimensions { rows: 384, columns: 320, bits: 12, is_signed: false, components: 1 };
        assert_eq!(dimensions(&jpeg), Some(expected));
        for end in 0..18 {
            assert_eq!(dimensions(&jpeg[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn jpeg_2000_sizes_exclude_the_offset() {
        let mut j2k = vec![0xff, 0x4f, 0xff, 0x51, 0, 41, 0, 0];
        for n in [330u32, 390, 10, 6, 330, 390, 0, 0] {
            j2k.extend(n.to_be_bytes());
        }
        j2k.extend([0, 1, 0x8f, 1, 1]);
        let expected =
            Dimensions { rows: 384, columns: 320, bits: 16, is_signed: true, components: 1 };
        assert_eq!(dimensions(&j2k), Some(expected));
        assert_eq!(dimensions(b"\0\0\0\x0cjP  "), None);
    }
}
