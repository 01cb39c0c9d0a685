//! Reports on storage commitment: what a provider tells with N-EVENT-REPORT (PS3.4 J.3.3).

use dicom::core::Tag;
use dicom::dictionary_std::tags;
use dicom::object::InMemDicomObject;
use dicom::transfer_syntax::entries;

use super::dataset;
use super::sop::{Encoding, TransferSyntax, trim_uid};

/// A report longer than this is about more instances than a daemon ever asks about, bytes.
pub(super) const MAX_REPORT_BYTES: usize = 1 << 20;

/// What a provider commits itself to keep, and what it doesn't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitmentReport {
    /// Of the request.
    pub transaction_uid: String,
    /// SOP Instance UIDs of what is kept.
    pub committed: Vec<String>,
    /// SOP Instance UIDs of what isn't, each with its Failure Reason (PS3.3, C.14.1.1).
    pub failed: Vec<(String, u16)>,
}

/// The data set is no report.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the report on storage commitment can't be read")]
pub(super) struct InvalidReport;

impl CommitmentReport {
    pub(super) fn parse(bytes: &[u8], syntax: TransferSyntax) -> Result<Self, InvalidReport> {
        dataset::check(bytes, syntax.encoding()).map_err(|_| InvalidReport)?;
        let syntax = match syntax.encoding() {
            Encoding::ImplicitLittleEndian => entries::IMPLICIT_VR_LITTLE_ENDIAN.erased(),
            Encoding::ExplicitLittleEndian => entries::EXPLICIT_VR_LITTLE_ENDIAN.erased(),
        };
        let set =
            InMemDicomObject::read_dataset_with_ts(bytes, &syntax).map_err(|_| InvalidReport)?;
        let committed = items(&set, tags::REFERENCED_SOP_SEQUENCE).iter().map(instance);
        let failed = items(&set, tags::FAILED_SOP_SEQUENCE).iter().map(|item| {
            let reason = item.element(tags::FAILURE_REASON).ok().and_then(|e| e.to_int().ok());
            Ok((instance(item)?, reason.unwrap_or_default()))
        });
        Ok(CommitmentReport {
            transaction_uid: text(&set, tags::TRANSACTION_UID)?,
            committed: committed.collect::<Result<_, _>>()?,
            failed: failed.collect::<Result<_, _>>()?,
        })
    }
}

fn items(set: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    set.element(tag).ok().and_then(|element| element.items()).unwrap_or_default()
}

fn instance(item: &InMemDicomObject) -> Result<String, InvalidReport> {
    text(item, tags::REFERENCED_SOP_INSTANCE_UID)
}

fn text(set: &InMemDicomObject, tag: Tag) -> Result<String, InvalidReport> {
    let element = set.element(tag).map_err(|_| InvalidReport)?;
    let text = element.to_str().map_err(|_| InvalidReport)?;
    Ok(trim_uid(&text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom::core::value::DataSetSequence;
    use dicom::core::{DataElement, PrimitiveValue, VR};

    fn uid(tag: Tag, value: &str) -> DataElement<InMemDicomObject> {
        DataElement::new(tag, VR::UI, PrimitiveValue::from(value))
    }

    fn report() -> Vec<u8> {
        let reference = |instance| [uid(tags::REFERENCED_SOP_INSTANCE_UID, instance)];
        let reason =
            DataElement::new(tags::FAILURE_REASON, VR::US, PrimitiveValue::from(0x0112u16));
        let kept = InMemDicomObject::from_element_iter(reference("1.2.3"));
        let mut lost = InMemDicomObject::from_element_iter(reference("1.2.4"));
        lost.put(reason);
        let sequence = |tag, item| DataElement::new(tag, VR::SQ, DataSetSequence::from(vec![item]));
        let set = InMemDicomObject::from_element_iter([
            uid(tags::TRANSACTION_UID, "2.25.7"),
            sequence(tags::FAILED_SOP_SEQUENCE, lost),
            sequence(tags::REFERENCED_SOP_SEQUENCE, kept),
        ]);
        let mut bytes = Vec::new();
        set.write_dataset_with_ts(&mut bytes, &entries::EXPLICIT_VR_LITTLE_ENDIAN.erased())
            .unwrap();
        bytes
    }

    #[test]
    fn a_report_names_what_is_kept_and_what_is_not() {
        let read = CommitmentReport::parse(&report(), TransferSyntax::EXPLICIT_LITTLE_ENDIAN);
        let read = read.unwrap();
        assert_eq!(read.transaction_uid, "2.25.7");
        assert_eq!(read.committed, ["1.2.3"]);
        assert_eq!(read.failed, [("1.2.4".to_owned(), 0x0112)]);
    }

    #[test]
    fn a_report_cut_anywhere_is_none() {
        let whole = report();
        for cut in 0..whole.len() {
            let read =
                CommitmentReport::parse(&whole[..cut], TransferSyntax::EXPLICIT_LITTLE_ENDIAN);
            // Cut between two elements it may still be one, but of the same transaction.
            assert!(read.is_err() || read.is_ok_and(|r| r.transaction_uid == "2.25.7"), "{cut}");
        }
    }
}
