//! RLE Lossless (PS3.5, annex G): one segment of PackBits runs for each byte of a sample, the most significant first.
//!
//! dicom-rs' adapter (0.10.1) allocates by the number of segments that the header claims, and lets a run of two bytes become
//! 128 without end.

use super::pixels::PixelError;

/// Number of segments and fifteen offsets.
const HEADER_BYTES: usize = 64;

/// `count` samples of `width` bytes each.
///
/// # Errors
/// There are fewer samples, or the segments aren't as many as a sample has bytes or not where the header says.
pub(super) fn decode(bytes: &[u8], count: usize, width: usize) -> Result<Vec<u16>, PixelError> {
    let header = bytes.get(..HEADER_BYTES).ok_or(PixelError::Unsupported)?;
    let mut words = header.chunks_exact(4).map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]));
    if words.next() != u32::try_from(width).ok() {
        return Err(PixelError::Unsupported);
    }
    let mut bounds: Vec<usize> = words.take(width).map(|offset| offset as usize).collect();
    bounds.push(bytes.len());
    let mut samples = vec![0; count];
    for bound in bounds.windows(2) {
        let segment = bytes.get(bound[0]..bound[1]).ok_or(PixelError::Unsupported)?;
        let plane = unpack(segment, count).ok_or(PixelError::Short)?;
        for (sample, byte) in samples.iter_mut().zip(plane) {
            *sample = *sample << 8 | u16::from(byte);
        }
    }
    Ok(samples)
}

/// The first `count` bytes of a segment; `None` when it has fewer.
fn unpack(mut segment: &[u8], count: usize) -> Option<Vec<u8>> {
    let mut plane = Vec::with_capacity(count);
    while plane.len() < count {
        let (head, rest) = segment.split_first()?;
        let room = count - plane.len();
        segment = match *head {
            head @ 0..=127 => {
                let (literal, rest) = rest.split_at_checked(usize::from(head) + 1)?;
                plane.extend(&literal[..literal.len().min(room)]);
                rest
            }
            128 => rest,
            head @ 129.. => {
                let (byte, rest) = rest.split_first()?;
                plane.resize(plane.len() + room.min(257 - usize::from(head)), *byte);
                rest
            }
        };
    }
    Some(plane)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(segments: u32, offsets: &[u32], body: &[u8]) -> Vec<u8> {
        let mut bytes = segments.to_le_bytes().to_vec();
        bytes.extend(offsets.iter().flat_map(|offset| offset.to_le_bytes()));
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn runs_and_literals_become_samples() {
        // High bytes 1, 1, 1, 2; low bytes 7, 8, 9, 9; the last run is longer than the image, as some encoders pad.
        let body = [254, 1, 128, 0, 2, 1, 7, 8, 254, 9];
        let bytes = encoded(2, &[64, 69], &body);
        assert_eq!(decode(&bytes, 4, 2).unwrap(), [0x0107, 0x0108, 0x0109, 0x0209]);
        assert_eq!(decode(&encoded(1, &[64], &[255, 5]), 2, 1).unwrap(), [5, 5]);
    }

    #[test]
    fn what_a_header_claims_is_not_believed() {
        let body = [254, 1, 128, 0, 2, 1, 7, 8, 254, 9];
        let decode = |segments, offsets: &[u32]| decode(&encoded(segments, offsets, &body), 4, 2);
        assert!(matches!(decode(u32::MAX, &[64, 69]), Err(PixelError::Unsupported)));
        assert!(matches!(decode(2, &[69, 64]), Err(PixelError::Unsupported)));
        assert!(matches!(decode(2, &[64, 1000]), Err(PixelError::Unsupported)));
        assert!(matches!(decode(2, &[64, 64]), Err(PixelError::Short)));
        assert!(matches!(super::decode(&[2, 0, 0], 4, 2), Err(PixelError::Unsupported)));
    }
}
