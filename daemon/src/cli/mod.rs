//! The command line: what can be asked of the program, and what it answers with.

mod agreement;
mod analyze;
mod bundle;
mod check;
mod config_file;
mod demo;
mod doctor;
mod evaluate;
mod fleet;
mod manual;
mod model;
mod pacs;
mod page_url;
mod phantom;
mod run;
mod schema;
mod status;
mod support_bundle;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Done.
pub const EXIT_OK: u8 = 0;
/// Something failed while running; standard error says what.
pub const EXIT_FAILURE: u8 = 1;
/// `analyze`: at least one study was refused; the others are done.
pub const EXIT_REFUSED: u8 = 3;
/// `doctor`, `status`: something is wrong with the box; standard output says what.
pub const EXIT_TROUBLE: u8 = 4;
/// The configuration is not valid (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// Finds Modic changes in lumbar-spine MRI beside the scanner. Research use, not for diagnosis.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done; 1 failed; 2 wrong usage; 3 a study was refused (analyze); \
                  4 something is wrong with the box (doctor, status); 78 configuration not valid.\n\
                  The environment variable RUST_LOG sets what is logged (default: info)."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: receive exams over DICOM, publish findings over MQTT.
    Run(run::Args),
    /// Show the whole way on this machine: broker, daemon and a phantom exam in one process.
    Demo(demo::Args),
    /// Analyse DICOM files or folders without any server.
    Analyze(analyze::Args),
    /// Measure the program on a labelled data set.
    Evaluate(evaluate::Args),
    /// Say how well readers agree, without and with the Modic map.
    Agreement(agreement::Args),
    /// Write a synthetic exam as DICOM, with its exact truth.
    Phantom(phantom::Args),
    /// Look into network bundles: what runs as what on this machine.
    Model(model::Args),
    /// Update the networks: stage, activate, go back.
    Bundle(bundle::Args),
    /// Ask the configured PACS whether they answer, or send results there.
    Pacs(pacs::Args),
    /// Print the address of the page with the token that opens it.
    PageUrl(page_url::Args),
    /// Show the JSON Schemas of what is published over MQTT.
    Schema(schema::Args),
    /// Simulate many boxes on one MQTT broker, and check and measure what arrives.
    Fleet(fleet::Args),
    /// Check a configuration file and say what is wrong with it.
    Check(check::Args),
    /// Check the whole box and say what to do.
    Doctor(doctor::Args),
    /// Say how the daemon is.
    Status(status::Args),
    /// Put what support needs into one archive.
    SupportBundle(support_bundle::Args),
    /// Write man pages and shell completions.
    #[command(hide = true)]
    Manual(manual::Args),
}

/// Parses the command line and does what it asks.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = match cli.command {
        Command::Run(_) => "info",
        // Every box would say that the broker is gone; the subscriber does.
        Command::Fleet(_) => "warn,modicd::deliver=error",
        _ => "warn",
    };
    crate::logging::start(level);
    let result = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Analyze(args) => analyze::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Agreement(args) => agreement::run(args),
        Command::Phantom(args) => phantom::run(args),
        Command::Model(args) => model::run(args),
        Command::Bundle(args) => bundle::run(args),
        Command::Pacs(args) => pacs::run(args),
        Command::PageUrl(args) => page_url::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Fleet(args) => fleet::run(args),
        Command::Check(args) => check::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Status(args) => status::run(args),
        Command::SupportBundle(args) => support_bundle::run(args),
        Command::Manual(args) => manual::run(args),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("modicd: {error:#}");
            let config = error.downcast_ref::<crate::config::ConfigError>().is_some();
            ExitCode::from(if config { EXIT_CONFIG } else { EXIT_FAILURE })
        }
    }
}

/// The tasks of one process: few threads, since the work is in one place at a time.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
