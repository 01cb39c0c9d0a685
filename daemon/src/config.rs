//! The configuration file.
//!
//! One struct a section; each section's struct lives in the stage that it sets. Unknown keys are errors, so
//! that a misspelt one can't pass for a default.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::tls::Tls;
use crate::{audit, bundles, deliver, modic, pacs, page, receive, segment, storage, study};

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        #[source]
        source: std::io::Error,
    },
    /// It isn't TOML, or a key is unknown or of the wrong type.
    #[error("the configuration {path} is not valid")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value of the section `[receive]` makes no sense.
    #[error(transparent)]
    Receive(#[from] receive::ConfigError),
    /// A value of the section `[mqtt]` makes no sense.
    #[error(transparent)]
    Mqtt(#[from] deliver::ConfigError),
    /// A value of a section `[[pacs]]` makes no sense.
    #[error(transparent)]
    Pacs(#[from] pacs::ConfigError),
    /// A value of the section `[page]` makes no sense.
    #[error(transparent)]
    Page(#[from] page::ConfigError),
    /// A value of the section `[bundles]` makes no sense.
    #[error(transparent)]
    Bundles(#[from] bundles::ConfigError),
    /// A value of the section `[storage]` makes no sense.
    #[error(transparent)]
    Storage(#[from] storage::ConfigError),
    /// A value makes no sense.
    #[error("{key}: {problem}")]
    Value {
        /// The key, with its section.
        key: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
}

/// The whole configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where instances, results, the outbox and the index are kept.
    pub state_dir: PathBuf,
    /// Holds the key that study references are derived with. By default `site.key` in `state_dir`, made
    /// at the first start.
    #[serde(default, deserialize_with = "crate::credentials::optional_file")]
    pub site_key_file: Option<PathBuf>,
    /// Holds `vertebrae/` and `modic/` to be used whatever else there is; then the networks can't be updated.
    #[serde(default)]
    pub bundles_dir: Option<PathBuf>,
    /// Updating the networks.
    #[serde(default)]
    pub bundles: bundles::Config,
    /// Receiving.
    #[serde(default)]
    pub receive: receive::Config,
    /// Choosing the series pair.
    #[serde(default)]
    pub study: study::Config,
    /// Running the networks.
    #[serde(default)]
    pub segment: segment::Config,
    /// Typing and findings.
    #[serde(default)]
    pub modic: modic::Config,
    /// MQTT.
    #[serde(default)]
    pub mqtt: deliver::Config,
    /// Where results go as DICOM objects.
    #[serde(default)]
    pub pacs: pacs::Config,
    /// The page on the box.
    #[serde(default)]
    pub page: page::Config,
    /// What is kept, and for how long.
    #[serde(default)]
    pub storage: storage::Config,
    /// Audit messages.
    #[serde(default)]
    pub audit: audit::Config,
    /// The worker between receiving and delivering.
    #[serde(default)]
    pub worker: WorkerConfig,
}

/// The section `[worker]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerConfig {
    /// A study is analysed when nothing of it has arrived for this long, s.
    pub quiet_period_s: f64,
    /// Analyse as soon as both series are whole, without waiting for the quiet period.
    pub analyse_when_whole: bool,
    /// How often the queue is looked at, s.
    pub poll_interval_s: f64,
    /// A study whose analysis brought the daemon down this often is given up.
    pub max_attempts: u32,
    /// At a stop the study at work may go on for this long before it is broken off, to be done after the next start, s.
    pub stop_limit_s: f64,
    /// Without a step forward for this long the daemon counts as hung, and the watchdog isn't fed any more, s.
    pub stall_after_s: f64,
    /// After the start analyses wait this long at most for a clock that follows a time server, s. 0: not at all.
    pub clock_wait_s: f64,
}

impl WorkerConfig {
    /// See [`WorkerConfig::quiet_period_s`].
    pub fn quiet_period(&self) -> Duration {
        Duration::from_secs_f64(self.quiet_period_s)
    }
}

impl Default for WorkerConfig {
    fn default() -> Self {
        WorkerConfig {
            quiet_period_s: 30.0,
            analyse_when_whole: true,
            poll_interval_s: 0.5,
            max_attempts: 3,
            stop_limit_s: 30.0,
            stall_after_s: 180.0,
            clock_wait_s: 60.0,
        }
    }
}

impl Config {
    /// A configuration of nothing but defaults.
    pub fn with_state_dir(state_dir: PathBuf) -> Config {
        Config {
            state_dir,
            site_key_file: None,
            bundles_dir: None,
            bundles: bundles::Config::default(),
            receive: receive::Config::default(),
            study: study::Config::default(),
            segment: segment::Config::default(),
            modic: modic::Config::default(),
            pacs: pacs::Config::default(),
            page: page::Config::default(),
            storage: storage::Config::default(),
            audit: audit::Config::default(),
            mqtt: deliver::Config::default(),
            worker: WorkerConfig::default(),
        }
    }

    /// Of a command that keeps nothing: a file's, or nothing but defaults.
    pub fn load_or_default(path: Option<&Path>) -> Result<Config, ConfigError> {
        path.map_or_else(|| Ok(Config::with_state_dir(PathBuf::new())), Config::load)
    }

    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let config: Config = toml::from_str(&text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        config.check()?;
        Ok(config)
    }

    /// Every file that holds a secret, by its key.
    pub fn secret_files(&self) -> Vec<(String, &Path)> {
        let mut files = vec![
            ("mqtt.password_file".to_owned(), self.mqtt.password_file.as_deref()),
            ("page.token_file".to_owned(), self.page.token_file.as_deref()),
            ("site_key_file".to_owned(), self.site_key_file.as_deref()),
        ];
        fn key_of(tls: Option<&Tls>) -> Option<&Path> {
            tls.and_then(|tls| tls.client_key_file.as_deref())
        }
        files.push(("mqtt.tls.client_key_file".to_owned(), key_of(self.mqtt.tls.as_ref())));
        files.push(("bundles.tls.client_key_file".to_owned(), key_of(self.bundles.tls.as_ref())));
        let receive_key = self.receive.tls.as_ref().map(|tls| tls.key_file.as_path());
        files.push(("receive.tls.key_file".to_owned(), receive_key));
        let page_key = self.page.tls.as_ref().map(|tls| tls.key_file.as_path());
        files.push(("page.tls.key_file".to_owned(), page_key));
        for destination in &self.pacs {
            let key = |file: &str| format!("pacs.{}.{file}", destination.name);
            files.push((key("tls.client_key_file"), key_of(destination.tls())));
            if let Some(web) = &destination.web {
                files.push((key("web.password_file"), web.password_file.as_deref()));
                files.push((key("web.token_file"), web.token_file.as_deref()));
            }
        }
        files.into_iter().filter_map(|(key, path)| Some((key, path?))).collect()
    }

    /// Checks what the types can't: ranges, and values against each other.
    pub fn check(&self) -> Result<(), ConfigError> {
        let value =
            |key, problem: &str| Err(ConfigError::Value { key, problem: problem.to_owned() });
        if !self.state_dir.is_absolute() {
            return value("state_dir", "must be an absolute path");
        }
        self.receive.validate()?;
        self.mqtt.validate()?;
        pacs::validate(&self.pacs)?;
        self.page.validate()?;
        self.bundles.validate()?;
        self.storage.validate(self.receive.max_object_bytes)?;
        let worker = &self.worker;
        if !(0.0..=3600.0).contains(&worker.quiet_period_s) {
            return value("worker.quiet_period_s", "must be between 0 and 3600");
        }
        if worker.max_attempts == 0 {
            return value("worker.max_attempts", "must be at least 1");
        }
        if !(0.01..=60.0).contains(&worker.poll_interval_s) {
            return value("worker.poll_interval_s", "must be between 0.01 and 60");
        }
        if !(0.0..=60.0).contains(&worker.stop_limit_s) {
            return value("worker.stop_limit_s", "must be between 0 and 60");
        }
        if !(30.0..=3600.0).contains(&worker.stall_after_s) {
            return value("worker.stall_after_s", "must be between 30 and 3600");
        }
        if !(0.0..=3600.0).contains(&worker.clock_wait_s) {
            return value("worker.clock_wait_s", "must be between 0 and 3600");
        }
        if self.segment.threads > segment::MAX_THREADS {
            return value("segment.threads", &format!("must be at most {}", segment::MAX_THREADS));
        }
        let modic = &self.modic;
        if !(0.0 < modic.low_below && modic.low_below <= 1.0 && 1.0 <= modic.high_above) {
            return value("modic.low_below", "must be in (0, 1], and modic.high_above at least 1");
        }
        if !(0.0..=1.0).contains(&modic.grow_to_probability) {
            return value("modic.grow_to_probability", "must be between 0 and 1");
        }
        if !(0.0..=20.0).contains(&modic.endplate_contact_mm) {
            return value("modic.endplate_contact_mm", "must be between 0 and 20");
        }
        if !(0.0..=10_000.0).contains(&modic.min_volume_mm3) {
            return value("modic.min_volume_mm3", "must be between 0 and 10000");
        }
        if !(0.0..=50.0).contains(&modic.mixed_from_percent) {
            return value("modic.mixed_from_percent", "must be between 0 and 50");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_example_is_valid_and_the_default() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/modicd.toml");
        let example = Config::load(&path).unwrap();
        // What it says is the default is the default.
        let defaults = Config::with_state_dir(example.state_dir.clone());
        assert_eq!(toml::to_string(&example).unwrap(), toml::to_string(&defaults).unwrap());
    }

    /// serde names a section's keys when it refuses one that isn't among them.
    fn keys(section: &str) -> Vec<String> {
        let error = toml::from_str::<Config>(&format!("state_dir = '/s'\n{section}\nno_such = 1"));
        let error = error.unwrap_err().to_string();
        let expected = error.split("expected").nth(1).unwrap();
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_shipped_example_tells_of_every_key() {
        let example = include_str!("../../systemd/modicd.toml");
        let sections = [
            "",
            "[receive]",
            "[receive.tls]",
            "[[receive.peers]]",
            "[study]",
            "[segment]",
            "[modic]",
            "[worker]",
            "[storage]",
            "[bundles]",
            "[bundles.tls]",
            "[page]",
            "[page.tls]",
            "[mqtt]",
            "[mqtt.commands]",
            "[mqtt.home_assistant]",
            "[mqtt.tls]",
            "[[pacs]]\nname = 'a'",
            "[[pacs]]\nname = 'a'\n[pacs.dicom]",
            "[[pacs]]\nname = 'a'\n[pacs.dicom.tls]",
            "[[pacs]]\nname = 'a'\n[pacs.web]",
        ];
        for section in sections {
            let keys = keys(section);
            assert!(!keys.is_empty(), "{section}");
            for key in keys {
                let tells = |line: &str| {
                    let line = line.trim_start_matches("# ");
                    let name = line.trim_start_matches('[').split(['.', ']', ' ', '=']);
                    let table = line.starts_with('[') && line.contains(&key);
                    table || name.clone().next() == Some(&key)
                };
                assert!(example.lines().any(tells), "{section} {key}");
            }
        }
    }

    #[test]
    fn unknown_keys_and_senseless_values_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("modicd.toml");
        for (text, word) in [
            ("state_dir = '/s'\nquiet = 3", "quiet"),
            ("state_dir = 'relative'", "state_dir"),
            ("state_dir = '/s'\n[worker]\nquiet_period_s = -1", "quiet_period_s"),
            ("state_dir = '/s'\n[modic]\nlow_below = 1.2", "low_below"),
            ("state_dir = '/s'\n[segment]\nthreads = 99", "segment.threads"),
            ("state_dir = '/s'\n[storage]\ninstances_max_bytes = 1000", "instances_max_bytes"),
            ("state_dir = '/s'\n[page]\nbind = '192.0.2.1:80'", "page.tls"),
            ("state_dir = '/s'\n[bundles]\npublic_keys = ['RWQ']", "bundles.public_keys"),
            ("state_dir = '/s'\n[segment]\nkernels = 'mmx'", "this CPU has portable"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = anyhow::Error::from(Config::load(&path).unwrap_err());
            assert!(format!("{error:#}").contains(word), "{error:#}");
        }
    }
}
