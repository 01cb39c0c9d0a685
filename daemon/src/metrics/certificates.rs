//! When the configured certificates expire.

use std::path::{Path, PathBuf};

use x509_parser::{parse_x509_certificate, parse_x509_crl};

use crate::config::Config;
use crate::tls::{self, Tls};

/// A file of certificates that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFile {
    /// The configuration's key, the PACS by its name: `mqtt.tls.ca_file`, `pacs.archive.tls.client_cert_file`.
    pub key: String,
    pub(crate) path: PathBuf,
    holds: Holds,
}

/// Which certificates; or what says that they are revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Chain,
    Authorities,
    RevocationLists,
}

impl CertificateFile {
    /// Every one.
    pub fn all(config: &Config) -> Vec<CertificateFile> {
        let mut files = Vec::new();
        if let Some(tls) = &config.mqtt.tls {
            files.extend(of_client("mqtt.tls", tls));
        }
        for destination in &config.pacs {
            if let Some(tls) = destination.tls() {
                files.extend(of_client(&format!("pacs.{}.tls", destination.name), tls));
            }
        }
        if let Some(tls) = &config.bundles.tls {
            files.extend(of_client("bundles.tls", tls));
        }
        let mut add = |key: &str, path: &Path, holds| {
            files.push(CertificateFile { key: key.to_owned(), path: path.to_owned(), holds });
        };
        if let Some(tls) = &config.receive.tls {
            add("receive.tls.cert_file", &tls.cert_file, Holds::Chain);
            if let Some(path) = &tls.client_ca_file {
                add("receive.tls.client_ca_file", path, Holds::Authorities);
            }
            if let Some(path) = &tls.crl_file {
                add("receive.tls.crl_file", path, Holds::RevocationLists);
            }
        }
        if let Some(tls) = &config.page.tls {
            add("page.tls.cert_file", &tls.cert_file, Holds::Chain);
        }
        files
    }

    /// Whether it holds no certificate, but what says that some are revoked.
    pub(crate) fn is_revocation_list(&self) -> bool {
        self.holds == Holds::RevocationLists
    }

    /// Until when it is good, Unix time in s; `None` when it can't be read. A chain is as good as its first
    /// certificate that expires, a file of authorities as its last: old and new ones lie side by side in it. Revocation lists
    /// are as good as the first of them for which there should be another by then.
    pub(crate) fn not_after(&self) -> Option<i64> {
        if self.is_revocation_list() {
            let lists = tls::revocation_lists(&self.path).ok()?;
            let ends = lists.iter().filter_map(|list| {
                let (_, parsed) = parse_x509_crl(list).ok()?;
                Some(parsed.next_update()?.timestamp())
            });
            return ends.min();
        }
        let certificates = tls::certificates(&self.path).ok()?;
        let ends = certificates.iter().filter_map(|certificate| {
            let (_, parsed) = parse_x509_certificate(certificate).ok()?;
            Some(parsed.validity().not_after.timestamp())
        });
        if self.holds == Holds::Authorities { ends.max() } else { ends.min() }
    }
}

fn of_client(section: &str, tls: &Tls) -> impl Iterator<Item = CertificateFile> {
    let file = |key: &str, path: &PathBuf, holds| CertificateFile {
        key: format!("{section}.{key}"),
        path: path.clone(),
        holds,
    };
    let authorities = file("ca_file", &tls.ca_file, Holds::Authorities);
    let chain =
        tls.client_cert_file.as_ref().map(|path| file("client_cert_file", path, Holds::Chain));
    [Some(authorities), chain].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two certificates of openssl's, the first good for ten days, the second for twenty.
    const CHAIN: &str = "\
-----BEGIN CERTIFICATE-----
MIIBbDCCAROgAwIBAgIUN9IVdeGWQBSxtBD0rE+t4/2uQuowCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBdDAeFw0yNjExMjYxMDAzMTlaFw0yNjEyMDYxMDAzMTlaMAwx
CjAIBgNVBAMMAXQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATS6pOfHFpL3oe/
djQ4KrC5MrBAvhzuv2re9kshrWgtfznQSbYV0GBo1pegTbFqrmuztHraKz8JaYFO
89lAEEVyo1MwUTAdBgNVHQ4EFgQU9V1JOAf9pegArFEojr/igAlVKh4wHwYDVR0j
BBgwFoAU9V1JOAf9pegArFEojr/igAlVKh4wDwYDVR0TAQH/BAUwAwEB/zAKBggq
hkjOPQQDAgNHADBEAiAWt9gUIpgPQC5tq5nNpSJVkdrir0H3xO+PgtAFvlu6IgIg
f8IpBuo8+tAmVBLiKC4wHR1RBR+sQ2rGXfmfhNHU9sI=
-----END CERTIFICATE-----
-----BEGIN CERTIFICATE-----
MIIBbjCCAROgAwIBAgIUTX0eS5X0+7auvVBF6IhS7pdwDoEwCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBdDAeFw0yNjExMjYxMDAzMTlaFw0yNjEyMTYxMDAzMTlaMAwx
CjAIBgNVBAMMAXQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATLY1GpjIKp1flC
eybVIKm8RGKKqSYEDv+pv33NIh9bsTHVivuxYUYo0Wm1fbPcDsAwNy7wygKldTgd
35ThG83Qo1MwUTAdBgNVHQ4EFgQUjyaEx3bl8ZaFs/fDsZafYWZxhN4wHwYDVR0j
BBgwFoAUjyaEx3bl8ZaFs/fDsZafYWZxhN4wDwYDVR0TAQH/BAUwAwEB/zAKBggq
hkjOPQQDAgNJADBGAiEAmOiCCxqJCt4S7ViUT5aWToaS4otjI0DmUyL8MQtyScAC
IQCYgW/M3m8Fj+wINsfqXBNWQpXxiLoghB9+Bfnc6qgSOw==
-----END CERTIFICATE-----";
    const ENDS: [i64; 2] = [1_796_551_399, 1_797_415_399];
    /// A revocation list of openssl's.
    const LIST: &str = "\
-----BEGIN X509 CRL-----
MIGkMEsCAQEwCgYIKoZIzj0EAwIwDDEKMAgGA1UEAwwBdBcNMjYxMTI2MTcyMjEz
WhcNMjYxMjI2MTcyMjEzWqAOMAwwCgYDVR0UBAMCAQEwCgYIKoZIzj0EAwIDSQAw
RgIhAPZyJ2kptP/pgW/uSTrVtytvJ6C0LLsW15l1jgNhHjypAiEA3ZoTjVnetBLX
JGjfGn861q4TcHmexFbQ2kYLs4JtLic=
-----END X509 CRL-----";
    const LIST_END: i64 = 1_798_305_733;

    #[test]
    fn a_chain_ends_with_its_first_certificate_and_authorities_with_their_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain.pem");
        std::fs::write(&path, CHAIN).unwrap();
        let file = |holds| {
            let (key, path) = ("mqtt.tls.ca_file".to_owned(), path.clone());
            CertificateFile { key, path, holds }
        };
        assert_eq!(file(Holds::Chain).not_after(), Some(ENDS[0]));
        assert_eq!(file(Holds::Authorities).not_after(), Some(ENDS[1]));
        assert_eq!(file(Holds::RevocationLists).not_after(), None);
        std::fs::write(&path, LIST).unwrap();
        assert_eq!(file(Holds::RevocationLists).not_after(), Some(LIST_END));
        assert_eq!(file(Holds::Authorities).not_after(), None);
    }

    #[test]
    fn every_file_of_the_configuration_is_watched() {
        let text = "state_dir = '/s'\n\
            [mqtt.tls]\nca_file = 'a'\nclient_cert_file = 'b'\nclient_key_file = 'c'\n\
            [page.tls]\ncert_file = 'd'\nkey_file = 'e'\n\
            [receive.tls]\ncert_file = 'g'\nkey_file = 'h'\nclient_ca_file = 'i'\ncrl_file = 'j'\n\
            [[pacs]]\nname = 'one'\n[pacs.web]\nurl = 'https://p'\n[pacs.web.tls]\nca_file = 'f'\n\
            [[pacs]]\nname = 'two'\n[pacs.dicom]\nhost = 'p'\nport = 1\ncalled_ae = 'P'\n";
        let files = CertificateFile::all(&toml::from_str(text).unwrap());
        let keys: Vec<_> = files.iter().map(|file| file.key.as_str()).collect();
        let expected = [
            "mqtt.tls.ca_file",
            "mqtt.tls.client_cert_file",
            "pacs.one.tls.ca_file",
            "receive.tls.cert_file",
            "receive.tls.client_ca_file",
            "receive.tls.crl_file",
            "page.tls.cert_file",
        ];
        assert_eq!(keys, expected);
    }
}
