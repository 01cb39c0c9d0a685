//! Takes DICOM files into the store, by the same way as instances from the network.

use super::dataset::identify;
use super::file_meta::read_head;
use super::refusal::{Reason, Refusal};
use super::sop::is_storage_class;
use super::spool::{Claim, InstanceStore, StoredInstance};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Stores the instance in a file, with or without preamble and file meta information; the file stays as it
/// is. Blocks; memory use doesn't depend on the file's size.
///
/// # Errors
/// The reason why it isn't stored; [`Reason::Unreadable`] with its cause if the file can't be read.
pub fn ingest_file(store: &InstanceStore, path: &Path) -> Result<StoredInstance, Refusal> {
    let file = File::open(path).map_err(Refusal::unreadable)?;
    let metadata = file.metadata().map_err(Refusal::unreadable)?;
    if !metadata.is_file() {
        return Err(Reason::NotDicom.into());
    }
    let length = metadata.len();
    let mut reader = BufReader::new(file);
    let head = read_head(&mut reader, length)?;
    let start = SeekFrom::Start(head.data_set_start);
    reader.seek(start).map_err(Refusal::unreadable)?;
    let encoding = head.transfer_syntax.encoding();
    let identity = identify(&mut reader, head.data_set_start, length, encoding)?;
    if !is_storage_class(&identity.sop_class_uid) {
        return Err(Reason::SopClassNotSupported.into());
    }

    let mut incoming = store.begin(Claim {
        transfer_syntax: head.transfer_syntax,
        sop_class_uid: identity.sop_class_uid,
        sop_instance_uid: identity.sop_instance_uid,
    })?;
    reader.seek(start).map_err(Refusal::unreadable)?;
    let mut chunk = vec![0; 256 << 10];
    loop {
        match reader.read(&mut chunk).map_err(Refusal::unreadable)? {
            0 => return store.commit(incoming),
            n => incoming.write(&chunk[..n])?,
        }
    }
}
