//! One round of sending, to a provider that misbehaves as no program from a package does.

use std::net::TcpListener;

use dicom::core::{DataElement, PrimitiveValue, VR};
use dicom::dictionary_std::{tags, uids};
use dicom::object::{FileMetaTableBuilder, InMemDicomObject};
use dicom::transfer_syntax::entries;
use dicom_ul::association::server::ServerAssociationOptions;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};

use super::*;
use crate::report::{FINDING_FILE, Object};

/// A storage provider that takes everything but one SOP class: over such an object it breaks off.
struct Provider {
    port: u16,
    /// SOP classes of what it took.
    taken: Arc<Mutex<Vec<String>>>,
}

impl Provider {
    fn breaking_off_over(sop_class: &'static str) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let options = ServerAssociationOptions::new().accept_any().promiscuous(true);
                let Ok(mut association) = options.establish(stream) else { continue };
                let contexts = association.presentation_contexts().to_vec();
                while let Ok(Pdu::PData { data }) = association.receive() {
                    let part = data.last().unwrap();
                    if part.value_type != PDataValueType::Data || !part.is_last {
                        continue;
                    }
                    let id = part.presentation_context_id;
                    let context = contexts.iter().find(|context| context.id == id).unwrap();
                    let class = context.abstract_syntax.trim_end_matches('\0').to_owned();
                    if class == sop_class {
                        break;
                    }
                    list.lock().unwrap().push(class);
                    association.send(&success(id)).unwrap();
                }
            }
        });
        Provider { port, taken }
    }
}

/// A C-STORE response.
fn success(presentation_context_id: u8) -> Pdu {
    let number = |tag, value: u16| {
        DataElement::new(tag, VR::US, PrimitiveValue::U16([value].as_slice().into()))
    };
    let command = InMemDicomObject::command_from_element_iter([
        number(tags::COMMAND_FIELD, 0x8001),
        number(tags::MESSAGE_ID_BEING_RESPONDED_TO, 1),
        number(tags::COMMAND_DATA_SET_TYPE, 0x0101),
        number(tags::STATUS, 0),
    ]);
    let mut data = Vec::new();
    let syntax = entries::IMPLICIT_VR_LITTLE_ENDIAN.erased();
    command.write_dataset_with_ts(&mut data, &syntax).unwrap();
    let value_type = PDataValueType::Command;
    Pdu::PData {
        data: vec![PDataValue { presentation_context_id, value_type, is_last: true, data }],
    }
}

/// The queues of one destination in `folder`, and in them a result of every kind of object.
fn pacs(folder: &Path, provider: &Provider, rest: &str) -> Pacs {
    let text = format!(
        "name = \"archive\"\n{rest}\n[dicom]\nhost = \"127.0.0.1\"\nport = {}\ncalled_ae = \"ARCHIVE\"\n",
        provider.port
    );
    let results = ResultStore::open(folder).unwrap();
    let study = StudyRef::derive(b"key", "1.2.3");
    if results.latest(&study).unwrap().is_none() {
        let staged = results.stage(&study, 1).unwrap();
        for (object, class) in Object::ALL.into_iter().zip(CLASSES) {
            let meta = FileMetaTableBuilder::new()
                .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
                .media_storage_sop_class_uid(class)
                .media_storage_sop_instance_uid(format!("{class}.1"));
            let file = InMemDicomObject::new_empty().with_meta(meta).unwrap();
            file.write_to_file(staged.path().join(object.file())).unwrap();
        }
        std::fs::write(staged.path().join(FINDING_FILE), b"{}").unwrap();
        staged.commit().unwrap();
    }
    let destinations = vec![toml::from_str(&text).unwrap()];
    let (counts, auditor) = (Counts::default(), Auditor::default());
    let pacs = Pacs::open(folder, &destinations, &results, &counts, &auditor).unwrap();
    pacs.enqueue(&study, 1).unwrap();
    pacs
}

/// In the order of [`Object::ALL`].
const CLASSES: [&str; 4] = [
    uids::SEGMENTATION_STORAGE,
    uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::ENCAPSULATED_PDF_STORAGE,
    uids::COMPREHENSIVE3_DSR_STORAGE,
];

#[test]
fn an_object_over_which_a_provider_breaks_off_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::breaking_off_over(CLASSES[1]);
    let pacs = pacs(folder.path(), &provider, "");
    let (outlet, stop) = (&pacs.outlets[0], CancellationToken::new());
    assert_eq!(outlet.round(&stop), Round::Away);
    assert_eq!(*provider.taken.lock().unwrap(), [CLASSES[0]]);
    for _ in 0..2 {
        // It took the others, so it isn't away; the one that it doesn't bear is tried each time.
        assert_eq!(outlet.round(&stop), Round::Left);
        assert_eq!(*provider.taken.lock().unwrap(), [CLASSES[0], CLASSES[2], CLASSES[3]]);
        assert_eq!(outlet.queue.count().unwrap(), 1);
    }
}

#[test]
fn what_the_configuration_no_longer_sends_is_withdrawn() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::breaking_off_over(CLASSES[2]);
    let stop = CancellationToken::new();
    let before = pacs(folder.path(), &provider, "");
    assert_eq!(before.outlets[0].round(&stop), Round::Away);
    assert_eq!(before.outlets[0].round(&stop), Round::Left);
    assert_eq!(before.studies().unwrap().len(), 1);
    drop(before);
    let after = pacs(folder.path(), &provider, "objects = [\"segmentation\", \"report\"]");
    assert_eq!(after.outlets[0].round(&stop), Round::Done);
    assert_eq!(after.studies().unwrap(), HashSet::new());
}
