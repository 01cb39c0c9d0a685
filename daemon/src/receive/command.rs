//! DIMSE command sets (PS3.7, clause 9.3 and annex E): the few fields that a provider of
//! C-ECHO and C-STORE and a receiver of N-EVENT-REPORT reads and writes, always in Implicit VR Little Endian.

use super::sop::trim_uid;

/// A command set longer than this is no C-STORE request.
pub(super) const MAX_COMMAND_BYTES: usize = 16 << 10;

/// `CommandDataSetType` of a message without data set.
const NO_DATA_SET: u16 = 0x0101;
const RESPONSE_BIT: u16 = 0x8000;

mod element {
    pub(super) const GROUP_LENGTH: u16 = 0x0000;
    pub(super) const AFFECTED_SOP_CLASS_UID: u16 = 0x0002;
    pub(super) const COMMAND_FIELD: u16 = 0x0100;
    pub(super) const MESSAGE_ID: u16 = 0x0110;
    pub(super) const MESSAGE_ID_BEING_RESPONDED_TO: u16 = 0x0120;
    pub(super) const COMMAND_DATA_SET_TYPE: u16 = 0x0800;
    pub(super) const STATUS: u16 = 0x0900;
    pub(super) const ERROR_COMMENT: u16 = 0x0902;
    pub(super) const AFFECTED_SOP_INSTANCE_UID: u16 = 0x1000;
}

/// A response's status (PS3.7, annex C; PS3.4, table B.2-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(pub(super) u16);

impl Status {
    pub(super) const SUCCESS: Status = Status(0x0000);
    pub(super) const SOP_CLASS_NOT_SUPPORTED: Status = Status(0x0122);
    pub(super) const UNRECOGNIZED_OPERATION: Status = Status(0x0211);
    pub(super) const PROCESSING_FAILURE: Status = Status(0x0110);
    pub(super) const INVALID_ARGUMENT_VALUE: Status = Status(0x0115);
    pub(super) const OUT_OF_RESOURCES: Status = Status(0xa700);
    pub(super) const DATA_SET_DOES_NOT_MATCH_SOP_CLASS: Status = Status(0xa900);
    pub(super) const CANNOT_UNDERSTAND: Status = Status(0xc000);
}

/// What a command asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Store,
    Echo,
    EventReport,
    /// Of a request that is already answered; needs no response.
    Cancel,
    /// A response, to a request that the daemon never made.
    Response,
    /// Any other request.
    Other,
}

/// A command set as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    field: u16,
    pub(super) message_id: u16,
    pub(super) sop_class_uid: Option<String>,
    pub(super) sop_instance_uid: Option<String>,
    pub(super) has_data_set: bool,
    /// Of a response.
    status: Option<u16>,
}

/// A command set without structure, or without a command field: there is nothing to answer to.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the command set can't be read")]
pub(crate) struct InvalidCommandSet;

/// The status in the command set of a response.
///
/// # Errors
/// It isn't one, or has none.
pub(crate) fn response_status(bytes: &[u8]) -> Result<u16, InvalidCommandSet> {
    Command::parse(bytes)?.status.ok_or(InvalidCommandSet)
}

impl Command {
    /// Reads a command set; elements of no interest are skipped.
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Command, InvalidCommandSet> {
        let (mut field, mut message_id, mut data_set_type) = (None, None, NO_DATA_SET);
        let (mut sop_class_uid, mut sop_instance_uid, mut status) = (None, None, None);
        while !bytes.is_empty() {
            let (header, rest) = bytes.split_first_chunk::<8>().ok_or(InvalidCommandSet)?;
            let [g0, g1, e0, e1, l0, l1, l2, l3] = *header;
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            let (value, rest) = rest.split_at_checked(length).ok_or(InvalidCommandSet)?;
            bytes = rest;
            if u16::from_le_bytes([g0, g1]) != 0 {
                return Err(InvalidCommandSet);
            }
            match u16::from_le_bytes([e0, e1]) {
                element::COMMAND_FIELD => field = Some(number(value)?),
                element::MESSAGE_ID => message_id = Some(number(value)?),
                element::COMMAND_DATA_SET_TYPE => data_set_type = number(value)?,
                element::STATUS => status = Some(number(value)?),
                element::AFFECTED_SOP_CLASS_UID => sop_class_uid = Some(text(value)),
                element::AFFECTED_SOP_INSTANCE_UID => sop_instance_uid = Some(text(value)),
                _ => {}
            }
        }
        Ok(Command {
            field: field.ok_or(InvalidCommandSet)?,
            message_id: message_id.unwrap_or_default(),
            sop_class_uid,
            sop_instance_uid,
            has_data_set: data_set_type != NO_DATA_SET,
            status,
        })
    }

    pub(super) fn operation(&self) -> Operation {
        match self.field {
            0x0001 => Operation::Store,
            0x0030 => Operation::Echo,
            0x0100 => Operation::EventReport,
            0x0fff => Operation::Cancel,
            field if field & RESPONSE_BIT != 0 => Operation::Response,
            _ => Operation::Other,
        }
    }

    /// The encoded response. `comment` becomes the Error Comment, which peers log: at most 64 characters.
    pub(super) fn response(&self, status: Status, comment: Option<&str>) -> Vec<u8> {
        let mut body = Vec::with_capacity(256);
        let number = |n: u16| n.to_le_bytes();
        if let Some(uid) = &self.sop_class_uid {
            put(&mut body, element::AFFECTED_SOP_CLASS_UID, &padded(uid, 0));
        }
        put(&mut body, element::COMMAND_FIELD, &number(self.field | RESPONSE_BIT));
        put(&mut body, element::MESSAGE_ID_BEING_RESPONDED_TO, &number(self.message_id));
        put(&mut body, element::COMMAND_DATA_SET_TYPE, &number(NO_DATA_SET));
        put(&mut body, element::STATUS, &number(status.0));
        if let Some(comment) = comment {
            put(&mut body, element::ERROR_COMMENT, &padded(comment, b' '));
        }
        if let Some(uid) = &self.sop_instance_uid {
            put(&mut body, element::AFFECTED_SOP_INSTANCE_UID, &padded(uid, 0));
        }
        let mut set = Vec::with_capacity(body.len() + 12);
        put(&mut set, element::GROUP_LENGTH, &(body.len() as u32).to_le_bytes());
        set.extend(body);
        set
    }
}

fn number(value: &[u8]) -> Result<u16, InvalidCommandSet> {
    let bytes = value.first_chunk().ok_or(InvalidCommandSet)?;
    Ok(u16::from_le_bytes(*bytes))
}

fn text(value: &[u8]) -> String {
    trim_uid(&String::from_utf8_lossy(value)).to_owned()
}

fn padded(text: &str, padding: u8) -> Vec<u8> {
    let mut value = text.as_bytes().to_vec();
    if value.len() % 2 == 1 {
        value.push(padding);
    }
    value
}

fn put(set: &mut Vec<u8>, element: u16, value: &[u8]) {
    set.extend([0, 0]);
    set.extend(element.to_le_bytes());
    set.extend((value.len() as u32).to_le_bytes());
    set.extend(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::testing::command_set;

    #[test]
    fn a_store_request_is_read_and_answered() {
        let set = command_set(0x0001, 7, "1.2.840.10008.5.1.4.1.1.4", Some("1.2.3"), true);
        let command = Command::parse(&set).unwrap();
        assert_eq!(command.operation(), Operation::Store);
        assert!(command.has_data_set);
        let answer = command.response(Status::SUCCESS, None);
        assert_eq!(answer[8..12], (answer.len() as u32 - 12).to_le_bytes());
        let read = Command::parse(&answer).unwrap();
        assert_eq!(read.operation(), Operation::Response);
        assert_eq!(read.sop_instance_uid.as_deref(), Some("1.2.3"));
        assert!(!read.has_data_set);
        assert_eq!(response_status(&answer), Ok(0));
        assert_eq!(response_status(&command.response(Status(0xa700), None)), Ok(0xa700));
        assert_eq!(response_status(&set), Err(InvalidCommandSet));
        let claims_4_gb = [&answer[..], &[0, 0, 2, 9, 255, 255, 255, 255]].concat();
        assert_eq!(response_status(&claims_4_gb), Err(InvalidCommandSet));
    }

    #[test]
    fn lengths_beyond_the_set_are_refused() {
        let set = command_set(0x0030, 1, "1.2.840.10008.1.1", None, false);
        for cut in [1, 7, set.len() - 1] {
            assert_eq!(Command::parse(&set[..cut]), Err(InvalidCommandSet), "{cut}");
        }
        assert_eq!(Command::parse(&[]), Err(InvalidCommandSet));
        assert_eq!(Command::parse(&[0, 0, 0, 1, 255, 255, 255, 255]), Err(InvalidCommandSet));
    }
}
