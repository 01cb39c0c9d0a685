//! The option `--config` of the commands that are about a box.

use std::path::PathBuf;

use crate::config::{Config, ConfigError};

/// Where the package puts the configuration.
const PACKAGED: &str = "/etc/modicd/modicd.toml";

/// Names the daemon's configuration.
#[derive(Debug, clap::Args)]
pub struct ConfigFile {
    /// The daemon's configuration; the one that comes with the program explains every key.
    #[arg(long = "config", value_name = "FILE", default_value = PACKAGED)]
    pub path: PathBuf,
}

impl ConfigFile {
    /// Reads and checks it.
    pub fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&self.path)
    }
}
