//! Opens what a configuration names, without touching anything: what would keep the daemon from starting is found before it
//! is stopped.

use anyhow::Context;

use crate::config::Config;
use crate::{bundles, deliver, pacs, page};

/// Reads keys, passwords and certificates, and loads and verifies the networks. Blocks.
///
/// # Errors
/// The first thing that can't be used, by its key.
pub fn check(config: &Config) -> anyhow::Result<()> {
    if let Some(file) = &config.site_key_file {
        std::fs::read(file)
            .with_context(|| format!("site_key_file: can't read {}", file.display()))?;
    }
    deliver::check_files(&config.mqtt).context("[mqtt]")?;
    for destination in &config.pacs {
        pacs::check_files(destination)?;
    }
    page::check_files(&config.page).context("[page]")?;
    bundles::analyser(config).context("the networks")?;
    Ok(())
}
