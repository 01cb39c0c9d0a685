//! The networks and the kernels that will run them.

use modic_models::{BundleError, Isa, Kernels};

use super::Check;
use crate::bundles;
use crate::config::Config;

pub(super) fn checks(config: &Config) -> Vec<Check> {
    vec![kernels(config.segment.kernels), networks(config)]
}

fn kernels(kernels: Kernels) -> Check {
    const NAME: &str = "kernels";
    let found = format!("the quantized networks run by {kernels}");
    match kernels {
        Kernels::Integer(isa) if isa != Isa::Portable => Check::ok(NAME, found),
        _ => Check::warning(
            NAME,
            found,
            "Several times slower than this program can be: set segment.kernels to \"auto\", on an x86-64 CPU with AVX2 or an ARM CPU with NEON.",
        ),
    }
}

/// Loading verifies digest, manifest and golden case.
fn networks(config: &Config) -> Check {
    const NAME: &str = "networks";
    match bundles::analyser(config) {
        Ok(analyser) => {
            let each = |b: crate::report::BundleUsed| {
                format!("{} {} ({})", b.name, b.version, &b.sha256[..12])
            };
            let all: Vec<String> = analyser.bundles().into_iter().map(each).collect();
            Check::ok(NAME, format!("{}: digests and golden cases agree", all.join(", ")))
        }
        Err(error) => {
            let remedy = match error {
                BundleError::GoldenDiffers { .. } => {
                    "The network gives other results on this machine than where it was made: try segment.kernels = \"tract\", and report this."
                }
                _ => {
                    "Copy the bundle again, or leave bundles_dir out to use the networks inside the program."
                }
            };
            Check::fault(NAME, format!("{:#}", anyhow::Error::from(error)), remedy)
        }
    }
}
