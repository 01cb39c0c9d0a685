//! As a server: what a port shows, and whom it asks for a certificate.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{Error, ServerConfig};

use super::{TlsError, certificates, crypto, pem, refused, roots};

/// Shows this certificate with its chain; `clients` says whose connections are taken.
///
/// # Errors
/// A file can't be read, or the key isn't the certificate's.
pub(crate) fn server_config(
    cert_file: &Path,
    key_file: &Path,
    clients: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, TlsError> {
    let chain = certificates(cert_file)?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(pem("a key", key_file))?;
    ServerConfig::builder_with_provider(crypto())
        .with_safe_default_protocol_versions()
        .expect("ring offers the suites of TLS 1.2 and 1.3")
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(refused("the certificate", cert_file))
}

/// Takes everybody, with no certificate asked for.
pub(crate) fn everybody() -> Arc<dyn ClientCertVerifier> {
    Arc::new(NoClientAuth)
}

/// Takes clients with a certificate by one of the authorities in `ca_file`, unless it is revoked by a list in `crl_file`.
///
/// With lists, each authority in a client's chain must have one. A list that is out of date still counts: what it revokes
/// stays revoked, and a site that forgot to renew it goes on receiving; how long it is good is told like a certificate's end.
///
/// # Errors
/// A file can't be read or used.
pub(crate) fn clients_of(
    ca_file: &Path,
    crl_file: Option<&Path>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let lists = crl_file.map(revocation_lists).transpose()?.unwrap_or_default();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca_file)?.into(), crypto());
    verifier.with_crls(lists).build().map_err(|error| match error {
        VerifierBuilderError::InvalidCrl(error) => {
            let file = crl_file.unwrap_or(ca_file);
            refused("a revocation list", file)(Error::InvalidCertRevocationList(error))
        }
        other => refused("the authorities", ca_file)(Error::General(other.to_string())),
    })
}

/// The revocation lists of a PEM file, at least one.
pub(crate) fn revocation_lists(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    super::all_of("a revocation list", path)
}
