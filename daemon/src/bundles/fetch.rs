//! Packages from a web server.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::package::MAX_ARCHIVE;
use super::{Config, Package, Reason, UpdateError};
use crate::hex::hex;
use crate::tls::http_client;

/// For connecting, for the answer's head and for its body. A stop of the daemon waits for it.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Fetches a tar archive over HTTPS. With `sha256`, in hex, it must be that one. Blocks.
///
/// # Errors
/// The address isn't https, the server doesn't answer with the file, or the file is no package.
pub fn fetch(url: &str, sha256: Option<&str>, config: &Config) -> Result<Package, UpdateError> {
    let unreachable = |error: String| Reason::Unreachable.because(error);
    if !url.starts_with("https://") {
        return Err(unreachable("only https:// is fetched".to_owned()));
    }
    let tls = config.tls.as_ref().ok_or(Reason::HttpsOff)?;
    let agent = http_client(TIMEOUT, Some(tls)).map_err(|e| Reason::Unreachable.because(e))?;
    let mut response = agent.get(url).call().map_err(|e| unreachable(e.to_string()))?;
    if response.status() != 200 {
        return Err(unreachable(format!("the server answers with {}", response.status())));
    }
    let body = response.body_mut().with_config().limit(MAX_ARCHIVE);
    let archive = body.read_to_vec().map_err(|e| match e {
        ureq::Error::BodyExceedsLimit(_) => Reason::NotAPackage.because(e),
        e => unreachable(e.to_string()),
    })?;
    if sha256.is_some_and(|sha256| hex(&Sha256::digest(&archive)) != sha256) {
        return Err(Reason::WrongPackage.into());
    }
    Package::from_tar(archive.as_slice())
}
