//! mosquitto with the configuration and the rules that the project ships.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::certificates::Certificates;
use crate::peers::Subscriber;
use crate::process::{Running, free_port};

const CONFIGURATION: &str =
    include_str!("../../daemon/dashboards/brokers/mosquitto/mosquitto.conf");
const RULES: &str = include_str!("../../daemon/dashboards/brokers/mosquitto/acl");

/// Parts the shipped configuration's settings from its listeners.
const LISTENERS: &str = "# --- listeners ---";

/// Password of everybody.
const PASSWORD: &str = "secret";

/// The shipped configuration without its listeners; the database is `mosquitto.db` in `folder`.
pub fn shipped_settings(folder: &Path) -> String {
    let (settings, _) = CONFIGURATION.split_once(LISTENERS).expect("the mark is there");
    in_folder(settings, folder)
}

/// With the paths of a test; root stays root, since the folder is root's.
fn in_folder(text: &str, folder: &Path) -> String {
    let folder = folder.display();
    let text = ["/var/lib/mosquitto/", "/var/log/mosquitto/", "/etc/mosquitto/"]
        .iter()
        .fold(text.to_owned(), |text, path| text.replace(path, &format!("{folder}/")));
    format!("user root\n{text}")
}

/// A mosquitto with the shipped configuration: two ports, certificates, passwords, rules.
pub struct ShippedBroker {
    boxes_port: u16,
    people_port: u16,
    certificates: Certificates,
    passwords: PathBuf,
    config: PathBuf,
    process: Option<Running>,
}

/// Somebody with a name at a [`ShippedBroker`].
pub struct Client {
    /// Where and as whom, as options of mosquitto_pub and mosquitto_sub.
    options: Vec<String>,
}

impl ShippedBroker {
    /// Starts it in `folder` for `people`, who have a password.
    pub fn start(folder: &Path, people: &[&str]) -> ShippedBroker {
        let certificates = Certificates::make(&folder.join("certs"));
        std::fs::copy(&certificates.authority, folder.join("certs/boxes-ca.pem"))
            .expect("the test's folder is writable");
        std::fs::write(folder.join("acl"), RULES).expect("the test's folder is writable");
        let passwords = folder.join("passwords");
        std::fs::write(&passwords, "").expect("the test's folder is writable");
        let (boxes_port, people_port) = (free_port(), free_port());
        let text = in_folder(CONFIGURATION, folder)
            .replace("listener 8883", &format!("listener {boxes_port} 127.0.0.1"))
            .replace("listener 8884", &format!("listener {people_port} 127.0.0.1"));
        let config = folder.join("mosquitto.conf");
        std::fs::write(&config, text).expect("the test's folder is writable");
        let mut broker = ShippedBroker {
            boxes_port,
            people_port,
            certificates,
            passwords,
            config,
            process: None,
        };
        people.iter().for_each(|name| broker.set_password(name));
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(&broker.config);
        broker.process = Some(Running::serving(&mut command, people_port));
        broker
    }

    fn set_password(&self, name: &str) {
        let done = Command::new("mosquitto_passwd")
            .arg("-b")
            .arg(&self.passwords)
            .args([name, PASSWORD])
            .status()
            .expect("mosquitto_passwd is installed (tests/run installs it)");
        assert!(done.success());
    }

    /// A box with a certificate in its name.
    pub fn with_certificate(&self, name: &str) -> Client {
        let (certificate, key) = self.certificates.sign(name, &name.replace('/', "-"));
        let mut client = self.client(self.boxes_port);
        for (option, file) in [("--cert", certificate), ("--key", key)] {
            client.options.extend([option.to_owned(), file.display().to_string()]);
        }
        client
    }

    /// Somebody who was given a password at the start.
    pub fn with_password(&self, name: &str) -> Client {
        let mut client = self.client(self.people_port);
        client.options.extend(["-u", name, "-P", PASSWORD].map(str::to_owned));
        client
    }

    /// Somebody at the boxes' port with neither.
    pub fn stranger(&self) -> Client {
        self.client(self.boxes_port)
    }

    fn client(&self, port: u16) -> Client {
        let authority = self.certificates.authority.display().to_string();
        let port = port.to_string();
        let options = ["-h", "localhost", "-p", &port, "--cafile", &authority];
        Client { options: options.map(str::to_owned).to_vec() }
    }
}

impl Client {
    /// Publishes with quality of service 1; true if the broker acknowledged, which it does even when it refuses.
    pub fn publish(&self, topic: &str, payload: &str, more: &[&str]) -> bool {
        let done = Command::new("mosquitto_pub")
            .args(&self.options)
            .args(["-q", "1", "-t", topic, "-m", payload])
            .args(more)
            .output()
            .expect("mosquitto_pub is installed (tests/run installs it)");
        done.status.success()
    }

    /// Subscribes; returns when the subscription stands.
    pub fn subscribe(&self, filter: &str) -> Subscriber {
        Subscriber::start_unchecked(&self.options, filter)
    }

    /// Its options with more, for a command of the test's own.
    pub fn options(&self) -> &[String] {
        &self.options
    }
}
