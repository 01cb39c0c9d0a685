//! What the system says of the process and the machine: proc(5), sysfs.
//!
//! What can't be told is absent, never 0: a box without a thermal zone has no temperature.

use std::fs;
use std::path::Path;

use crate::usage::Usage;

/// The process, in the units of the usual `process_*` metrics.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Process {
    /// CPU time in user and system mode, s.
    pub cpu_seconds: f64,
    /// Memory in RAM, bytes.
    pub resident_bytes: u64,
    /// Address space, bytes.
    pub virtual_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Most file descriptors that it may open.
    pub max_fds: u64,
}

impl Process {
    /// Read now; `None` where there is no /proc.
    pub(super) fn read() -> Option<Process> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let limits = fs::read_to_string("/proc/self/limits").ok()?;
        Some(Process {
            cpu_seconds: Usage::of(std::process::id()).ok()?.cpu_s,
            resident_bytes: field(&status, "VmRSS:")? * 1024,
            virtual_bytes: field(&status, "VmSize:")? * 1024,
            threads: field(&status, "Threads:")?,
            // The listing holds one open itself.
            open_fds: (fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1),
            max_fds: field(&limits, "Max open files")?,
        })
    }
}

/// The number that follows a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The temperature of a thermal zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Temperature {
    /// Its number, as in `thermal_zone0`.
    pub zone: String,
    /// What the kernel calls it: `cpu-thermal`.
    pub kind: String,
    /// °C.
    pub celsius: f64,
}

/// Where the kernel lists thermal zones.
pub(crate) const THERMAL_ZONES: &str = "/sys/class/thermal";

/// Most zones of one machine that are reported.
const MAX_ZONES: usize = 64;

/// Every zone of a folder like [`THERMAL_ZONES`] that tells a temperature.
pub(crate) fn temperatures(zones: &Path) -> Vec<Temperature> {
    let entries = fs::read_dir(zones).into_iter().flatten().flatten();
    let zone = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let zone = name.to_str()?.strip_prefix("thermal_zone")?.to_owned();
        let read = |file: &str| fs::read_to_string(entry.path().join(file)).ok();
        let millidegrees: f64 = read("temp")?.trim().parse().ok()?;
        let kind = read("type").unwrap_or_default().trim().to_owned();
        Some(Temperature { zone, kind, celsius: millidegrees / 1000.0 })
    };
    let mut found: Vec<_> = entries.filter_map(zone).take(MAX_ZONES).collect();
    found.sort_by(|a, b| a.zone.cmp(&b.zone));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_process_holds_is_counted() {
        let files: Vec<_> = (0..50).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        let memory = std::hint::black_box(vec![1u8; 64 << 20]);
        let process = Process::read().unwrap();
        assert!((50..process.max_fds).contains(&process.open_fds), "{process:?}");
        assert!(process.resident_bytes >= 64 << 20, "{process:?}");
        assert!(process.virtual_bytes > process.resident_bytes && process.threads > 0);
        drop((files, memory));
    }

    #[test]
    fn cpu_time_is_found_whatever_the_program_is_called() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 1 0 100 1 1";
        assert_eq!(crate::usage::parse(stat).unwrap().cpu_s, 2.0);
        let before = Process::read().unwrap().cpu_seconds;
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while Process::read().unwrap().cpu_seconds < before + 0.05 {
            assert!(std::time::Instant::now() < until, "working takes CPU time");
        }
    }

    #[test]
    fn zones_without_a_temperature_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let zone = |name: &str, temp: Option<&str>| {
            let dir = folder.path().join(name);
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("type"), "cpu-thermal\n").unwrap();
            temp.into_iter().for_each(|t| fs::write(dir.join("temp"), t).unwrap());
        };
        zone("thermal_zone0", Some("48500\n"));
        zone("thermal_zone1", None);
        zone("thermal_zone2", Some("-\n"));
        zone("cooling_device0", Some("1"));
        let expected =
            Temperature { zone: "0".to_owned(), kind: "cpu-thermal".to_owned(), celsius: 48.5 };
        assert_eq!(temperatures(folder.path()), [expected]);
    }
}
