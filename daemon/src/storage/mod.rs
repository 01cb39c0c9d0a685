//! Storage: how long instances and results are kept, and how full the disk may become.
//!
//! Owns the section `[storage]`, the choice of what goes ([`plan`]: a pure function over facts) and the [`Keeper`], which
//! gathers the facts and removes. Promises that nothing goes that is to be analysed, being received, not yet delivered to
//! the broker and every PACS, or needed by an open reading list, and that a crash at any moment leaves a study's instances
//! whole or gone, and so its results. The oldest studies go first. Must not decide what is received: the instance store
//! refuses by itself below the watermark.
//!
//! A study goes in two steps: first its instances, while its result stays on the page; then all the rest, after which the box
//! knows nothing of it.

mod config;
mod keeper;
mod plan;
mod sizes;

pub use config::{Config, ConfigError};
pub use keeper::{Keeper, Sources, StorageError};
