//! `modicd doctor` on boxes with one thing wrong each, and what support gets to see.
#![allow(clippy::unwrap_used)] // all of this file is a test

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use modicd_tests::{
    Broker, Certificates, Daemon, SmallDisk, Storescp, change, eventually, flip_bit,
    support_bundle, unsigned_bundle,
};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A box with nothing wrong, not started yet.
struct Healthy {
    folder: tempfile::TempDir,
    broker: Broker,
    daemon: Daemon,
    certificates: Certificates,
    config: String,
}

impl Healthy {
    fn new() -> Healthy {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::start(folder.path());
        let daemon = Daemon::prepare(folder.path(), broker.port, [""; 4]);
        let certificates = Certificates::make(&folder.path().join("certificates"));
        let config = fs::read_to_string(&daemon.config).unwrap();
        Healthy { folder, broker, daemon, certificates, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// The checks with this configuration, and whether the exit code says that there is a fault.
    fn doctor(&self, config: &str) -> (Vec<Value>, bool) {
        fs::write(&self.daemon.config, config).unwrap();
        let run = Command::new(Daemon::program())
            .args(["doctor", "--json", "--config"])
            .arg(&self.daemon.config)
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&run.stdout);
        let checks = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{run:?}"));
        (checks, run.status.code() == Some(4))
    }

    /// What `modicd status` says, and whether its exit code says that all is well.
    fn status(&self) -> (String, bool) {
        let run = Command::new(Daemon::program())
            .args(["status", "--config"])
            .arg(&self.daemon.config)
            .output()
            .unwrap();
        (String::from_utf8_lossy(&run.stdout).into_owned(), run.status.success())
    }

    /// Expects that one check alone comes out so, and that its remedy holds a word.
    fn expect(&self, config: &str, check: &str, verdict: &str, word: &str) {
        let (checks, is_fault) = self.doctor(config);
        let of = |name: &str| checks.iter().find(|c| c["check"] == name).cloned();
        let found = of(check).unwrap_or_else(|| panic!("no check {check}: {checks:#?}"));
        assert_eq!(found["verdict"], verdict, "{found:#}");
        let remedy = found["remedy"].as_str().unwrap();
        assert!(remedy.contains(word), "{found:#}");
        let faults = checks.iter().filter(|c| c["verdict"] == "fault").count();
        assert_eq!(faults, usize::from(verdict == "fault"), "{checks:#?}");
        assert_eq!(is_fault, verdict == "fault");
        println!("{check}: {}; {}", found["found"].as_str().unwrap(), remedy);
    }

    fn with(&self, sections: &str) -> String {
        format!("{}{sections}\n", self.config)
    }

    fn instead(&self, from: &str, to: &str) -> String {
        assert!(self.config.contains(from), "{from} in {}", self.config);
        self.config.replacen(from, to, 1)
    }
}

#[test]
fn a_healthy_box_has_no_fault_stopped_and_running() {
    let mut healthy = Healthy::new();
    let (checks, _) = healthy.doctor(&healthy.config);
    let bad = |checks: &[Value]| {
        let bad = checks
            .iter()
            .filter(|c| ["fault", "warning"].contains(&c["verdict"].as_str().unwrap()));
        bad.map(|c| c["check"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // What this machine is like is not the test's.
    let of_machine = ["clock", "disk_space", "disk_speed", "memory", "temperature", "throttling"];
    let ours = |names: Vec<String>| {
        names.into_iter().filter(|n| !of_machine.contains(&n.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(ours(bad(&checks)), [""; 0]);
    healthy.daemon.restart();
    // Its port opens a moment before it has said that it runs.
    eventually(LIMIT, "the daemon's word that it runs", || {
        healthy.status().0.contains("runs (process").then_some(())
    });
    let (checks, _) = healthy.doctor(&healthy.config);
    // That it is open to this machine only.
    assert_eq!(ours(bad(&checks)), ["dicom_port"]);
    let daemon = checks.iter().find(|c| c["check"] == "daemon").unwrap();
    assert_eq!(daemon["verdict"], "ok");
    let (text, is_well) = healthy.status();
    assert!(is_well && text.contains("runs (process"), "{text}");

    healthy.daemon.kill();
    healthy.expect(&healthy.config, "daemon", "warning", "systemctl start modicd");
    healthy.daemon.restart();
    assert_eq!(healthy.daemon.stop(LIMIT), Some(0));
    healthy.expect(&healthy.config, "daemon", "warning", "systemctl start modicd");
}

#[test]
fn every_planted_fault_of_files_is_found_and_its_remedy_named() {
    let healthy = Healthy::new();
    healthy.expect(&healthy.with("[mqttt]"), "configuration", "fault", "every key");
    let state = format!("{:?}", healthy.daemon.state);
    let file = healthy.file("file", b"", 0o600);
    healthy.expect(
        &healthy.instead(&state, &format!("{file:?}")),
        "state_dir",
        "fault",
        "user alone",
    );
    let strange = healthy.path("strange");
    fs::create_dir_all(strange.join("outbox")).unwrap();
    chown(strange.join("outbox"), Some(12345), None).unwrap();
    healthy.expect(
        &healthy.instead(&state, &format!("{strange:?}")),
        "state_dir",
        "fault",
        "chown -R",
    );

    let short = healthy.file("short", b"abc", 0o600);
    let key = format!("site_key_file = {short:?}\n{}", healthy.config);
    healthy.expect(&key, "site_key", "fault", "/dev/urandom");
    let mqtt = |file: &Path| healthy.with(&format!("username = \"box\"\npassword_file = {file:?}"));
    let open = healthy.file("open", b"secret", 0o644);
    healthy.expect(&mqtt(&open), "mqtt.password_file", "warning", "chmod o=");
    let token = healthy.file("token", b"", 0o600);
    let page = format!("[page]\ntoken_file = {token:?}\n");
    healthy.expect(&healthy.instead("[page]\n", &page), "page.token_file", "fault", "first line");
    healthy.expect(
        &healthy.instead("[receive]\n", "[receive]\nwatch_folder = \"/no/such\"\n"),
        "receive.watch_folder",
        "fault",
        "Make the folder",
    );

    let certificates = &healthy.certificates;
    let page_tls = |(certificate, key): &(PathBuf, PathBuf)| {
        fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
        healthy.with(&format!("[page.tls]\ncert_file = {certificate:?}\nkey_file = {key:?}"))
    };
    let past = certificates.sign_until("localhost", "past", SystemTime::now() - 3 * DAY);
    healthy.expect(&page_tls(&past), "page.tls.cert_file", "fault", "renewed");
    let soon = certificates.sign_until("localhost", "soon", SystemTime::now() + 10 * DAY);
    healthy.expect(&page_tls(&soon), "page.tls.cert_file", "warning", "renewed");
    let mixed = (certificates.server.clone(), certificates.client_key.clone());
    healthy.expect(&page_tls(&mixed), "page.tls", "fault", "belong to it");
}

#[test]
fn every_planted_fault_of_ports_and_peers_is_found_and_its_remedy_named() {
    let mut healthy = Healthy::new();
    for (name, port) in
        [("dicom_port", healthy.daemon.dicom_port), ("page_port", healthy.daemon.page_port)]
    {
        let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
        healthy.expect(&healthy.config, name, "fault", "ss -ltnp");
    }
    let dicom = format!("127.0.0.1:{}", healthy.daemon.dicom_port);
    let nowhere = healthy.instead(&dicom, "198.51.100.7:11112");
    healthy.expect(&nowhere, "dicom_port", "fault", "ip addr");

    let archive = |port: u16| {
        healthy.with(&format!(
            "[[pacs]]\nname = \"archive\"\n[pacs.dicom]\nhost = \"127.0.0.1\"\nport = {port}\n\
             called_ae = \"ARCHIVE\"\ncalling_ae = \"MODICD\""
        ))
    };
    healthy.expect(&archive(1), "pacs.archive", "fault", "firewall");
    let refusing = Storescp::start_refusing(&healthy.path("refusing"));
    healthy.expect(&archive(refusing.port), "pacs.archive", "fault", "calling_ae");

    let unheard = healthy.with("[audit]\nsocket = \"/nonexistent/log\"");
    healthy.expect(&unheard, "audit", "fault", "/dev/log");
    let tls = format!("[mqtt.tls]\nca_file = {:?}", healthy.certificates.authority);
    healthy.expect(&healthy.with(&tls), "broker", "fault", "ca_file");
    healthy.broker.kill();
    healthy.expect(&healthy.config, "broker", "fault", "mqtt.host");
    let guarded = Broker::start_with(&healthy.path("certificates"), "allow_anonymous false\n");
    let port = format!("port = {}\n", healthy.broker.port);
    let config = healthy.instead(&port, &format!("port = {}\n", guarded.port));
    healthy.expect(&config, "broker", "fault", "mqtt.username");
}

#[test]
fn every_planted_fault_of_networks_and_disk_is_found_and_its_remedy_named() {
    let healthy = Healthy::new();
    let slow = healthy.with("[segment]\nkernels = \"portable\"");
    healthy.expect(&slow, "kernels", "warning", "segment.kernels");

    let bundles = healthy.path("bundles");
    for name in ["vertebrae", "modic"] {
        let made = unsigned_bundle(&bundles, name, "9.0.0");
        fs::rename(made, bundles.join(name)).unwrap();
    }
    let config = format!("bundles_dir = {bundles:?}\n{}", healthy.config);
    let (checks, _) = healthy.doctor(&config);
    assert!(checks.iter().any(|c| c["check"] == "networks" && c["verdict"] == "ok"));
    // The golden case as another network would give it.
    change(&bundles.join("modic"), "golden.bin", |bytes| {
        let count = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let logits = 12 + 4 * count(0) * count(4) * count(8) + 4;
        bytes[logits..].iter_mut().skip(3).step_by(4).for_each(|sign| *sign ^= 0x80);
    });
    healthy.expect(&config, "networks", "fault", "\"tract\"");
    // A flipped bit.
    flip_bit(&bundles.join("vertebrae/network.onnx"));
    healthy.expect(&config, "networks", "fault", "Copy the bundle again");

    let small = healthy.path("small");
    let _small = SmallDisk::mount(&small);
    let state = format!("{:?}", healthy.daemon.state);
    let config = healthy.instead(&state, &format!("{small:?}"));
    healthy.expect(&config, "disk_space", "fault", "larger disk");
}

#[test]
fn a_support_bundle_tells_how_the_box_is_and_no_secret() {
    let healthy = Healthy::new();
    let password = healthy.file("password", b"SECRETWORD\n", 0o600);
    let config = healthy.with(&format!("username = \"SECRETUSER\"\npassword_file = {password:?}"));
    fs::write(&healthy.daemon.config, &config).unwrap();
    let parts = support_bundle(&healthy.daemon.config, healthy.folder.path());
    let of = |name: &str| parts.iter().find(|(part, _)| part == name).unwrap().1.clone();
    for (name, text) in &parts {
        assert!(!text.contains("SECRET"), "{name}: {text}");
        assert!(!text.is_empty(), "{name} tells something");
        assert!(name == "README.txt" || of("README.txt").contains(name), "{name} is listed");
    }
    let effective: toml::Table = toml::from_str(&of("configuration.toml")).unwrap();
    assert_eq!(effective["mqtt"]["host"].as_str(), Some("127.0.0.1"));
    let checks: Value = serde_json::from_str(&of("doctor.json")).unwrap();
    assert!(checks.as_array().unwrap().len() > 10);
    assert!(of("status.json").contains("hasn't run yet"));

    // Even where the configuration is damaged.
    fs::write(&healthy.daemon.config, "state_dir = ").unwrap();
    let folder = healthy.path("damaged");
    fs::create_dir(&folder).unwrap();
    let parts = support_bundle(&healthy.daemon.config, &folder);
    assert!(parts.iter().any(|(name, text)| name == "doctor.json" && text.contains("not valid")));
}
