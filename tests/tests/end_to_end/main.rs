//! The built program among real peers, a file for each thing that it must do. One program for all: each one more would be linked
//! with all of the daemon again. Only `fuzz` is its own, since it bounds the memory of its whole process.

mod access;
mod agreement;
mod audit;
mod bad_input;
mod boot;
mod bundles;
mod bundles_power_cut;
mod canary;
mod commands;
mod conformance;
mod crash;
mod dashboard;
mod doctor;
mod evaluate;
mod fleet;
mod grafana;
mod home_assistant;
mod model;
mod mqtt5;
mod outage;
mod package;
mod pacs_delivery;
mod pacs_objects;
mod page;
mod peers;
mod phantoms;
mod prometheus;
mod reading;
mod security;
mod storage;
mod supervision;
mod transfer_syntaxes;
