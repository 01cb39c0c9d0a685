//! What is told of a network's bundles.

use schemars::JsonSchema;
use serde::Serialize;

use crate::bundles::{Network, Reason};

/// The body on `bundle/{name}/state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BundleState {
    /// The network.
    pub name: Network,
    /// The bundle in use.
    pub active: BundleSlot,
    /// The active one is new: after failed analyses the box goes back by itself.
    pub on_probation: bool,
    /// Verified, waits to be activated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staged: Option<BundleSlot>,
    /// What a rollback leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<BundleSlot>,
    /// What was refused last, since a bundle was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedBundle>,
}

/// One bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BundleSlot {
    /// Its version.
    pub version: String,
    /// SHA-256 of its network, as in results.
    pub sha256: String,
    /// Where it is.
    pub source: BundleSource,
}

/// Where a bundle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BundleSource {
    /// Inside the program.
    Program,
    /// On the box's disk, by an update.
    Disk,
    /// In the folder that the configuration names.
    Folder,
}

/// A bundle that wasn't taken, or not any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RefusedBundle {
    /// Its version.
    pub version: String,
    /// Code of the reason.
    pub reason: Reason,
}
