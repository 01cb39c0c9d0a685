//! An association as requestor: verification, storage and the request for storage commitment.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use dicom::core::value::DataSetSequence;
use dicom::core::{DataElement, PrimitiveValue, Tag, VR};
use dicom::dictionary_std::{tags, uids};
use dicom::object::{InMemDicomObject, open_file};
use dicom::transfer_syntax::{TransferSyntax, entries};
use dicom_ul::association;
use dicom_ul::association::client::{ClientAssociation, ClientAssociationOptions, TlsStream};
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu, PresentationContextNegotiated};

use super::config::Dicom;
use super::{Destination, SendError};
use crate::receive::response_status;

/// Command Field values (PS3.7 E.1).
const C_STORE: u16 = 0x0001;
const C_ECHO: u16 = 0x0030;
const N_ACTION: u16 = 0x0130;
/// Action Type ID of the request for storage commitment (PS3.4 J.3.2).
const REQUEST_STORAGE_COMMITMENT: u16 = 1;
/// Command Data Set Type: none follows (PS3.7 E.1); any other value says that one does.
const NO_DATA_SET: u16 = 0x0101;
const DATA_SET: u16 = 0x0000;
/// Longest answer that is read, bytes.
const MAX_RESPONSE: usize = 64 << 10;

/// With all causes: what is wrong with a certificate is the deepest.
fn broken(error: impl std::error::Error + Send + Sync + 'static) -> SendError {
    SendError::Connection(format!("{:#}", anyhow::Error::new(error)))
}

fn not_established(error: association::Error) -> SendError {
    match error {
        association::Error::NoAcceptedPresentationContexts { .. } => SendError::NothingAccepted,
        error => broken(error),
    }
}

/// An open association.
pub struct Association {
    stream: Stream,
    messages: u16,
}

enum Stream {
    Plain(ClientAssociation<TcpStream>),
    Tls(Box<ClientAssociation<TlsStream>>),
}

/// Calls a method of whichever association it is.
macro_rules! on {
    ($stream:expr, $association:ident => $call:expr) => {
        match $stream {
            Stream::Plain($association) => $call,
            Stream::Tls($association) => $call,
        }
    };
}

impl Association {
    /// Asks for an association that takes verification and the given SOP classes; with the destination's timeout for
    /// connecting, for each answer and each write.
    ///
    /// # Errors
    /// The destination can't be reached or refuses, or a certificate of ours can't be read.
    pub(super) fn establish(
        to: &Destination,
        dicom: &Dicom,
        sop_classes: &[String],
    ) -> Result<Association, SendError> {
        let timeout = to.timeout();
        let syntaxes = vec![uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN];
        let mut options = ClientAssociationOptions::new()
            .calling_ae_title(dicom.calling_ae.as_str().to_owned())
            .called_ae_title(dicom.called_ae.as_str().to_owned())
            .connection_timeout(timeout)
            .read_timeout(timeout)
            .write_timeout(timeout)
            .with_presentation_context(uids::VERIFICATION, syntaxes.clone());
        if dicom.storage_commitment {
            let class = uids::STORAGE_COMMITMENT_PUSH_MODEL;
            options = options.with_presentation_context(class, syntaxes.clone());
        }
        for class in sop_classes {
            options = options.with_presentation_context(class.as_str(), syntaxes.clone());
        }
        let address = (dicom.host.as_str(), dicom.port);
        let stream = match &dicom.tls {
            None => Stream::Plain(options.establish(address).map_err(not_established)?),
            Some(tls) => {
                let options =
                    options.tls_config(Arc::new(tls.client_config()?)).server_name(&dicom.host);
                Stream::Tls(Box::new(options.establish_tls(address).map_err(not_established)?))
            }
        };
        Ok(Association { stream, messages: 0 })
    }

    /// C-ECHO.
    ///
    /// # Errors
    /// No answer, or another than Success.
    pub fn echo(&mut self) -> Result<(), SendError> {
        let (context, _) = self.context_for(uids::VERIFICATION)?;
        let command = self.command(C_ECHO, [(tags::AFFECTED_SOP_CLASS_UID, uids::VERIFICATION)]);
        self.request(context, command, None)
    }

    /// C-STORE of a file.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn store(&mut self, path: &Path) -> Result<(), SendError> {
        const MEDIUM: u16 = 0;
        let object = open_file(path).map_err(|e| SendError::File(e.to_string()))?;
        let meta = object.meta();
        let class = meta.media_storage_sop_class_uid.trim_end_matches('\0');
        let instance = meta.media_storage_sop_instance_uid.trim_end_matches('\0');
        let (context, syntax) = self.context_for(class)?;
        let mut data_set = Vec::new();
        object
            .write_dataset_with_ts(&mut data_set, &syntax)
            .map_err(|e| SendError::File(e.to_string()))?;
        let about =
            [(tags::AFFECTED_SOP_CLASS_UID, class), (tags::AFFECTED_SOP_INSTANCE_UID, instance)];
        let mut command = self.command(C_STORE, about);
        command.put(number(tags::PRIORITY, MEDIUM));
        self.request(context, command, Some(&data_set))
    }

    /// Asks for storage commitment (N-ACTION) for instances, each by SOP class and instance UID. The answer comes by
    /// itself, on an association that the provider opens.
    ///
    /// # Errors
    /// The request wasn't taken.
    pub fn request_commitment(
        &mut self,
        transaction_uid: &str,
        instances: &[(String, String)],
    ) -> Result<(), SendError> {
        const CLASS: &str = uids::STORAGE_COMMITMENT_PUSH_MODEL;
        const INSTANCE: &str = uids::STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE;
        let (context, syntax) = self.context_for(CLASS)?;
        let items = instances.iter().map(|(class, instance)| {
            InMemDicomObject::from_element_iter([
                uid(tags::REFERENCED_SOP_CLASS_UID, class),
                uid(tags::REFERENCED_SOP_INSTANCE_UID, instance),
            ])
        });
        let items = DataSetSequence::from(items.collect::<Vec<_>>());
        let action = InMemDicomObject::from_element_iter([
            uid(tags::TRANSACTION_UID, transaction_uid),
            DataElement::new(tags::REFERENCED_SOP_SEQUENCE, VR::SQ, items),
        ]);
        let mut data_set = Vec::new();
        action.write_dataset_with_ts(&mut data_set, &syntax).map_err(broken)?;
        let about =
            [(tags::REQUESTED_SOP_CLASS_UID, CLASS), (tags::REQUESTED_SOP_INSTANCE_UID, INSTANCE)];
        let mut command = self.command(N_ACTION, about);
        command.put(number(tags::ACTION_TYPE_ID, REQUEST_STORAGE_COMMITMENT));
        self.request(context, command, Some(&data_set))
    }

    /// Ends the association in order.
    ///
    /// # Errors
    /// It had ended before.
    pub fn release(self) -> Result<(), SendError> {
        on!(self.stream, association => association.release()).map_err(broken)
    }

    /// The context that was accepted for a SOP class, and its transfer syntax.
    fn context_for(&self, class: &str) -> Result<(u8, TransferSyntax), SendError> {
        let trimmed = |uid: &str| uid.trim_end_matches('\0').to_owned();
        let known =
            |context: &PresentationContextNegotiated| match &*trimmed(&context.transfer_syntax) {
                uids::EXPLICIT_VR_LITTLE_ENDIAN => {
                    Some(entries::EXPLICIT_VR_LITTLE_ENDIAN.erased())
                }
                uids::IMPLICIT_VR_LITTLE_ENDIAN => {
                    Some(entries::IMPLICIT_VR_LITTLE_ENDIAN.erased())
                }
                _ => None,
            };
        on!(&self.stream, association => association.presentation_contexts())
            .iter()
            .filter(|context| trimmed(&context.abstract_syntax) == class)
            .find_map(|context| Some((context.id, known(context)?)))
            .ok_or_else(|| SendError::NotAccepted(class.to_owned()))
    }

    /// A command set; whether a data set follows is said when it is sent.
    fn command<const N: usize>(&mut self, field: u16, about: [(Tag, &str); N]) -> InMemDicomObject {
        self.messages = self.messages.wrapping_add(1);
        let numbers = [number(tags::COMMAND_FIELD, field), number(tags::MESSAGE_ID, self.messages)];
        let about = about.into_iter().map(|(tag, value)| uid(tag, value));
        InMemDicomObject::from_element_iter(numbers.into_iter().chain(about))
    }

    /// Sends a request and reads its response.
    fn request(
        &mut self,
        context: u8,
        mut command: InMemDicomObject,
        data_set: Option<&[u8]>,
    ) -> Result<(), SendError> {
        let follows = if data_set.is_some() { DATA_SET } else { NO_DATA_SET };
        command.put(number(tags::COMMAND_DATA_SET_TYPE, follows));
        // Group length first.
        let command = InMemDicomObject::command_from_element_iter(command);
        let mut data = Vec::new();
        command
            .write_dataset_with_ts(&mut data, &entries::IMPLICIT_VR_LITTLE_ENDIAN.erased())
            .map_err(broken)?;
        let value_type = PDataValueType::Command;
        let part = PDataValue { presentation_context_id: context, value_type, is_last: true, data };
        let pdu = Pdu::PData { data: vec![part] };
        on!(&mut self.stream, association => association.send(&pdu)).map_err(broken)?;
        if let Some(bytes) = data_set {
            on!(&mut self.stream, association => association.send_pdata(context).write_all(bytes))
                .map_err(broken)?;
        }
        self.response()
    }

    /// Reads an answer; warnings (coercion, PS3.4 B.2.3) are successes.
    fn response(&mut self) -> Result<(), SendError> {
        let mut bytes = Vec::new();
        loop {
            let pdu = on!(&mut self.stream, association => association.receive());
            let Pdu::PData { data } = pdu.map_err(broken)? else {
                return Err(SendError::Connection("no response came".to_owned()));
            };
            let last = data.iter().any(|part| part.is_last);
            data.into_iter().for_each(|part| bytes.extend(part.data));
            if bytes.len() > MAX_RESPONSE {
                return Err(SendError::Connection("a response without end".to_owned()));
            }
            if last {
                break;
            }
        }
        match response_status(&bytes).map_err(broken)? {
            0x0000 | 0xB000 | 0xB006 | 0xB007 => Ok(()),
            status => Err(SendError::Status(status)),
        }
    }
}

fn number(tag: Tag, value: u16) -> DataElement<InMemDicomObject> {
    DataElement::new(tag, VR::US, PrimitiveValue::U16([value].as_slice().into()))
}

fn uid(tag: Tag, value: &str) -> DataElement<InMemDicomObject> {
    DataElement::new(tag, VR::UI, PrimitiveValue::from(value))
}
