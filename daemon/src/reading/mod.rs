//! Reading: the paper's reader experiment as lists of exams that readers grade, first blind, then with the Modic map.
//!
//! Owns who reads what in which order, what was handed in, and which session is open to whom:
//!
//! ```text
//! {state_dir}/reading/{list}/list.json                              studies, readers, orders, hashes of their tokens
//! {state_dir}/reading/{list}/{reader}/{session}/{study_ref}.json    what a reader said of an exam, and when
//! ```
//!
//! Promises: what was handed in is on disk, never changed and never lost; the session with the map opens to a reader only
//! after all exams were graded blind and the washout is over. Knows nothing of pictures or of HTTP:
//! [`page`](crate::page) asks [`ReadingStore::standing`] what a reader may see.

mod error;
mod list;
mod standing;
mod store;
mod table;

pub use error::ReadingError;
pub use list::{ListedExam, Name, NewList, Reader, ReadingList};
pub use standing::Standing;
pub use store::{HandedIn, ReadingStore};

use crate::domain::{Endplate, EndplateSide, Level};

/// The endplates of every exam that readers grade, from the head down: both sides of the six lowest discs with a name.
pub const ENDPLATES: [Endplate; 12] = {
    const fn at(level: Level, side: EndplateSide) -> Endplate {
        Endplate { level, side }
    }
    use EndplateSide::{Inferior, Superior};
    [
        at(Level::T12, Inferior),
        at(Level::L1, Superior),
        at(Level::L1, Inferior),
        at(Level::L2, Superior),
        at(Level::L2, Inferior),
        at(Level::L3, Superior),
        at(Level::L3, Inferior),
        at(Level::L4, Superior),
        at(Level::L4, Inferior),
        at(Level::L5, Superior),
        at(Level::L5, Inferior),
        at(Level::S1, Superior),
    ]
};
