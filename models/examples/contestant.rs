//! Runs one network for `benches/compare`: `contestant KERNELS NETWORK.onnx CHANNELS HEIGHT WIDTH THREADS`.
//!
//! For every line on standard input that holds a number, runs that many slices and prints the seconds of each;
//! at the end of input, the peak of its memory in MB. `contestant peak KERNELS` prints what one core can multiply
//! at most, GMAC/s; `contestant gmac NETWORK.onnx CHANNELS HEIGHT WIDTH` what a slice takes, GMAC.

use std::io::{BufRead, Write};
use std::time::Instant;

use anyhow::Context;
use modic_models::{Kernels, Network, Runtime};
use ndarray::Array3;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [word, kernels] = &words[..]
        && word == "peak"
    {
        let Kernels::Integer(isa) = kernels.parse().map_err(anyhow::Error::msg)? else {
            anyhow::bail!("tract has no peak of its own")
        };
        println!("{}", isa.peak().with_context(|| format!("not known for {isa}"))? / 1e9);
        return Ok(());
    }
    if let [word, path, channels, height, width] = &words[..]
        && word == "gmac"
    {
        let runtime = Runtime::new(Kernels::default(), 1)?;
        let channels = channels.parse()?;
        let network = Network::parse(&std::fs::read(path)?, channels, 1, &runtime);
        let mut network = network.map_err(anyhow::Error::msg)?;
        let operators = network.explain([height.parse()?, width.parse()?], 1);
        let operators = operators.map_err(anyhow::Error::msg)?;
        println!("{}", operators.iter().map(|operator| operator.macs as f64).sum::<f64>() / 1e9);
        return Ok(());
    }
    let [kernels, path, channels, height, width, threads] = &words[..] else {
        anyhow::bail!("usage: contestant KERNELS NETWORK.onnx CHANNELS HEIGHT WIDTH THREADS")
    };
    let runtime = Runtime::new(kernels.parse().map_err(anyhow::Error::msg)?, threads.parse()?)?;
    let channels = channels.parse()?;
    let mut network =
        Network::parse(&std::fs::read(path)?, channels, 1, &runtime).map_err(anyhow::Error::msg)?;
    // The same picture for all contestants: a fixed pattern of the range that the networks see.
    let slice = Array3::from_shape_fn((channels, height.parse()?, width.parse()?), |(c, y, x)| {
        ((c * 31 + y * 7 + x * 13) % 101) as f32 / 50.0
    });
    for line in std::io::stdin().lock().lines() {
        let runs: usize = line?.trim().parse()?;
        let mut seconds = Vec::new();
        for _ in 0..runs {
            let since = Instant::now();
            network.run(slice.view()).map_err(anyhow::Error::msg)?;
            seconds.push(since.elapsed().as_secs_f64().to_string());
        }
        println!("{}", seconds.join(" "));
        std::io::stdout().flush()?;
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    println!("{}", peak.trim().trim_end_matches(" kB").trim().parse::<f64>()? / 1024.0);
    Ok(())
}
