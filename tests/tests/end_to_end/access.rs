//! Who gets in over DICOM: TLS against dcmtk and sslscan, and the rules of `[[receive.peers]]`.
#![allow(clippy::unwrap_used)] // all of this file is a test

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use modicd_tests::{Broker, Certificates, Daemon, Exam, Page, Subscriber, eventually, storescu};

const LIMIT: Duration = Duration::from_secs(60);

/// A box whose DICOM port takes TLS with certificates by one authority.
struct Secured {
    folder: tempfile::TempDir,
    certificates: Certificates,
    broker: Broker,
    daemon: Daemon,
    exam: Exam,
}

impl Secured {
    fn start(keys: &str) -> Secured {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::make(&folder.path().join("certificates"));
        let broker = Broker::start(folder.path());
        let tls = format!(
            "tls = {{ cert_file = {:?}, key_file = {:?}, client_ca_file = {:?}, crl_file = {:?} }}\n{keys}",
            certificates.server,
            certificates.server_key,
            certificates.authority,
            certificates.revocation_list(),
        );
        let daemon = Daemon::start_with_receive(folder.path(), broker.port, &tls);
        let exam = Exam::small(&folder.path().join("exam"), 70);
        Secured { folder, certificates, broker, daemon, exam }
    }

    /// storescu with a certificate, calling with a title.
    fn send(&self, title: &str, (certificate, key): (&Path, &Path)) -> Output {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let [key, certificate, authority] =
            [key, certificate, &self.certificates.authority].map(text);
        let options = ["-aet", title, "+tls", &key, &certificate, "+cf", &authority];
        storescu(self.daemon.dicom_port, &options, &self.exam.folder)
    }

    fn client(&self) -> (&Path, &Path) {
        (&self.certificates.client, &self.certificates.client_key)
    }

    /// How often something was turned away for this reason.
    fn rejected(&self, reason: &str) -> u64 {
        let metrics = Page::of(&self.daemon).get("/metrics").body;
        let name = format!("modicd_associations_rejected_total{{reason=\"{reason}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.expect("the reason is among the metrics").parse().unwrap()
    }

    fn instances(&self) -> usize {
        let studies = std::fs::read_dir(self.daemon.state.join("instances")).unwrap().flatten();
        studies.flat_map(|study| std::fs::read_dir(study.path()).unwrap()).count()
    }
}

fn pair(files: &(PathBuf, PathBuf)) -> (&Path, &Path) {
    (&files.0, &files.1)
}

#[test]
fn exams_come_in_encrypted_from_certified_peers_alone() {
    let secured = Secured::start("");
    let certificates = &secured.certificates;
    let other = Certificates::make(&secured.folder.path().join("other"));
    let hour = Duration::from_secs(3600);
    let expired = certificates.sign_until("client.test", "expired", SystemTime::now() - hour);
    let revoked = certificates.sign_to_revoke("client.test", "revoked");
    let strangers = [
        ("an expired certificate", pair(&expired), "certificate expired"),
        ("a revoked one", pair(&revoked), "Revoked"),
        (
            "one of another authority",
            (other.client.as_path(), other.client_key.as_path()),
            "invalid peer certificate: BadSignature",
        ),
    ];
    for (n, (what, certificate, logged)) in (1..).zip(strangers) {
        let sent = secured.send("STORESCU", certificate);
        assert!(!sent.status.success(), "{what}");
        assert_eq!(secured.rejected("tls_handshake_failed"), n, "{what}");
        let log = secured.daemon.log();
        let line = log.lines().rfind(|line| line.contains("tls_handshake_failed")).unwrap();
        assert!(line.contains(logged), "{what}: {line}");
    }
    let authority = certificates.authority.to_str().unwrap();
    let port = secured.daemon.dicom_port;
    let without = storescu(port, &["+tla", "+cf", authority], &secured.exam.folder);
    assert!(!without.status.success());
    assert_eq!(secured.rejected("tls_handshake_failed"), 4);

    let plain = storescu(port, &[], &secured.exam.folder);
    let said = String::from_utf8_lossy(&plain.stderr).into_owned();
    assert!(!plain.status.success() && said.contains("Association Rejected"), "{said}");
    assert_eq!(secured.rejected("tls_required"), 1);
    assert_eq!(secured.instances(), 0);

    let subscriber = Subscriber::start(&secured.broker);
    let sent = secured.send("STORESCU", secured.client());
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    subscriber.wait_for("/event/study.completed", 1, LIMIT);
    let metrics = Page::of(&secured.daemon).get("/metrics").body;
    for file in ["cert_file", "client_ca_file", "crl_file"] {
        assert!(metrics.contains(&format!("certificate=\"receive.tls.{file}\"")), "{file}");
    }
}

#[test]
fn a_certificate_that_is_revoked_later_is_refused_after_a_reload() {
    let secured = Secured::start("");
    let certificates = &secured.certificates;
    let revoked = certificates.sign_to_revoke("client.test", "revoked");
    let list = certificates.revocation_list();
    let text = std::fs::read_to_string(&list).unwrap();
    // Without lists at first.
    secured.daemon.reconfigure(&format!(", crl_file = {list:?}"), "");
    let reloaded = |n| {
        secured.daemon.signal("HUP");
        eventually(LIMIT, "the reload", || {
            (secured.daemon.log().matches("The DICOM port is open.").count() == n).then_some(())
        });
    };
    reloaded(2);
    assert!(secured.send("STORESCU", pair(&revoked)).status.success());
    let with = format!("client_ca_file = {:?}, crl_file = {list:?}", certificates.authority);
    secured.daemon.reconfigure(&format!("client_ca_file = {:?}", certificates.authority), &with);
    std::fs::write(&list, text).unwrap();
    reloaded(3);
    assert!(!secured.send("STORESCU", pair(&revoked)).status.success());
    assert!(secured.send("STORESCU", secured.client()).status.success());
}

#[test]
fn old_versions_and_weak_suites_are_not_spoken() {
    let secured = Secured::start("");
    let (certificate, key) = secured.client();
    let scan = Command::new("sslscan")
        .arg(format!("--certs={}", certificate.display()))
        .arg(format!("--pk={}", key.display()))
        .args(["--xml=-", &format!("127.0.0.1:{}", secured.daemon.dicom_port)])
        .output()
        .expect("sslscan is installed (tests/run installs it)");
    let xml = String::from_utf8(scan.stdout).unwrap();
    let version = |kind: &str, version: &str, enabled: u8| {
        let line =
            format!("<protocol type=\"{kind}\" version=\"{version}\" enabled=\"{enabled}\" />");
        assert!(xml.contains(&line), "{line} isn't in {xml}");
    };
    for old in ["1.0", "1.1"] {
        version("tls", old, 0);
    }
    version("ssl", "2", 0);
    version("ssl", "3", 0);
    version("tls", "1.2", 1);
    version("tls", "1.3", 1);
    let suites: Vec<_> = xml
        .lines()
        .filter(|line| line.contains("<cipher "))
        .map(|line| line.split("cipher=\"").nth(1).unwrap().split('"').next().unwrap())
        .collect();
    assert!(suites.len() >= 5, "{suites:?}");
    for suite in suites {
        let forward_secret = suite.starts_with("TLS_") || suite.starts_with("ECDHE-");
        let authenticated = suite.contains("GCM") || suite.contains("CHACHA20");
        assert!(forward_secret && authenticated, "{suite}");
    }
    assert!(xml.contains("<renegotiation supported=\"0\""), "{xml}");
}

#[test]
fn a_rule_wants_title_address_and_certificate_together() {
    let secured = Secured::start(
        "peers = [{ calling_ae = 'MR1', addresses = ['127.0.0.0/8'], certificate_name = 'client.test' }, \
         { calling_ae = 'ELSEWHERE', addresses = ['192.0.2.0/24'] }]",
    );
    let other = secured.certificates.sign("mr2.test", "mr2");
    for (title, certificate, reason) in [
        ("MR2", secured.client(), "calling_ae_not_recognized"),
        ("ELSEWHERE", secured.client(), "address_not_allowed"),
        ("MR1", pair(&other), "certificate_not_allowed"),
    ] {
        let sent = secured.send(title, certificate);
        assert!(!sent.status.success(), "{title}");
        assert_eq!(secured.rejected(reason), 1, "{title}");
    }
    assert_eq!(secured.instances(), 0);
    assert!(secured.send("MR1", secured.client()).status.success());
    assert_eq!(secured.instances(), 10);
}

#[test]
fn an_address_of_no_rule_is_not_even_read() {
    let secured = Secured::start("peers = [{ calling_ae = 'MR1', addresses = ['192.0.2.7'] }]");
    let before = secured.rejected("address_not_allowed");
    assert!(!secured.send("MR1", secured.client()).status.success());
    assert_eq!(secured.rejected("address_not_allowed"), before + 1);
}
