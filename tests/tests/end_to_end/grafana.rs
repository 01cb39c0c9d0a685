//! Grafana's dashboards and Telegraf's configuration. Neither program has a package: the dashboards are held against the
//! types of Grafana's SDK, their queries are asked of a real InfluxDB (those in PromQL of a real Prometheus, in
//! `prometheus.rs`), and Telegraf's part is taken by a reading of its configuration.

use std::path::Path;
use std::process::Command;

use modicd::contract::{document_on, documents};
use modicd_tests::{
    InfluxDb, as_telegraf_would, dashboards_file, grafana_dashboards, python, queries,
};
use serde_json::Value;

const DATABASE: &str = "modicd";

/// What check_dashboards.py finds wrong.
fn problems(dashboard: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/check_dashboards.py");
    let output = Command::new(python()).arg(script).arg(dashboard).output().expect("Python runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said.into_owned()
}

#[test]
fn dashboards_are_of_grafanas_types() {
    let dashboards = grafana_dashboards();
    assert_eq!(dashboards.len(), 3);
    for (path, _) in &dashboards {
        assert_eq!(problems(path), "");
    }
    // And a broken one is found.
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.json");
    for (key, value) in [("graphTooltip", 7.into()), ("refreshh", "30s".into())] {
        let mut dashboard = dashboards[0].1.clone();
        dashboard[key] = value;
        std::fs::write(&broken, dashboard.to_string()).unwrap();
        assert!(problems(&broken).contains("broken.json."), "{key}");
    }
}

#[test]
fn panels_lie_side_by_side_and_name_what_is_provisioned() {
    let sources = dashboards_file("grafana/provisioning/datasources/modicd.yml");
    for (path, dashboard) in grafana_dashboards() {
        let mut taken = std::collections::HashSet::new();
        let mut ids = std::collections::HashSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = &panel["title"];
            assert!(ids.insert(panel["id"].as_u64()), "{}: {title}", path.display());
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            for (x, y) in (0..at("w")).flat_map(|x| (0..at("h")).map(move |y| (x, y))) {
                let cell = (at("x") + x, at("y") + y);
                assert!(cell.0 < 24 && taken.insert(cell), "{}: {title}", path.display());
            }
            if panel["type"] != "row" {
                let uid = panel["datasource"]["uid"].as_str().unwrap();
                assert!(sources.contains(&format!("uid: {uid}\n")), "{title}: {uid}");
            }
        }
    }
}

/// A finding message with two findings alike at one endplate, and one more.
fn finding_message() -> Value {
    let finding = documents().into_iter().find(|document| document.name == "finding");
    let mut message = finding.expect("findings have a document").example;
    let findings = message["findings"].as_array_mut().expect("an array");
    for number in [2, 3] {
        let mut one = findings[0].clone();
        one["number"] = number.into();
        findings.push(one);
    }
    findings[2]["level"] = "L4".into();
    message["finding_count"] = 3.into();
    message
}

#[test]
fn what_telegraf_writes_is_what_the_dashboard_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let influxdb = InfluxDb::start(folder.path(), DATABASE);
    let config: toml::Table = dashboards_file("telegraf/telegraf.conf").parse().unwrap();
    let finding = finding_message();
    let metrics = document_on("metrics").unwrap().example;
    let lines =
        as_telegraf_would(&config, "modic/v1/mercy/mr-1/finding/0123456789abcdef", &finding)
            + &as_telegraf_would(&config, "modic/v1/mercy/mr-1/metrics", &metrics);
    assert_eq!(lines.lines().count(), 5, "{lines}");
    influxdb.write(DATABASE, &lines);
    // Delivered twice, they are the same points.
    influxdb.write(DATABASE, &lines.lines().take(4).collect::<Vec<_>>().join("\n"));

    let value = |query: &str| influxdb.query(DATABASE, query)[0]["values"][0][1].clone();
    assert_eq!(value("SELECT count(volume_mm3) FROM modicd_finding"), 3);
    assert_eq!(value("SELECT count(finding_count) FROM modicd_study"), 1);
    assert_eq!(value("SELECT sum(finding_count) FROM modicd_study"), 3);

    let (_, dashboard) = grafana_dashboards()
        .into_iter()
        .find(|(path, _)| path.ends_with("findings.json"))
        .expect("a dashboard of findings");
    let asked = queries(&dashboard, "modicd-influxdb", "query");
    assert!(asked.len() >= 10);
    for (title, query) in asked {
        let query = query
            .replace("$timeFilter", "time > 0 AND time < now() + 3650d")
            .replace("$__interval", "3650d")
            .replace("$site", "mercy");
        // What is left ends a regular expression.
        assert!(!query.replace("$/", "").contains('$'), "{title}: {query}");
        assert!(!influxdb.query(DATABASE, &query).is_empty(), "{title}: {query}");
    }
    let variable = dashboard["templating"]["list"][0]["query"].as_str().unwrap();
    assert_eq!(influxdb.query(DATABASE, variable)[0]["values"][0][1], "mercy");
}
