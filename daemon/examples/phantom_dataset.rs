//! Writes a training set of phantoms: `phantom_dataset FIRST_SEED COUNT OUT`.

use anyhow::Context;
use modicd::phantom::{Settings, write_dataset};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [first, count, out] = args.as_slice() else {
        anyhow::bail!("usage: phantom_dataset FIRST_SEED COUNT OUT");
    };
    let first: u64 = first.parse().context("FIRST_SEED")?;
    let count: u64 = count.parse().context("COUNT")?;
    write_dataset(first..first + count, &Settings::default(), out.as_ref())?;
    Ok(())
}
