//! An association as requestor: verification and storage.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

use dicom::core::{DataElement, PrimitiveValue, Tag, VR};
use dicom::dictionary_std::{tags, uids};
use dicom::object::{InMemDicomObject, open_file};
use dicom::transfer_syntax::{TransferSyntax, entries};
use dicom_ul::association::client::{ClientAssociation, ClientAssociationOptions};
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};

use super::Destination;

/// Command Field values (PS3.7 E.1).
const C_STORE: u16 = 0x0001;
const C_ECHO: u16 = 0x0030;
/// Command Data Set Type: none follows (PS3.7 E.1); any other value says that one does.
const NO_DATA_SET: u16 = 0x0101;
const DATA_SET: u16 = 0x0000;
/// Longest answer that is read, bytes.
const MAX_RESPONSE: usize = 64 << 10;

/// Why something wasn't sent.
#[derive(Debug, thiserror::Error)]
pub enum ScuError {
    /// Nobody answers, the association is refused or it broke.
    #[error("the destination can't be reached or ended the association: {0}")]
    Association(String),
    /// The destination doesn't take objects of this kind.
    #[error("the destination takes no objects of SOP class {0}")]
    NotAccepted(String),
    /// It answered with a failure.
    #[error("the destination answered with status {0:#06x}")]
    Status(u16),
    /// A file can't be read.
    #[error("an object can't be read from the result's folder: {0}")]
    File(String),
}

impl ScuError {
    /// Whether the next object may fare better on the same destination.
    pub fn is_of_the_object(&self) -> bool {
        !matches!(self, ScuError::Association(_))
    }
}

fn broken(error: impl std::fmt::Display) -> ScuError {
    ScuError::Association(error.to_string())
}

/// An open association.
pub struct Association {
    inner: ClientAssociation<TcpStream>,
    messages: u16,
}

impl Association {
    /// Asks for an association that takes verification and the given SOP classes.
    ///
    /// # Errors
    /// The destination can't be reached or refuses.
    pub fn establish(to: &Destination, sop_classes: &[String]) -> Result<Association, ScuError> {
        let timeout = to.timeout();
        let syntaxes = vec![uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN];
        let mut options = ClientAssociationOptions::new()
            .calling_ae_title(to.calling_ae.as_str().to_owned())
            .called_ae_title(to.called_ae.as_str().to_owned())
            .connection_timeout(timeout)
            .read_timeout(timeout)
            .write_timeout(timeout)
            .with_presentation_context(uids::VERIFICATION, syntaxes.clone());
        for class in sop_classes {
            options = options.with_presentation_context(class.as_str(), syntaxes.clone());
        }
        let inner = options.establish((to.host.as_str(), to.port)).map_err(broken)?;
        Ok(Association { inner, messages: 0 })
    }

    /// C-ECHO.
    ///
    /// # Errors
    /// No answer, or another than Success.
    pub fn echo(&mut self) -> Result<(), ScuError> {
        let (context, _) = self.context_for(uids::VERIFICATION)?;
        let command = self.command(uids::VERIFICATION, C_ECHO, NO_DATA_SET, None);
        self.send_command(context, command)?;
        self.response()
    }

    /// C-STORE of a file.
    ///
    /// # Errors
    /// See [`ScuError`].
    pub fn store(&mut self, path: &Path) -> Result<(), ScuError> {
        let object = open_file(path).map_err(|e| ScuError::File(e.to_string()))?;
        let meta = object.meta();
        let class = meta.media_storage_sop_class_uid.trim_end_matches('\0').to_owned();
        let instance = meta.media_storage_sop_instance_uid.trim_end_matches('\0').to_owned();
        let (context, syntax) = self.context_for(&class)?;
        let mut data_set = Vec::new();
        object
            .write_dataset_with_ts(&mut data_set, &syntax)
            .map_err(|e| ScuError::File(e.to_string()))?;
        let command = self.command(&class, C_STORE, DATA_SET, Some(&instance));
        self.send_command(context, command)?;
        self.inner.send_pdata(context).write_all(&data_set).map_err(broken)?;
        self.response()
    }

    /// Ends the association in order.
    ///
    /// # Errors
    /// It had ended before.
    pub fn release(self) -> Result<(), ScuError> {
        self.inner.release().map_err(broken)
    }

    /// The context that was accepted for a SOP class, and its transfer syntax.
    fn context_for(&self, class: &str) -> Result<(u8, TransferSyntax), ScuError> {
        let accepted = self.inner.presentation_contexts().iter();
        let found =
            accepted.filter(|context| context.abstract_syntax.trim_end_matches('\0') == class);
        let found =
            found.map(|context| (context.id, context.transfer_syntax.trim_end_matches('\0')));
        let known = found.filter_map(|(id, syntax)| match syntax {
            uids::EXPLICIT_VR_LITTLE_ENDIAN => {
                Some((id, entries::EXPLICIT_VR_LITTLE_ENDIAN.erased()))
            }
            uids::IMPLICIT_VR_LITTLE_ENDIAN => {
                Some((id, entries::IMPLICIT_VR_LITTLE_ENDIAN.erased()))
            }
            _ => None,
        });
        known.into_iter().next().ok_or_else(|| ScuError::NotAccepted(class.to_owned()))
    }

    fn command(
        &mut self,
        class: &str,
        field: u16,
        data_set: u16,
        instance: Option<&str>,
    ) -> InMemDicomObject {
        self.messages = self.messages.wrapping_add(1);
        let short = |tag: Tag, value: u16| {
            DataElement::new(tag, VR::US, PrimitiveValue::U16([value].as_slice().into()))
        };
        let mut elements = vec![
            DataElement::new(tags::AFFECTED_SOP_CLASS_UID, VR::UI, PrimitiveValue::from(class)),
            short(tags::COMMAND_FIELD, field),
            short(tags::MESSAGE_ID, self.messages),
            short(tags::COMMAND_DATA_SET_TYPE, data_set),
        ];
        if let Some(instance) = instance {
            const MEDIUM: u16 = 0;
            elements.push(short(tags::PRIORITY, MEDIUM));
            let uid = PrimitiveValue::from(instance);
            elements.push(DataElement::new(tags::AFFECTED_SOP_INSTANCE_UID, VR::UI, uid));
        }
        InMemDicomObject::command_from_element_iter(elements)
    }

    fn send_command(&mut self, context: u8, command: InMemDicomObject) -> Result<(), ScuError> {
        let mut data = Vec::new();
        command
            .write_dataset_with_ts(&mut data, &entries::IMPLICIT_VR_LITTLE_ENDIAN.erased())
            .map_err(broken)?;
        let value_type = PDataValueType::Command;
        let part = PDataValue { presentation_context_id: context, value_type, is_last: true, data };
        self.inner.send(&Pdu::PData { data: vec![part] }).map_err(broken)
    }

    /// Reads an answer; warnings (coercion, PS3.4 B.2.3) are successes.
    fn response(&mut self) -> Result<(), ScuError> {
        let mut bytes = Vec::new();
        loop {
            let Pdu::PData { data } = self.inner.receive().map_err(broken)? else {
                return Err(ScuError::Association("no response came".to_owned()));
            };
            let last = data.iter().any(|part| part.is_last);
            data.into_iter().for_each(|part| bytes.extend(part.data));
            if bytes.len() > MAX_RESPONSE {
                return Err(ScuError::Association("a response without end".to_owned()));
            }
            if last {
                break;
            }
        }
        let syntax = entries::IMPLICIT_VR_LITTLE_ENDIAN.erased();
        let response =
            InMemDicomObject::read_dataset_with_ts(bytes.as_slice(), &syntax).map_err(broken)?;
        let status = response.element(tags::STATUS).map_err(broken)?;
        match status.to_int::<u16>().map_err(broken)? {
            0x0000 | 0xB000 | 0xB006 | 0xB007 => Ok(()),
            status => Err(ScuError::Status(status)),
        }
    }
}
