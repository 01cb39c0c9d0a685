//! The key that study references are derived with.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::store::files::write_private;

/// Bytes of a key made here; a configured one must have at least half of it.
const KEY_BYTES: usize = 32;

/// Where the key lies: where it is configured, else in the state folder.
pub fn path(configured: Option<&Path>, state_dir: &Path) -> PathBuf {
    configured.map_or_else(|| state_dir.join("site.key"), Path::to_owned)
}

/// Reads the configured key, or the state folder's own, which is made at the first start.
pub fn load(configured: Option<&Path>, state_dir: &Path) -> anyhow::Result<Vec<u8>> {
    let path = path(configured, state_dir);
    if configured.is_none() && !path.exists() {
        let key: [u8; KEY_BYTES] = rand::random();
        write_private(&path, &key).context("can't write the site key")?;
        tracing::info!("A site key was made.");
    }
    read(&path)
}

/// Reads a key.
///
/// # Errors
/// It can't be read, or is too short.
pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let key = std::fs::read(path)
        .with_context(|| format!("can't read the site key {}", path.display()))?;
    anyhow::ensure!(
        key.len() >= KEY_BYTES / 2,
        "the site key {} has {} bytes; it needs at least {}",
        path.display(),
        key.len(),
        KEY_BYTES / 2
    );
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_short_ones_are_refused() {
        let state = tempfile::tempdir().unwrap();
        let first = load(None, state.path()).unwrap();
        assert_eq!((first.len(), &first), (KEY_BYTES, &load(None, state.path()).unwrap()));
        let short = state.path().join("short");
        std::fs::write(&short, b"abc").unwrap();
        assert!(load(Some(&short), state.path()).unwrap_err().to_string().contains("3 bytes"));
    }
}
