//! What survives a power cut.
//!
//! Received instances and results are plain files, written atomically and fsynced ([`files`],
//! [`results`]); they alone are the truth. The [`index`] (sled) is a queue and a cache over them that can be
//! rebuilt at any time.
//!
//! Everything here blocks on the disk: call it from `spawn_blocking`.

pub mod disk;
pub mod files;
pub mod index;
pub mod results;

pub use disk::Disk;
pub use files::{FileError, publish_dir, write_atomically};
pub use index::{Index, IndexError, Opened};
pub use results::{ResultStore, StagedResult, StoredResult};
