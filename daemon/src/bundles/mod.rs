//! The networks' bundles on the box: which of them is in use, and how another takes its place.
//!
//! Owns `{state_dir}/bundles/`: a folder for each bundle, named by the digest of its manifest, and `state.json`, which
//! says for each network what is active, staged and previous. Promises:
//! - There is always a bundle that works: the active one is verified when it is loaded, else the previous one is taken, else
//!   the one inside the program.
//! - Nothing is taken that a trusted key hasn't signed, that isn't newer than all that was active, or that doesn't compute
//!   here what it did where it was made.
//! - A bundle's folder is whole and on disk before `state.json` names it, and a switch is the renaming of that one file. So
//!   a power cut leaves the old state or the new one.
//! - A state that can't be understood costs no bundle: it is put aside, and what it names stays.
//!
//! The daemon and the command line may work on it at once: who changes something holds a lock on the file `lock`. Nothing here
//! runs exams; the service tells when one begins and ends ([`Store::analysis_begins`]).

mod config;
mod fetch;
pub(crate) mod fuzzing;
mod keys;
mod package;
mod reason;
mod speed;
mod state;
mod store;
#[cfg(test)]
mod testing;

use modic_models::{BundleError, Shipped};

pub use config::{Config, ConfigError};
pub use fetch::fetch;
pub use package::Package;
pub use reason::{Reason, UpdateError};
pub use state::{Kept, Refused, Slot, Slots, State};
pub use store::{Ended, InUse, Store};

use crate::analysis::Analyser;
use crate::codes::coded_enum;
use crate::segment::Segmenter;

coded_enum! {
    /// A network, by the name of its bundles.
    Network, what_it_is: "What it does, for a person.",
    Vertebrae "vertebrae" "Network 1: vertebral bodies, S1, discs and canal on T1.";
    Modic "modic" "Network 2: Modic changes on T1 and T2.";
}

/// The analyser that a daemon of this configuration uses: with the networks of the folder that it names, else with those in
/// use under its state folder.
///
/// # Errors
/// A bundle of that folder, or one inside the program, doesn't verify.
pub fn analyser(config: &crate::config::Config) -> Result<Analyser, BundleError> {
    analyser_with(config, &Store::new(config)?).map(|(analyser, _)| analyser)
}

/// The same with the configuration's store, and which bundles it has: none that the store knows where the configuration names
/// a folder.
///
/// # Errors
/// As of [`analyser`].
pub fn analyser_with(
    config: &crate::config::Config,
    store: &Store,
) -> Result<(Analyser, Vec<InUse>), BundleError> {
    if let Some(folder) = &config.bundles_dir {
        return Ok((Analyser::new(Some(folder), config)?, Vec::new()));
    }
    let (vertebrae, first) = store.load(Network::Vertebrae)?;
    let (modic, second) = store.load(Network::Modic)?;
    let segmenter = Segmenter::new(vertebrae, modic)?;
    Ok((Analyser::of(segmenter, config), vec![first, second]))
}

impl Network {
    /// The network of this name, if there is one.
    pub fn named(name: &str) -> Option<Network> {
        Self::ALL.iter().copied().find(|network| network.as_str() == name)
    }

    /// Its bundle inside the program.
    pub fn shipped(self) -> Shipped {
        match self {
            Network::Vertebrae => Shipped::Vertebrae,
            Network::Modic => Shipped::Modic,
        }
    }
}
