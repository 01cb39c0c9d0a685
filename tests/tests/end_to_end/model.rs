//! `modicd model explain`: what runs as what.
#![allow(clippy::unwrap_used)] // all of this file is a test

use std::process::{Command, Output};

use modicd_tests::Daemon;

fn explain(words: &[&str]) -> Output {
    Command::new(Daemon::program()).args(["model", "explain"]).args(words).output().unwrap()
}

#[test]
fn the_shipped_networks_run_in_integers() {
    for bundle in ["vertebrae", "modic"] {
        let output = explain(&[bundle, "--size", "64x80", "--runs", "1", "--threads", "2"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let convolutions = text.lines().filter(|line| line.contains("convolution"));
        assert!(convolutions.clone().count() > 20, "{text}");
        assert!(convolutions.clone().all(|line| line.contains(" int8 ")), "{text}");
        // Only the network's input is tract's.
        assert_eq!(text.lines().filter(|line| line.contains(" tract ")).count(), 1, "{text}");
    }
}

#[test]
fn what_cannot_be_explained_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = explain(&[folder.path().to_str().unwrap()]);
    assert!(
        String::from_utf8_lossy(&missing.stderr).contains("inside the program: vertebrae, modic")
    );
    let unknown = explain(&["modic", "--kernels", "mmx"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("this CPU has portable"));
    for output in [missing, unknown] {
        assert!(!output.status.success());
    }
}
