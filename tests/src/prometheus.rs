//! Prometheus with the rules that are shipped, and what PromQL expressions name.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::process::{Running, free_port};

/// A Prometheus that scrapes one daemon every second, as the box `test/box`.
pub struct Prometheus {
    port: u16,
    _process: Running,
}

impl Prometheus {
    /// Starts one below `folder`; `page_port` is the daemon's, `rules` the text of its rule file.
    pub fn start(folder: &Path, page_port: u16, rules: &str) -> Prometheus {
        let folder = folder.join("prometheus");
        std::fs::create_dir(&folder).expect("the test's folder is writable");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [rules.yml]\n\
             scrape_configs:\n\
             - job_name: modicd\n\
             \x20 static_configs:\n\
             \x20 - targets: ['127.0.0.1:{page_port}']\n\
             \x20   labels: {{site: test, device: box, instance: test/box}}\n"
        );
        for (name, text) in [("prometheus.yml", config.as_str()), ("rules.yml", rules)] {
            std::fs::write(folder.join(name), text).expect("the test's folder is writable");
        }
        let port = free_port();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        Prometheus { port, _process: Running::serving(&mut command, port) }
    }

    /// The value of an instant query: its series.
    ///
    /// # Panics
    /// Prometheus refuses the expression.
    pub fn query(&self, expression: &str) -> Vec<Value> {
        let answer = self.get("query", &[("query", expression)]);
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    /// The names of the alerts that fire.
    pub fn firing(&self) -> BTreeSet<String> {
        let answer = self.get("alerts", &[]);
        let alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing.filter_map(|alert| Some(alert["labels"]["alertname"].as_str()?.to_owned())).collect()
    }

    /// Its rules as it reads them.
    pub fn rules(&self) -> Vec<Value> {
        let answer = self.get("rules", &[]);
        let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
        groups
            .iter()
            .flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default())
            .collect()
    }

    fn get(&self, what: &str, parameters: &[(&str, &str)]) -> Value {
        let url = format!("http://127.0.0.1:{}/api/v1/{what}", self.port);
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build();
        let request = parameters
            .iter()
            .fold(ureq::Agent::new_with_config(agent).get(url), |request, (name, value)| {
                request.query(name, value)
            });
        let answer = request.call().and_then(|mut answer| answer.body_mut().read_to_string());
        let answer = answer.unwrap_or_else(|error| panic!("Prometheus answers {what}: {error}"));
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }
}

/// promtool with these arguments and this input; what it said, and whether it was content.
pub fn promtool(arguments: &[&str], input: &Path) -> (bool, String) {
    let input = std::fs::File::open(input).expect("the input is a file");
    let output = Command::new("promtool")
        .args(arguments)
        .stdin(input)
        .output()
        .expect("promtool is installed (tests/run installs it)");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said.into_owned())
}

/// The metrics that a PromQL expression names: its identifiers that are no function, keyword, label or text.
pub fn metrics_in(expression: &str) -> BTreeSet<String> {
    const KEYWORDS: [&str; 13] = [
        "and",
        "or",
        "unless",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "bool",
        "offset",
        "inf",
        "nan",
    ];
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = BTreeSet::new();
    let mut rest = expression;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '"' | '\'' => 1 + rest[1..].find(c).map_or(rest.len() - 1, |end| end + 1),
            '{' => closing(rest, '}'),
            '[' => closing(rest, ']'),
            c if is_part(c) => {
                let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                let (word, after) = (&rest[..length], rest[length..].trim_start());
                let takes_labels = ["by", "without", "on", "ignoring", "group_left", "group_right"]
                    .contains(&word);
                if takes_labels && after.starts_with('(') {
                    let skipped = rest.len() - length - after.len();
                    length + skipped + closing(after, ')')
                } else {
                    let next = after.split(|c| !is_part(c)).next().unwrap_or_default();
                    let is_name = !c.is_ascii_digit()
                        && !after.starts_with('(')
                        && !["by", "without"].contains(&next)
                        && !KEYWORDS.contains(&word.to_ascii_lowercase().as_str());
                    if is_name {
                        found.insert(word.to_owned());
                    }
                    length
                }
            }
            c => c.len_utf8(),
        };
        rest = &rest[length..];
    }
    found
}

/// How long the bracket at the beginning is; one in a text doesn't count.
fn closing(text: &str, bracket: char) -> usize {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            c if c == bracket && !quoted => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_among_all_else() {
        let expression = r#"sum by (le, reason) (rate(a_total{x=~"b}|c"}[5m] offset 3d)) / on (job) group_left e:f_g
            > 2 and absent(h) unless histogram_quantile(0.95, i_bucket) or vector(1e3) == bool j"#;
        let expected = ["a_total", "e:f_g", "h", "i_bucket", "j"].map(str::to_owned);
        assert_eq!(metrics_in(expression), BTreeSet::from(expected));
    }
}
