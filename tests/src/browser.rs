//! Pages read back with Chromium, by the scripts in `browser/`.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Runs `browser/{script}.mjs` with `input` as its argument; gives what it prints, as JSON.
///
/// # Panics
/// The script ends with an error: an assertion of its own failed.
pub fn browser(script: &str, input: &Value) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    assert!(folder.join("node_modules").is_dir(), "tests/run installs the packages of browser/");
    let output = Command::new("node")
        .arg(folder.join(format!("{script}.mjs")))
        .arg(input.to_string())
        .stderr(Stdio::inherit())
        .output()
        .expect("node is installed (tests/run installs it)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "browser/{script}.mjs failed:\n{text}");
    serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{script} printed no JSON ({e}):\n{text}"))
}
