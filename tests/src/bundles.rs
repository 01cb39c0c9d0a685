//! Bundles of the tests' own: made of those that the program brings, signed by minisign.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use modicd::store::files::sha256_of;

use crate::Daemon;

/// A key that signs bundles.
pub struct Releaser {
    /// The second line of its `.pub` file.
    pub public_key: String,
    secret_key: PathBuf,
}

impl Releaser {
    /// Makes a key below `folder`.
    pub fn new(folder: &Path, name: &str) -> Releaser {
        let (public, secret_key) =
            (folder.join(name).with_extension("pub"), folder.join(name).with_extension("key"));
        minisign(&["-G", "-W", "-p", path(&public), "-s", path(&secret_key)]);
        let text = std::fs::read_to_string(&public).expect("minisign made it");
        let public_key = text.lines().nth(1).expect("a comment and a key").to_owned();
        Releaser { public_key, secret_key }
    }

    /// Signs the manifest of a bundle's folder; `options` are minisign's.
    pub fn sign(&self, bundle: &Path, options: &[&str]) {
        let manifest = bundle.join("manifest.toml");
        let mut arguments = vec!["-S", "-s", path(&self.secret_key), "-m", path(&manifest)];
        arguments.extend(options);
        minisign(&arguments);
    }

    /// A signed bundle below `folder`, see [`unsigned_bundle`].
    pub fn bundle(&self, folder: &Path, network: &str, version: &str) -> PathBuf {
        let bundle = unsigned_bundle(folder, network, version);
        self.sign(&bundle, &[]);
        bundle
    }
}

/// The shipped bundle of a network as another version: its ONNX file has another digest and computes the same.
pub fn unsigned_bundle(folder: &Path, network: &str, version: &str) -> PathBuf {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/bundles").join(network);
    let bundle = folder.join(format!("{network}-{version}"));
    std::fs::create_dir_all(&bundle).expect("the test's folder is writable");
    for name in ["manifest.toml", "network.onnx", "golden.bin"] {
        std::fs::copy(shipped.join(name), bundle.join(name)).expect("it is in the sources");
    }
    change(&bundle, "network.onnx", |onnx| onnx.extend(metadata("version", version)));
    set(&bundle, "version", &format!("{version:?}"));
    bundle
}

/// Changes a file of a bundle that the manifest holds a digest of, and that digest; signed it isn't any more.
pub fn change(bundle: &Path, name: &str, how: impl FnOnce(&mut Vec<u8>)) {
    let file = bundle.join(name);
    let mut bytes = std::fs::read(&file).expect("it is there");
    how(&mut bytes);
    std::fs::write(&file, bytes).expect("the test's folder is writable");
    let key = if name == "golden.bin" { "golden_sha256" } else { "sha256" };
    set(bundle, key, &format!("{:?}", sha256(&file)));
}

/// Gives a key of the manifest another value; signed it isn't any more.
pub fn set(bundle: &Path, key: &str, value: &str) {
    let path = bundle.join("manifest.toml");
    let text = std::fs::read_to_string(&path).expect("a bundle has a manifest");
    let start = format!("{key} = ");
    assert!(text.lines().any(|line| line.starts_with(&start)), "the manifest has {key}");
    let lines = text.lines().map(|line| {
        if line.starts_with(&start) { format!("{start}{value}\n") } else { format!("{line}\n") }
    });
    std::fs::write(&path, lines.collect::<String>()).expect("the test's folder is writable");
}

/// Flips one bit in the middle of a file.
pub fn flip_bit(file: &Path) {
    let mut bytes = std::fs::read(file).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).expect("the test's folder is writable");
}

/// SHA-256 of a file in hex.
pub fn sha256(file: &Path) -> String {
    let digest = sha256_of(file).expect("it can be read");
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `modicd bundle` with these arguments and a configuration.
pub fn modicd_bundle(config: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(Daemon::program());
    command.arg("bundle").args(arguments).arg("--config").arg(config);
    command.output().expect("the program is built")
}

/// A ModelProto that has one metadata_props and nothing else: behind another, it becomes a part of it.
fn metadata(key: &str, value: &str) -> Vec<u8> {
    let field = |tag: u8, bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).expect("short");
        assert!(length < 0x80, "a varint of one byte");
        [&[tag, length], bytes].concat()
    };
    let entry = [field(0x0a, key.as_bytes()), field(0x12, value.as_bytes())].concat();
    field(14 << 3 | 2, &entry)
}

fn minisign(arguments: &[&str]) {
    let output = Command::new("minisign").args(arguments).output();
    let output = output.expect("minisign is installed (tests/run installs it)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a test's folder is UTF-8")
}
