//! What comes over an association, without the socket that brings it.

use super::Config;
use super::command::Status;
use super::commitment::CommitmentReport;
use super::dataset::identify;
use super::message::{Assembler, Event};
use super::negotiation::negotiate;
use super::sop::TransferSyntax;
use dicom_ul::pdu::{Pdu, read_pdu, write_pdu};
use std::io::Cursor;

/// PDUs behind one another, framed as they are read from a connection.
pub fn association(mut bytes: &[u8]) {
    const HEADER_BYTES: usize = 6;
    let config = Config { accept_any_called_ae: true, ..Config::default() };
    let mut assembler = Assembler::default();
    while let Some(header) = bytes.first_chunk::<HEADER_BYTES>() {
        let length = u32::from_be_bytes([header[2], header[3], header[4], header[5]]);
        if length > config.max_pdu_bytes {
            return;
        }
        let Some((pdu, rest)) = bytes.split_at_checked(HEADER_BYTES + length as usize) else {
            return;
        };
        bytes = rest;
        match read_pdu(pdu, config.max_pdu_bytes, true) {
            Ok(Some(Pdu::AssociationRQ(request))) => {
                let answer = match negotiate(&request, &config, true) {
                    Ok(agreement) => agreement.answer.into(),
                    Err(rejection) => rejection.answer().into(),
                };
                // It may not be encodable, as titles are echoed; but it must not panic.
                let _ = write_pdu(&mut Vec::new(), &answer);
            }
            Ok(Some(Pdu::PData { data })) => {
                for value in data {
                    match assembler.push(value) {
                        Ok(Some(Event::Command { command, .. })) => {
                            command.response(Status::SUCCESS, Some("comment"));
                        }
                        Ok(_) => {}
                        Err(_) => return,
                    }
                }
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

/// A data set: the first byte chooses its encoding. As an instance, and as a report on storage commitment.
pub fn data_set(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let syntax = TransferSyntax::PREFERRED[usize::from(choice % 2)];
    let _ = identify(&mut Cursor::new(bytes), 0, bytes.len() as u64, syntax.encoding());
    let _ = CommitmentReport::parse(bytes, syntax);
}
