//! What the end-to-end tests share: the built daemon and real peers as child processes.
//!
//! Nothing here stands in for a peer: mosquitto, dcmtk, Orthanc and nginx are the programs of the distribution's
//! packages. Only systemd's notification socket has a stand-in; the packages' test boots systemd itself.
//! A test that needs one fails when it is absent; `tests/run` installs them.

mod brokers;
mod browser;
mod bundles;
mod certificates;
mod contract;
mod daemon;
mod dashboards;
mod exams;
pub mod faults;
mod influxdb;
mod machine;
mod node_red;
mod pacs;
mod page;
mod peers;
mod process;
mod prometheus;
mod readers;
mod requests;
mod service_manager;
mod small_disk;
mod support;
mod syslog;
mod telegraf;

pub use brokers::{Client, ShippedBroker, shipped_settings};
pub use browser::browser;
pub use bundles::{Releaser, change, flip_bit, modicd_bundle, set, sha256, unsigned_bundle};
pub use certificates::Certificates;
pub use daemon::Daemon;
pub use dashboards::{dashboards_file, dashboards_folder, grafana_dashboards, queries};
pub use exams::{Defect, Exam, dataset_exam};
pub use influxdb::InfluxDb;
pub use machine::{Machine, Root, succeeded};
pub use node_red::{NodeRed, dashboard as node_red_dashboard};
pub use pacs::{HttpsProxy, Orthanc, Storescp};
pub use page::{Answer, Page};
pub use peers::{
    Broker, Received, Subscriber, dciodvfy_errors, echoscu, python, storescu, storescu_command,
};
pub use process::{eventually, free_port};
pub use prometheus::{Prometheus, metrics_in, promtool};
pub use readers::{SimulatedReader, endplates, simulate};
pub use requests::{answers, ask, end_of};
pub use service_manager::ServiceManager;
pub use small_disk::SmallDisk;
pub use support::support_bundle;
pub use syslog::Syslog;
pub use telegraf::as_telegraf_would;
