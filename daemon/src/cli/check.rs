//! `modicd check`: could the daemon start with this configuration?

use std::path::PathBuf;

use crate::config::Config;
use crate::preflight;

/// Check a configuration file, and that the keys, certificates and networks that it names can be used: prints "is valid", or
/// exits with 78 and the reason. Run it as the daemon's user.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to check.
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    let config = Config::load(&args.config)?;
    if let Err(error) = preflight::check(&config) {
        eprintln!("modicd: {}: {error:#}", args.config.display());
        return Ok(super::EXIT_CONFIG);
    }
    println!("{} is valid", args.config.display());
    Ok(super::EXIT_OK)
}
