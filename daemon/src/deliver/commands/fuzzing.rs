//! What comes on the topics of commands, without the broker that brings it.

use super::{CommandType, Request};

/// A payload: the first byte chooses the command.
pub fn request(bytes: &[u8]) {
    let Some((choice, payload)) = bytes.split_first() else { return };
    let command = CommandType::ALL[usize::from(*choice) % CommandType::ALL.len()];
    if let Ok(request) = Request::parse(command, payload) {
        let _ = request.expires();
    }
}
