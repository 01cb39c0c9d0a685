//! `modicd run`: the daemon.

use std::time::Duration;

use super::config_file::ConfigFile;
use crate::service;

/// Threads that are at work when everything else has ended may go on for this long.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Run the daemon until SIGTERM or SIGINT: then the DICOM port closes, the study at work is finished and what waits for the
/// broker is offered once more. At SIGHUP the configuration is read again, and taken or refused as a whole.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    let runtime = super::runtime()?;
    let served = runtime.block_on(service::serve(&args.config.path));
    // Not longer for what blocks still, such as the download of a bundle.
    runtime.shutdown_timeout(STOP_GRACE);
    served.map(|()| super::EXIT_OK)
}
