//! The package on a booted Debian: systemd starts, reloads, watches, restarts and stops the daemon.
#![allow(clippy::unwrap_used)] // all of this file is a test

use std::path::Path;
use std::time::{Duration, Instant};

use modicd_tests::{
    Broker, Daemon, Exam, Machine, Root, Subscriber, echoscu, eventually, storescu,
};

const LIMIT: Duration = Duration::from_secs(120);
/// Where a box listens unless its configuration says otherwise.
const DICOM_PORT: u16 = 11112;

/// A box with the package, and what its dashboards have.
struct Appliance {
    machine: Machine,
    broker: Broker,
    subscriber: Subscriber,
    folder: tempfile::TempDir,
}

impl Appliance {
    fn installed() -> Appliance {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::start(folder.path());
        let subscriber = Subscriber::start(&broker);
        let machine = Root::fresh().boot();
        machine.expect("apt-get install -y /modicd.deb");
        // Installing has asked for the start; this waits for the daemon's READY=1, as the unit is of Type=notify.
        machine.expect("systemctl start modicd");
        assert_eq!(machine.unit("ActiveState"), "active");
        Appliance { machine, broker, subscriber, folder }
    }

    /// Writes the configuration; with more keys in `[receive]` and `[worker]`.
    fn configure(&self, receive: &str, worker: &str) {
        let text = format!(
            "state_dir = \"/var/lib/modicd\"\n[receive]\n{receive}\n\
             [worker]\nquiet_period_s = 0.8\nanalyse_when_whole = false\nclock_wait_s = 0\n{worker}\n\
             [mqtt]\nhost = \"127.0.0.1\"\nport = {}\nbackoff_max_s = 1\n\
             [audit]\nsocket = \"/dev/log\"\n",
            self.broker.port
        );
        std::fs::write(self.machine.root.path("/etc/modicd/modicd.toml"), text).unwrap();
    }

    fn send(&self, seed: u64) {
        let exam = Exam::small(&self.folder.path().join(format!("exam{seed}")), seed);
        let sent = storescu(DICOM_PORT, &[], &exam.folder);
        assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    }

    fn completed(&self) -> usize {
        self.subscriber.on("/event/study.completed").len()
    }

    fn wait_for_completed(&self, count: usize) {
        eventually(LIMIT, "the exam's end", || (self.completed() >= count).then_some(()));
    }

    fn drop_in(&self, name: &str, text: &str) {
        let folder = self.machine.root.path("/etc/systemd/system/modicd.service.d");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), text).unwrap();
        self.machine.expect("systemctl daemon-reload");
    }
}

#[test]
#[ignore = "needs root and the package: tests/package runs it"]
fn systemd_starts_reloads_restarts_and_stops_it_and_no_exam_is_lost() {
    let appliance = Appliance::installed();
    let machine = &appliance.machine;
    let process = machine.unit("MainPID");

    // The sandbox is in force.
    let status = machine.expect(&format!("cat /proc/{process}/status"));
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000"] {
        assert!(status.contains(line), "{line}");
    }
    assert_eq!(machine.expect("stat -c '%U %a' /var/lib/modicd").trim(), "modicd 700");

    // A good configuration is taken by the same process.
    appliance.configure("", "");
    machine.expect("systemctl reload modicd");
    appliance.subscriber.wait_for("/availability", 1, LIMIT);
    appliance.send(51);
    appliance.wait_for_completed(1);

    // journald has the audit messages, from inside the sandbox.
    eventually(LIMIT, "an audit message of the exam", || {
        let messages = machine.expect("journalctl -t modicd-audit -o cat");
        messages.contains("DICOM Instances Transferred").then_some(())
    });

    // A bad one is refused, and the former goes on.
    appliance.configure("ae_titel = \"OTHER\"", "");
    let refused = machine.run("systemctl reload modicd");
    assert!(!refused.status.success());
    assert!(echoscu(DICOM_PORT));
    appliance.configure("ae_title = \"OTHER\"", "");
    machine.expect("systemctl reload modicd");
    eventually(LIMIT, "the new title", || (!echoscu(DICOM_PORT)).then_some(()));
    appliance.configure("", "");
    machine.expect("systemctl reload modicd");
    eventually(LIMIT, "the former title", || echoscu(DICOM_PORT).then_some(()));
    assert_eq!(machine.unit("MainPID"), process, "one process all the while");

    // A secret that systemd hands to the daemon alone stands in the way of no reload.
    let file = machine.root.path("/etc/modicd/modicd.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let keys = "[mqtt]\nusername = \"box\"\npassword_file = \"mqtt.password\"\n";
    std::fs::write(&file, text.replace("[mqtt]\n", keys)).unwrap();
    std::fs::write(machine.root.path("/etc/modicd/mqtt.password"), "secret\n").unwrap();
    machine.expect("chmod 600 /etc/modicd/mqtt.password");
    let credential = "LoadCredential=mqtt.password:/etc/modicd/mqtt.password";
    appliance.drop_in("secret.conf", &format!("[Service]\n{credential}\n"));
    machine.expect("systemctl restart modicd");
    machine.expect("systemctl reload modicd");
    appliance.configure("", "");

    // What waits is done after a restart, and after a kill.
    appliance.send(52);
    machine.expect("systemctl restart modicd");
    appliance.wait_for_completed(2);
    appliance.send(53);
    machine.expect("systemctl kill --signal=KILL modicd");
    appliance.wait_for_completed(3);
    assert_eq!(machine.unit("NRestarts"), "1");

    // An exam at work doesn't hold a stop up beyond its limit.
    appliance.send(54);
    appliance.subscriber.wait_for("/event/study.received", 4, LIMIT);
    let began = Instant::now();
    machine.expect("systemctl stop modicd");
    assert!(began.elapsed() < Duration::from_secs(90), "{:?}", began.elapsed());
    assert_eq!(machine.unit("Result"), "success");
    assert_eq!(appliance.subscriber.on("/availability").last().unwrap(), "stopped");
    machine.expect("systemctl start modicd");
    appliance.wait_for_completed(4);

    // With a configuration that isn't valid nothing is tried again.
    appliance.configure("ae_titel = \"OTHER\"", "");
    assert!(!machine.run("systemctl restart modicd").status.success());
    assert_eq!(machine.unit("ExecMainStatus"), "78");
    assert_eq!(machine.unit("SubState"), "failed");

    appliance.configure("", "");
    machine
        .expect("systemctl reset-failed modicd; systemctl start modicd && apt-get purge -y modicd");
    assert!(!echoscu(DICOM_PORT), "a purge stops it");
    for gone in ["/var/lib/modicd", "/etc/modicd", "/usr/bin/modicd"] {
        assert!(!machine.root.path(gone).exists(), "{gone}");
    }
}

#[test]
#[ignore = "needs root and the package: tests/package runs it"]
fn the_watchdog_kills_a_daemon_that_hangs_and_its_exam_is_finished() {
    let appliance = Appliance::installed();
    let machine = &appliance.machine;
    let switches = Daemon::program().with_file_name("modicd-failpoints");
    std::fs::copy(switches, machine.root.path("/usr/bin/modicd.new")).unwrap();
    machine.expect("mv /usr/bin/modicd.new /usr/bin/modicd");
    // The third slice never ends; the restarted daemon is without the switch.
    let variables = machine.root.path("/etc/failpoints");
    std::fs::write(&variables, "FAILPOINTS=analysis-step=2*off->pause\n").unwrap();
    appliance.drop_in("test.conf", "[Service]\nEnvironmentFile=-/etc/failpoints\nWatchdogSec=5\n");
    appliance.configure("", "stall_after_s = 30");
    machine.expect("systemctl restart modicd");
    std::fs::remove_file(variables).unwrap();

    appliance.send(55);
    eventually(LIMIT, "the restart", || (machine.unit("NRestarts") == "1").then_some(()));
    let journal = machine.expect("journalctl -u modicd");
    assert!(journal.contains("Watchdog timeout"), "{journal}");
    appliance.wait_for_completed(1);
}

#[test]
#[ignore = "needs root and the package: tests/package runs it"]
fn the_drop_in_opens_port_104() {
    let appliance = Appliance::installed();
    let bind = "bind = \"127.0.0.1:104\"";
    appliance.configure(bind, "");
    assert!(
        !appliance.machine.run("systemctl restart modicd").status.success(),
        "without the drop-in"
    );
    let example =
        Path::new("/usr/share/doc/modicd/examples/modicd.service.d/port-104.conf.example");
    let example =
        std::fs::read_to_string(appliance.machine.root.path(example.to_str().unwrap())).unwrap();
    appliance.drop_in("port-104.conf", &example);
    appliance.machine.expect("systemctl reset-failed modicd; systemctl restart modicd");
    assert!(echoscu(104));
}
