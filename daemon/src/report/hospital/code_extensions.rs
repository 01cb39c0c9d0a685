//! Text of senders who switch between character sets by escape sequences (PS3.5, 6.1.2.5), as in Japan and Korea.
//!
//! dicom-rs reads all text by the first value of Specific Character Set. That loses nothing, so it is taken back here
//! and read again, a part at a time.

use dicom::encoding::text::{SpecificCharacterSet, TextCodec};

const ESCAPE: u8 = 0x1B;

/// What the bytes behind an escape sequence are in.
enum Part {
    /// ASCII, and the first character set beyond it.
    First,
    /// Another one, whose decoder doesn't want to see the sequence.
    Other(&'static str),
    /// One whose decoder wants to.
    Switched(&'static str),
}

/// Escape sequences without the escape itself (PS3.3, C.12.1.1.2).
const SEQUENCES: [(&[u8], Part); 16] = [
    (b"(B", Part::First),
    (b"(J", Part::First),
    (b")I", Part::Other("ISO_IR 13")),
    (b"$B", Part::Switched("ISO_IR 87")),
    (b"$(D", Part::Switched("ISO_IR 87")),
    (b"$)C", Part::Other("ISO_IR 149")),
    (b"$)A", Part::Other("GB2312")),
    (b"-A", Part::Other("ISO_IR 100")),
    (b"-B", Part::Other("ISO_IR 101")),
    (b"-C", Part::Other("ISO_IR 109")),
    (b"-D", Part::Other("ISO_IR 110")),
    (b"-F", Part::Other("ISO_IR 126")),
    (b"-G", Part::Other("ISO_IR 127")),
    (b"-H", Part::Other("ISO_IR 138")),
    (b"-L", Part::Other("ISO_IR 144")),
    (b"-T", Part::Other("ISO_IR 166")),
];

/// `text`, which was read by the first of `character_sets`, as it was meant; `None` where it
/// holds what isn't known here.
pub(super) fn reread(text: &str, character_sets: &str) -> Option<String> {
    let first = character_sets.split('\\').next().unwrap_or_default().trim();
    let first = SpecificCharacterSet::from_code(first).unwrap_or_default();
    let bytes = first.encode(text).ok()?;
    let mut parts = bytes.split(|byte| *byte == ESCAPE);
    let mut whole = first.decode(parts.next()?).ok()?;
    for part in parts {
        let (sequence, kind) = SEQUENCES.iter().find(|(sequence, _)| part.starts_with(sequence))?;
        let behind = &part[sequence.len()..];
        let decoded = match kind {
            Part::First => first.decode(behind),
            Part::Other(name) => SpecificCharacterSet::from_code(name)?.decode(behind),
            Part::Switched(name) => {
                SpecificCharacterSet::from_code(name)?.decode(&[&[ESCAPE], part].concat())
            }
        };
        whole.push_str(&decoded.ok()?);
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of PS3.5, annexes H and I, and some of other alphabets.
    #[test]
    fn names_are_read_as_they_were_meant() {
        let cases: [(&str, &[u8], &str); 8] = [
            (
                "\\ISO 2022 IR 87",
                b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
                "Yamada^Tarou=山田^太郎=やまだ^たろう",
            ),
            (
                "ISO 2022 IR 13\\ISO 2022 IR 87",
                b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
                "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
            ),
            (
                "\\ISO 2022 IR 149",
                b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
                "Hong^Gildong=洪^吉洞=홍^길동",
            ),
            (
                "\\ISO 2022 IR 58",
                b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
                "Zhang^XiaoDong=张^小东=",
            ),
            (
                "ISO 2022 IR 100\\ISO 2022 IR 144",
                b"M\xfcller=\x1b-L\xbb\xee\xda",
                "Müller=Люк",
            ),
            ("\\ISO 2022 IR 13", b"\x1b)I\xd4\xcf\xc0\xde", "ﾔﾏﾀﾞ"),
            ("\\ISO 2022 IR 159", b"\x1b$(D0!\x1b(B", "丂"),
            // A kanji whose second byte is a backslash's.
            ("\\ISO 2022 IR 87", b"\x1b$B5\\\x1b(B", "宮"),
        ];
        for (sets, bytes, meant) in cases {
            let first = sets.split('\\').next().unwrap();
            let first = SpecificCharacterSet::from_code(first).unwrap_or_default();
            let read = first.decode(bytes).unwrap();
            assert_ne!(read, meant, "{sets}: nothing to mend");
            assert_eq!(reread(&read, sets).as_deref(), Some(meant), "{sets}");
        }
    }

    #[test]
    fn an_unknown_sequence_is_left_alone() {
        assert_eq!(reread("A\x1b%G\u{e9}", "\\ISO 2022 IR 87"), None);
    }
}
