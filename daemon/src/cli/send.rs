//! Sends a folder of DICOM files to a storage provider, for the demonstration.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, ensure};
use dicom::core::dicom_value;
use dicom::core::{DataElement, VR};
use dicom::dictionary_std::{tags, uids};
use dicom::object::{InMemDicomObject, open_file};
use dicom_ul::association::client::ClientAssociationOptions;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};

use crate::receive::regular_files;

/// Sends every file below `folder` as explicit VR little endian MR images; each must be answered with
/// Success.
pub fn send_folder(to: SocketAddr, called_ae: &str, folder: &Path) -> anyhow::Result<()> {
    let syntax = dicom::transfer_syntax::entries::EXPLICIT_VR_LITTLE_ENDIAN.erased();
    let command_syntax = dicom::transfer_syntax::entries::IMPLICIT_VR_LITTLE_ENDIAN.erased();
    let mut association = ClientAssociationOptions::new()
        .calling_ae_title("DEMO")
        .called_ae_title(called_ae)
        .with_presentation_context(uids::MR_IMAGE_STORAGE, vec![uids::EXPLICIT_VR_LITTLE_ENDIAN])
        .establish(to)
        .context("the DICOM port refused the association")?;
    let context =
        association.presentation_contexts().first().context("no context was accepted")?.id;
    let files = regular_files(folder)?;
    for (message_id, path) in (1u16..).zip(&files) {
        let object = open_file(path)?;
        let instance = object.meta().media_storage_sop_instance_uid().to_owned();
        let mut data_set = Vec::new();
        object.write_dataset_with_ts(&mut data_set, &syntax)?;
        let command = InMemDicomObject::command_from_element_iter([
            DataElement::new(
                tags::AFFECTED_SOP_CLASS_UID,
                VR::UI,
                dicom_value!(Str, uids::MR_IMAGE_STORAGE),
            ),
            DataElement::new(tags::COMMAND_FIELD, VR::US, dicom_value!(U16, [0x0001])),
            DataElement::new(tags::MESSAGE_ID, VR::US, dicom_value!(U16, [message_id])),
            DataElement::new(tags::PRIORITY, VR::US, dicom_value!(U16, [0])),
            DataElement::new(tags::COMMAND_DATA_SET_TYPE, VR::US, dicom_value!(U16, [0])),
            DataElement::new(tags::AFFECTED_SOP_INSTANCE_UID, VR::UI, dicom_value!(Str, instance)),
        ]);
        let mut command_bytes = Vec::new();
        command.write_dataset_with_ts(&mut command_bytes, &command_syntax)?;
        association.send(&Pdu::PData {
            data: vec![PDataValue {
                presentation_context_id: context,
                value_type: PDataValueType::Command,
                is_last: true,
                data: command_bytes,
            }],
        })?;
        std::io::Write::write_all(&mut association.send_pdata(context), &data_set)?;
        let Pdu::PData { data } = association.receive()? else {
            anyhow::bail!("the daemon answered with something else than a response");
        };
        let response = data.first().context("the response is empty")?;
        let response =
            InMemDicomObject::read_dataset_with_ts(response.data.as_slice(), &command_syntax)?;
        let status = response.element(tags::STATUS)?.to_int::<u16>()?;
        ensure!(status == 0, "an instance was refused with status {status:#06x}");
    }
    association.release()?;
    Ok(())
}
