//! `modicd check`: could the daemon start with this configuration?

use super::config_file::ConfigFile;
use crate::{credentials, preflight};

/// Check a configuration file, and that the keys, certificates and networks that it names can be used: prints "is valid", or
/// exits with 78 and the reason. Run it as the daemon's user. What systemd hands to the daemon alone it can't look at, and says
/// so; the daemon does, and keeps the configuration that it has when something is wrong.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    let config = args.config.load()?;
    let hidden = credentials::out_of_reach(&config);
    let checked =
        if hidden.is_empty() { preflight::check(&config) } else { preflight::networks(&config) };
    if let Err(error) = checked {
        eprintln!("modicd: {}: {error:#}", args.config.path.display());
        return Ok(super::EXIT_CONFIG);
    }
    println!("{} is valid", args.config.path.display());
    if !hidden.is_empty() {
        let hidden = hidden.join(", ");
        println!("keys and certificates: not looked at, {hidden} is given to the daemon alone");
    }
    Ok(super::EXIT_OK)
}
