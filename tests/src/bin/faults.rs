//! `tests/faults`: see `modicd_tests::faults`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use modicd_tests::faults::{Reference, Tally, chain};

/// Strikes boxes with faults drawn from a seed, and checks that nothing is lost.
#[derive(Parser)]
struct Arguments {
    /// Faults in all.
    #[arg(long, default_value_t = 100)]
    runs: u64,
    /// Chain N has the seed SEED + N.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Faults that strike one box, one after another.
    #[arg(long, default_value_t = 25)]
    chain: u64,
    /// Boxes at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Where the folders of boxes that failed are left.
    #[arg(long, default_value = "target/faults")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let started = Instant::now();
    std::fs::create_dir_all(&arguments.out).expect("the folder can be made");
    let folder = tempfile::tempdir_in(&arguments.out).expect("the folder is writable");
    let reference = Reference::make(folder.path());
    let chains = arguments.runs.div_ceil(arguments.chain);
    let (next, total, failed) =
        (AtomicU64::new(0), Mutex::new(Tally::new()), Mutex::new(Vec::new()));
    std::thread::scope(|threads| {
        for _ in 0..arguments.jobs {
            threads.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::SeqCst);
                    if n >= chains {
                        break;
                    }
                    let (seed, runs) = (
                        arguments.seed + n,
                        arguments.chain.min(arguments.runs - n * arguments.chain),
                    );
                    let folder =
                        tempfile::tempdir_in(&arguments.out).expect("the folder is writable");
                    let lived = catch_unwind(AssertUnwindSafe(|| {
                        chain(&reference, folder.path(), seed, runs)
                    }));
                    match lived {
                        Ok(tally) => {
                            let mut total = total.lock().expect("nobody panics here");
                            for (what, count) in tally {
                                *total.entry(what).or_default() += count;
                            }
                        }
                        Err(_) => {
                            println!("seed {seed}: FAILED, see {}", folder.keep().display());
                            failed.lock().expect("nobody panics here").push(seed);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("nobody panics here");
    for (what, count) in total.into_inner().expect("nobody panics here") {
        println!("{count:6}  {what}");
    }
    println!(
        "{} faults in {chains} boxes, {:.0} s; failed seeds: {failed:?}",
        arguments.runs,
        started.elapsed().as_secs_f64()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
