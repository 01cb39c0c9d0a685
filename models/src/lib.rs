//! Loads, verifies and runs modicd's network bundles with tract.
//!
//! A bundle is one network with everything that is needed to trust it: the ONNX file, a manifest that
//! states its input contract and measured accuracy, and a golden case. [`Bundle::load`] checks the digest
//! and runs the golden case, so a bundle that loads is one that computes what its makers computed.
//!
//! This crate knows tract; nothing outside it does. It knows nothing of DICOM, patients or files other
//! than a bundle's own.
//!
//! ```
//! use ndarray::Array3;
//! # fn main() -> Result<(), modic_models::BundleError> {
//! let mut vertebrae = modic_models::Bundle::shipped(modic_models::Shipped::Vertebrae, &Default::default())?;
//! let slice = Array3::zeros((3, 100, 90)); // channels, rows, columns: any size, it is padded
//! let logits = vertebrae.run(slice.view())?;
//! assert_eq!(logits.dim(), (vertebrae.manifest().output.classes.len(), 100, 90));
//! # Ok(())
//! # }
//! ```

mod bundle;
mod error;
mod golden;
mod int8;
mod manifest;
mod network;
mod runtime;
mod shipped;

pub use bundle::Bundle;
pub use error::BundleError;
pub use int8::Isa;
pub use manifest::{Input, Manifest, Normalisation, Output};
pub use network::{Explained, Network};
pub use runtime::{Kernels, Runtime};
pub use shipped::Shipped;
