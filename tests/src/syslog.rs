//! rsyslog: the daemon of a box, and the audit repository that it forwards to over TLS.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::certificates::Certificates;
use crate::process::{Running, free_port};

/// A box's rsyslog with the shipped `systemd/rsyslog-audit.conf`, and a repository's, which writes down what it is sent.
pub struct Syslog {
    /// The socket that the box's listens on.
    pub socket: PathBuf,
    folder: PathBuf,
    certificates: Certificates,
    port: u16,
    local: Option<Running>,
    repository: Option<Running>,
}

impl Syslog {
    /// Prepares both below `folder`; neither runs yet.
    pub fn prepare(folder: &Path) -> Syslog {
        let certificates = Certificates::make(&folder.join("certificates"));
        let (folder, port) = (folder.to_owned(), free_port());
        let socket = folder.join("log");
        Syslog { socket, folder, certificates, port, local: None, repository: None }
    }

    /// Starts the box's.
    pub fn start_local(&mut self) {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/rsyslog-audit.conf");
        let mut forward = std::fs::read_to_string(shipped).expect("it is shipped");
        let path = |path: &Path| path.to_str().expect("a path of text").to_owned();
        for (from, to) in [
            ("target=\"audit.example\"", "target=\"127.0.0.1\"".to_owned()),
            ("PermittedPeers=\"audit.example\"", "PermittedPeers=\"localhost\"".to_owned()),
            ("6514", self.port.to_string()),
            ("/etc/modicd/audit-ca.pem", path(&self.certificates.authority)),
            ("/etc/modicd/audit.pem", path(&self.certificates.client)),
            ("/etc/modicd/audit.key", path(&self.certificates.client_key)),
            ("resumeInterval=\"5\"", "resumeInterval=\"1\"".to_owned()),
        ] {
            assert!(forward.contains(from), "{from} is in the shipped file");
            forward = forward.replace(from, &to);
        }
        let socket = path(&self.socket);
        let input = format!(
            "module(load=\"imuxsock\" SysSock.Use=\"off\")\ninput(type=\"imuxsock\" Socket={socket:?})\n"
        );
        self.local = Some(self.rsyslogd("local", &(input + &forward)));
    }

    /// Starts the repository's, which asks for a certificate.
    pub fn start_repository(&mut self) {
        let received = self.folder.join("received");
        let settings = format!(
            "module(load=\"imtcp\" StreamDriver.Name=\"ossl\" StreamDriver.Mode=\"1\" StreamDriver.AuthMode=\"x509/name\"\n\
             PermittedPeer=[\"client.test\"])\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{}\" ruleset=\"all\")\n\
             template(name=\"raw\" type=\"string\" string=\"%rawmsg%\\n\")\n\
             ruleset(name=\"all\") {{ action(type=\"omfile\" file={received:?} template=\"raw\") }}\n",
            self.port
        );
        let Certificates { authority, server, server_key, .. } = &self.certificates;
        let files = format!(
            "global(DefaultNetstreamDriverCAFile={authority:?} DefaultNetstreamDriverCertFile={server:?}\n\
             DefaultNetstreamDriverKeyFile={server_key:?})\n"
        );
        let running = self.rsyslogd("repository", &(files + &settings));
        self.repository = Some(running.listening("rsyslogd", self.port));
    }

    /// What the repository was sent, a message each.
    pub fn received(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("received")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn rsyslogd(&self, name: &str, settings: &str) -> Running {
        let work = self.folder.join(name);
        std::fs::create_dir_all(&work).expect("the test's folder is writable");
        let file = work.join("rsyslog.conf");
        let settings = format!("global(workDirectory={work:?})\n{settings}");
        std::fs::write(&file, settings).expect("the test's folder is writable");
        let child = Command::new("rsyslogd")
            .arg("-n")
            .arg("-f")
            .arg(&file)
            .arg("-i")
            .arg(work.join("pid"))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn();
        Running(child.expect("rsyslogd is installed (tests/run installs it)"))
    }
}
