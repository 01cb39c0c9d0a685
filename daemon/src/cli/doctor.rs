//! `modicd doctor`: what is wrong with this box.

use super::config_file::ConfigFile;
use crate::doctor::{Check, Verdict, examine, invalid};

/// Check the box: configuration, files, certificates, ports, broker, PACS, networks, clock, disk, memory, heat. Each check that
/// isn't ok says what to do. Run it as root or as the daemon's user, whether the daemon runs or not.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    let checks = match args.config.load() {
        Ok(config) => examine(&config),
        Err(error) => invalid(&error.into()),
    };
    let worst = checks.iter().map(|check| check.verdict).max();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&checks)?);
    } else {
        print(&checks);
    }
    Ok(if worst == Some(Verdict::Fault) { super::EXIT_TROUBLE } else { super::EXIT_OK })
}

fn print(checks: &[Check]) {
    let width = checks.iter().map(|check| check.check.len()).max().unwrap_or_default();
    for Check { check, verdict, found, remedy } in checks {
        let word = match verdict {
            Verdict::Ok => "ok",
            Verdict::Skipped => "-",
            Verdict::Warning => "warning",
            Verdict::Fault => "FAULT",
        };
        println!("{word:<8} {check:<width$}  {found}");
        if let Some(remedy) = remedy {
            println!("{:<8} {:<width$}  -> {remedy}", "", "");
        }
    }
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    println!("{} faults, {} warnings", count(Verdict::Fault), count(Verdict::Warning));
}
