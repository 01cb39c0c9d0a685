//! `modicd bundle`: other networks for a box.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::config_file::ConfigFile;
use crate::bundles::{Kept, Network, Package, Slot, Store, fetch};
use crate::config::Config;

/// Update the networks. What is changed here, a running daemon takes up before its next exam. Run it as the daemon's user.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make the archive of a folder with manifest.toml, its signature by minisign, network.onnx and golden.bin.
    Pack {
        /// The folder.
        folder: PathBuf,
        /// The archive.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Verify a package and keep it to be activated.
    Stage {
        /// An archive, a folder, or an address that begins with https://.
        package: String,
        /// SHA-256 that a fetched archive must have.
        #[arg(long, value_name = "HEX")]
        sha256: Option<String>,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Use the staged bundle of a network if it verifies once more and is fast enough.
    Activate {
        /// vertebrae or modic.
        #[arg(value_parser = network)]
        network: Network,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Use the previous bundle of a network again.
    Rollback {
        /// vertebrae or modic.
        #[arg(value_parser = network)]
        network: Network,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// List which bundles are active, staged and previous.
    List {
        #[command(flatten)]
        config: ConfigFile,
    },
}

impl ConfigFile {
    fn store(&self) -> anyhow::Result<(Config, Store)> {
        let config = self.load()?;
        let store = Store::new(&config)?;
        Ok((config, store))
    }
}

fn network(name: &str) -> Result<Network, String> {
    let names: Vec<_> = Network::ALL.iter().map(|network| network.as_str()).collect();
    Network::named(name).ok_or_else(|| format!("there are {}", names.join(" and ")))
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    match args.command {
        Command::Pack { folder, out } => {
            let package = Package::from_folder(&folder)?;
            std::fs::write(&out, package.to_tar()?)
                .with_context(|| format!("can't write {}", out.display()))?;
        }
        Command::Stage { package, sha256, config } => {
            let (config, store) = config.store()?;
            let package = if package.contains("://") {
                fetch(&package, sha256.as_deref(), &config.bundles)?
            } else {
                ensure!(sha256.is_none(), "--sha256 is for what is fetched");
                Package::read(Path::new(&package))?
            };
            let (network, kept) = store.stage(&package)?;
            println!("{network}: staged {}", on_disk(&kept));
        }
        Command::Activate { network, config } => {
            let kept = config.store()?.1.activate(network, None)?;
            println!("{network}: activated {}", on_disk(&kept));
        }
        Command::Rollback { network, config } => {
            let slot = config.store()?.1.roll_back(network)?;
            println!("{network}: active again {}", described(network, &slot));
        }
        Command::List { config } => list(&config.store()?.1)?,
    }
    Ok(super::EXIT_OK)
}

/// What the state says, and whether what it says can be used.
fn list(store: &Store) -> anyhow::Result<()> {
    let state = store.state();
    for network in Network::ALL.iter().copied() {
        let slots = state.of(network);
        let (_, in_use) = store.load(network)?;
        let probation = if slots.on_probation() { ", on probation" } else { "" };
        println!("{network}: active {}{probation}", described(network, &slots.active));
        if let Some(refused) = &in_use.fell_back {
            println!(
                "  can't be used ({}); in use {}",
                refused.reason,
                described(network, &in_use.slot)
            );
        }
        if let Some(staged) = &slots.staged {
            println!("  staged {}", on_disk(staged));
        }
        if let Some(previous) = &slots.previous {
            println!("  previous {}", described(network, previous));
        }
        if let Some(refused) = &slots.refused {
            println!("  refused {}: {}", refused.version, refused.reason);
        }
    }
    Ok(())
}

fn described(network: Network, slot: &Slot) -> String {
    match slot {
        Slot::Disk(kept) => on_disk(kept),
        Slot::Program => {
            let manifest = network.shipped().manifest();
            format!("{} ({}), inside the program", manifest.version, manifest.sha256)
        }
    }
}

fn on_disk(kept: &Kept) -> String {
    format!("{} ({})", kept.version, kept.sha256)
}
