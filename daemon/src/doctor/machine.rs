//! The machine: clock, disk, memory, heat.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Check, wait_for};
use crate::config::Config;
use crate::metrics::system::{THERMAL_ZONES, temperatures};
use crate::storage;
use crate::store::Disk;
use crate::supervision::Clock;

/// What the disk's speed is measured with.
const TRIAL_BYTES: usize = 16 << 20;
const SMALL_WRITES: usize = 15;
/// An exam of 20 MB should be on disk in some seconds, and every instance is fsynced by itself.
const SLOW_MB_S: f64 = 10.0;
const SLOW_FSYNC: Duration = Duration::from_millis(100);
const TOO_SLOW_MB_S: f64 = 2.0;
const TOO_SLOW_FSYNC: Duration = Duration::from_secs(1);
/// The daemon's peak, and what the system needs beside it.
const MEMORY_BYTES: u64 = 300 << 20;
const HOT_CELSIUS: f64 = 80.0;
const TOO_HOT_CELSIUS: f64 = 95.0;

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let mut checks = vec![clock(), disk_space(config), disk_speed(&config.state_dir)];
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    checks.push(memory(&meminfo, limit.as_deref()));
    checks.push(temperature(Path::new(THERMAL_ZONES)));
    checks.push(throttling(Path::new(THERMAL_ZONES)));
    checks
}

fn clock() -> Check {
    const NAME: &str = "clock";
    match wait_for(Clock::ask()) {
        Ok(Clock::Synchronised) => Check::ok(NAME, "follows a time server"),
        Ok(Clock::Free) => Check::warning(
            NAME,
            "follows no time server",
            "Set up NTP: a server of the site in /etc/systemd/timesyncd.conf, then timedatectl set-ntp true. On a site without one, set worker.clock_wait_s to 0.",
        ),
        _ => Check::skipped(NAME, "timedatectl doesn't answer"),
    }
}

fn disk_space(config: &Config) -> Check {
    const NAME: &str = "disk_space";
    match Disk::read(&config.state_dir) {
        Some(disk) => space_verdict(NAME, disk, &config.storage),
        None => Check::skipped(NAME, "there is no state_dir yet"),
    }
}

/// Below `min_free_bytes` no exam is accepted. Before that studies go: with so much free that none goes for it, the box keeps a
/// full disk in order by itself.
fn space_verdict(name: &str, disk: Disk, limits: &storage::Config) -> Check {
    let remedy = "Free some space, give state_dir a larger disk, or keep less ([storage] in the configuration).";
    let found = format!("{} MB free of {} MB", disk.free_bytes >> 20, disk.size_bytes >> 20);
    if disk.free_bytes < limits.min_free_bytes {
        Check::fault(name, format!("{found}; no exam is accepted"), remedy)
    } else if disk.free_bytes < limits.min_free_to_keep_bytes() {
        Check::warning(name, found, remedy)
    } else {
        Check::ok(name, found)
    }
}

fn disk_speed(folder: &Path) -> Check {
    const NAME: &str = "disk_speed";
    match try_disk(folder) {
        Ok((mb_s, fsync)) => speed_verdict(NAME, mb_s, fsync),
        Err(error) => Check::skipped(NAME, format!("can't be tried: {error}")),
    }
}

fn speed_verdict(name: &str, mb_s: f64, fsync: Duration) -> Check {
    let found = format!("{mb_s:.0} MB/s, an fsync takes {:.1} ms", fsync.as_secs_f64() * 1e3);
    let remedy = "Put state_dir on a faster disk (an SSD or eMMC, not an SD card), and see whether something else writes much: iotop.";
    if mb_s < TOO_SLOW_MB_S || fsync > TOO_SLOW_FSYNC {
        Check::fault(name, found, remedy)
    } else if mb_s < SLOW_MB_S || fsync > SLOW_FSYNC {
        Check::warning(name, found, remedy)
    } else {
        Check::ok(name, found)
    }
}

/// Megabytes a second of one large write, and the median time of a small one with fsync.
fn try_disk(folder: &Path) -> io::Result<(f64, Duration)> {
    let timed = |file: &mut File, bytes: &[u8]| {
        let began = Instant::now();
        file.write_all(bytes)?;
        file.sync_all()?;
        io::Result::Ok(began.elapsed())
    };
    let mut trial = tempfile::tempfile_in(folder)?;
    let large = timed(&mut trial, &vec![0xA5; TRIAL_BYTES])?;
    let mut small = Vec::new();
    for _ in 0..SMALL_WRITES {
        small.push(timed(&mut trial, &[0x5A; 4096])?);
    }
    small.sort_unstable();
    Ok((TRIAL_BYTES as f64 / 1e6 / large.as_secs_f64(), small[SMALL_WRITES / 2]))
}

/// `limit` is the control group's, if there is one.
fn memory(meminfo: &str, limit: Option<&str>) -> Check {
    const NAME: &str = "memory";
    let available = meminfo.lines().find_map(|line| {
        let kb = line.strip_prefix("MemAvailable:")?.trim().trim_end_matches(" kB");
        kb.parse::<u64>().ok().map(|kb| kb * 1024)
    });
    let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
    let Some(bytes) = available.map(|a| limit.map_or(a, |l| l.min(a))) else {
        return Check::skipped(NAME, "/proc/meminfo can't be read");
    };
    let found = format!("{} MB available", bytes >> 20);
    if bytes < MEMORY_BYTES {
        Check::warning(
            NAME,
            found,
            "Stop what else runs on the box, or give it more memory: an exam needs up to 300 MB.",
        )
    } else {
        Check::ok(NAME, found)
    }
}

fn temperature(zones: &Path) -> Check {
    const NAME: &str = "temperature";
    let remedy = "Look after the fan, the heat sink and the air around the box.";
    let zones = temperatures(zones);
    let Some(hottest) = zones.iter().max_by(|a, b| a.celsius.total_cmp(&b.celsius)) else {
        return Check::skipped(NAME, "the machine tells none");
    };
    let found = format!("{:.0} °C ({})", hottest.celsius, hottest.kind.trim());
    if hottest.celsius >= TOO_HOT_CELSIUS {
        Check::fault(NAME, found, remedy)
    } else if hottest.celsius >= HOT_CELSIUS {
        Check::warning(NAME, found, remedy)
    } else {
        Check::ok(NAME, found)
    }
}

/// Whether the kernel holds the processor back now: the state of its cooling devices.
fn throttling(folder: &Path) -> Check {
    const NAME: &str = "throttling";
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let states: Vec<(String, u64)> = entries
        .filter_map(|entry| {
            let read = |file: &str| fs::read_to_string(entry.path().join(file)).ok();
            let kind = read("type")?.trim().to_owned();
            let is_cpu = ["cpufreq", "processor"].iter().any(|k| kind.to_lowercase().contains(k));
            let state = read("cur_state")?.trim().parse().ok()?;
            is_cpu.then_some((kind, state))
        })
        .collect();
    match states.iter().max_by_key(|(_, state)| *state) {
        None => Check::skipped(NAME, "the machine doesn't tell"),
        Some((kind, state)) if *state > 0 => Check::warning(
            NAME,
            format!("the processor is held back ({kind}, step {state})"),
            "Look after cooling and power supply; analyses take longer until then.",
        ),
        Some(_) => Check::ok(NAME, "the processor isn't held back"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn little_memory_a_hot_zone_and_a_held_back_processor_are_found() {
        let much = memory("MemTotal: 1 kB\nMemAvailable:  900000 kB\n", Some("max\n"));
        assert_eq!((much.verdict, much.found.as_str()), (Verdict::Ok, "878 MB available"));
        assert_eq!(memory("MemAvailable: 100000 kB\n", None).verdict, Verdict::Warning);
        assert_eq!(memory("MemAvailable: 900000 kB\n", Some("9999")).verdict, Verdict::Warning);

        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, file: &str, text: &str| {
            fs::create_dir_all(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join(file), text).unwrap();
        };
        assert_eq!(temperature(folder.path()).verdict, Verdict::Skipped);
        put("thermal_zone0", "type", "cpu-thermal\n");
        for (temp, verdict) in
            [("48500", Verdict::Ok), ("84000", Verdict::Warning), ("99000", Verdict::Fault)]
        {
            put("thermal_zone0", "temp", temp);
            assert_eq!(temperature(folder.path()).verdict, verdict);
        }
        put("cooling_device0", "type", "pwm-fan\n");
        put("cooling_device0", "cur_state", "3\n");
        assert_eq!(throttling(folder.path()).verdict, Verdict::Skipped);
        put("cooling_device1", "type", "thermal-cpufreq-0\n");
        put("cooling_device1", "cur_state", "0\n");
        assert_eq!(throttling(folder.path()).verdict, Verdict::Ok);
        put("cooling_device1", "cur_state", "2\n");
        assert_eq!(throttling(folder.path()).verdict, Verdict::Warning);
    }

    #[test]
    fn a_disk_that_the_box_keeps_in_order_by_itself_is_no_warning() {
        let limits = storage::Config { min_free_bytes: 1000 << 20, ..Default::default() };
        let verdict = |free_mb: u64| {
            let disk = Disk { free_bytes: free_mb << 20, size_bytes: 32_000 << 20 };
            space_verdict("disk", disk, &limits).verdict
        };
        assert_eq!(verdict(999), Verdict::Fault);
        assert_eq!([1000, 1249].map(verdict), [Verdict::Warning; 2]);
        assert_eq!([1250, 1900].map(verdict), [Verdict::Ok; 2]);
    }

    #[test]
    fn a_slow_disk_is_told_from_a_fast_one() {
        let verdict = |mb_s, ms| speed_verdict("disk", mb_s, Duration::from_millis(ms)).verdict;
        assert_eq!(verdict(200.0, 3), Verdict::Ok);
        assert_eq!(verdict(8.0, 3), Verdict::Warning);
        assert_eq!(verdict(200.0, 300), Verdict::Warning);
        assert_eq!(verdict(1.0, 3), Verdict::Fault);
    }
}
