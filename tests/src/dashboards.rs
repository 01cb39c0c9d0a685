//! The files for Prometheus, Grafana and Telegraf that are shipped.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A folder of `daemon/dashboards`.
pub fn dashboards_folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/dashboards").join(name)
}

/// The text of a file there.
pub fn dashboards_file(name: &str) -> String {
    let path = dashboards_folder(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Grafana's dashboards, each with its path.
pub fn grafana_dashboards() -> Vec<(PathBuf, Value)> {
    let entries = std::fs::read_dir(dashboards_folder("grafana/dashboards")).expect("dashboards");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("a readable file");
        (path, serde_json::from_str(&text).expect("JSON"))
    };
    entries.map(read).collect()
}

/// The queries of a dashboard's panels to the data source `uid`, each with its panel's title. `field` is what such a
/// source calls a query.
pub fn queries(dashboard: &Value, uid: &str, field: &str) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().expect("a dashboard has panels");
    let panels = panels.iter().filter(|panel| panel["datasource"]["uid"] == uid);
    let of_panel = |panel: &Value| {
        let title = panel["title"].as_str().expect("a panel has a title").to_owned();
        let targets = panel["targets"].as_array().expect("a panel has queries").clone();
        let query = |target: Value| target[field].as_str().expect("a query").to_owned();
        targets.into_iter().map(move |target| (title.clone(), query(target)))
    };
    panels.flat_map(of_panel).collect()
}
