//! An update of the networks is cut short before every single change that it makes to the disk, by strace, which ends the
//! program as it enters a system call. After each cut the box has a working bundle, and the update can be done again.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use modicd_tests::{Daemon, Releaser, modicd_bundle};

/// The system calls that change files or make changes durable.
const CHANGES: [&str; 17] = [
    "mkdir",
    "mkdirat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "fsync",
    "fdatasync",
    "write",
    "pwrite64",
    "copy_file_range",
    "ftruncate",
    "chmod",
    "fchmod",
    "fchmodat",
];

/// A box that doesn't run.
struct Machine {
    config: PathBuf,
    state: PathBuf,
}

impl Machine {
    fn make(folder: &Path, releaser: &Releaser) -> Machine {
        let (config, state) = (folder.join("modicd.toml"), folder.join("state"));
        std::fs::create_dir_all(&state).expect("the test's folder is writable");
        let key = &releaser.public_key;
        let text = format!("state_dir = {state:?}\n[bundles]\npublic_keys = [{key:?}]\n");
        std::fs::write(&config, text).expect("the test's folder is writable");
        Machine { config, state }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        modicd_bundle(&self.config, arguments)
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Does it under strace with these options of that.
    fn traced(&self, options: &[&str], arguments: &[&str]) -> Output {
        Command::new("strace")
            .args(options)
            .arg(Daemon::program())
            .arg("bundle")
            .args(arguments)
            .arg("--config")
            .arg(&self.config)
            .output()
            .expect("strace is installed (tests/run installs it)")
    }

    /// The line that says which bundle of network 2 is active. All that are in use were verified for it.
    fn active(&self) -> String {
        let list = self.done(&["list"]);
        assert!(!list.contains("can't be used"), "{list}");
        let active = list.lines().find(|line| line.starts_with("modic: active"));
        active.expect("every network is listed").to_owned()
    }

    /// Puts the state folder back to what it was.
    fn reset(&self, to: &Path) {
        std::fs::remove_dir_all(&self.state).expect("the test's folder is writable");
        copy(to, &self.state);
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(status.is_ok_and(|status| status.success()));
}

#[test]
fn a_power_cut_before_any_change_leaves_a_working_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let releaser = Releaser::new(folder.path(), "release");
    let machine = Machine::make(folder.path(), &releaser);
    let [old, new] = ["0.5.0", "0.6.0"].map(|version| {
        let bundle = releaser.bundle(folder.path(), "modic", version);
        bundle.to_str().unwrap().to_owned()
    });
    machine.done(&["stage", &old]);
    machine.done(&["activate", "modic"]);

    for (arguments, before, after, repeated, least) in [
        (["stage", new.as_str()], "0.5.0", "0.5.0", "", 15),
        (["activate", "modic"], "0.5.0", "0.6.0", "nothing_staged", 4),
        (["rollback", "modic"], "0.6.0", "0.5.0", "", 4),
    ] {
        let start = folder.path().join(format!("before-{}", arguments[0]));
        copy(&machine.state, &start);
        assert!(machine.active().contains(before));
        let mut cuts = 0;
        for call in CHANGES {
            // strace counts each system call by itself. With the question mark it may be one that this CPU doesn't have.
            for nth in 1.. {
                machine.reset(&start);
                let inject = format!("inject=?{call}:signal=SIGKILL:when={nth}");
                let trace = format!("trace=?{call}");
                let options = ["-o", "/dev/null", "-e", &trace, "-e", &inject];
                if machine.traced(&options, &arguments).status.success() {
                    break;
                }
                cuts += 1;
                let active = machine.active();
                let what = format!("{arguments:?} cut before {call} {nth}");
                assert!(active.contains(before) || active.contains(after), "{what}: {active}");
                let again = machine.run(&arguments);
                let errors = String::from_utf8_lossy(&again.stderr);
                let switched = !active.contains(before);
                if switched && !repeated.is_empty() {
                    assert!(errors.contains(repeated), "{what}: {errors}");
                } else {
                    assert!(again.status.success(), "{what}: {errors}");
                }
                if switched && arguments[0] == "rollback" {
                    machine.done(&arguments);
                }
                assert!(machine.active().contains(after), "{what}");
                // What the cut left is gone: there are two bundles, the state and the lock.
                let left = std::fs::read_dir(machine.state.join("bundles")).unwrap().count();
                assert!(left <= 4, "{left} names, {what}");
            }
        }
        println!("{}: cut {cuts} times", arguments[0]);
        assert!(cuts >= least, "{arguments:?} was cut {cuts} times only");
        assert!(machine.active().contains(after));
    }
}

#[test]
fn what_a_name_leads_to_is_on_disk_before_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let releaser = Releaser::new(folder.path(), "release");
    let machine = Machine::make(folder.path(), &releaser);
    let bundle = releaser.bundle(folder.path(), "modic", "0.5.0");
    let log = folder.path().join("log");
    let options =
        ["-y", "-o", log.to_str().unwrap(), "-e", "trace=fsync,rename,renameat,renameat2"];
    for arguments in [["stage", bundle.to_str().unwrap()], ["activate", "modic"]] {
        assert!(machine.traced(&options, &arguments).status.success());
        let log = std::fs::read_to_string(&log).unwrap();
        let calls: Vec<&str> = log.lines().filter(|line| line.contains(") = 0")).collect();
        let renames: Vec<usize> =
            (0..calls.len()).filter(|k| calls[*k].starts_with("rename")).collect();
        assert!(!renames.is_empty(), "{log}");
        for at in renames {
            assert!(calls[at - 1].starts_with("fsync"), "{log}");
            assert!(calls.get(at + 1).is_some_and(|call| call.starts_with("fsync")), "{log}");
        }
        if arguments[0] == "stage" {
            for file in ["manifest.toml", "manifest.toml.minisig", "network.onnx", "golden.bin"] {
                let synced = calls.iter().position(|c| c.contains(&format!("/{file}>")));
                let named = calls.iter().position(|call| call.starts_with("rename"));
                assert!(synced.is_some() && synced < named, "{file}: {log}");
            }
        }
    }
}
