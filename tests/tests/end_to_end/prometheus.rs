//! A real Prometheus reads the daemon, with the rules that are shipped; promtool judges them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use modicd_tests::{
    Broker, Certificates, Daemon, Exam, Prometheus, dashboards_file, dashboards_folder, eventually,
    free_port, grafana_dashboards, metrics_in, promtool, queries, storescu,
};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);

/// What only some machines have.
const NOT_EVERYWHERE: &str = "modicd_temperature_celsius";

fn promtool_in_folder(arguments: &[&str]) -> (bool, String) {
    let folder = dashboards_folder("prometheus");
    let files = arguments.iter().map(|argument| {
        let file = folder.join(argument);
        if file.is_file() { file.display().to_string() } else { (*argument).to_owned() }
    });
    let arguments: Vec<String> = files.collect();
    promtool(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), Path::new("/dev/null"))
}

#[test]
fn promtool_takes_configuration_and_rules_and_their_tests_pass() {
    for arguments in [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "modicd.rules.yml"],
        ["test", "rules", "modicd.rules.test.yml"],
    ] {
        let (content, said) = promtool_in_folder(&arguments);
        assert!(content, "{arguments:?}: {said}");
    }
}

/// The rules as shipped, but that nobody waits: every `for` is a second, and the outbox is old after five. Only here.
fn impatient_rules() -> String {
    let shipped = dashboards_file("prometheus/modicd.rules.yml");
    let old = "expr: modicd_outbox_oldest_age_seconds > 900";
    assert!(shipped.contains(old));
    let rules = shipped.replace(old, "expr: modicd_outbox_oldest_age_seconds > 5");
    let line = |line: &str| match line.split_once("for: ") {
        Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 1s"),
        _ => line.to_owned(),
    };
    rules.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// What the daemon answers at an address of its page: media type and text.
fn get(daemon: &Daemon, path: &str, token: Option<&str>) -> (String, String) {
    let url = format!("http://127.0.0.1:{}{path}", daemon.page_port);
    let request = ureq::get(url);
    let request = match token {
        Some(token) => request.header("Authorization", format!("Bearer {token}")),
        None => request,
    };
    let mut answer = request.call().expect("the page answers");
    let kind = answer.headers()["content-type"].to_str().expect("text").to_owned();
    (kind, answer.body_mut().read_to_string().expect("text"))
}

/// Every metric of an exposition with its type.
fn families(exposition: &str) -> BTreeMap<String, String> {
    let types = exposition.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|t| t.split_once(' ')).map(|(n, t)| (n.to_owned(), t.to_owned())).collect()
}

/// The names of the series that Prometheus makes of them.
fn series(families: &BTreeMap<String, String>) -> BTreeSet<String> {
    let of = |(name, kind): (&String, &String)| match kind.as_str() {
        "counter" => vec![format!("{name}_total")],
        "histogram" => ["bucket", "sum", "count"].map(|part| format!("{name}_{part}")).into(),
        _ => vec![name.clone()],
    };
    families.iter().flat_map(of).collect()
}

/// OpenMetrics as the older text format, which is all that promtool's lint reads: there a counter's name has `_total`.
fn as_text_format(exposition: &str) -> String {
    let families = families(exposition);
    let line = |line: &str| {
        let parts: Vec<&str> = line.splitn(4, ' ').collect();
        let is_counter = parts.len() == 4 && families.get(parts[2]).is_some_and(|t| t == "counter");
        match parts.as_slice() {
            [hash, word @ ("HELP" | "TYPE"), name, rest] if is_counter => {
                format!("{hash} {word} {name}_total {rest}\n")
            }
            _ => format!("{line}\n"),
        }
    };
    exposition.lines().map(line).collect()
}

#[test]
fn alerts_fire_while_the_broker_is_away_and_resolve_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::make(&folder.path().join("certificates"));
    let mut broker = Broker::start(folder.path());
    // A PACS that is out of reach, so that there is something to tell of one; and a certificate.
    let nobody = free_port();
    let pacs = format!(
        "[[pacs]]\nname = \"archive\"\nbackoff_max_s = 1\n\
         [pacs.dicom]\nhost = \"localhost\"\nport = {nobody}\ncalled_ae = \"ARCHIVE\"\n\
         [pacs.dicom.tls]\nca_file = {:?}\n",
        certificates.authority
    );
    let daemon = Daemon::start(folder.path(), broker.port, &pacs);
    let prometheus = Prometheus::start(folder.path(), daemon.page_port, &impatient_rules());
    let value = |expression: &str| -> Option<f64> {
        prometheus.query(expression).first()?["value"][1].as_str()?.parse().ok()
    };
    let fires = |alert: &str| prometheus.firing().contains(alert);

    let exam = Exam::small(&folder.path().join("exam"), 7);
    let sent = storescu(daemon.dicom_port, &[], &exam.folder);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    eventually(LIMIT, "a study that Prometheus knows as completed", || {
        (value("modicd_studies_completed_total") == Some(1.0)).then_some(())
    });
    eventually(LIMIT, "an empty outbox", || {
        (value("modicd_outbox_messages") == Some(0.0)).then_some(())
    });
    assert_eq!(value("modicd_mqtt_connected"), Some(1.0));
    assert_eq!(value("modicd_stage_duration_seconds_count{stage=\"segment\"}"), Some(1.0));
    assert_eq!(value("modicd_pacs_objects_waiting{destination=\"archive\"}"), Some(4.0));
    let unreachable = "modicd_pacs_failures_total{destination=\"archive\", reason=\"unreachable\"}";
    assert!(value(unreachable) > Some(0.0));
    assert!(value("modicd_pacs_oldest_age_seconds{destination=\"archive\"}") > Some(0.0));
    assert!(value("modicd_mqtt_acknowledge_duration_seconds_count") > Some(3.0));
    assert!(value("process_resident_memory_bytes") > Some(10e6));
    assert!(!fires("ModicdBrokerUnreachable") && !fires("ModicdOutboxAges"));
    eventually(LIMIT, "two readings, which an increase needs", || {
        value("increase(modicd_studies_completed_total[1m])").map(drop)
    });
    check_exposition(&daemon);
    check_names(&daemon, &prometheus);

    broker.kill();
    eventually(LIMIT, "the alert about the broker", || {
        fires("ModicdBrokerUnreachable").then_some(())
    });
    assert!(!fires("ModicdOutboxAges"), "nothing waits yet");
    let exam = Exam::small(&folder.path().join("another"), 8);
    assert!(storescu(daemon.dicom_port, &[], &exam.folder).status.success());
    eventually(LIMIT, "the alert about the outbox", || fires("ModicdOutboxAges").then_some(()));
    assert!(fires("ModicdBrokerUnreachable"));

    broker.restart();
    eventually(LIMIT, "both alerts resolved", || {
        (!fires("ModicdBrokerUnreachable") && !fires("ModicdOutboxAges")).then_some(())
    });
    assert_eq!(value("modicd_mqtt_reconnects_total"), Some(1.0));
}

/// promtool's lint has nothing to say, and MQTT's numbers are the same.
fn check_exposition(daemon: &Daemon) {
    let (kind, exposition) = get(daemon, "/metrics", None);
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(exposition.ends_with("# EOF\n"));
    let file = daemon.state.join("exposition");
    std::fs::write(&file, as_text_format(&exposition)).expect("the state folder is writable");
    let (content, said) = promtool(&["check", "metrics"], &file);
    assert!(content && said.is_empty(), "{said}\n{exposition}");

    let token = std::fs::read_to_string(daemon.state.join("page.token")).expect("a token");
    // What is told over MQTT and to the page is read every few seconds.
    eventually(LIMIT, "the same numbers everywhere", || {
        let (_, health) = get(daemon, "/api/health", Some(token.trim()));
        let health: Value = serde_json::from_str(&health).expect("JSON");
        let flat = &health["metrics"];
        let sum_of = |name: &str| -> f64 {
            let lines = exposition.lines().filter(|line| line.starts_with(name));
            let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
            lines.filter_map(value).sum()
        };
        let same = [
            "instances_received_total",
            "instances_rejected_total",
            "studies_received_total",
            "studies_completed_total",
            "associations_accepted_total",
        ];
        let same =
            same.iter().all(|name| flat[name].as_f64() == Some(sum_of(&format!("modicd_{name}"))));
        (same && flat["last_segment_s"].as_f64() > Some(0.0) && flat["pacs_objects"] == 4)
            .then_some(())
    });
}

/// README's table, the rules and the dashboards name what the daemon tells, and nothing else.
fn check_names(daemon: &Daemon, prometheus: &Prometheus) {
    let (_, exposition) = get(daemon, "/metrics", None);
    let mut families = families(&exposition);
    families.insert(NOT_EVERYWHERE.to_owned(), "gauge".to_owned());
    let told = series(&families);

    let readme = include_str!("../../../README.md");
    let documented: BTreeSet<String> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name.split('{').next().unwrap_or(name).to_owned())
        .filter(|name| name.starts_with("modicd_") || name.starts_with("process_"))
        .collect();
    let names: BTreeSet<String> = families
        .iter()
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.clone() })
        .collect();
    assert_eq!(documented, names);

    let rules = prometheus.rules();
    let text = |rule: &Value, key: &str| rule[key].as_str().unwrap_or_default().to_owned();
    let recorded = rules.iter().filter(|rule| rule["type"] == "recording");
    let of_prometheus = ["up", "ALERTS"].map(str::to_owned);
    let known: BTreeSet<String> = told
        .into_iter()
        .chain(recorded.map(|rule| text(rule, "name")))
        .chain(of_prometheus)
        .collect();
    let tests = dashboards_file("prometheus/modicd.rules.test.yml");
    for rule in &rules {
        let named = metrics_in(&text(rule, "query"));
        assert!(!named.is_empty() && named.is_subset(&known), "{rule}");
        if rule["type"] == "alerting" {
            let tested = format!("{{alertname=\"{}\"}}", text(rule, "name"));
            assert!(tests.contains(&tested), "{tested} is not tested");
            assert!(
                ["critical", "warning", "info"]
                    .contains(&rule["labels"]["severity"].as_str().expect("a severity"))
            );
            for part in ["summary", "description", "action"] {
                assert!(rule["annotations"][part].is_string(), "{rule} has no {part}");
            }
        }
    }
    let mut without_answer = Vec::new();
    for (path, dashboard) in grafana_dashboards() {
        for (title, expression) in queries(&dashboard, "modicd-prometheus", "expr") {
            let named = metrics_in(&expression);
            assert!(named.is_subset(&known), "{}, {title}: {expression}", path.display());
            let asked = expression
                .replace("$site", ".*")
                .replace("$instance", "test/box")
                .replace("$__rate_interval", "1m");
            assert!(!asked.contains('$'), "{title}: {asked}");
            if prometheus.query(&asked).is_empty() {
                without_answer.push(expression);
            }
        }
    }
    // These have an answer only where something is wrong, or where there is a thermal zone.
    let may_lack =
        |e: &String| e.contains("> 0") || e.contains("ALERTS") || e.contains(NOT_EVERYWHERE);
    without_answer.retain(|expression| !may_lack(expression));
    assert_eq!(without_answer, Vec::<String>::new());
}
