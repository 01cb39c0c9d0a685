//! `modicd model`: what the networks' bundles hold and how they run here.

use std::path::{Path, PathBuf};

use anyhow::Context;
use modic_models::{Bundle, Kernels, Runtime, Shipped};

/// Look into network bundles.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List a network's operators: what each runs as on this machine, and how long it takes.
    Explain(Explain),
}

#[derive(Debug, clap::Args)]
struct Explain {
    /// A bundle's folder, or `vertebrae` or `modic` for those inside the program.
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// Rows and columns of the slice.
    #[arg(long, value_name = "ROWSxCOLUMNS", default_value = "384x384", value_parser = size)]
    size: [usize; 2],
    /// Threads that run it.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// auto, tract, or an instruction set by name.
    #[arg(long, default_value = "auto")]
    kernels: Kernels,
    /// Slices that are run; times are medians.
    #[arg(long, default_value_t = 20)]
    runs: usize,
}

fn size(text: &str) -> Result<[usize; 2], String> {
    let (rows, columns) = text.split_once('x').ok_or("two numbers, such as 384x384")?;
    let side = |side: &str| side.parse::<usize>().map_err(|e| format!("{side:?}: {e}"));
    Ok([side(rows)?, side(columns)?])
}

pub fn run(args: Args) -> anyhow::Result<u8> {
    let Command::Explain(args) = args.command;
    let runtime = Runtime::new(args.kernels, args.threads)?;
    let mut bundle = load(&args.bundle, &runtime)?;
    let explained = bundle.explain(args.size, args.runs)?;
    let [rows, columns] = args.size;
    let (manifest, digest) = (bundle.manifest(), bundle.digest());
    println!("{} {} ({digest}), a slice of {rows}x{columns}", manifest.name, manifest.version);
    println!(
        "{:<28} {:<44} {:<6} {:>9} {:>8} {:>8}",
        "node", "operator", "runs", "ms", "GMAC", "GMAC/s"
    );
    let (mut seconds, mut macs) = (0.0, 0);
    for operator in &explained {
        let took = operator.time.as_secs_f64();
        seconds += took;
        macs += operator.macs;
        let runs = if operator.integer { "int8" } else { "tract" };
        print!("{:<28} {:<44} {runs:<6} {:>9.3}", operator.node, operator.operator, took * 1e3);
        println!("{}", rate(operator.macs, took));
    }
    println!("{:<80} {:>9.3}{}", "all", seconds * 1e3, rate(macs, seconds));
    Ok(super::EXIT_OK)
}

/// GMAC and GMAC/s; empty where nothing is multiplied.
fn rate(macs: usize, seconds: f64) -> String {
    if macs == 0 {
        return String::new();
    }
    let gmac = macs as f64 / 1e9;
    format!(" {gmac:>8.4} {:>8.1}", gmac / seconds)
}

fn load(bundle: &Path, runtime: &Runtime) -> anyhow::Result<Bundle> {
    let shipped = match bundle.to_str() {
        Some("vertebrae") => Some(Shipped::Vertebrae),
        Some("modic") => Some(Shipped::Modic),
        _ => None,
    };
    match shipped {
        Some(which) => Ok(Bundle::shipped(which, runtime)?),
        None => Bundle::load(bundle, runtime).with_context(|| {
            format!(
                "{} is no usable bundle (inside the program: vertebrae, modic)",
                bundle.display()
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_read_and_refused_by_name() {
        assert_eq!(super::size("384x160"), Ok([384, 160]));
        assert!(super::size("384").unwrap_err().contains("384x384"));
        assert!(super::size("ax3").unwrap_err().contains("\"a\""));
    }
}
