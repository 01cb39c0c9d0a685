//! `modicd check`: could the daemon start with this configuration?

use super::config_file::ConfigFile;
use crate::preflight;

/// Check a configuration file, and that the keys, certificates and networks that it names can be used: prints "is valid", or
/// exits with 78 and the reason. Run it as the daemon's user.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    let config = args.config.load()?;
    if let Err(error) = preflight::check(&config) {
        eprintln!("modicd: {}: {error:#}", args.config.path.display());
        return Ok(super::EXIT_CONFIG);
    }
    println!("{} is valid", args.config.path.display());
    Ok(super::EXIT_OK)
}
