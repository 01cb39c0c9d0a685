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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::testing::{CT, Sample, scratch_store};
    use crate::receive::{Change, file_meta};

    fn ingest(store: &InstanceStore, bytes: &[u8]) -> Result<StoredInstance, Reason> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("IM000001");
        std::fs::write(&path, bytes).unwrap();
        ingest_file(store, &path).map_err(|refusal| refusal.reason)
    }

    /// A file's head with any transfer syntax.
    fn head(uid: &str) -> Vec<u8> {
        let claim = Claim {
            transfer_syntax: crate::receive::sop::TransferSyntax::EXPLICIT_LITTLE_ENDIAN,
            sop_class_uid: "1".to_owned(),
            sop_instance_uid: "2".to_owned(),
        };
        let mut head = file_meta::head(&claim).unwrap();
        let at = head.windows(4).position(|w| w == [0x02, 0x00, 0x10, 0x00]).unwrap();
        let old = usize::from(u16::from_le_bytes([head[at + 6], head[at + 7]]));
        let mut new = uid.as_bytes().to_vec();
        new.resize(uid.len().next_multiple_of(2), 0);
        head[at + 6..at + 8].copy_from_slice(&(new.len() as u16).to_le_bytes());
        head.splice(at + 8..at + 8 + old, new);
        head
    }

    #[test]
    fn files_are_read_with_and_without_preamble_and_meta_information() {
        let (_dir, store) = scratch_store();
        let (explicit, implicit) = (Sample::default().explicit(), Sample::default().implicit());
        let with_head = [head("1.2.840.10008.1.2.1"), explicit.clone()].concat();
        let first = ingest(&store, &with_head).unwrap();
        assert_eq!(first.change, Change::New);
        for same in [&with_head[132..], &explicit] {
            assert_eq!(ingest(&store, same).unwrap().change, Change::Unchanged);
        }
        assert_eq!(ingest(&store, &implicit).unwrap().change, Change::Replaced);
        let with_head = [head("1.2.840.10008.1.2"), implicit].concat();
        assert_eq!(ingest(&store, &with_head).unwrap().change, Change::Unchanged);
    }

    #[test]
    fn what_is_no_mr_instance_is_refused_with_its_reason() {
        let (dir, store) = scratch_store();
        let sample = Sample::default();
        let ct = Sample { sop_class_uid: CT.to_owned(), ..sample.clone() };
        let large = Sample { pixels: vec![0; 2 << 20], ..sample.clone() };
        let big_endian = [head("1.2.840.10008.1.2.2"), sample.explicit()].concat();
        let set = sample.explicit();
        let cases = [
            (Vec::new(), Reason::NotDicom),
            (vec![0; 4096], Reason::NotDicom),
            (b"a report about a patient".repeat(10), Reason::NotDicom),
            (head("1.2.840.10008.1.2.1"), Reason::Truncated),
            (head("1.2.840.10008.1.2.1")[..150].to_vec(), Reason::Truncated),
            (set[..set.len() - 1].to_vec(), Reason::Truncated),
            (big_endian, Reason::TransferSyntaxNotSupported),
            (ct.explicit(), Reason::SopClassNotSupported),
            (large.implicit(), Reason::TooLarge),
        ];
        for (n, (bytes, want)) in cases.into_iter().enumerate() {
            assert_eq!(ingest(&store, &bytes), Err(want), "case {n}");
        }
        let nowhere = ingest_file(&store, &dir.path().join("nothing")).unwrap_err();
        assert_eq!(nowhere.reason, Reason::Unreadable);
        assert!(store.list().unwrap().is_empty());
    }
}
