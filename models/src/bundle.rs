//! A bundle: loaded, verified, ready to run.

use std::borrow::Cow;
use std::path::Path;

use ndarray::{Array3, ArrayView3};
use sha2::{Digest, Sha256};

use crate::golden::GoldenCase;
use crate::{BundleError, Explained, Input, Manifest, Network, Runtime};

/// Fraction of the golden case's logits that must be met.
///
/// Integer rounding may differ by one step between runtimes, which moves a logit a little more now and then.
const GOLDEN_AGREEMENT: f64 = 0.995;

/// One network that was verified when it was loaded.
pub struct Bundle {
    manifest: Manifest,
    identity: String,
    /// `network.onnx`.
    onnx: Cow<'static, [u8]>,
    runtime: Runtime,
    network: Network,
}

impl Bundle {
    /// Loads a bundle's folder: `manifest.toml`, `network.onnx`, `golden.bin`.
    ///
    /// # Errors
    /// A file is missing, isn't the one the manifest names, the network doesn't parse, or the golden
    /// case comes out otherwise than where the bundle was made.
    pub fn load(folder: &Path, runtime: &Runtime) -> Result<Bundle, BundleError> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|source| BundleError::Read { path, source })
        };
        let manifest = read("manifest.toml")?;
        Self::verify(
            &String::from_utf8_lossy(&manifest),
            read("network.onnx")?.into(),
            &read("golden.bin")?,
            runtime,
        )
    }

    /// Verifies a bundle's three files and makes it ready.
    ///
    /// # Errors
    /// As of [`Bundle::load`], but for the files themselves.
    pub fn verify(
        manifest: &str,
        onnx: Cow<'static, [u8]>,
        golden: &[u8],
        runtime: &Runtime,
    ) -> Result<Bundle, BundleError> {
        let identity = sha256(manifest.as_bytes());
        let manifest = Manifest::parse(manifest)?;
        check_digest(&manifest, "network.onnx", &onnx, &manifest.sha256)?;
        check_digest(&manifest, "golden.bin", golden, &manifest.golden_sha256)?;
        let case = GoldenCase::parse(golden)
            .map_err(|problem| BundleError::Golden { bundle: manifest.name.clone(), problem })?;
        let input = &manifest.input;
        let network = Network::parse(&onnx, input.channels.len(), input.size_multiple, runtime)
            .map_err(|cause| runtime_error(&manifest, "parsing the network", cause))?;
        let mut bundle = Bundle { manifest, identity, onnx, runtime: runtime.clone(), network };
        let agreement = case.agreement(bundle.run(case.input.view())?.view());
        if agreement < GOLDEN_AGREEMENT {
            return Err(BundleError::GoldenDiffers {
                bundle: bundle.manifest.name,
                agreement,
                required: GOLDEN_AGREEMENT,
            });
        }
        bundle.rest();
        tracing::info!(
            bundle = bundle.manifest.name,
            version = bundle.manifest.version,
            golden_agreement = agreement,
            "loaded and verified a bundle"
        );
        Ok(bundle)
    }

    /// The same bundle with nothing rounded between its weights, run by tract in `f32`: slower, and what a quantized
    /// one stands for.
    ///
    /// # Errors
    /// tract doesn't know the network in this form.
    pub fn unrounded(&self) -> Result<Bundle, BundleError> {
        let Input { channels, size_multiple, .. } = &self.manifest.input;
        let network =
            Network::parse_unrounded(&self.onnx, channels.len(), *size_multiple, &self.runtime)
                .map_err(|cause| runtime_error(&self.manifest, "parsing the network", cause))?;
        let Bundle { manifest, identity, onnx, runtime, .. } = self;
        Ok(Bundle {
            manifest: manifest.clone(),
            identity: identity.clone(),
            onnx: onnx.clone(),
            runtime: runtime.clone(),
            network,
        })
    }

    /// Whether values are rounded to integers between the network's weights.
    pub fn is_rounded(&self) -> bool {
        self.network.is_rounded()
    }

    /// The manifest that came with the network.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What identifies the network in results: the SHA-256 of its ONNX file, lower-case hex.
    pub fn digest(&self) -> &str {
        &self.manifest.sha256
    }

    /// What identifies the bundle as a whole: the SHA-256 of its manifest, which holds the digests of the other files.
    /// Two bundles may differ in nothing but a threshold there.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Runs one slice `[channel, row, column]`, normalised as the manifest says, with pixels of
    /// [`crate::Input::pixel_mm`]; any size. Gives logits `[class, row, column]` of the same size.
    ///
    /// # Errors
    /// The number of channels is wrong, the slice is empty or larger than 2048 pixels, or tract fails.
    pub fn run(&mut self, slice: ArrayView3<f32>) -> Result<Array3<f32>, BundleError> {
        let logits = self
            .network
            .run(slice)
            .map_err(|cause| runtime_error(&self.manifest, "running the network", cause))?;
        if logits.dim().0 != self.manifest.output.classes.len() {
            return Err(BundleError::Contract {
                bundle: self.manifest.name.clone(),
                problem: format!("the network gives {} classes", logits.dim().0),
            });
        }
        Ok(logits)
    }

    /// Frees the memory that runs of one size share; the next run takes it again.
    pub fn rest(&mut self) {
        self.network.forget_plan();
    }

    /// Runs slices of nothing of this size, some `times`, and says of every operator how it ran.
    ///
    /// # Errors
    /// As of [`Bundle::run`].
    pub fn explain(
        &mut self,
        size: [usize; 2],
        times: usize,
    ) -> Result<Vec<Explained>, BundleError> {
        let explained = self.network.explain(size, times);
        explained.map_err(|cause| runtime_error(&self.manifest, "explaining the network", cause))
    }
}

fn runtime_error(manifest: &Manifest, action: &'static str, cause: String) -> BundleError {
    BundleError::Runtime { bundle: manifest.name.clone(), action, cause }
}

fn check_digest(
    manifest: &Manifest,
    file: &'static str,
    bytes: &[u8],
    expected: &str,
) -> Result<(), BundleError> {
    let found = sha256(bytes);
    if found == expected {
        return Ok(());
    }
    let (bundle, expected) = (manifest.name.clone(), expected.to_owned());
    Err(BundleError::Digest { bundle, file, found, expected })
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
