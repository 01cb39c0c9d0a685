//! `modicd run`: the daemon.

use std::path::PathBuf;

use crate::service;

/// Run the daemon until SIGTERM or SIGINT: then the DICOM port closes, the study at work is finished and what waits for the
/// broker is offered once more. At SIGHUP the configuration is read again, and taken or refused as a whole.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration; systemd/modicd.toml in the sources explains every key.
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    super::runtime()?.block_on(service::serve(&args.config))?;
    Ok(super::EXIT_OK)
}
