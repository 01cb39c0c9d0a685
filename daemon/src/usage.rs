//! What a process has used, by proc(5).

use std::fs;

use anyhow::Context;

/// CPU time and memory of a process so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    /// User and system time of all threads, s.
    pub cpu_s: f64,
    /// Resident memory, bytes.
    pub resident: u64,
}

impl Usage {
    /// Reads it now.
    ///
    /// # Errors
    /// There is no such process, or no /proc.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Usage> {
        let path = format!("/proc/{pid}/stat");
        let text = fs::read_to_string(&path).with_context(|| format!("can't read {path}"))?;
        parse(&text).with_context(|| format!("{path} has an unknown form"))
    }
}

/// The name, in parentheses, may hold anything; what follows it is numbers (proc(5), fields 3 and on).
pub(crate) fn parse(stat: &str) -> Option<Usage> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = field(14)? + field(15)?;
    Some(Usage {
        cpu_s: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        resident: field(24)? * rustix::param::page_size() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_by_its_number_whatever_its_name() {
        let stat =
            "7 (a) b (c) S 1 7 7 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0 99 4096 3 18446744073709551615";
        let usage = parse(stat).unwrap();
        assert_eq!(usage.resident, 3 * rustix::param::page_size() as u64);
        assert_eq!(usage.cpu_s, 200.0 / rustix::param::clock_ticks_per_second() as f64);
        assert!(Usage::of(std::process::id()).unwrap().resident > 1 << 20);
        assert!(Usage::of(u32::MAX).is_err());
    }
}
