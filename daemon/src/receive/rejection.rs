//! Why a connection or an association request is turned down: what the peer hears (PS3.8, 9.3.4), and what is counted.

use dicom_ul::pdu::{
    AssociationRJ, AssociationRJResult, AssociationRJServiceProviderASCEReason as Acse,
    AssociationRJServiceProviderPresentationReason as Presentation,
    AssociationRJServiceUserReason as User, AssociationRJSource as Source,
};

/// One reason. The code ([`Rejection::code`]) is stable: it is published and documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// Not version 1 of the upper layer protocol.
    ProtocolVersion,
    /// Not the DICOM application context.
    ApplicationContext,
    /// Not called by the title that this box has.
    CalledAe,
    /// No rule of `receive.peers` has that calling title.
    CallingAe,
    /// No rule admits the address, or not with that title. An address that no rule has is closed unread.
    Address,
    /// No rule admits the certificate with that title and address.
    Certificate,
    /// Plain text at a port that takes TLS alone.
    PlainText,
    /// The TLS handshake failed; the peer has rustls' alert.
    TlsHandshake,
    /// `receive.max_associations` are open; or far more connections than that, and then this one is closed unread.
    Full,
    /// `receive.max_associations_per_peer` of the same address are open; or likewise.
    PeerFull,
    /// More than `receive.max_requests_per_minute` from the same address.
    TooFrequent,
}

impl Rejection {
    /// Every one.
    pub(crate) const ALL: [Rejection; 11] = [
        Rejection::ProtocolVersion,
        Rejection::ApplicationContext,
        Rejection::CalledAe,
        Rejection::CallingAe,
        Rejection::Address,
        Rejection::Certificate,
        Rejection::PlainText,
        Rejection::TlsHandshake,
        Rejection::Full,
        Rejection::PeerFull,
        Rejection::TooFrequent,
    ];

    /// The stable code, as published.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Rejection::ProtocolVersion => "protocol_version_not_supported",
            Rejection::ApplicationContext => "application_context_not_supported",
            Rejection::CalledAe => "called_ae_not_recognized",
            Rejection::CallingAe => "calling_ae_not_recognized",
            Rejection::Address => "address_not_allowed",
            Rejection::Certificate => "certificate_not_allowed",
            Rejection::PlainText => "tls_required",
            Rejection::TlsHandshake => "tls_handshake_failed",
            Rejection::Full => "local_limit_exceeded",
            Rejection::PeerFull => "peer_limit_exceeded",
            Rejection::TooFrequent => "too_many_requests",
        }
    }

    /// The answer to the request. Limits are transient: the peer may try again.
    pub(super) fn answer(self) -> AssociationRJ {
        let (result, source) = match self {
            Rejection::ProtocolVersion => (
                AssociationRJResult::Permanent,
                Source::ServiceProviderASCE(Acse::ProtocolVersionNotSupported),
            ),
            Rejection::ApplicationContext => (
                AssociationRJResult::Permanent,
                Source::ServiceUser(User::ApplicationContextNameNotSupported),
            ),
            Rejection::CalledAe => (
                AssociationRJResult::Permanent,
                Source::ServiceUser(User::CalledAETitleNotRecognized),
            ),
            Rejection::CallingAe => (
                AssociationRJResult::Permanent,
                Source::ServiceUser(User::CallingAETitleNotRecognized),
            ),
            Rejection::Address | Rejection::Certificate => {
                (AssociationRJResult::Permanent, Source::ServiceUser(User::NoReasonGiven))
            }
            Rejection::PlainText | Rejection::TlsHandshake => {
                (AssociationRJResult::Permanent, Source::ServiceProviderASCE(Acse::NoReasonGiven))
            }
            Rejection::Full | Rejection::PeerFull => (
                AssociationRJResult::Transient,
                Source::ServiceProviderPresentation(Presentation::LocalLimitExceeded),
            ),
            Rejection::TooFrequent => (
                AssociationRJResult::Transient,
                Source::ServiceProviderPresentation(Presentation::TemporaryCongestion),
            ),
        };
        AssociationRJ { result, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_holds_the_list() {
        let readme = include_str!("../../../README.md");
        for rejection in Rejection::ALL {
            assert!(
                readme.contains(&format!("`{}`", rejection.code())),
                "README lacks {}",
                rejection.code()
            );
        }
    }
}
