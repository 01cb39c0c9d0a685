//! Who may send: the rules of `[[receive.peers]]`.

use super::rejection::Rejection;
use crate::domain::AeTitle;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// One rule: a peer is admitted that fits all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// The title that it calls with.
    pub calling_ae: AeTitle,
    /// Where it may call from; empty: from anywhere.
    #[serde(default)]
    pub addresses: Vec<Network>,
    /// A name that its certificate must have; absent: any certificate by the authorities.
    pub certificate_name: Option<String>,
}

/// An address, or a range of them as `192.0.2.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

/// Neither an address nor a range.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is neither an address nor a range such as \"192.0.2.0/24\"")]
pub struct InvalidNetwork(String);

impl TryFrom<String> for Network {
    type Error = InvalidNetwork;
    fn try_from(text: String) -> Result<Network, InvalidNetwork> {
        let one = text.parse::<IpAddr>().map(IpNet::from);
        one.or_else(|_| text.parse()).map(Network).map_err(|_| InvalidNetwork(text))
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        network.0.to_string()
    }
}

impl Peer {
    fn comes_from(&self, address: IpAddr) -> bool {
        self.addresses.is_empty()
            || self.addresses.iter().any(|network| network.0.contains(&address))
    }

    fn is_certified(&self, names: &[String]) -> bool {
        self.certificate_name
            .as_ref()
            .is_none_or(|wanted| names.iter().any(|name| wanted.eq_ignore_ascii_case(name)))
    }
}

/// Whether any rule admits something from this address. Without rules everybody is admitted.
pub(super) fn admits_address(peers: &[Peer], address: IpAddr) -> bool {
    peers.is_empty() || peers.iter().any(|peer| peer.comes_from(address))
}

/// Whether a rule admits this title from this address with a certificate of these names.
///
/// # Errors
/// What no rule fits by: the title, then the address, then the certificate.
pub(super) fn admit(
    peers: &[Peer],
    calling_ae: Option<&AeTitle>,
    address: IpAddr,
    names: &[String],
) -> Result<(), Rejection> {
    if peers.is_empty() {
        return Ok(());
    }
    let mut fitting = peers.iter().filter(|peer| Some(&peer.calling_ae) == calling_ae).peekable();
    fitting.peek().ok_or(Rejection::CallingAe)?;
    let mut fitting = fitting.filter(|peer| peer.comes_from(address)).peekable();
    fitting.peek().ok_or(Rejection::Address)?;
    let fits = fitting.any(|peer| peer.is_certified(names));
    fits.then_some(()).ok_or(Rejection::Certificate)
}

/// The names that a certificate (DER) is for: its DNS names, or its common name where it has none, as many devices' don't.
pub(super) fn names_of(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = parse_x509_certificate(certificate) else { return Vec::new() };
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let names = alternative.into_iter().flat_map(|extension| &extension.value.general_names);
    let dns: Vec<_> = names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
        .collect();
    if !dns.is_empty() {
        return dns;
    }
    let common = certificate.subject().iter_common_name();
    common.filter_map(|name| Some(name.as_str().ok()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<Peer> {
        #[derive(Deserialize)]
        struct Rules {
            peers: Vec<Peer>,
        }
        toml::from_str::<Rules>(text).unwrap().peers
    }

    #[test]
    fn a_rule_admits_what_fits_all_of_it() {
        let peers = rules(
            "[[peers]]\ncalling_ae = 'MR1'\naddresses = ['192.0.2.7', '2001:db8::/32']\n\
             [[peers]]\ncalling_ae = 'PACS'\ncertificate_name = 'pacs.example'",
        );
        let admit = |title: &str, address: &str, names: &[&str]| {
            let title = AeTitle::try_from(title.to_owned()).unwrap();
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            super::admit(&peers, Some(&title), address.parse().unwrap(), &names)
        };
        assert_eq!(admit("MR1", "192.0.2.7", &[]), Ok(()));
        assert_eq!(admit("MR1", "2001:db8::9", &["any"]), Ok(()));
        assert_eq!(admit("MR1", "192.0.2.8", &[]), Err(Rejection::Address));
        assert_eq!(admit("MR2", "192.0.2.7", &[]), Err(Rejection::CallingAe));
        assert_eq!(admit("PACS", "198.51.100.1", &["other", "PACS.example"]), Ok(()));
        assert_eq!(admit("PACS", "198.51.100.1", &["other"]), Err(Rejection::Certificate));
        assert_eq!(admit("PACS", "198.51.100.1", &[]), Err(Rejection::Certificate));
        assert_eq!(
            super::admit(&peers, None, "192.0.2.7".parse().unwrap(), &[]),
            Err(Rejection::CallingAe)
        );
        assert_eq!(super::admit(&[], None, "192.0.2.7".parse().unwrap(), &[]), Ok(()));
    }

    #[test]
    fn an_address_of_no_rule_is_known_before_anything_is_read() {
        let named = rules("[[peers]]\ncalling_ae = 'MR1'\naddresses = ['192.0.2.0/24']");
        let address = |text: &str| text.parse().unwrap();
        assert!(admits_address(&named, address("192.0.2.200")));
        assert!(!admits_address(&named, address("198.51.100.1")));
        assert!(admits_address(&rules("[[peers]]\ncalling_ae = 'MR1'"), address("198.51.100.1")));
        assert!(admits_address(&[], address("198.51.100.1")));
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        let error =
            toml::from_str::<Peer>("calling_ae = 'A'\naddresses = ['scanner']").unwrap_err();
        assert!(error.to_string().contains("scanner"), "{error}");
    }
}
