//! What SECURITY.md says is there.
#![allow(clippy::unwrap_used)] // all of this file is a test

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn every_test_that_the_list_of_threats_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut sources = Vec::new();
    for folder in ["daemon/src", "models/src", "tests/tests"] {
        sources.extend(rust_files(&root.join(folder)));
    }
    let text: String = sources.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let threats = std::fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let rows = threats.lines().filter(|line| line.starts_with("| ") && !line.contains("shown by"));
    let shown = rows.filter_map(|row| row.trim_end_matches('|').rsplit('|').next());
    let named: BTreeSet<&str> = shown.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(named.len() > 40, "{named:?}");
    for test in named {
        assert!(text.contains(&format!("fn {test}()")), "there is no test {test}");
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            let is_rust = path.extension().is_some_and(|e| e == "rs");
            if path.is_dir() { rust_files(&path) } else { Vec::from_iter(is_rust.then_some(path)) }
        })
        .collect()
}
