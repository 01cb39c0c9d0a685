//! What the end-to-end tests share: the built daemon and real peers as child processes.
//!
//! Nothing here stands in for a peer: mosquitto, dcmtk, Orthanc and nginx are the programs of the distribution's
//! packages.
//! A test that needs one fails when it is absent; `tests/run` installs them.

mod browser;
mod certificates;
mod contract;
mod daemon;
mod exams;
mod node_red;
mod pacs;
mod page;
mod peers;
mod process;
mod readers;

pub use browser::browser;
pub use certificates::Certificates;
pub use daemon::Daemon;
pub use exams::{Defect, Exam, dataset_exam};
pub use node_red::{NodeRed, dashboard as node_red_dashboard};
pub use pacs::{HttpsProxy, Orthanc, Storescp};
pub use page::{Answer, Page};
pub use peers::{
    Broker, Received, Subscriber, dciodvfy_errors, echoscu, python, storescu, storescu_command,
};
pub use process::{eventually, free_port};
pub use readers::{SimulatedReader, endplates, simulate};
