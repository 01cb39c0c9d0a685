//! Walks through an encoded data set: checks that it is whole, and learns who it is.
//!
//! Every declared length is checked against what is there before anything is read, nested sequences
//! included, and only UIDs are ever held. This is not only about truncated transfers: dicom-parser allocates
//! what an element declares (`StatefulDecoder`, 0.10.1, `buffer.resize_with(len)`), so a header of 200 bytes
//! could cost the later stages 4 GB. What passes here can be opened there.

use super::refusal::{Reason, Refusal};
use super::sop::{Encoding, trim_uid};
use crate::vr::{has_long_length, may_be_so_long};
use dicom::core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom::core::{Tag, VR};
use dicom::dictionary_std::StandardDataDictionary;
use std::io::{Read, Seek};

/// A UID's field: 64 characters and a padding character (PS3.5, 9.1).
pub(super) const MAX_UID_FIELD: u64 = 66;
const MAX_UID: usize = 64;

/// Everything before the pixels; Enhanced MR images of thousands of frames stay below a few MB.
const MAX_HEADER_BYTES: u64 = 32 << 20;
/// Sequences in sequences; functional groups need five or so.
const MAX_DEPTH: usize = 24;

const UNDEFINED_LENGTH: u32 = u32::MAX;
const ITEM: (u16, u16) = (0xfffe, 0xe000);
const ITEM_DELIMITER: (u16, u16) = (0xfffe, 0xe00d);
const SEQUENCE_DELIMITER: (u16, u16) = (0xfffe, 0xe0dd);
const PIXEL_DATA: (u16, u16) = (0x7fe0, 0x0010);

/// The UIDs of an instance, without padding, each of 1 to 64 letters, digits, `.`, `-` and `_`. Beyond that
/// they are the peer's text: never a part of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) study_instance_uid: String,
    pub(super) series_instance_uid: String,
    pub(super) sop_instance_uid: String,
    pub(super) sop_class_uid: String,
}

/// Walks the data set that ends at offset `end`; the reader stands at its first byte, offset `start`.
///
/// # Errors
/// [`Reason::Truncated`], [`Reason::Malformed`], [`Reason::TooLarge`], [`Reason::MissingUid`],
/// [`Reason::InvalidUid`], [`Reason::MissingPixelData`]; [`Reason::Unreadable`] when reading fails.
pub(super) fn identify(
    reader: &mut (impl Read + Seek),
    start: u64,
    end: u64,
    encoding: Encoding,
) -> Result<Identity, Refusal> {
    if start >= end {
        return Err(Reason::Truncated.into());
    }
    let mut found = Found::default();
    Elements::new(reader, start, end).walk(encoding, &mut found)?;
    let identity = Identity {
        study_instance_uid: uid(found.study)?,
        series_instance_uid: uid(found.series)?,
        sop_instance_uid: uid(found.instance)?,
        sop_class_uid: uid(found.class)?,
    };
    if found.pixels { Ok(identity) } else { Err(Reason::MissingPixelData.into()) }
}

/// Whether a data set without pixels is whole and may be read.
///
/// # Errors
/// As [`identify`], of the structure.
pub(super) fn check(bytes: &[u8], encoding: Encoding) -> Result<(), Refusal> {
    let end = bytes.len() as u64;
    Elements::new(std::io::Cursor::new(bytes), 0, end).walk(encoding, &mut Found::default())
}

#[derive(Default)]
struct Found {
    study: Option<String>,
    series: Option<String>,
    instance: Option<String>,
    class: Option<String>,
    pixels: bool,
}

impl Found {
    fn slot(&mut self, tag: (u16, u16)) -> Option<&mut Option<String>> {
        match tag {
            (0x0008, 0x0016) => Some(&mut self.class),
            (0x0008, 0x0018) => Some(&mut self.instance),
            (0x0020, 0x000d) => Some(&mut self.study),
            (0x0020, 0x000e) => Some(&mut self.series),
            _ => None,
        }
    }
}

fn uid(field: Option<String>) -> Result<String, Reason> {
    let field = field.ok_or(Reason::MissingUid)?;
    match trim_uid(&field) {
        "" => Err(Reason::MissingUid),
        uid if is_plausible_uid(uid) => Ok(uid.to_owned()),
        _ => Err(Reason::InvalidUid),
    }
}

/// Up to 64 ASCII letters, digits, `.`, `-` and `_`. That real UIDs are digits and dots only is not insisted
/// on, since scanners break that rule; what could be a path or markup is refused.
pub(super) fn is_plausible_uid(uid: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (1..=MAX_UID).contains(&uid.len()) && uid.bytes().all(plain)
}

/// An element's tag, VR and length.
pub(super) struct Header {
    pub(super) tag: (u16, u16),
    vr: VR,
    length: u32,
}

impl Header {
    /// The length, where it must be a defined one.
    pub(super) fn defined_length(&self) -> Result<u64, Reason> {
        if self.length == UNDEFINED_LENGTH {
            Err(Reason::Malformed)
        } else {
            Ok(self.length.into())
        }
    }
}

/// A position among encoded elements.
pub(super) struct Elements<R> {
    reader: R,
    position: u64,
    end: u64,
}

impl<R: Read + Seek> Elements<R> {
    /// `reader` stands at offset `position`; nothing at or after `end` is read.
    pub(super) fn new(reader: R, position: u64, end: u64) -> Elements<R> {
        Elements { reader, position, end }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn remaining(&self) -> u64 {
        self.end - self.position
    }

    /// Skips a value that must end at or before `limit`.
    pub(super) fn skip(&mut self, length: u64, limit: u64) -> Result<(), Refusal> {
        self.bound(length, limit)?;
        let step = i64::try_from(length).map_err(|_| Reason::Truncated)?;
        self.reader.seek_relative(step).map_err(Refusal::unreadable)?;
        self.position += length;
        Ok(())
    }

    /// A short value as text; bytes outside ASCII come out as replacement characters.
    pub(super) fn text(&mut self, length: u64) -> Result<String, Refusal> {
        debug_assert!(length <= MAX_UID_FIELD);
        let mut value = [0; MAX_UID_FIELD as usize];
        let value = &mut value[..length as usize];
        self.read(value, self.end)?;
        Ok(String::from_utf8_lossy(value).into_owned())
    }

    /// The next element's header if it belongs to `group`; otherwise `None`, with only its tag consumed.
    pub(super) fn header_of_group(
        &mut self,
        group: u16,
        encoding: Encoding,
        limit: u64,
    ) -> Result<Option<Header>, Refusal> {
        let tag = self.tag(limit)?;
        if tag.0 == group { self.header_after(tag, encoding, limit).map(Some) } else { Ok(None) }
    }

    fn walk(&mut self, encoding: Encoding, found: &mut Found) -> Result<(), Refusal> {
        let end = self.end;
        let header_end = end.min(self.position + MAX_HEADER_BYTES);
        while self.position < end {
            let tag = self.tag(end)?;
            let header = self.header_after(tag, encoding, end)?;
            found.pixels |= tag == PIXEL_DATA;
            match (found.slot(tag), header.defined_length()) {
                (Some(slot), Ok(length)) if length <= MAX_UID_FIELD => {
                    *slot = Some(self.text(length)?);
                }
                (Some(_), _) => return Err(Reason::InvalidUid.into()),
                (None, _) => self.value(&header, encoding, end, 0)?,
            }
            if tag < PIXEL_DATA && self.position > header_end {
                return Err(Reason::TooLarge.into());
            }
        }
        Ok(())
    }

    /// Passes over one value, looking into sequences.
    fn value(
        &mut self,
        header: &Header,
        encoding: Encoding,
        limit: u64,
        depth: usize,
    ) -> Result<(), Refusal> {
        let undefined = header.length == UNDEFINED_LENGTH;
        match header.vr {
            VR::SQ if undefined => self.items(encoding, limit, true, depth),
            VR::SQ => {
                let end = self.bound(header.length.into(), limit)?;
                self.items(encoding, end, false, depth)
            }
            // a sequence of unknown tag, implicitly encoded whatever surrounds it (PS3.5, 6.2.2)
            VR::UN if undefined => self.items(Encoding::ImplicitLittleEndian, limit, true, depth),
            VR::OB | VR::OW if undefined => self.fragments(limit),
            _ => self.skip(header.defined_length()?, limit),
        }
    }

    /// The items of a sequence, to the delimiter or to `limit`.
    fn items(
        &mut self,
        encoding: Encoding,
        limit: u64,
        delimited: bool,
        depth: usize,
    ) -> Result<(), Refusal> {
        if depth >= MAX_DEPTH {
            return Err(Reason::Malformed.into());
        }
        while delimited || self.position < limit {
            match (self.tag(limit)?, self.length(limit)?) {
                (SEQUENCE_DELIMITER, 0) if delimited => return Ok(()),
                (ITEM, UNDEFINED_LENGTH) => self.nested(encoding, limit, true, depth + 1)?,
                (ITEM, length) => {
                    let end = self.bound(length.into(), limit)?;
                    self.nested(encoding, end, false, depth + 1)?;
                }
                _ => return Err(Reason::Malformed.into()),
            }
        }
        Ok(())
    }

    /// The elements of an item, to the delimiter or to `limit`.
    fn nested(
        &mut self,
        encoding: Encoding,
        limit: u64,
        delimited: bool,
        depth: usize,
    ) -> Result<(), Refusal> {
        while delimited || self.position < limit {
            let tag = self.tag(limit)?;
            if tag == ITEM_DELIMITER && delimited {
                return if self.length(limit)? == 0 {
                    Ok(())
                } else {
                    Err(Reason::Malformed.into())
                };
            }
            let header = self.header_after(tag, encoding, limit)?;
            self.value(&header, encoding, limit, depth)?;
        }
        Ok(())
    }

    /// The fragments of compressed pixel data (PS3.5, A.4).
    fn fragments(&mut self, limit: u64) -> Result<(), Refusal> {
        loop {
            match (self.tag(limit)?, self.length(limit)?) {
                (SEQUENCE_DELIMITER, 0) => return Ok(()),
                (ITEM, length) if length != UNDEFINED_LENGTH => self.skip(length.into(), limit)?,
                _ => return Err(Reason::Malformed.into()),
            }
        }
    }

    fn header_after(
        &mut self,
        tag: (u16, u16),
        encoding: Encoding,
        limit: u64,
    ) -> Result<Header, Refusal> {
        // commands, file meta information and loose delimiters have no place among elements here
        if tag.0 == 0 || tag.0 == 0xfffe {
            return Err(Reason::Malformed.into());
        }
        let (vr, length) = match encoding {
            Encoding::ImplicitLittleEndian => (implicit_vr(tag), self.length(limit)?),
            Encoding::ExplicitLittleEndian => {
                let [a, b, short @ ..] = self.array::<4>(limit)?;
                let vr = VR::from_binary([a, b]).ok_or(Reason::Malformed)?;
                if has_long_length(vr) {
                    (vr, self.length(limit)?)
                } else {
                    (vr, u16::from_le_bytes(short).into())
                }
            }
        };
        if length != UNDEFINED_LENGTH && !may_be_so_long(vr, length.into()) {
            return Err(Reason::Malformed.into());
        }
        Ok(Header { tag, vr, length })
    }

    fn tag(&mut self, limit: u64) -> Result<(u16, u16), Refusal> {
        let [a, b, c, d] = self.array(limit)?;
        Ok((u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])))
    }

    fn length(&mut self, limit: u64) -> Result<u32, Refusal> {
        Ok(u32::from_le_bytes(self.array(limit)?))
    }

    fn array<const N: usize>(&mut self, limit: u64) -> Result<[u8; N], Refusal> {
        let mut bytes = [0; N];
        self.read(&mut bytes, limit)?;
        Ok(bytes)
    }

    fn read(&mut self, bytes: &mut [u8], limit: u64) -> Result<(), Refusal> {
        let end = self.bound(bytes.len() as u64, limit)?;
        self.reader.read_exact(bytes).map_err(Refusal::unreadable)?;
        self.position = end;
        Ok(())
    }

    /// Where `length` bytes from here end, if that is at or before `limit`.
    fn bound(&self, length: u64, limit: u64) -> Result<u64, Reason> {
        let end = self.position + length;
        if end <= limit { Ok(end) } else { Err(Reason::Truncated) }
    }
}

/// The VR by which dicom-rs reads an implicitly encoded element.
fn implicit_vr((group, element): (u16, u16)) -> VR {
    StandardDataDictionary.by_tag(Tag(group, element)).map_or(VR::UN, |entry| entry.vr().relaxed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::testing::Sample;
    use std::io::Cursor;

    fn walk(set: &[u8], encoding: Encoding) -> Result<Identity, Reason> {
        let end = set.len() as u64;
        identify(&mut Cursor::new(set), 0, end, encoding).map_err(|refusal| refusal.reason)
    }

    fn explicit(set: &[u8]) -> Result<Identity, Reason> {
        walk(set, Encoding::ExplicitLittleEndian)
    }

    /// An element in explicit encoding with a 4-byte length.
    fn long_element(tag: [u8; 4], vr: &[u8; 2], length: u32, value: &[u8]) -> Vec<u8> {
        [&tag, &vr[..], &[0, 0], &length.to_le_bytes(), value].concat()
    }

    #[test]
    fn an_instance_is_known_by_its_own_uids_in_both_encodings() {
        let sample = Sample::default();
        let identity = explicit(&sample.explicit()).unwrap();
        // not by those of the image it refers to, which stand in a sequence
        assert_eq!(identity.sop_instance_uid, sample.sop_instance_uid);
        assert_eq!(identity.study_instance_uid, sample.study_instance_uid);
        assert_eq!(walk(&sample.implicit(), Encoding::ImplicitLittleEndian), Ok(identity));
    }

    #[test]
    fn a_data_set_cut_anywhere_is_never_whole() {
        for (set, encoding) in [
            (Sample::default().explicit(), Encoding::ExplicitLittleEndian),
            (Sample::default().implicit(), Encoding::ImplicitLittleEndian),
        ] {
            for cut in 0..set.len() {
                assert!(walk(&set[..cut], encoding).is_err(), "cut at {cut} of {}", set.len());
            }
        }
    }

    #[test]
    fn lengths_that_lie_are_found_at_every_depth() {
        let sample = Sample::default().explicit();
        let huge = long_element([0x21, 0, 0x10, 0x10], b"OB", 0xffff_fff0, b"");
        assert_eq!(explicit(&[&sample[..], &huge].concat()), Err(Reason::Truncated));
        let item = [&[0xfe, 0xff, 0, 0xe0], &(huge.len() as u32).to_le_bytes()[..], &huge].concat();
        let nested = long_element([0x21, 0, 0x11, 0x10], b"SQ", item.len() as u32, &item);
        assert_eq!(explicit(&[&sample[..], &nested].concat()), Err(Reason::Truncated));
    }

    #[test]
    fn sequences_without_length_and_compressed_pixels_are_walked_through() {
        let mut sample = Sample::default();
        sample.pixels.clear();
        let mut set = sample.explicit();
        set.truncate(set.len() - 12);
        let item = [0xfe, 0xff, 0, 0xe0];
        let (item_end, end) =
            ([0xfe, 0xff, 0x0d, 0xe0, 0, 0, 0, 0], [0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]);
        let undefined = u32::MAX.to_le_bytes();
        // implicitly encoded content, as PS3.5, 6.2.2 has it for UN
        let content = [0x21, 0, 0x10, 0x10, 2, 0, 0, 0, b'h', b'i'];
        let unknown = [&item[..], &undefined, &content, &item_end, &end].concat();
        set.extend(long_element([0x21, 0, 0x11, 0x10], b"UN", u32::MAX, &unknown));
        let fragments = [&item[..], &[0; 4], &item, &[2, 0, 0, 0, 9, 9], &end].concat();
        set.extend(long_element([0xe0, 0x7f, 0x10, 0], b"OB", u32::MAX, &fragments));
        assert!(explicit(&set).is_ok());
        assert_eq!(explicit(&set[..set.len() - 8]), Err(Reason::Truncated));
    }

    #[test]
    fn nesting_without_end_is_malformed_and_costs_no_stack() {
        let mut set = Sample::default().explicit();
        let level = [
            long_element([0x40, 0, 0x75, 0x02], b"SQ", u32::MAX, b""),
            [&[0xfe, 0xff, 0, 0xe0], &u32::MAX.to_le_bytes()[..]].concat(),
        ]
        .concat();
        set.extend(level.repeat(100_000));
        assert_eq!(explicit(&set), Err(Reason::Malformed));
    }

    #[test]
    fn a_binary_value_of_no_whole_number_of_units_is_malformed() {
        let mut set = Sample::default().explicit();
        // SL of two bytes: dicom-rs reads no number, and the two bytes as the next element's tag.
        set.splice(0..0, [8, 0, 5, 0, b'S', b'L', 2, 0, 1, 0]);
        assert_eq!(explicit(&set), Err(Reason::Malformed));
        set[6] = 4;
        set.splice(10..10, [0, 0]);
        assert!(explicit(&set).is_ok());

        // Where a UID is looked for, too.
        let mut set = Sample::default().explicit();
        let study = set.windows(6).position(|w| w == [0x20, 0, 0x0d, 0, b'U', b'I']).unwrap();
        set.splice(study + 4..study + 6, *b"FD");
        assert_eq!(explicit(&set), Err(Reason::Malformed));
    }

    #[test]
    fn uids_must_be_there_and_be_text() {
        let with = |study: &str| {
            let sample = Sample { study_instance_uid: study.to_owned(), ..Sample::default() };
            explicit(&sample.explicit()).map(|identity| identity.study_instance_uid)
        };
        assert_eq!(with(""), Err(Reason::MissingUid));
        assert_eq!(with("  "), Err(Reason::MissingUid));
        assert_eq!(with("1.2\n3"), Err(Reason::InvalidUid));
        assert_eq!(with(&"1".repeat(65)), Err(Reason::InvalidUid));
        assert_eq!(with(&"1".repeat(300)), Err(Reason::InvalidUid));
        assert_eq!(with(" 1.2.3 "), Ok("1.2.3".to_owned()));
    }
}
