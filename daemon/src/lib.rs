//! `modicd` finds Modic changes in lumbar-spine MRI beside the scanner.
//!
//! The modules are the stages of an exam's way, in its order:
//! [`receive`] → [`study`] → [`volume`] → [`segment`] → [`modic`] → [`report`] → [`deliver`];
//! [`store`] keeps what they promise to keep, [`pipeline`] moves an exam from one to the next.
//! ARCHITECTURE.md tells the whole story.

pub mod broker;
pub mod deliver;
pub mod domain;
pub mod phantom;
pub mod store;
