//! A file system of its own that is soon full.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use modicd::store::Disk;

/// A small disk, unmounted when this is dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of 64 MiB at a folder, which is made.
    pub fn mount(at: &Path) -> SmallDisk {
        std::fs::create_dir_all(at).expect("the test's folder is writable");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(at).status();
        assert!(mounted.is_ok_and(|status| status.success()), "tests run as root");
        SmallDisk(at.to_owned())
    }

    /// Fills it until only so much is free, bytes.
    pub fn fill(&self, but: u64) {
        let free = Disk::read(&self.0).expect("it is mounted").free_bytes;
        let mut file = File::options().create(true).append(true).open(self.filler());
        let file = file.as_mut().expect("the disk is writable");
        let filled = file.write_all(&vec![1; free.saturating_sub(but) as usize]);
        assert!(filled.is_ok() || but == 0, "{filled:?}");
    }

    /// Gives the space back.
    pub fn free(&self) {
        std::fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
