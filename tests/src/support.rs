//! What `modicd support-bundle` gives.

use std::path::Path;
use std::process::Command;

use crate::daemon::Daemon;

/// Makes one for a configuration and unpacks it below `folder`; every file of it with its text.
pub fn support_bundle(config: &Path, folder: &Path) -> Vec<(String, String)> {
    let archive = folder.join("support.tar.gz");
    let made = Command::new(Daemon::program())
        .args(["support-bundle", "--config"])
        .arg(config)
        .arg("--out")
        .arg(&archive)
        .output()
        .expect("the program is built");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let unpacked = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(folder).status();
    assert!(unpacked.is_ok_and(|status| status.success()), "tar unpacks it");
    let root = folder.join("modicd-support");
    let listed = String::from_utf8_lossy(&made.stdout).into_owned();
    let files = modicd::receive::regular_files(&root).expect("the archive has a folder");
    files
        .iter()
        .map(|path| {
            let name = path.strip_prefix(&root).expect("it is below").display().to_string();
            assert!(listed.contains(&name), "{name} is listed");
            let content = std::fs::read(path).expect("the file is there");
            (name, String::from_utf8_lossy(&content).into_owned())
        })
        .collect()
}
