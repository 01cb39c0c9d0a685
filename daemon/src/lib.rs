//! x
pub mod domain;
pub mod mask;
pub mod modic;
pub mod phantom;
pub mod report;
pub mod segment;
pub mod volume;
