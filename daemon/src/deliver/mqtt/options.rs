//! From the configuration to rumqttc's options: will, credentials, TLS.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rumqttc::{LastWill, MqttOptions, QoS, TlsConfiguration, Transport};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::{
    deliver::{
        config::{Config, ConfigError, PACKET_OVERHEAD, Tls},
        topics::{Topics, availability},
    },
    store::FileError,
};

/// Why delivery can't begin.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The configuration is impossible.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The password can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate or key can't be read.
    #[error("could not read {what} from {path}")]
    Pem {
        /// Certificate or key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// rustls refused what was read.
    #[error("TLS: could not use {what} from {path}")]
    Tls {
        /// Certificate or key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

/// The options of every connection. Reads the files that the configuration names.
pub(super) fn mqtt_options(config: &Config, topics: &Topics) -> Result<MqttOptions, DeliveryError> {
    config.validate()?;
    let mut options = MqttOptions::new(config.client_id(), &config.host, config.port);
    let packet = config.max_payload_bytes + PACKET_OVERHEAD;
    options
        .set_clean_session(true)
        .set_keep_alive(Duration::from_secs(config.keep_alive_s.into()))
        .set_inflight(config.inflight)
        .set_max_packet_size(packet, packet)
        .set_last_will(LastWill::new(
            topics.availability(),
            availability::OFFLINE,
            QoS::AtLeastOnce,
            true,
        ));
    if let Some(username) = &config.username {
        let password = config.password_file.as_deref().map(password).transpose()?;
        options.set_credentials(username, password.unwrap_or_default());
    }
    if let Some(tls) = &config.tls {
        let tls = TlsConfiguration::Rustls(Arc::new(tls_config(tls)?));
        options.set_transport(Transport::tls_with_config(tls));
    }
    Ok(options)
}

/// The first line of a password file.
fn password(path: &Path) -> Result<String, DeliveryError> {
    let text =
        fs::read_to_string(path).map_err(FileError::during("read the password from", path))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// rustls with ring. Certificates are verified by rustls and its own webpki (0.103); the webpki 0.102 in
/// rumqttc's dependencies, which has advisories, only gives its error enum a variant.
fn tls_config(tls: &Tls) -> Result<ClientConfig, DeliveryError> {
    let refused = |what, path: &Path| {
        let path = path.to_owned();
        move |source| DeliveryError::Tls { what, path, source }
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&tls.ca_file)? {
        roots.add(certificate).map_err(refused("an authority's certificate", &tls.ca_file))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring offers the suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots);
    match (&tls.client_cert_file, &tls.client_key_file) {
        (Some(certificate), Some(key_file)) => {
            let chain = certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key_file).map_err(pem("a key", key_file))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(refused("the client certificate", certificate))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

/// The certificates of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, DeliveryError> {
    const WHAT: &str = "a certificate";
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(pem(WHAT, path))?;
    if found.is_empty() {
        return Err(pem(WHAT, path)(rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn pem(
    what: &'static str,
    path: &Path,
) -> impl FnOnce(rustls::pki_types::pem::Error) -> DeliveryError {
    let path = path.to_owned();
    move |source| DeliveryError::Pem { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(config: &Config) -> Result<MqttOptions, DeliveryError> {
        mqtt_options(config, &config.topics().unwrap())
    }

    #[test]
    fn the_will_is_a_retained_offline_and_the_session_clean() {
        let options = options(&Config::default()).unwrap();
        let will = options.last_will().unwrap();
        assert_eq!(will.topic, "modic/v1/site/modicd/availability");
        assert_eq!((&will.message[..], will.retain), (&b"offline"[..], true));
        assert!(options.clean_session());
        assert!(options.max_packet_size() > Config::default().max_payload_bytes);
    }

    #[test]
    fn the_password_is_the_first_line_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        fs::write(&file, "secret\r\nnot this\n").unwrap();
        let config = Config {
            username: Some("box".to_owned()),
            password_file: Some(file),
            ..Config::default()
        };
        let login = options(&config).unwrap().credentials().unwrap();
        assert_eq!((login.username.as_str(), login.password.as_str()), ("box", "secret"));
    }

    #[test]
    fn a_file_of_authorities_without_a_certificate_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let ca_file = dir.path().join("ca.pem");
        fs::write(&ca_file, "no certificate").unwrap();
        let tls = Tls { ca_file, client_cert_file: None, client_key_file: None };
        let config = Config { tls: Some(tls), ..Config::default() };
        let error = options(&config).unwrap_err();
        assert!(matches!(error, DeliveryError::Pem { .. }));
        assert!(error.to_string().contains("ca.pem"), "{error}");
    }
}
