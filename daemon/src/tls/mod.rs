//! TLS, as a client towards brokers, PACS and web servers, and as the server of the box's own ports: by rustls with ring,
//! versions 1.2 and 1.3, suites with forward secrecy and authenticated encryption alone; files are PEM.
//!
//! Certificates are verified by rustls and its own webpki (0.103); the webpki 0.102 in rumqttc's dependencies, which has
//! advisories, only gives its error enum a variant.

mod server;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider};

pub(crate) use server::{clients_of, everybody, revocation_lists, server_config};

/// A table `tls` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificates of the authorities that may have signed the server's.
    #[serde(deserialize_with = "crate::credentials::file")]
    pub ca_file: PathBuf,
    /// Our certificate with its chain, for servers that ask for one.
    #[serde(default, deserialize_with = "crate::credentials::optional_file")]
    pub client_cert_file: Option<PathBuf>,
    /// Its private key.
    #[serde(default, deserialize_with = "crate::credentials::optional_file")]
    pub client_key_file: Option<PathBuf>,
}

/// Why TLS can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key can't be read.
    #[error("could not read {what} from {path}: {source}")]
    Pem {
        /// Certificate or key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: PemError,
    },
    /// rustls refused what was read.
    #[error("TLS: could not use {what} from {path}: {source}")]
    Refused {
        /// Certificate or key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

impl Tls {
    /// The key that is given and the one that is missing beside it.
    pub(crate) fn incomplete(&self) -> Option<(&'static str, &'static str)> {
        const PAIR: (&str, &str) = ("tls.client_cert_file", "tls.client_key_file");
        match (&self.client_cert_file, &self.client_key_file) {
            (Some(_), None) => Some(PAIR),
            (None, Some(_)) => Some((PAIR.1, PAIR.0)),
            _ => None,
        }
    }

    /// Reads the files.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let builder = ClientConfig::builder_with_provider(crypto())
            .with_safe_default_protocol_versions()
            .expect("ring offers the suites of TLS 1.2 and 1.3")
            .with_root_certificates(roots(&self.ca_file)?);
        let (Some(certificate), Some(key)) = (&self.client_cert_file, &self.client_key_file) else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(pem("a key", key))?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(refused("the client certificate", certificate))
    }

    /// Reads the files, for ureq.
    fn of_ureq(&self) -> Result<TlsConfig, TlsError> {
        let chain = |path: &Path| -> Result<Vec<Certificate<'static>>, TlsError> {
            let chain = certificates(path)?;
            Ok(chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect())
        };
        let mut builder = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(crypto())
            .root_certs(RootCerts::new_with_certs(&chain(&self.ca_file)?));
        if let (Some(certificate), Some(path)) = (&self.client_cert_file, &self.client_key_file) {
            let text = std::fs::read(path).map_err(PemError::Io).map_err(pem("a key", path))?;
            let key = PrivateKey::from_pem(&text)
                .map_err(|_| pem("a key", path)(PemError::NoItemsFound))?;
            builder =
                builder.client_cert(Some(ClientCert::new_with_certs(&chain(certificate)?, key)));
        }
        Ok(builder.build())
    }
}

/// A client over HTTP, over HTTPS alone where there is TLS: each step takes `timeout` at most, and no redirect is followed.
pub(crate) fn http_client(timeout: Duration, tls: Option<&Tls>) -> Result<ureq::Agent, TlsError> {
    let mut config = ureq::Agent::config_builder()
        .timeout_connect(Some(timeout))
        .timeout_send_body(Some(timeout))
        .timeout_recv_response(Some(timeout))
        .timeout_recv_body(Some(timeout))
        .max_redirects(0)
        .proxy(None)
        .http_status_as_error(false);
    if let Some(tls) = tls {
        config = config.tls_config(tls.of_ureq()?).https_only(true);
    }
    Ok(config.build().into())
}

/// What encrypts.
pub(crate) fn crypto() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The certificates of a PEM file, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    all_of("a certificate", path)
}

/// All of one kind in a PEM file, at least one.
fn all_of<T: PemObject>(what: &'static str, path: &Path) -> Result<Vec<T>, TlsError> {
    let found: Vec<T> =
        T::pem_file_iter(path).and_then(Iterator::collect).map_err(pem(what, path))?;
    if found.is_empty() {
        return Err(pem(what, path)(PemError::NoItemsFound));
    }
    Ok(found)
}

/// The authorities of a PEM file.
fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(refused("an authority's certificate", path))?;
    }
    Ok(roots)
}

fn refused(what: &'static str, path: &Path) -> impl FnOnce(rustls::Error) -> TlsError {
    let path = path.to_owned();
    move |source| TlsError::Refused { what, path, source }
}

fn pem(what: &'static str, path: &Path) -> impl FnOnce(PemError) -> TlsError {
    let path = path.to_owned();
    move |source| TlsError::Pem { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_authorities_without_a_certificate_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let ca_file = dir.path().join("ca.pem");
        std::fs::write(&ca_file, "no certificate").unwrap();
        let tls = Tls { ca_file, client_cert_file: None, client_key_file: None };
        let error = tls.client_config().unwrap_err();
        assert!(matches!(error, TlsError::Pem { .. }));
        assert!(error.to_string().contains("ca.pem"), "{error}");
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let tls: Tls = toml::from_str("ca_file = 'ca'\nclient_key_file = 'k'").unwrap();
        assert_eq!(tls.incomplete(), Some(("tls.client_key_file", "tls.client_cert_file")));
        assert!(toml::from_str::<Tls>("ca_file = 'ca'\nverify = false").is_err());
    }
}
