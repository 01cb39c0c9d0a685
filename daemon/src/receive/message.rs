//! Puts DIMSE messages together from presentation data values, however a peer cut them.

use super::command::{Command, InvalidCommandSet, MAX_COMMAND_BYTES};
use dicom_ul::pdu::{PDataValue, PDataValueType};

/// What a presentation data value completed or continued.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A whole command. If it announces a data set, [`Event::DataSet`] follows.
    Command { context_id: u8, command: Command },
    /// A piece of the last command's data set.
    DataSet { fragment: Vec<u8>, last: bool },
}

/// Values that make no message; the association can't go on (PS3.7, annex E.1; PS3.8, annex E).
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum InvalidMessage {
    #[error("a command fragment came where a data set was due, or the other way round")]
    OutOfOrder,
    #[error("a message changed its presentation context")]
    ContextChanged,
    #[error("a command set is longer than {MAX_COMMAND_BYTES} bytes")]
    CommandTooLong,
    #[error(transparent)]
    CommandSet(#[from] InvalidCommandSet),
}

/// The message being received. The daemon negotiates no asynchronous operations, so there is only one.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    command: Vec<u8>,
    /// The context of the message that has begun.
    context_id: Option<u8>,
    awaits_data_set: bool,
}

impl Assembler {
    /// Takes the next value. `None`: the command goes on.
    pub(super) fn push(&mut self, value: PDataValue) -> Result<Option<Event>, InvalidMessage> {
        let context_id = *self.context_id.get_or_insert(value.presentation_context_id);
        if context_id != value.presentation_context_id {
            return Err(InvalidMessage::ContextChanged);
        }
        match (value.value_type, self.awaits_data_set) {
            (PDataValueType::Command, false) => {
                if self.command.len() + value.data.len() > MAX_COMMAND_BYTES {
                    return Err(InvalidMessage::CommandTooLong);
                }
                self.command.extend(value.data);
                if !value.is_last {
                    return Ok(None);
                }
                let command = Command::parse(&std::mem::take(&mut self.command))?;
                self.expect_next(command.has_data_set);
                Ok(Some(Event::Command { context_id, command }))
            }
            (PDataValueType::Data, true) => {
                if value.is_last {
                    self.expect_next(false);
                }
                Ok(Some(Event::DataSet { fragment: value.data, last: value.is_last }))
            }
            _ => Err(InvalidMessage::OutOfOrder),
        }
    }

    fn expect_next(&mut self, data_set: bool) {
        self.awaits_data_set = data_set;
        if !data_set {
            self.context_id = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::testing::{MR, command_set};

    fn value(
        presentation_context_id: u8,
        value_type: PDataValueType,
        is_last: bool,
        data: &[u8],
    ) -> PDataValue {
        PDataValue { presentation_context_id, value_type, is_last, data: data.to_vec() }
    }

    #[test]
    fn a_command_in_single_bytes_is_one_command() {
        let set = command_set(0x0001, 1, MR, Some("1.2.3"), true);
        let mut assembler = Assembler::default();
        for byte in &set {
            let piece = value(3, PDataValueType::Command, false, &[*byte]);
            assert_eq!(assembler.push(piece), Ok(None));
        }
        let end = assembler.push(value(3, PDataValueType::Command, true, &[])).unwrap();
        assert!(matches!(end, Some(Event::Command { context_id: 3, .. })));
        let data = assembler.push(value(3, PDataValueType::Data, true, b"x")).unwrap();
        assert_eq!(data, Some(Event::DataSet { fragment: b"x".to_vec(), last: true }));
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let set = command_set(0x0001, 1, MR, Some("1.2.3"), true);
        let data_first = value(1, PDataValueType::Data, true, b"x");
        assert_eq!(Assembler::default().push(data_first), Err(InvalidMessage::OutOfOrder));

        let mut assembler = Assembler::default();
        assembler.push(value(1, PDataValueType::Command, true, &set)).unwrap();
        let elsewhere = value(3, PDataValueType::Data, true, b"x");
        assert_eq!(assembler.push(elsewhere), Err(InvalidMessage::ContextChanged));

        let mut assembler = Assembler::default();
        let long = value(1, PDataValueType::Command, false, &[0; MAX_COMMAND_BYTES]);
        assert_eq!(assembler.push(long.clone()), Ok(None));
        assert_eq!(assembler.push(long), Err(InvalidMessage::CommandTooLong));
    }
}
