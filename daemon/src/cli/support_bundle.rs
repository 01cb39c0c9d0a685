//! `modicd support-bundle`: everything that support needs, and nothing of a patient.

use std::path::PathBuf;

use anyhow::Context;

use super::config_file::ConfigFile;
use crate::support;

/// Put what support needs into one archive: the configuration without secrets, what the doctor says, the newest log records,
/// the machine. Nothing of a patient and no secret is in it; the contents are listed. Run it as root or as the daemon's user.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// The archive to make; by default modicd-support-TIME.tar.gz in this folder.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    let config = args.config.load();
    let config = config.map_err(|error| format!("{:#}", anyhow::Error::from(error)));
    let out = args.out.unwrap_or_else(|| support::file_name().into());
    let parts = support::gather(&config);
    let context = || format!("can't write {}", out.display());
    let file = support::create(&out).with_context(context)?;
    support::write(&parts, file).with_context(context)?;
    for part in &parts {
        println!("{part}");
    }
    println!("{}", out.display());
    Ok(super::EXIT_OK)
}
