//! InfluxDB of Debian's package.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::process::{Running, free_port};

/// An InfluxDB of the test's own with one database.
pub struct InfluxDb {
    port: u16,
    _process: Running,
}

impl InfluxDb {
    /// Starts one below `folder`.
    pub fn start(folder: &Path, database: &str) -> InfluxDb {
        let (port, backup) = (free_port(), free_port());
        let at = |name: &str| folder.join("influxdb").join(name).display().to_string();
        let config = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{backup}\"\n\
             [meta]\ndir = {:?}\n[data]\ndir = {:?}\nwal-dir = {:?}\n\
             [http]\nbind-address = \"127.0.0.1:{port}\"\n",
            at("meta"),
            at("data"),
            at("wal")
        );
        let path = folder.join("influxdb.conf");
        std::fs::write(&path, config).expect("the test's folder is writable");
        let mut command = Command::new("influxd");
        let process = Running::serving(command.arg("-config").arg(&path), port);
        let influxdb = InfluxDb { port, _process: process };
        influxdb.query("", &format!("CREATE DATABASE {database}"));
        influxdb
    }

    /// Writes points in the line protocol.
    pub fn write(&self, database: &str, lines: &str) {
        let url = format!("http://127.0.0.1:{}/write", self.port);
        let written = ureq::post(url).query("db", database).send(lines);
        written.unwrap_or_else(|error| panic!("InfluxDB takes {lines}: {error}"));
    }

    /// The series that a query answers.
    ///
    /// # Panics
    /// InfluxDB refuses the query.
    pub fn query(&self, database: &str, query: &str) -> Vec<Value> {
        let url = format!("http://127.0.0.1:{}/query", self.port);
        let answer = ureq::post(url).query("db", database).query("q", query).send_empty();
        let answer = answer.and_then(|mut answer| answer.body_mut().read_to_string());
        let answer = answer.unwrap_or_else(|error| panic!("InfluxDB answers {query}: {error}"));
        let answer: Value = serde_json::from_str(&answer).expect("InfluxDB answers JSON");
        let result = &answer["results"][0];
        assert!(result["error"].is_null(), "{query}: {result}");
        result["series"].as_array().cloned().unwrap_or_default()
    }
}
