//! The head of a DICOM file: preamble and file meta information (PS3.10, 7.1).

use super::dataset::{Elements, MAX_UID_FIELD};
use super::refusal::{Reason, Refusal};
use super::sop::{Encoding, TransferSyntax, trim_uid};
use super::spool::Claim;
use dicom::object::FileMetaTableBuilder;
use std::io::{Read, Seek, SeekFrom};

/// Names this implementation in files and associations (PS3.7, D.3.3.2).
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.163647812993100640152962655593128930935";
/// Its version name, at most 16 characters.
pub const IMPLEMENTATION_VERSION_NAME: &str = concat!("MODICD_", env!("CARGO_PKG_VERSION"));

const PREAMBLE: [u8; 128] = [0; 128];
const MAGIC: &[u8; 4] = b"DICM";

/// The bytes that stand before a data set in a file that the daemon writes. They depend on nothing but
/// the claim, so the same instance always gives the same file.
pub(super) fn head(claim: &Claim) -> Result<Vec<u8>, Refusal> {
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(claim.transfer_syntax.uid())
        .media_storage_sop_class_uid(&claim.sop_class_uid)
        .media_storage_sop_instance_uid(&claim.sop_instance_uid)
        .implementation_class_uid(IMPLEMENTATION_CLASS_UID)
        .implementation_version_name(IMPLEMENTATION_VERSION_NAME)
        .build()
        .map_err(Refusal::storage)?;
    let mut bytes = Vec::with_capacity(512);
    bytes.extend_from_slice(&PREAMBLE);
    bytes.extend_from_slice(MAGIC);
    meta.write(&mut bytes).map_err(Refusal::storage)?;
    Ok(bytes)
}

/// How a file encodes its data set, and where that begins.
#[derive(Debug)]
pub(super) struct Head {
    /// The accepted transfer syntax.
    pub(super) transfer_syntax: TransferSyntax,
    /// Offset of the data set, bytes.
    pub(super) data_set_start: u64,
}

/// Reads a file's head. Files without preamble are read too, and files without meta information, as old
/// archives hold them: their encoding is guessed from the first element.
///
/// # Errors
/// [`Reason::NotDicom`], [`Reason::TransferSyntaxNotSupported`], or a fault of the elements.
pub(super) fn read_head(file: &mut (impl Read + Seek), length: u64) -> Result<Head, Refusal> {
    let after_preamble = (PREAMBLE.len() + MAGIC.len()) as u64;
    let mut start = [0; 132];
    file.seek(SeekFrom::Start(0)).map_err(Refusal::unreadable)?;
    let got = length.min(start.len() as u64) as usize;
    file.read_exact(&mut start[..got]).map_err(Refusal::unreadable)?;

    let meta_start = if got == start.len() && start.ends_with(MAGIC) { after_preamble } else { 0 };
    file.seek(SeekFrom::Start(meta_start)).map_err(Refusal::unreadable)?;
    match start {
        _ if meta_start > 0 => read_meta(file, meta_start, length),
        [0x02, 0x00, ..] => read_meta(file, 0, length),
        // group 0008 comes first in a data set
        [0x08, 0x00, _, 0x00, a, b, ..] => {
            let explicit = a.is_ascii_uppercase() && b.is_ascii_uppercase();
            let transfer_syntax = if explicit {
                TransferSyntax::EXPLICIT_LITTLE_ENDIAN
            } else {
                TransferSyntax::IMPLICIT_LITTLE_ENDIAN
            };
            Ok(Head { transfer_syntax, data_set_start: 0 })
        }
        _ => Err(Reason::NotDicom.into()),
    }
}

/// Reads elements of group 0002 up to the first of another group. The group length is not believed.
fn read_meta(file: &mut (impl Read + Seek), start: u64, end: u64) -> Result<Head, Refusal> {
    const META_GROUP: u16 = 0x0002;
    const TRANSFER_SYNTAX_UID: (u16, u16) = (META_GROUP, 0x0010);
    let mut elements = Elements::new(file, start, end);
    let mut uid = None;
    loop {
        let data_set_start = elements.position();
        let header = match elements.remaining() {
            0 => return Err(Reason::Truncated.into()),
            _ => elements.header_of_group(META_GROUP, Encoding::ExplicitLittleEndian, end)?,
        };
        let Some(header) = header else {
            let uid: String = uid.ok_or(Reason::TransferSyntaxNotSupported)?;
            let transfer_syntax = TransferSyntax::from_uid(trim_uid(&uid))
                .ok_or(Reason::TransferSyntaxNotSupported)?;
            return Ok(Head { transfer_syntax, data_set_start });
        };
        let length = header.defined_length()?;
        if header.tag == TRANSFER_SYNTAX_UID && length <= MAX_UID_FIELD {
            uid = Some(elements.text(length)?);
        } else {
            elements.skip(length, end)?;
        }
    }
}
