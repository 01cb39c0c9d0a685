//! The token that opens the page.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Config;
use crate::store::files::{first_line, write_private};

/// Random bytes in a token made here.
const TOKEN_BYTES: usize = 32;
/// Characters that a configured token has at least.
const MIN_LENGTH: usize = 16;
/// The state folder's own token.
const FILE: &str = "page.token";

/// Reads the token, which is made first when none is configured and there is none.
pub(super) fn load(config: &Config, state_dir: &Path) -> anyhow::Result<String> {
    let own = state_dir.join(FILE);
    if config.token_file.is_none() && !own.exists() {
        let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN_BYTES]>());
        write_private(&own, token.as_bytes()).context("can't write the page's token")?;
        tracing::info!("A token for the page was made.");
    }
    read(config, state_dir)
}

/// Reads the token that a daemon with this configuration uses.
///
/// # Errors
/// There is none yet, or it is too short.
pub(crate) fn read(config: &Config, state_dir: &Path) -> anyhow::Result<String> {
    let own = state_dir.join(FILE);
    read_file(config.token_file.as_deref().unwrap_or(&own))
}

/// Reads a token and checks that it is long enough.
pub(super) fn read_file(path: &Path) -> anyhow::Result<String> {
    let line = first_line(path)
        .context("can't read the page's token; a daemon makes it at its first start")?;
    let token = line.trim();
    anyhow::ensure!(
        token.len() >= MIN_LENGTH,
        "the page's token in {} has {} characters; it needs at least {MIN_LENGTH}",
        path.display(),
        token.len(),
    );
    Ok(token.to_owned())
}

/// The page's address with the token where a browser doesn't send it: behind the `#`. The page takes it from there. Of a port
/// that is open at all addresses it is the box's name, which its certificate has too.
pub(crate) fn address_with_token(address: SocketAddr, secure: bool, token: &str) -> String {
    let scheme = if secure { "https" } else { "http" };
    let name = if address.ip().is_unspecified() { host_name() } else { None };
    let host =
        name.map_or_else(|| address.to_string(), |name| format!("{name}:{}", address.port()));
    format!("{scheme}://{host}/#token={token}")
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_made_once_for_its_owner_alone() {
        let state = tempfile::tempdir().unwrap();
        let config = Config::default();
        assert!(read(&config, state.path()).is_err());
        let token = load(&config, state.path()).unwrap();
        assert_eq!(token.len(), 43);
        assert_eq!(token, load(&config, state.path()).unwrap());
        let mode = state.path().join(FILE).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_configured_token_that_could_be_guessed_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("token");
        let config = Config { token_file: Some(file.clone()), ..Config::default() };
        std::fs::write(&file, "secret\n").unwrap();
        assert!(load(&config, state.path()).unwrap_err().to_string().contains("6 characters"));
        std::fs::write(&file, "correct horse battery staple\nsecond line").unwrap();
        assert_eq!(load(&config, state.path()).unwrap(), "correct horse battery staple");
    }

    #[test]
    fn an_address_is_one_that_a_browser_can_go_to() {
        let of = |address: &str| address_with_token(address.parse().unwrap(), true, "t");
        assert_eq!(of("127.0.0.1:8042"), "https://127.0.0.1:8042/#token=t");
        for all in ["0.0.0.0:8042", "[::]:8042"] {
            assert_eq!(of(all), format!("https://{}:8042/#token=t", host_name().unwrap()));
        }
    }
}
