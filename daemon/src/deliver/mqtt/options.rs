//! From the configuration to rumqttc's options: will, credentials, TLS.

use std::{sync::Arc, time::Duration};

use rumqttc::{LastWill, MqttOptions, QoS, TlsConfiguration, Transport, v5};

use crate::{
    deliver::{
        config::{Config, ConfigError, PACKET_OVERHEAD, Protocol},
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

/// The options of every connection, for the configured version of the protocol.
#[derive(Clone)]
pub(super) enum Options {
    V3(Box<MqttOptions>),
    V5(Box<v5::MqttOptions>),
}

/// What both versions are told.
struct Settings {
    client_id: String,
    keep_alive: Duration,
    packet_bytes: usize,
    login: Option<(String, String)>,
    transport: Transport,
}

impl Options {
    /// Checks the configuration and reads the files that it names.
    pub(super) fn new(config: &Config, topics: &Topics) -> Result<Options, DeliveryError> {
        let settings = Settings::read(config)?;
        Ok(match config.protocol {
            Protocol::V3 => {
                let mut options = version_3(config, settings);
                options.set_last_will(LastWill::new(
                    topics.availability(),
                    availability::OFFLINE,
                    QoS::AtLeastOnce,
                    true,
                ));
                Options::V3(Box::new(options))
            }
            Protocol::V5 => Options::V5(Box::new(version_5(config, topics, settings))),
        })
    }
}

/// Reads every file that the configuration names, as delivery will.
pub(crate) fn check_files(config: &Config) -> Result<(), DeliveryError> {
    Settings::read(config).map(drop)
}

/// The options of a connection beside the delivery's: with MQTT 3.1.1 whatever is configured, and without a will.
pub(crate) fn options_3(config: &Config) -> Result<MqttOptions, DeliveryError> {
    Ok(version_3(config, Settings::read(config)?))
}

impl Settings {
    fn read(config: &Config) -> Result<Settings, DeliveryError> {
        config.validate()?;
        let mut login = None;
        if let Some(username) = &config.username {
            let password = config.password_file.as_deref().map(first_line).transpose()?;
            login = Some((username.clone(), password.unwrap_or_default()));
        }
        let transport = match &config.tls {
            Some(tls) => {
                let tls = TlsConfiguration::Rustls(Arc::new(tls.client_config()?));
                Transport::tls_with_config(tls)
            }
            None => Transport::tcp(),
        };
        Ok(Settings {
            client_id: config.client_id(),
            keep_alive: Duration::from_secs(config.keep_alive_s.into()),
            packet_bytes: config.max_payload_bytes + PACKET_OVERHEAD,
            login,
            transport,
        })
    }
}

fn version_3(config: &Config, settings: Settings) -> MqttOptions {
    let mut options = MqttOptions::new(settings.client_id, &config.host, config.port);
    options
        .set_clean_session(true)
        .set_keep_alive(settings.keep_alive)
        .set_inflight(config.inflight)
        .set_max_packet_size(settings.packet_bytes, settings.packet_bytes)
        .set_transport(settings.transport);
    if let Some((username, password)) = settings.login {
        options.set_credentials(username, password);
    }
    options
}

fn version_5(config: &Config, topics: &Topics, settings: Settings) -> v5::MqttOptions {
    let mut options = v5::MqttOptions::new(settings.client_id, &config.host, config.port);
    let will = v5::mqttbytes::v5::LastWill::new(
        topics.availability(),
        availability::OFFLINE,
        v5::mqttbytes::QoS::AtLeastOnce,
        true,
        None,
    );
    options
        .set_clean_start(true)
        .set_keep_alive(settings.keep_alive)
        .set_outgoing_inflight_upper_limit(config.inflight)
        .set_max_packet_size(Some(settings.packet_bytes as u32))
        .set_last_will(will)
        .set_transport(settings.transport);
    if let Some((username, password)) = settings.login {
        options.set_credentials(username, password);
    }
    options
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn options(config: &Config) -> MqttOptions {
        match Options::new(config, &config.topics().unwrap()).unwrap() {
            Options::V3(options) => *options,
            Options::V5(_) => panic!("the default is MQTT 3.1.1"),
        }
    }

    #[test]
    fn the_will_is_a_retained_offline_and_the_session_clean() {
        let options = options(&Config::default());
        let will = options.last_will().unwrap();
        assert_eq!(will.topic, "modic/v1/site/modicd/availability");
        assert_eq!((&will.message[..], will.retain), (&b"offline"[..], true));
        assert!(options.clean_session());
        assert!(options.max_packet_size() > Config::default().max_payload_bytes);
    }

    #[test]
    fn mqtt_5_has_the_same_will() {
        let config = Config { protocol: Protocol::V5, ..Config::default() };
        let Options::V5(options) = Options::new(&config, &config.topics().unwrap()).unwrap() else {
            panic!("MQTT 5 was asked for")
        };
        let will = options.last_will().unwrap();
        assert_eq!(
            (&will.topic[..], will.retain),
            (&b"modic/v1/site/modicd/availability"[..], true)
        );
        assert_eq!(&will.message[..], b"offline");
        assert!(options.clean_start());
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
        let login = options(&config).credentials().unwrap();
        assert_eq!((login.username.as_str(), login.password.as_str()), ("box", "secret"));
    }
}
