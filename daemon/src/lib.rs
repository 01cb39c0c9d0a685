//! `modicd` finds Modic changes in lumbar-spine MRI beside the scanner.
//!
//! The modules are the stages of an exam's way, in its order:
//! [`receive`] → [`study`] → [`volume`] → [`segment`] → [`modic`] → [`report`] → [`deliver`]. [`analysis`] joins
//! the middle five, [`service`] all of them; [`store`] keeps what they promise to keep. ARCHITECTURE.md tells the whole story.

pub mod agreement;
pub mod analysis;
pub mod audit;
pub mod broker;
pub mod bundles;
pub mod cli;
mod codes;
pub mod config;
pub mod contract;
mod credentials;
pub mod dataset;
pub mod deliver;
pub mod doctor;
pub mod domain;
pub mod evaluate;
pub mod fleet;
#[doc(hidden)]
pub mod fuzzing;
mod hex;
pub mod logging;
pub mod mask;
pub mod metrics;
pub mod modic;
pub mod pacs;
pub mod page;
pub mod phantom;
pub mod ports;
mod preflight;
mod quantile;
pub mod reading;
pub mod receive;
pub mod report;
pub mod segment;
pub mod service;
pub mod status;
pub mod storage;
pub mod store;
pub mod study;
pub mod supervision;
pub mod support;
pub mod tls;
mod usage;
pub mod volume;
mod vr;
