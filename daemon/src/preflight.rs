//! Opens what a configuration names, without touching anything: what would keep the daemon from starting is found before it
//! is stopped.

use anyhow::Context;

use crate::config::Config;
use crate::service::site_key;
use crate::{bundles, deliver, pacs, page};

/// Reads keys, passwords and certificates, and loads and verifies the networks. Blocks.
///
/// Secrets that systemd gives to the daemon alone are [`crate::credentials::out_of_reach`] of others, who look at
/// [`networks`] only.
///
/// # Errors
/// The first thing that can't be used, by its key.
pub fn check(config: &Config) -> anyhow::Result<()> {
    if let Some(file) = &config.site_key_file {
        site_key::read(file).context("site_key_file")?;
    }
    if let Some(tls) = &config.receive.tls {
        tls.acceptor().context("[receive.tls]")?;
    }
    deliver::check_files(&config.mqtt).context("[mqtt]")?;
    for destination in &config.pacs {
        pacs::check_files(destination)?;
    }
    page::check_files(&config.page).context("[page]")?;
    networks(config)
}

/// Loads and verifies the networks. Blocks.
///
/// # Errors
/// None can be used.
pub fn networks(config: &Config) -> anyhow::Result<()> {
    bundles::analyser(config).map(drop).context("the networks")
}
