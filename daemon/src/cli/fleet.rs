//! `modicd fleet`: many simulated boxes on one broker.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use crate::config::Config;
use crate::fleet::{self, Options};

/// File that holds the report.
const REPORT_FILE: &str = "fleet.json";

/// Simulate many boxes on one MQTT broker, and check and measure what arrives.
///
/// Each box has the program's own outbox, announcer and connection; only its exams are made up. A subscriber checks by
/// number and event that every message arrives, once and in order, also while the broker is restarted (with persistence:
/// what waited for the subscriber is the broker's to keep) or connections are dropped. Exit code 1 if one was lost,
/// disordered, or doubled without saying so. Use a broker of its own: retained messages stay there.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many boxes.
    #[arg(long, value_name = "N", default_value_t = 100)]
    boxes: usize,
    /// The broker, without TLS and password.
    #[arg(long, value_name = "HOST:PORT", required_unless_present = "config")]
    broker: Option<String>,
    /// Take [mqtt] from this configuration: for TLS, a user who may write for the whole site, an interval.
    #[arg(long, value_name = "FILE", conflicts_with = "broker")]
    config: Option<PathBuf>,
    /// The site whose boxes they are.
    #[arg(long, value_name = "NAME", default_value = "fleet")]
    site: String,
    /// Exams that a box gets in an hour, on average, at random times; 0 for an idle fleet.
    #[arg(long, value_name = "N", default_value_t = 4.0)]
    exams_per_hour: f64,
    /// How long exams come in once all boxes are connected.
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    minutes: f64,
    /// The same seed gives the same exams at the same times.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Let the broker keep every finding.
    #[arg(long)]
    retain_findings: bool,
    /// Drop this many connections a minute, of boxes chosen at random.
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    drop_connections: f64,
    /// What hasn't arrived this many seconds after the last exam is lost. Boxes wait up to a minute before they connect
    /// again.
    #[arg(long, value_name = "S", default_value_t = 180)]
    patience: u64,
    /// Measure the memory and CPU time of the broker: its process on this machine.
    #[arg(long, value_name = "PID")]
    broker_pid: Option<u32>,
    /// Write fleet.json there.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    let mut mqtt = Config::load_or_default(args.config.as_deref())?.mqtt;
    if let Some(broker) = &args.broker {
        let (host, port) = broker.rsplit_once(':').context("--broker is not HOST:PORT")?;
        mqtt.host = host.to_owned();
        mqtt.port = port.parse().context("--broker has no port number")?;
    }
    mqtt.site = args.site;
    mqtt.retain_findings |= args.retain_findings;
    anyhow::ensure!((0.0..=1440.0).contains(&args.minutes), "--minutes must be between 0 and 1440");
    let options = Options {
        boxes: args.boxes,
        mqtt,
        exams_per_hour: args.exams_per_hour,
        duration: Duration::from_secs_f64(60.0 * args.minutes),
        seed: args.seed,
        drops_per_minute: args.drop_connections,
        patience: Duration::from_secs(args.patience),
        broker_pid: args.broker_pid,
    };
    let report = super::runtime()?.block_on(fleet::run(options))?;
    print!("{}", report.table());
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("can't make {}", folder.display()))?;
        let path = folder.join(REPORT_FILE);
        std::fs::write(&path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("can't write {}", path.display()))?;
        println!("report: {}", path.display());
    }
    Ok(if report.holds { super::EXIT_OK } else { super::EXIT_FAILURE })
}
