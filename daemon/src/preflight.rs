//! Opens what a configuration names, without touching anything: what would keep the daemon from starting is found before it
//! is stopped.

use anyhow::Context;

use crate::config::Config;
use crate::service::site_key;
use crate::{bundles, deliver, pacs, page};

/// Reads keys, passwords and certificates, and loads and verifies the networks. Blocks.
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
    bundles::analyser(config).context("the networks")?;
    Ok(())
}
