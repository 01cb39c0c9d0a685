//! How the networks are run.

use modic_models::{BundleError, Kernels, Runtime};
use serde::{Deserialize, Serialize};

/// The section `[segment]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Threads that run a network; 0: one less than the CPU has, so that receiving stays responsive.
    pub threads: usize,
    /// `auto`: the fastest kernels of the CPU; else `tract`, or an instruction set by name.
    #[serde(with = "by_name")]
    pub kernels: Kernels,
}

/// More threads than this gain nothing on slices of this size.
pub const MAX_THREADS: usize = 16;

impl Config {
    /// The networks' runtime.
    ///
    /// # Errors
    /// The threads can't be started.
    pub fn runtime(&self) -> Result<Runtime, BundleError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = match self.threads {
            0 => cores.saturating_sub(1).clamp(1, MAX_THREADS),
            threads => threads,
        };
        Runtime::new(self.kernels, threads)
    }
}

/// Kernels as their name.
mod by_name {
    use modic_models::Kernels;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(kernels: &Kernels, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(kernels)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Kernels, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
