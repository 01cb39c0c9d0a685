//! The files that the configuration names, and the state folder.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Check;
use crate::config::Config;
use crate::metrics::CertificateFile;
use crate::service::site_key;
use crate::{credentials, deliver, pacs, page};

/// A certificate that ends sooner is warned of, days.
const CERTIFICATE_DAYS: i64 = 30;
const SECONDS_A_DAY: i64 = 24 * 3600;
/// Permissions of everybody, beside owner and group.
const EVERYBODY: u32 = 0o007;

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let mut checks =
        vec![Check::ok("configuration", "valid"), state_dir(&config.state_dir), site_key(config)];
    checks.extend(config.secret_files().iter().map(|(key, path)| secret(key, path)));
    checks.extend(CertificateFile::all(config).iter().map(certificate));
    checks.extend(usable(config));
    if let Some(folder) = &config.receive.watch_folder {
        let usable = fs::read_dir(folder)
            .and_then(|_| tempfile::Builder::new().prefix(".modicd-").tempfile_in(folder));
        checks.push(match usable {
            Ok(_) => Check::ok("receive.watch_folder", folder.display().to_string()),
            Err(error) => Check::fault(
                "receive.watch_folder",
                format!("{}: {error}", folder.display()),
                "Make the folder, let the daemon's user read and write it, and name it in ReadWritePaths= of the unit; or leave watch_folder out.",
            ),
        });
    }
    checks
}

fn state_dir(folder: &Path) -> Check {
    const NAME: &str = "state_dir";
    let shown = folder.display();
    let remedy = "Make the folder for the daemon's user alone (the package does: systemctl start modicd), and run the doctor as that user or root.";
    let owner = match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => metadata.uid(),
        Ok(_) => return Check::fault(NAME, format!("{shown} is not a folder"), remedy),
        Err(error) => return Check::fault(NAME, format!("{shown}: {error}"), remedy),
    };
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| file.write_all(b"x"));
    if let Err(error) = written {
        return Check::fault(NAME, format!("can't write to {shown}: {error}"), remedy);
    }
    let strangers = ["instances", "results", "outbox", "index", "pacs"].iter().find_map(|name| {
        let theirs = fs::metadata(folder.join(name)).ok()?.uid();
        (theirs != owner).then_some((name, theirs))
    });
    match strangers {
        Some((name, theirs)) => Check::fault(
            NAME,
            format!("{shown} belongs to user {owner}, {name} in it to user {theirs}"),
            format!(
                "Give all of it to the daemon's user: chown -R --reference={shown} {shown}/{name}"
            ),
        ),
        None => Check::ok(NAME, format!("{shown} can be written")),
    }
}

fn site_key(config: &Config) -> Check {
    const NAME: &str = "site_key";
    let remedy = "Give it at least 16 random bytes: head -c 32 /dev/urandom > FILE. Another key gives every study another study_ref.";
    let path = site_key::path(config.site_key_file.as_deref(), &config.state_dir);
    if config.site_key_file.is_none() && !path.exists() {
        return Check::skipped(NAME, "the daemon makes one at its first start");
    }
    match site_key::read(&path) {
        Ok(key) => Check::ok(NAME, format!("{} bytes", key.len())),
        Err(error) => Check::fault(NAME, format!("{error:#}"), remedy),
    }
}

fn secret(key: &str, path: &Path) -> Check {
    let shown = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(_) if credentials::is_out_of_reach(path) => {
            return Check::skipped(key, format!("{shown} is there while the daemon runs"));
        }
        Err(error) => {
            let remedy = "Make the file and let the daemon's user read it, or hand it over by LoadCredential= in a drop-in and name it without a path.";
            return Check::fault(key, format!("{shown}: {error}"), remedy);
        }
    };
    let mode = metadata.permissions().mode();
    if metadata.len() == 0 {
        Check::fault(key, format!("{shown} is empty"), "Write the secret on its first line.")
    } else if mode & EVERYBODY != 0 {
        Check::warning(
            key,
            format!("everybody can read {shown} (mode {:03o})", mode & 0o777),
            format!("Take that from them: chmod o= {shown}"),
        )
    } else {
        Check::ok(key, format!("{shown}, mode {:03o}", mode & 0o777))
    }
}

fn certificate(file: &CertificateFile) -> Check {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
    let remedy =
        "Have it renewed, put the new file in its place and reload: systemctl reload modicd.";
    match file.not_after().map(|end| (end - now).div_euclid(SECONDS_A_DAY)) {
        None => Check::fault(
            &*file.key,
            format!("{} holds no certificate that can be read", file.path.display()),
            "Put a PEM file there that the daemon's user can read.",
        ),
        // A list that should have been replaced still counts.
        Some(days) if days < 0 && file.is_revocation_list() => Check::warning(
            &*file.key,
            format!("should have been replaced {} days ago", -days),
            "Fetch the authority's present list, put it in its place and reload: systemctl reload modicd.",
        ),
        Some(days) if days < 0 => {
            Check::fault(&*file.key, format!("expired {} days ago", -days), remedy)
        }
        // Their authority makes another every week or day.
        Some(days) if file.is_revocation_list() => {
            Check::ok(&*file.key, format!("the next is due in {days} days"))
        }
        Some(days) if days < CERTIFICATE_DAYS => {
            Check::warning(&*file.key, format!("expires in {days} days"), remedy)
        }
        Some(days) => Check::ok(&*file.key, format!("good for {days} days")),
    }
}

/// Whether certificates and keys fit each other: without it the daemon doesn't start, or fetches no bundle.
fn usable(config: &Config) -> Vec<Check> {
    let hidden = credentials::out_of_reach(config);
    if !hidden.is_empty() {
        let found = format!("not tried, {} is given to the daemon alone", hidden.join(", "));
        return vec![Check::skipped("certificates and keys", found)];
    }
    let remedy = "Put the certificate and the key that belong to it there, both as PEM.";
    let check = |name: String, result: Result<(), String>| match result {
        Ok(()) => Check::ok(name, "can be used"),
        Err(error) => Check::fault(name, error, remedy),
    };
    let mut checks = Vec::new();
    if let Some(tls) = &config.receive.tls {
        let result = tls.acceptor().map(drop).map_err(|e| e.to_string());
        checks.push(check("receive.tls".to_owned(), result));
    }
    if let Some(tls) = &config.bundles.tls {
        let result = tls.client_config().map(drop).map_err(|e| e.to_string());
        checks.push(check("bundles.tls".to_owned(), result));
    }
    if config.mqtt.tls.is_some() {
        let result = deliver::check_files(&config.mqtt).map_err(|e| e.to_string());
        checks.push(check("mqtt.tls".to_owned(), result));
    }
    for destination in config.pacs.iter().filter(|destination| destination.tls().is_some()) {
        let result = pacs::check_files(destination).map_err(|e| e.to_string());
        checks.push(check(format!("pacs.{}.tls", destination.name), result));
    }
    if config.page.tls.is_some() {
        let result = page::check_files(&config.page).map_err(|e| e.to_string());
        checks.push(check("page.tls".to_owned(), result));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn every_certificate_is_tried_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file.pem");
        fs::write(&file, "no certificate").unwrap();
        let mut text = "state_dir = '/s'\n".to_owned();
        for section in ["receive", "page"] {
            text += &format!("[{section}.tls]\ncert_file = {file:?}\nkey_file = {file:?}\n");
        }
        for section in ["bundles", "mqtt"] {
            text += &format!("[{section}.tls]\nca_file = {file:?}\n");
        }
        let checks = usable(&toml::from_str(&text).unwrap());
        assert!(checks.iter().all(|check| check.verdict == Verdict::Fault), "{checks:#?}");
        let mut names: Vec<_> = checks.iter().map(|check| check.check.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["bundles.tls", "mqtt.tls", "page.tls", "receive.tls"]);
    }
}
