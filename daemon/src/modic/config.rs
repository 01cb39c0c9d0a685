//! What can be set about typing and findings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The section `[modic]`. Every value goes into the result and into the cache's key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A name for this set of thresholds; change it when a value below changes.
    pub typing_version: String,
    /// A signal below this share of normal marrow is low. Published T1 ratio of type 1: 0.83.
    pub low_below: f32,
    /// A signal above this share of normal marrow is high.
    pub high_above: f32,
    /// Two types make a mixed finding when each has at least this share, %. A second type that few voxels show by their
    /// own signals is there from this share nearest to it, weighted by the network's certainty.
    pub mixed_from_percent: f32,
    /// A candidate this near to an endplate touches it, mm.
    pub endplate_contact_mm: f64,
    /// Candidates smaller than this are dropped as noise, mm³.
    pub min_volume_mm3: f64,
    /// A candidate holds a voxel at the network's threshold, and reaches as far as the probability is at
    /// least this.
    pub grow_to_probability: f32,
    /// Where the type of a finding hangs on little, the networks look at the exam again without rounding.
    pub second_look: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            typing_version: "9".to_owned(),
            low_below: 0.85,
            high_above: 1.15,
            mixed_from_percent: 20.0,
            endplate_contact_mm: 3.0,
            min_volume_mm3: 20.0,
            grow_to_probability: 0.3,
            second_look: true,
        }
    }
}
