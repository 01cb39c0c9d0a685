//! From the configuration to rumqttc's options: will, credentials, TLS.

use std::{sync::Arc, time::Duration};

use rumqttc::{LastWill, MqttOptions, QoS, TlsConfiguration, Transport};

use crate::{
    deliver::{
        config::{Config, ConfigError, PACKET_OVERHEAD},
        topics::{Topics, availability},
    },
    store::files::{FileError, first_line},
    tls::TlsError,
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
    /// Certificates or a key can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
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
        let password = config.password_file.as_deref().map(first_line).transpose()?;
        options.set_credentials(username, password.unwrap_or_default());
    }
    if let Some(tls) = &config.tls {
        let tls = TlsConfiguration::Rustls(Arc::new(tls.client_config()?));
        options.set_transport(Transport::tls_with_config(tls));
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use std::fs;

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
}
