//! The Debian package in a fresh Debian: what it installs, what systemd thinks of it, and what removing leaves.
#![allow(clippy::unwrap_used)] // all of this file is a test

use std::collections::BTreeSet;

use modicd_tests::{Root, succeeded};

fn run(root: &Root, command: &str) -> String {
    succeeded(command, &root.run(command))
}

/// All files and folders that outlast a boot, and users.
fn everything(root: &Root) -> BTreeSet<String> {
    let list = "find / -xdev -path /tmp -prune -o -path /run -prune -o -path /dev -prune -o -print; cut -d: -f1 /etc/passwd";
    run(root, list).lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs root and the package: tests/package runs it"]
fn the_package_installs_and_systemd_has_no_complaint() {
    let root = Root::fresh();
    run(&root, "apt-get install -y /modicd.deb");

    assert!(run(&root, "modicd --version").starts_with("modicd "));
    assert!(run(&root, "modicd check --config /etc/modicd/modicd.toml").contains("is valid"));
    assert_eq!(run(&root, "systemctl is-enabled modicd").trim(), "enabled");
    let user = run(&root, "getent passwd modicd");
    assert!(user.trim().ends_with(":/var/lib/modicd:/usr/sbin/nologin"), "{user}");
    for file in [
        "/usr/share/man/man1/modicd.1.gz",
        "/usr/share/man/man1/modicd-run.1.gz",
        "/usr/share/bash-completion/completions/modicd",
        "/usr/share/zsh/vendor-completions/_modicd",
        "/usr/share/fish/vendor_completions.d/modicd.fish",
        "/usr/share/doc/modicd/copyright",
        "/usr/share/doc/modicd/sbom.cdx.json.gz",
        "/usr/share/doc/modicd/examples/dashboards/prometheus/modicd.rules.yml",
        "/usr/share/doc/modicd/examples/contract/finding.schema.json",
    ] {
        assert!(root.path(file).is_file(), "{file}");
    }

    // Once as it is, once with each drop-in that is shipped as an example.
    let verify = "systemd-analyze verify --man=no modicd.service 2>&1";
    assert_eq!(run(&root, verify), "");
    run(&root, "systemd-analyze security --offline=yes --threshold=15 modicd.service");
    let examples = root.path("/usr/share/doc/modicd/examples/modicd.service.d");
    let examples: Vec<_> = examples.read_dir().unwrap().map(|e| e.unwrap().path()).collect();
    assert!(!examples.is_empty());
    let drop_ins = root.path("/etc/systemd/system/modicd.service.d");
    std::fs::create_dir(&drop_ins).unwrap();
    for example in examples {
        std::fs::copy(&example, drop_ins.join(example.file_stem().unwrap())).unwrap();
        assert_eq!(run(&root, verify), "", "{example:?}");
    }
}

#[test]
#[ignore = "needs root and the package: tests/package runs it"]
fn removing_keeps_everything_and_purging_keeps_the_user_alone() {
    let root = Root::fresh();
    let before = everything(&root);
    run(&root, "apt-get install -y /modicd.deb");
    run(
        &root,
        "install -d -o modicd -m 700 /var/lib/modicd/results && touch /var/lib/modicd/results/exam",
    );
    run(&root, "touch /etc/modicd/mqtt.password");

    run(&root, "apt-get remove -y modicd");
    assert!(!root.path("/usr/bin/modicd").exists());
    for kept in
        ["/etc/modicd/modicd.toml", "/etc/modicd/mqtt.password", "/var/lib/modicd/results/exam"]
    {
        assert!(root.path(kept).exists(), "{kept}");
    }

    run(&root, "apt-get purge -y modicd");
    let left: Vec<String> = everything(&root).difference(&before).cloned().collect();
    // What the package managers themselves keep, and backups of the lists of users.
    let own = [
        "/var/lib/dpkg/",
        "/var/lib/apt/",
        "/var/cache/",
        "/var/log/",
        "/etc/.pwd.lock",
        "/var/lib/systemd",
    ];
    let left: Vec<&String> = left
        .iter()
        .filter(|path| !own.iter().any(|o| path.starts_with(o)) && !path.ends_with('-'))
        .collect();
    assert_eq!(left, ["modicd"], "left after the purge");
}
