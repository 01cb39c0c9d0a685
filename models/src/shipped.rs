//! The bundles that ship inside the program, so that a box has working ones whatever its disk holds.

use crate::{Bundle, BundleError, Manifest, Runtime};

/// Which of the two networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shipped {
    /// Network 1: vertebral bodies, S1, discs and canal on T1.
    Vertebrae,
    /// Network 2: Modic changes on T1 and T2.
    Modic,
}

macro_rules! files {
    ($name:literal) => {
        (
            include_str!(concat!("../bundles/", $name, "/manifest.toml")),
            include_bytes!(concat!("../bundles/", $name, "/network.onnx")).as_slice(),
            include_bytes!(concat!("../bundles/", $name, "/golden.bin")).as_slice(),
        )
    };
}

impl Shipped {
    /// Manifest, network and golden case.
    fn files(self) -> (&'static str, &'static [u8], &'static [u8]) {
        match self {
            Shipped::Vertebrae => files!("vertebrae"),
            Shipped::Modic => files!("modic"),
        }
    }

    /// What its manifest says; the network isn't looked at.
    pub fn manifest(self) -> Manifest {
        Manifest::parse(self.files().0).expect("the tests load both")
    }
}

impl Bundle {
    /// Loads and verifies a shipped bundle.
    ///
    /// # Errors
    /// The golden case comes out otherwise on this machine.
    pub fn shipped(which: Shipped, runtime: &Runtime) -> Result<Bundle, BundleError> {
        let (manifest, onnx, golden) = which.files();
        Bundle::verify(manifest, onnx.into(), golden, runtime)
    }
}
