//! The plain types that pass between the stages.
//!
//! Owns no behaviour beyond validation and arithmetic on itself; knows no foreign library but `ndarray`
//! and `serde`. Every value is checked once, where it is made.

mod anatomy;
mod ids;
mod uid;
mod volume;

pub use anatomy::{Endplate, EndplateSide, Level, ModicType};
pub use ids::{AeTitle, IdError, StudyRef};
pub use uid::derived_uid;
pub use volume::{Grid, GridError, Volume};
