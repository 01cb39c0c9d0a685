//! The answer to an association request (PS3.8, 9.3.2 to 9.3.4).

use super::config::Config;
use super::file_meta::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
use super::rejection::Rejection;
use super::sop::{TransferSyntax, is_storage_class, trim_uid};
use crate::domain::AeTitle;
use dicom::dictionary_std::uids;
use dicom_ul::pdu::{
    AssociationAC, AssociationRQ, PresentationContextProposed, PresentationContextResult,
    PresentationContextResultReason as ContextResult, RequestorRoles, UserVariableItem,
};
use std::collections::HashMap;

/// Bit 0 of the protocol version; the others name versions that don't exist (PS3.8, table 9-11).
const PROTOCOL_VERSION_1: u16 = 0x0001;
/// What is written to a peer that announces no maximum length.
const DEFAULT_PEER_MAX_PDU: u32 = 16_384;
/// Responses are cut to what the peer takes, but not to less than this.
const MIN_PEER_MAX_PDU: u32 = 128;

/// What an accepted presentation context is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Service {
    Verification,
    Storage(TransferSyntax),
    /// Reports on storage commitment, from the provider.
    StorageCommitment(TransferSyntax),
}

/// An association that was agreed on.
#[derive(Debug)]
pub(super) struct Agreement {
    pub(super) contexts: HashMap<u8, Service>,
    /// Longest P-DATA-TF that the peer takes, bytes.
    pub(super) peer_max_pdu: u32,
    pub(super) answer: AssociationAC,
}

/// The calling AE title, if it is a valid one.
pub(super) fn calling_ae(request: &AssociationRQ) -> Option<AeTitle> {
    AeTitle::try_from(request.calling_ae_title.clone()).ok()
}

/// Answers a request. `commitment`: whether reports on storage commitment are awaited.
///
/// # Errors
/// The rejection, when the called title, protocol or application context don't fit. A request of which no
/// presentation context fits is accepted, with a result for each: that tells the peer more.
pub(super) fn negotiate(
    request: &AssociationRQ,
    config: &Config,
    commitment: bool,
) -> Result<Agreement, Rejection> {
    if request.protocol_version & PROTOCOL_VERSION_1 == 0 {
        return Err(Rejection::ProtocolVersion);
    }
    if trim_uid(&request.application_context_name) != uids::DICOM_APPLICATION_CONTEXT {
        return Err(Rejection::ApplicationContext);
    }
    let called = request.called_ae_title.trim_matches(['\0', ' ']);
    if !config.accept_any_called_ae && called != config.ae_title.as_str() {
        return Err(Rejection::CalledAe);
    }

    let mut contexts = HashMap::new();
    let mut results = Vec::with_capacity(request.presentation_contexts.len());
    for proposed in &request.presentation_contexts {
        let answer = answer_context(proposed, &contexts, commitment);
        let (reason, transfer_syntax) = match answer {
            Ok((service, transfer_syntax)) => {
                contexts.insert(proposed.id, service);
                (ContextResult::Acceptance, transfer_syntax)
            }
            // the transfer syntax of a refused context has no meaning, but must be there
            Err(reason) => (reason, TransferSyntax::IMPLICIT_LITTLE_ENDIAN),
        };
        let transfer_syntax = transfer_syntax.uid().to_owned();
        results.push(PresentationContextResult { id: proposed.id, reason, transfer_syntax });
    }
    let mut user_variables = vec![
        UserVariableItem::MaxLength(config.max_pdu_bytes),
        UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.to_owned()),
        UserVariableItem::ImplementationVersionName(IMPLEMENTATION_VERSION_NAME.to_owned()),
    ];
    if commitment {
        user_variables.extend(request.user_variables.iter().filter_map(provider_role));
    }
    Ok(Agreement {
        contexts,
        peer_max_pdu: peer_max_pdu(&request.user_variables),
        answer: AssociationAC {
            protocol_version: PROTOCOL_VERSION_1,
            calling_ae_title: request.calling_ae_title.clone(),
            called_ae_title: request.called_ae_title.clone(),
            application_context_name: uids::DICOM_APPLICATION_CONTEXT.to_owned(),
            presentation_contexts: results,
            user_variables,
        },
    })
}

fn answer_context(
    proposed: &PresentationContextProposed,
    accepted: &HashMap<u8, Service>,
    commitment: bool,
) -> Result<(Service, TransferSyntax), ContextResult> {
    // identifiers are odd and unique (PS3.8, 9.3.2.2)
    if proposed.id.is_multiple_of(2) || accepted.contains_key(&proposed.id) {
        return Err(ContextResult::NoReason);
    }
    let offered = |candidates: &[TransferSyntax]| {
        let offers: Vec<_> = proposed
            .transfer_syntaxes
            .iter()
            .filter_map(|uid| TransferSyntax::from_uid(uid))
            .collect();
        candidates
            .iter()
            .copied()
            .find(|ts| offers.contains(ts))
            .ok_or(ContextResult::TransferSyntaxesNotSupported)
    };
    if trim_uid(&proposed.abstract_syntax) == uids::VERIFICATION {
        // the first two need no codec; an echo has no data set anyway
        offered(&TransferSyntax::PREFERRED[..2]).map(|ts| (Service::Verification, ts))
    } else if is_storage_class(&proposed.abstract_syntax) {
        offered(&TransferSyntax::PREFERRED).map(|ts| (Service::Storage(ts), ts))
    } else if commitment
        && trim_uid(&proposed.abstract_syntax) == uids::STORAGE_COMMITMENT_PUSH_MODEL
    {
        offered(&TransferSyntax::PREFERRED[..2]).map(|ts| (Service::StorageCommitment(ts), ts))
    } else {
        Err(ContextResult::AbstractSyntaxNotSupported)
    }
}

/// The answer to a requestor that wants to report as the provider of storage commitment (PS3.7, D.3.3.4).
fn provider_role(item: &UserVariableItem) -> Option<UserVariableItem> {
    let UserVariableItem::ScuScpRoleSelectionSubItem(class, proposed) = item else { return None };
    let roles = RequestorRoles { scu: false, scp: proposed.scp };
    (trim_uid(class) == uids::STORAGE_COMMITMENT_PUSH_MODEL)
        .then(|| UserVariableItem::ScuScpRoleSelectionSubItem(class.clone(), roles))
}

fn peer_max_pdu(user_variables: &[UserVariableItem]) -> u32 {
    let announced = user_variables.iter().find_map(|item| match item {
        // zero: no limit
        UserVariableItem::MaxLength(max) => (*max > 0).then_some(*max),
        _ => None,
    });
    announced.unwrap_or(DEFAULT_PEER_MAX_PDU).clamp(MIN_PEER_MAX_PDU, DEFAULT_PEER_MAX_PDU)
}
