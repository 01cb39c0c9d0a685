//! A fresh Debian 12 for the package: a root folder, and the same booted with systemd as process 1.
//!
//! `tests/package` makes the root's archive and the packages, and runs the tests in a network namespace of their own, so
//! that a box's usual ports are free. The container shares that network: peers of a test reach the daemon on 127.0.0.1.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::process::{Running, eventually};

/// What `tests/package` keeps.
fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")
}

/// The package for this machine's architecture.
///
/// # Panics
/// cross/build hasn't made it.
pub fn package() -> PathBuf {
    let folder = target().join("packages");
    let entries = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let package = |path: &PathBuf| path.to_string_lossy().ends_with("_amd64.deb");
    entries.into_iter().find(package).expect("cross/build has made the package")
}

/// A Debian root that nothing runs in; removed with the value.
pub struct Root {
    folder: tempfile::TempDir,
}

impl Root {
    /// A new one, as the distribution makes it, with the package at `/modicd.deb`.
    ///
    /// # Panics
    /// Not root, or `tests/package` hasn't made the archive.
    pub fn fresh() -> Root {
        // Not in /tmp, which may be kept in memory.
        let folder = tempfile::tempdir_in(target()).expect("the target folder is writable");
        let archive = target().join("tests/debian.tar");
        let mut unpack = Command::new("tar");
        let unpacked = unpack.arg("-xpf").arg(&archive).arg("-C").arg(folder.path()).status();
        assert!(unpacked.is_ok_and(|s| s.success()), "tests/package has made {archive:?}");
        let root = Root { folder };
        std::fs::copy(package(), root.path("/modicd.deb")).expect("the root is writable");
        root
    }

    /// Where a file of it lies.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside.trim_start_matches('/'))
    }

    /// Runs a shell command in it.
    pub fn run(&self, command: &str) -> Output {
        let mut container = container(self.folder.path());
        container.args(["--pipe", "sh", "-c", command]).stdin(Stdio::null());
        container.output().expect("systemd-nspawn is installed (tests/package installs it)")
    }

    /// Boots it.
    ///
    /// # Panics
    /// systemd isn't up after a minute.
    pub fn boot(self) -> Machine {
        let log = File::create(self.folder.path().with_extension("log")).expect("it is writable");
        let mut container = container(self.folder.path());
        container.args(["--console=pipe", "--boot"]).stdin(Stdio::null());
        let child = container.stderr(Stdio::null()).stdout(log).spawn();
        let process = Running(child.expect("systemd-nspawn is installed"));
        let mut machine = Machine { leader: 0, root: self, process };
        eventually(Duration::from_secs(60), "systemd", || {
            // At first it is a process that only prepares the container.
            machine.leader = first_child(machine.process.0.id())?;
            let state = machine.run("systemctl is-system-running");
            String::from_utf8_lossy(&state.stdout).starts_with("running").then_some(())
        });
        machine
    }
}

fn first_child(process: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    children.ok()?.split_whitespace().next()?.parse().ok()
}

/// A booted one; it is switched off with the value.
pub struct Machine {
    leader: u32,
    process: Running,
    /// Its files.
    pub root: Root,
}

impl Machine {
    /// Runs a shell command beside its services.
    pub fn run(&self, command: &str) -> Output {
        let mut enter = Command::new("nsenter");
        enter.args(["--all", "--target", &self.leader.to_string(), "sh", "-c", command]);
        enter.stdin(Stdio::null()).output().expect("util-linux is everywhere")
    }

    /// Runs one that must succeed; what it printed.
    ///
    /// # Panics
    /// It failed; the journal tells why.
    pub fn expect(&self, command: &str) -> String {
        let output = self.run(command);
        if !output.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&self.run("journalctl -u modicd").stdout));
        }
        succeeded(command, &output)
    }

    /// A property of the daemon's unit, as `systemctl show` tells it.
    pub fn unit(&self, property: &str) -> String {
        self.expect(&format!("systemctl show --value -p {property} modicd")).trim().to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its first process takes all others along; systemd-nspawn, killed, would leave them.
        let _ = Command::new("kill").args(["-KILL", &self.leader.to_string()]).status();
    }
}

/// What a command that must have succeeded printed.
pub fn succeeded(command: &str, output: &Output) -> String {
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command}: {}\n{said}{complained}", output.status);
    said.into_owned()
}

fn container(root: &Path) -> Command {
    static STARTED: AtomicU16 = AtomicU16::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let mut command = Command::new("systemd-nspawn");
    command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
    command.args(["--quiet", "--register=no", "--keep-unit", "--directory"]).arg(root);
    command.args(["--machine", &format!("modicd-{}-{number}", std::process::id())]);
    command
}
