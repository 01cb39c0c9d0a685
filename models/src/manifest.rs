//! A bundle's manifest: the contract between those who train and those who run.

use serde::Deserialize;

use crate::BundleError;

/// The largest side a slice may have after padding, pixels: bounds what a run may allocate.
pub(crate) const MAX_SIDE: usize = 2048;

/// `manifest.toml`. Sections about training and measured figures are for people and kept as they are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The bundle's name, `vertebrae` or `modic`.
    pub name: String,
    /// Its version; the digest is what results refer to.
    pub version: String,
    /// SHA-256 of `network.onnx`, lower-case hex.
    pub sha256: String,
    /// SHA-256 of `golden.bin`, lower-case hex.
    pub golden_sha256: String,
    /// What goes in.
    pub input: Input,
    /// What comes out.
    pub output: Output,
    /// How the network is quantized.
    #[serde(default)]
    pub quantization: toml::Table,
    /// Data, licences, splits, seeds.
    #[serde(default)]
    pub training: toml::Table,
    /// Measured accuracy.
    #[serde(default)]
    pub figures: toml::Table,
}

/// What a network expects.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The series that make up the channels, in order.
    pub channels: Vec<String>,
    /// Side of a square pixel, mm.
    pub pixel_mm: f64,
    /// Height and width must be multiples of this; [`crate::Bundle::run`] pads.
    pub size_multiple: usize,
    /// How intensities are prepared.
    pub normalisation: Normalisation,
}

/// How intensities are prepared for a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalisation {
    /// Divided by the local mean: removes coil shading before anything is known of the picture.
    Local,
    /// Divided by the patient's own marrow signal.
    Marrow,
}

/// What a network gives.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Names of the output channels. One class is a logit for a sigmoid, several are for a softmax.
    pub classes: Vec<String>,
    /// The probability from which a pixel counts, for one-class networks.
    pub threshold: Option<f32>,
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// It isn't TOML as described here, or contradicts itself.
    pub fn parse(text: &str) -> Result<Manifest, BundleError> {
        let manifest: Manifest = toml::from_str(text).map_err(BundleError::Manifest)?;
        let problem = if manifest.input.channels.is_empty() {
            Some("input.channels is empty".to_owned())
        } else if manifest.output.classes.is_empty() {
            Some("output.classes is empty".to_owned())
        } else if !(0.1..=5.0).contains(&manifest.input.pixel_mm) {
            Some(format!("input.pixel_mm {} is outside 0.1 to 5", manifest.input.pixel_mm))
        } else if !(1..=256).contains(&manifest.input.size_multiple) {
            Some(format!(
                "input.size_multiple {} is outside 1 to 256",
                manifest.input.size_multiple
            ))
        } else if manifest.output.threshold.is_some_and(|t| !(0.0..=1.0).contains(&t)) {
            Some("output.threshold is outside 0 to 1".to_owned())
        } else {
            None
        };
        match problem {
            Some(problem) => Err(BundleError::Contract { bundle: manifest.name, problem }),
            None => Ok(manifest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        name = "modic"
        version = "1"
        sha256 = ""
        golden_sha256 = ""
        [input]
        channels = ["t1", "t2"]
        pixel_mm = 0.75
        size_multiple = 16
        normalisation = "marrow"
        [output]
        classes = ["modic"]
        threshold = 0.5
    "#;

    #[test]
    fn a_manifest_is_read() {
        let m = Manifest::parse(GOOD).unwrap();
        assert_eq!(m.input.channels, ["t1", "t2"]);
        assert_eq!(m.input.normalisation, Normalisation::Marrow);
    }

    #[test]
    fn contradictions_are_named() {
        for (from, to, word) in [
            ("0.75", "0.0", "pixel_mm"),
            ("[\"modic\"]", "[]", "classes"),
            ("= 16", "= 0", "size_multiple"),
            ("threshold = 0.5", "threshold = 1.5", "threshold"),
        ] {
            let error = Manifest::parse(&GOOD.replace(from, to)).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
        assert!(Manifest::parse(&GOOD.replace("version", "vresion")).is_err());
    }
}
