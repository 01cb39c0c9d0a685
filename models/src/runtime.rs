//! By which kernels and on how many threads networks run.

use std::fmt;

use crate::int8::Threads;
use crate::{BundleError, Isa};

/// Shared by all networks of a program: one pool of threads.
#[derive(Clone)]
pub struct Runtime {
    kernels: Kernels,
    threads: Threads,
}

/// What runs the quantized parts of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernels {
    /// Integer operators by the kernels of an instruction set.
    Integer(Isa),
    /// tract itself, which runs them in `f32`: the reference, and the way out should an integer kernel fail.
    Tract,
}

impl Runtime {
    /// A runtime with a pool of `threads` threads, which tract's own operators share too; with one, networks run on the
    /// caller's.
    ///
    /// # Errors
    /// The threads can't be started.
    pub fn new(kernels: Kernels, threads: usize) -> Result<Runtime, BundleError> {
        let threads = Threads::new(threads).map_err(BundleError::Threads)?;
        Ok(Runtime { kernels, threads })
    }

    /// The kernels in use.
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    pub(crate) fn threads(&self) -> &Threads {
        &self.threads
    }
}

impl Default for Runtime {
    /// The fastest kernels that the CPU has, on the caller's thread.
    fn default() -> Runtime {
        Runtime { kernels: Kernels::default(), threads: Threads::default() }
    }
}

impl Default for Kernels {
    fn default() -> Kernels {
        Kernels::Integer(Isa::best())
    }
}

impl fmt::Display for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Kernels::Integer(isa) => isa.fmt(f),
            Kernels::Tract => f.write_str("tract"),
        }
    }
}

impl std::str::FromStr for Kernels {
    type Err = String;

    /// `auto`, `tract`, or the name of an instruction set that this CPU has.
    fn from_str(name: &str) -> Result<Kernels, String> {
        match name {
            "auto" => Ok(Kernels::default()),
            "tract" => Ok(Kernels::Tract),
            name => name.parse().map(Kernels::Integer),
        }
    }
}
