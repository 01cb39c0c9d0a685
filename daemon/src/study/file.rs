//! One DICOM file (PS3.10), opened with distrust.
//!
//! dicom-object allocates whatever length an element claims, nests as deep as a file asks, and some decoders
//! panic. So a file is first *scanned* token by token: every length must fit in the rest of the file and the
//! nesting is bounded. Only then are the attributes before the pixel data read into memory. The pixel data is
//! never loaded whole: the scan notes where it lies.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use dicom::core::VR;
use dicom::dictionary_std::tags;
use dicom::encoding::TransferSyntaxIndex;
use dicom::object::{DefaultDicomObject, FileMetaTable, OpenFileOptions};
use dicom::parser::StatefulDecode;
use dicom::parser::dataset::LazyDataToken;
use dicom::parser::dataset::lazy_read::LazyDataSetReader;
use dicom::transfer_syntax::TransferSyntaxRegistry;

use crate::vr::{has_long_length, may_be_so_long};

/// Deepest nesting of sequences that is followed; Enhanced MR needs 5.
const MAX_DEPTH: usize = 24;
/// Most fragments of encapsulated pixel data that are noted.
const MAX_FRAGMENTS: usize = 16_384;
/// The preamble before `DICM`, bytes.
const PREAMBLE: u64 = 128;
const MAGIC: &[u8; 4] = b"DICM";
/// Longest file meta information that is read, bytes; ours has some 200.
const MAX_META: u64 = 64 << 10;

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// The disk's fault, not the study's.
    #[error("reading an instance file")]
    Io(#[source] io::Error),
    /// Not DICOM, damaged, or beyond the bounds above.
    #[error("the file is not readable as DICOM")]
    Unreadable,
    /// The pixel data ends before its declared length.
    #[error("the pixel data is cut off")]
    PixelDataShort,
}

/// Where the pixel data of a file lies.
#[derive(Debug)]
pub(crate) enum PixelData {
    /// No pixel data element.
    Absent,
    /// Not encapsulated: all frames behind one another.
    Native { offset: u64, len: u64 },
    /// Encapsulated (PS3.5 A.4): offset and length of each fragment, and the basic offset table.
    Encapsulated { fragments: Vec<(u64, u32)>, offset_table: Vec<u32> },
}

/// What the scan of a file found.
#[derive(Debug)]
pub(crate) struct Scan {
    /// The transfer syntax UID, without padding.
    pub transfer_syntax: String,
    /// Where the pixels lie.
    pub pixels: PixelData,
}

/// Walks through a whole file without keeping any value.
pub(crate) fn scan(path: &Path) -> Result<Scan, FileError> {
    let file = File::open(path).map_err(FileError::Io)?;
    let len = file.metadata().map_err(FileError::Io)?.len();
    guarded(|| scan_tokens(&mut BufReader::new(file), len))?
}

/// Scans a file, then reads its attributes up to the pixel data.
pub(crate) fn read_attributes(path: &Path) -> Result<(DefaultDicomObject, Scan), FileError> {
    let scan = match scan(path) {
        // The header of a file with cut-off pixel data is whole; who decodes it will notice.
        Err(FileError::PixelDataShort) => {
            Scan { transfer_syntax: String::new(), pixels: PixelData::Absent }
        }
        other => other?,
    };
    let file = File::open(path).map_err(FileError::Io)?;
    let object = guarded(|| {
        let mut reader = BufReader::new(file);
        to_magic_code(&mut reader)?;
        OpenFileOptions::new()
            .read_until(tags::PIXEL_DATA)
            .read_preamble(dicom::object::file::ReadPreamble::Never)
            .from_reader(reader)
            .map_err(|_| FileError::Unreadable)
    })??;
    Ok((object, scan))
}

/// Runs code of a foreign library that may panic on damaged input.
pub(crate) fn guarded<T>(f: impl FnOnce() -> T) -> Result<T, FileError> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|_| FileError::Unreadable)
}

/// Moves to `DICM`, behind the preamble or, as some archives write, at the start.
fn to_magic_code(reader: &mut (impl Read + Seek)) -> Result<(), FileError> {
    for start in [PREAMBLE, 0] {
        let mut magic = [0; 4];
        reader.seek(SeekFrom::Start(start)).map_err(FileError::Io)?;
        if reader.read_exact(&mut magic).is_ok() && &magic == MAGIC {
            check_meta(reader)?;
            reader.seek(SeekFrom::Start(start)).map_err(FileError::Io)?;
            return Ok(());
        }
    }
    Err(FileError::Unreadable)
}

/// Whether the file meta information (PS3.10, 7.1) that begins here ends where it says, and none of its elements reaches
/// beyond: dicom-object allocates what they claim.
fn check_meta(reader: &mut impl Read) -> Result<(), FileError> {
    // Group length: tag (0002,0000), UL, length 4.
    const GROUP_LENGTH: [u8; 8] = [2, 0, 0, 0, b'U', b'L', 4, 0];
    let damaged = |_| FileError::Unreadable;
    let (mut head, mut length) = ([0; 8], [0; 4]);
    reader.read_exact(&mut head).map_err(damaged)?;
    reader.read_exact(&mut length).map_err(damaged)?;
    let mut left = u64::from(u32::from_le_bytes(length));
    if head != GROUP_LENGTH || left > MAX_META {
        return Err(FileError::Unreadable);
    }
    while left > 0 {
        reader.read_exact(&mut head).map_err(damaged)?;
        let [_, _, _, _, a, b, short @ ..] = head;
        let vr = VR::from_binary([a, b]).ok_or(FileError::Unreadable)?;
        let (header, value) = if has_long_length(vr) {
            reader.read_exact(&mut length).map_err(damaged)?;
            (12, u64::from(u32::from_le_bytes(length)))
        } else {
            (8, u64::from(u16::from_le_bytes(short)))
        };
        let rest = left.checked_sub(header + value).filter(|_| may_be_so_long(vr, value));
        left = rest.ok_or(FileError::Unreadable)?;
        let skipped = io::copy(&mut reader.take(value), &mut io::sink()).map_err(FileError::Io)?;
        if skipped < value {
            return Err(FileError::Unreadable);
        }
    }
    Ok(())
}

fn scan_tokens(reader: &mut BufReader<File>, file_len: u64) -> Result<Scan, FileError> {
    to_magic_code(reader)?;
    let meta = FileMetaTable::from_reader(&mut *reader).map_err(|_| FileError::Unreadable)?;
    let transfer_syntax = meta.transfer_syntax().to_owned();
    let ts = TransferSyntaxRegistry.get(&transfer_syntax).ok_or(FileError::Unreadable)?;
    let mut tokens =
        LazyDataSetReader::new_with_ts(reader, ts).map_err(|_| FileError::Unreadable)?;

    let mut depth = 0usize;
    let mut items = 0usize;
    let mut in_pixels = false;
    let (mut fragments, mut offset_table) = (Vec::new(), Vec::new());
    while let Some(token) = tokens.advance() {
        // An end in the midst of fragments is cut-off pixel data, anywhere else it is a broken file.
        let cut_off = || if in_pixels { FileError::PixelDataShort } else { FileError::Unreadable };
        match token.map_err(|_| cut_off())? {
            LazyDataToken::SequenceStart { .. } => depth += 1,
            LazyDataToken::PixelSequenceStart => {
                in_pixels = depth == 0;
                depth += 1;
            }
            LazyDataToken::SequenceEnd if in_pixels => {
                let pixels = PixelData::Encapsulated { fragments, offset_table };
                return Ok(Scan { transfer_syntax, pixels });
            }
            LazyDataToken::SequenceEnd => depth = depth.saturating_sub(1),
            LazyDataToken::ItemStart { .. } if in_pixels => items += 1,
            LazyDataToken::LazyValue { header, decoder } => {
                let offset = decoder.position();
                let len = u64::from(header.len.get().ok_or(FileError::Unreadable)?);
                let is_pixels = depth == 0 && header.tag == tags::PIXEL_DATA;
                if !may_be_so_long(header.vr, len) {
                    return Err(FileError::Unreadable);
                }
                if offset.saturating_add(len) > file_len {
                    return Err(if is_pixels {
                        FileError::PixelDataShort
                    } else {
                        FileError::Unreadable
                    });
                }
                if is_pixels {
                    return Ok(Scan { transfer_syntax, pixels: PixelData::Native { offset, len } });
                }
                decoder.skip_bytes(len as u32).map_err(|_| FileError::Unreadable)?;
            }
            LazyDataToken::LazyItemValue { len, decoder } => {
                let offset = decoder.position();
                if offset.saturating_add(len.into()) > file_len {
                    return Err(cut_off());
                }
                // With a rest, dicom-parser would come here again and again without a step forward.
                if in_pixels && items == 1 && !len.is_multiple_of(4) {
                    return Err(FileError::Unreadable);
                }
                if in_pixels && items == 1 {
                    decoder
                        .read_u32_to_vec(len, &mut offset_table)
                        .map_err(|_| FileError::Unreadable)?;
                } else {
                    if in_pixels {
                        fragments.push((offset, len));
                    }
                    decoder.skip_bytes(len).map_err(|_| cut_off())?;
                }
            }
            _ => {}
        }
        if depth > MAX_DEPTH || fragments.len() > MAX_FRAGMENTS {
            return Err(FileError::Unreadable);
        }
    }
    if in_pixels {
        return Err(FileError::PixelDataShort);
    }
    Ok(Scan { transfer_syntax, pixels: PixelData::Absent })
}
