//! How full the file system is: statvfs(3).

use std::io;
use std::path::Path;

/// A file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disk {
    /// What the daemon may still write, bytes.
    pub free_bytes: u64,
    /// Its size, bytes.
    pub size_bytes: u64,
}

impl Disk {
    /// That of `folder`, read now; `None` when it can't be told. Cheap: nothing is read from the disk.
    pub fn read(folder: &Path) -> Option<Disk> {
        let stat = rustix::fs::statvfs(folder).ok()?;
        Some(Disk {
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            size_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }

    /// Whether less than `bytes` is free on the file system of `folder`. One that doesn't tell counts as not full.
    pub fn has_less_than(folder: &Path, bytes: u64) -> bool {
        Disk::read(folder).is_some_and(|disk| disk.free_bytes < bytes)
    }
}

/// Whether an operation failed because the disk, or the user's share of it, is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_that_of_the_folder() {
        let disk = Disk::read(Path::new("/")).unwrap();
        assert!(0 < disk.free_bytes && disk.free_bytes <= disk.size_bytes, "{disk:?}");
        assert_eq!(Disk::read(Path::new("/nowhere")), None);
        assert!(Disk::has_less_than(Path::new("/"), u64::MAX));
        assert!(!Disk::has_less_than(Path::new("/"), 1));
        assert!(!Disk::has_less_than(Path::new("/nowhere"), u64::MAX));
    }
}
