//! `tests/soak`: exam after exam into one box, whose memory, file descriptors, threads and disk must stay as they are.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use modicd_tests::{Broker, Daemon, Exam, Page, Subscriber, eventually, storescu};
use plotters::prelude::*;

/// Sends exams without end to one box, and watches what it takes.
#[derive(Parser)]
struct Arguments {
    /// Exams in all.
    #[arg(long, default_value_t = 500)]
    exams: usize,
    /// Where soak.csv and soak.svg are written.
    #[arg(long, default_value = "target/soak")]
    out: PathBuf,
}

/// What is kept; reached within the first fifth of a long run.
const QUOTA: u64 = 128 << 20;
const LIMIT: Duration = Duration::from_secs(120);

/// What the box takes, and by how much it may differ between the second fifth of the run and the last.
const WATCHED: [(&str, f64); 4] = [
    ("process_resident_memory_bytes", 1.05),
    ("process_open_fds", 1.15),
    ("process_threads", 1.15),
    ("modicd_storage_bytes", 1.10),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out).expect("the folder can be made");
    let folder = tempfile::tempdir_in(&arguments.out).expect("the folder is writable");
    let broker = Broker::start(folder.path());
    let storage = format!(
        "[storage]\ninstances_max_bytes = {QUOTA}\nresults_max_bytes = {QUOTA}\nmin_free_bytes = 0\n"
    );
    let keys = "max_object_bytes = 16777216";
    let daemon = Daemon::start_with_second_look(folder.path(), broker.port, keys, &storage);
    let exams: Vec<_> =
        (0..10).map(|n| Exam::small(&folder.path().join(format!("exam{n}")), 300 + n)).collect();
    let mut samples = Vec::new();
    for n in 0..arguments.exams {
        // Each is another study: dcmtk makes up a series every five images, and a study every two series.
        let options = ["+IR", "5", "+IS", "2"];
        let sent = storescu(daemon.dicom_port, &options, &exams[n % exams.len()].folder);
        assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
        eventually(LIMIT, "the exam's end", || {
            let metrics = Page::of(&daemon).get("/metrics").body;
            let done = value(&metrics, "modicd_studies_completed_total") as usize == n + 1;
            done.then(|| samples.push(WATCHED.map(|(name, _)| value(&metrics, name))))
        });
    }
    // What mosquitto_sub got is by the schema, and nothing is missing.
    let subscriber = Subscriber::start(&broker);
    subscriber.wait_for("/latest/finding", 1, LIMIT);
    write_csv(&arguments.out.join("soak.csv"), &samples);
    plot(&arguments.out.join("soak.svg"), &samples).expect("the plot can be drawn");
    let mut flat = true;
    for (n, (name, most)) in WATCHED.into_iter().enumerate() {
        let part = |from: usize| {
            let fifth = samples.len() / 5;
            let mut values: Vec<_> =
                samples[from * fifth..(from + 1) * fifth].iter().map(|s| s[n]).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (early, late) = (part(1), part(4));
        let is_flat = late <= early * most;
        flat &= is_flat;
        println!(
            "{name}: median {early:.0} in the second fifth, {late:.0} in the last, {}",
            if is_flat { "flat" } else { "GROWS" }
        );
    }
    println!("{} exams; see {}", samples.len(), arguments.out.join("soak.svg").display());
    if flat { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The sum of a metric's series.
fn value(metrics: &str, name: &str) -> f64 {
    let lines = metrics
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn write_csv(path: &Path, samples: &[[f64; 4]]) {
    let mut text = WATCHED.map(|(name, _)| name).join(",") + "\n";
    for sample in samples {
        text += &(sample.map(|value| value.to_string()).join(",") + "\n");
    }
    std::fs::write(path, text).expect("the folder is writable");
}

fn plot(path: &Path, samples: &[[f64; 4]]) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(path, (900, 800)).into_drawing_area();
    area.fill(&WHITE)?;
    for (n, (part, (name, _))) in area.split_evenly((4, 1)).iter().zip(WATCHED).enumerate() {
        let most = samples.iter().map(|sample| sample[n]).fold(1.0, f64::max);
        let mut chart = ChartBuilder::on(part)
            .caption(name, ("sans-serif", 16))
            .margin(8)
            .x_label_area_size(24)
            .y_label_area_size(90)
            .build_cartesian_2d(0..samples.len(), 0.0..most * 1.1)?;
        chart.configure_mesh().y_labels(4).x_desc("exams").draw()?;
        let line = samples.iter().enumerate().map(|(at, sample)| (at, sample[n]));
        chart.draw_series(LineSeries::new(line, &BLUE))?;
    }
    area.present()?;
    Ok(())
}
