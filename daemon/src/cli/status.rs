//! `modicd status`: how the daemon is.

use anyhow::Context;
use serde_json::Value;

use super::config_file::ConfigFile;
use crate::status::Status;

/// Say how the daemon is: whether it runs, what is wrong, what waits. Exits with 0 when all is well, with 4 when it runs with a
/// limitation, with 1 when it doesn't run. Run it as root or as the daemon's user.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Print JSON: the file that the daemon keeps in its state folder.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    let state_dir = args.config.load()?.state_dir;
    let status = Status::read(&state_dir)
        .with_context(|| format!("can't read the status in {}", state_dir.display()))?;
    let Some(status) = status else {
        println!("modicd hasn't run yet with {}", state_dir.display());
        return Ok(super::EXIT_FAILURE);
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        print(&status);
    }
    Ok(match (status.is_alive(), status.health["status"].as_str()) {
        (false, _) => super::EXIT_FAILURE,
        (true, Some("ok")) => super::EXIT_OK,
        (true, _) => super::EXIT_TROUBLE,
    })
}

fn print(status: &Status) {
    let Status { info, health, metrics, .. } = status;
    let version = text(&info["version"]);
    let (doing, age_s) = (status.condition(), status.age().as_secs());
    println!("modicd {version} {doing}; as of {age_s} s ago:");
    let line = |name: &str, value: String| println!("  {name:<12} {value}");
    line("health", text(&health["status"]));
    for reason in status.reasons() {
        line("", format!("{reason}: {}", reason.what_to_do()));
    }
    line("ports", format!("DICOM {}, page {}", status.dicom, status.page));
    let outbox = &health["outbox"];
    line(
        "waiting",
        format!(
            "{} studies; {} messages for the broker, the oldest for {} s",
            health["queue"], outbox["messages"], outbox["oldest_age_s"]
        ),
    );
    for (name, objects) in health["pacs"].as_object().into_iter().flatten() {
        line("", format!("{objects} objects for the PACS {name}"));
    }
    for (name, digest) in info["bundles"].as_object().into_iter().flatten() {
        line("network", format!("{name} {}", text(digest)));
    }
    for (name, value) in metrics.as_object().into_iter().flatten() {
        if SHOWN.contains(&name.as_str()) {
            line(name, value.to_string());
        }
    }
}

/// Of the metrics, those that a person at the box asks for first.
const SHOWN: [&str; 5] = [
    "studies_completed_total",
    "studies_failed_total",
    "studies_rejected_total",
    "instances_received_total",
    "uptime_s",
];

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
