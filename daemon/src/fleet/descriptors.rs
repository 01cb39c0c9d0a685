//! File descriptors: a fleet in one process needs one for each box's connection, and more for files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For files that boxes have open at a moment, and all else.
const BESIDE_CONNECTIONS: u64 = 1024;

/// Raises this process's limit as far as `boxes` need.
///
/// # Errors
/// The hard limit doesn't allow that many.
pub(super) fn allow(boxes: usize) -> anyhow::Result<()> {
    let need = boxes as u64 + BESIDE_CONNECTIONS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= need) {
        return Ok(());
    }
    anyhow::ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= need),
        "{boxes} boxes need {need} open files, and this process may have {}: raise the hard limit (ulimit -Hn)",
        limit.maximum.unwrap_or_default()
    );
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(need), maximum: limit.maximum })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_beyond_the_hard_limit_is_refused_and_a_small_one_is_not() {
        allow(10).unwrap();
        if let Some(maximum) = getrlimit(Resource::Nofile).maximum {
            let error = allow(maximum as usize).unwrap_err().to_string();
            assert!(error.contains("hard limit"), "{error}");
        }
    }
}
