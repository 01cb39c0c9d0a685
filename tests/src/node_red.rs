//! Node-RED with the shipped flow, and Chromium that reads its dashboard.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::peers::Broker;
use crate::process::{Running, free_port};

/// A Node-RED of the test's own.
pub struct NodeRed {
    port: u16,
    mqtt_port: u16,
    folder: PathBuf,
    process: Option<Running>,
}

impl NodeRed {
    /// Starts one in `folder` that shows what the broker's boxes say.
    pub fn start(folder: &Path, broker: &Broker) -> NodeRed {
        let folder = folder.join("node-red");
        std::fs::create_dir_all(&folder).expect("the test's folder is writable");
        for file in ["flows.json", "flows_cred.json", "settings.js", "package.json"] {
            std::fs::copy(dashboard().join(file), folder.join(file)).expect("the flow is shipped");
        }
        let modules = browser().join("node_modules");
        std::os::unix::fs::symlink(modules, folder.join("node_modules"))
            .expect("the test's folder is writable");
        let mut node_red =
            NodeRed { port: free_port(), mqtt_port: broker.port, folder, process: None };
        node_red.restart();
        node_red
    }

    /// Kills it, forgets what it kept on disk, and starts it again.
    pub fn restart(&mut self) {
        self.process = None;
        let _ = std::fs::remove_dir_all(self.folder.join("context"));
        let mut command = Command::new("node");
        command
            .arg(browser().join("node_modules/node-red/red.js"))
            .arg("--userDir")
            .arg(&self.folder)
            .current_dir(&self.folder)
            .env("MODICD_MQTT_URL", format!("mqtt://127.0.0.1:{}", self.mqtt_port))
            .env("MODICD_DASHBOARD_PORT", self.port.to_string());
        self.process = Some(Running::serving(&mut command, self.port));
    }

    /// What Chromium reads off the dashboard; see `browser/dashboard.mjs` for commands.
    ///
    /// # Panics
    /// The script fails.
    pub fn dashboard(&self, command: &[&str]) -> Value {
        let output = Command::new("node")
            .arg(browser().join("dashboard.mjs"))
            .arg(format!("http://127.0.0.1:{}/dashboard", self.port))
            .args(command)
            .stderr(Stdio::inherit())
            .output()
            .expect("node is installed (tests/run installs it)");
        assert!(output.status.success(), "dashboard.mjs {command:?} fails");
        serde_json::from_slice(&output.stdout).expect("dashboard.mjs prints JSON")
    }
}

/// The shipped flow's folder.
pub fn dashboard() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/dashboards/node-red")
}

fn browser() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let installed = folder.join("node_modules/node-red");
    assert!(installed.exists(), "{} is missing: tests/run installs it", installed.display());
    folder
}
