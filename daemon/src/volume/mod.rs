//! x
mod square;
pub use square::{from_square_pixels, to_square_pixels};
