//! `modicd check`: is this configuration valid?

use std::path::PathBuf;

use crate::config::Config;

/// Check a configuration file: prints "is valid", or exits with 78 and the reason.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to check.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    Config::load(&args.config)?;
    println!("{} is valid", args.config.display());
    Ok(super::EXIT_OK)
}
