//! The page on the box: the exams with their pictures and the Modic map over them, and how the box is, in a browser.
//!
//! Owns the HTTP server, who may ask it what, and the page's files inside the binary. Promises that nothing about an exam
//! is answered without the token, that the page makes no request to anywhere else, and that it never gets in the way of
//! receiving: connections, bodies and times are bounded. It reads what the other stages keep and writes its token and
//! the reading lists.
//!
//! A new group of answers is a module with a function `routes`, merged in [`routes`] behind the token, or beside
//! `/healthz` where everybody may see it.

mod access;
mod answer;
mod assets;
mod config;
mod cookie;
mod events;
mod exam;
mod exams;
mod files;
mod guesses;
mod health;
mod host;
pub(crate) mod logs;
mod metrics;
mod reading;
mod readings;
mod routes;
mod server;
mod shared;
mod summaries;
mod tls;
mod token;
mod words;

pub use config::{Config, ConfigError, Tls};

pub(crate) use server::{Server, check_files};
pub(crate) use shared::Sources;
pub(crate) use token::{address_with_token, read as read_token};
