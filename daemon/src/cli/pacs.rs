//! `modicd pacs`: the configured destinations, asked and served by hand.

use std::path::PathBuf;

use anyhow::{Context, ensure};

use super::config_file::ConfigFile;
use crate::pacs::{Destination, echo, send_files};

/// Ask the configured PACS whether they answer, or send results there.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// C-ECHO, or a query of the DICOMweb server, to every destination or to one; fails if one doesn't answer.
    Echo {
        #[command(flatten)]
        config: ConfigFile,
        /// Only this destination.
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Send the objects of results to a destination, now and without its queue.
    Send {
        #[command(flatten)]
        config: ConfigFile,
        /// The destination.
        #[arg(long, value_name = "NAME")]
        to: String,
        /// Folders of results, as `analyze` or the daemon write them.
        #[arg(required = true, value_name = "FOLDER")]
        results: Vec<PathBuf>,
    },
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    match args.command {
        Command::Echo { config, name } => {
            let destinations = named(&config, name.as_deref())?;
            let mut silent = 0;
            for destination in &destinations {
                match echo(destination) {
                    Ok(()) => println!("{}: answers", destination.name),
                    Err(error) => {
                        eprintln!("{}: {error}", destination.name);
                        silent += 1;
                    }
                }
            }
            Ok(if silent > 0 { super::EXIT_FAILURE } else { super::EXIT_OK })
        }
        Command::Send { config, to, results } => {
            let destination = &named(&config, Some(&to))?[0];
            for folder in &results {
                let files: Vec<PathBuf> =
                    destination.in_order().map(|object| folder.join(object.file())).collect();
                send_files(destination, &files)
                    .with_context(|| format!("{} was not sent", folder.display()))?;
                println!("{}: sent to {to}", folder.display());
            }
            Ok(super::EXIT_OK)
        }
    }
}

/// The destinations of a configuration, at least one.
fn named(config: &ConfigFile, name: Option<&str>) -> anyhow::Result<Vec<Destination>> {
    let all = config.load()?.pacs;
    let names: Vec<String> = all.iter().map(|destination| destination.name.clone()).collect();
    ensure!(!all.is_empty(), "{} has no section [[pacs]]", config.path.display());
    let chosen: Vec<Destination> =
        all.into_iter().filter(|d| name.is_none_or(|name| d.name == name)).collect();
    ensure!(
        !chosen.is_empty(),
        "no destination is called {:?}; there are {}",
        name.unwrap_or_default(),
        names.join(", ")
    );
    Ok(chosen)
}
