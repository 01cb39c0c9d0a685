//! The bundles' folder: what is changed in it, in which order, and what is loaded from it.

use std::fs::{self, File, TryLockError};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use modic_models::{Bundle, BundleError, Input, Runtime};
use ndarray::Array3;
use semver::Version;

use super::keys::Keys;
use super::package::Signed;
use super::speed::slowdown;
use super::state::{Kept, Refused, Slot, State};
use super::{Network, Package, Reason, UpdateError};
use crate::config::Config;
use crate::store::files::{FileError, TEMPORARY_PREFIX, create_dir, names_in, publish_dir};
use crate::store::write_atomically;

/// Longest wait for another process, which holds the lock only while it writes.
const LOCKED_WITHIN: Duration = Duration::from_secs(30);
/// Pause before the lock is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Bundles in a folder. Methods block: they verify networks, read and write files.
pub struct Store {
    root: PathBuf,
    keys: Keys,
    max_slowdown: f64,
    runtime: Runtime,
    /// The configuration names a folder of its own.
    fixed: bool,
}

/// Which bundle of a network is in use.
pub struct InUse {
    /// The network.
    pub network: Network,
    /// Where its bundle is.
    pub slot: Slot,
    /// Why it isn't the active one, if it isn't.
    pub fell_back: Option<Refused>,
    /// What was active when it was loaded.
    pub active: Slot,
}

/// How an analysis ended, as far as networks are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With a result.
    Well,
    /// In an error or a panic.
    Badly,
    /// In something that says nothing of the networks: the study was refused, the disk failed.
    Otherwise,
}

impl Store {
    /// The store of a configuration; nothing is written.
    ///
    /// # Errors
    /// The networks' threads can't be started.
    pub fn new(config: &Config) -> Result<Store, BundleError> {
        Ok(Store {
            root: config.state_dir.join("bundles"),
            keys: Keys::parse(&config.bundles.public_keys)
                .expect("the configuration was checked when it was read"),
            max_slowdown: config.bundles.max_slowdown,
            runtime: config.segment.runtime()?,
            fixed: config.bundles_dir.is_some(),
        })
    }

    /// What is active, staged and previous. Without a state that can be read: the bundles inside the program.
    pub fn state(&self) -> State {
        match self.read_state() {
            Ok((state, _)) => state,
            Err(error) => {
                tracing::error!(%error, "The bundles' state can't be read; those inside the program are used.");
                State::default()
            }
        }
    }

    /// The same, and the file's text where it can't be understood: it is damaged, or a later program's. One that can't be read
    /// may be whole.
    fn read_state(&self) -> Result<(State, Option<Vec<u8>>), FileError> {
        let path = self.state_file();
        let text = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok((State::default(), None));
            }
            text => text.map_err(FileError::during("read", &path))?,
        };
        Ok(match serde_json::from_slice(&text) {
            Ok(state) => (state, None),
            Err(error) => {
                tracing::error!(%error, "The bundles' state can't be understood; those inside the program are used.");
                (State::lost(), Some(text))
            }
        })
    }

    /// Takes a package that verifies, to be activated later.
    ///
    /// # Errors
    /// It isn't taken; what was staged stays.
    pub fn stage(&self, package: &Package) -> Result<(Network, Kept), UpdateError> {
        self.may_change()?;
        if self.keys.is_empty() {
            return Err(Reason::NoKeys.into());
        }
        let signed = package.signed(&self.keys)?;
        let network = signed.network;
        let verified = self.newer(&signed).and_then(|()| {
            let bundle = package.load(&self.runtime)?;
            Ok(runs_unrounded(&bundle)?)
        });
        if let Err(error) = verified {
            return Err(self.refused(network, signed.version, error));
        }
        let Signed { version, sha256, .. } = signed;
        let kept = Kept { identity: package.identity(), version, sha256, probation: None };
        self.change(|state| {
            self.write_folder(package, &kept.identity)?;
            state.of_mut(network).staged = Some(kept.clone());
            Ok(())
        })?;
        tracing::info!(%network, version = %kept.version, "A bundle is staged.");
        Ok((network, kept))
    }

    /// Makes the staged bundle the active one if it verifies once more and is fast enough. With `sha256`, of its network in
    /// hex, it must be that one.
    ///
    /// # Errors
    /// It isn't activated, and stays staged.
    pub fn activate(&self, network: Network, sha256: Option<&str>) -> Result<Kept, UpdateError> {
        self.may_change()?;
        let staged = self.state().of(network).staged.ok_or(Reason::NothingStaged)?;
        if sha256.is_some_and(|sha256| sha256 != staged.sha256) {
            return Err(Reason::NotStaged.into());
        }
        if let Err(error) = self.fit(network, &staged) {
            return Err(self.refused(network, staged.version, error));
        }
        self.change(|state| {
            let slots = state.of_mut(network);
            if slots.staged.as_ref() != Some(&staged) {
                return Err(Reason::NotStaged.into());
            }
            slots.activate();
            Ok(())
        })?;
        tracing::info!(%network, version = %staged.version, "A bundle is activated, on probation.");
        Ok(staged)
    }

    /// Goes back to the previous bundle; if that doesn't verify any more, to the one inside the program.
    ///
    /// # Errors
    /// There is none to go back to, or only one that doesn't verify now.
    pub fn roll_back(&self, network: Network) -> Result<Slot, UpdateError> {
        self.may_change()?;
        let slots = self.state().of(network);
        let target = slots.target().ok_or(Reason::NothingBefore)?;
        let target = match self.load_from(network, &target) {
            Ok(_) => target,
            // Nothing would change but that the previous one is lost, whose key may only be missing.
            Err(error) if slots.active == Slot::Program => return Err(error),
            Err(error) => {
                tracing::error!(%network, error = chain(error), "The previous bundle can't be used.");
                Slot::Program
            }
        };
        self.change(|state| {
            state.of_mut(network).go_back_to(target.clone());
            Ok(())
        })?;
        tracing::info!(%network, version = %version(network, &target), "The bundle before is active again.");
        Ok(target)
    }

    /// To be called when the daemon begins: an analysis that had begun under probation took the last one down, and what an
    /// update left behind is removed. Never fails.
    pub fn process_begins(&self) {
        if self.fixed || !self.root.exists() {
            return;
        }
        let noted = self.change(|state| {
            for network in Network::ALL {
                state.of_mut(*network).process_begins(&in_program(*network));
            }
            Ok(())
        });
        if let Err(error) = noted {
            tracing::error!(
                error = chain(error),
                "The bundles' state can't be brought up to date."
            );
        }
    }

    /// The bundle of a network that can be used: the active one, else the previous one, else the one inside the program.
    ///
    /// # Errors
    /// Not even that one verifies on this machine.
    pub fn load(&self, network: Network) -> Result<(Bundle, InUse), BundleError> {
        loop {
            let slots = self.state().of(network);
            let mut fell_back = None;
            for slot in [Some(&slots.active), slots.previous.as_ref()].into_iter().flatten() {
                let Slot::Disk(kept) = slot else { break };
                match self.load_from(network, slot) {
                    Ok(bundle) => {
                        let (slot, active) = (slot.clone(), slots.active.clone());
                        return Ok((bundle, InUse { network, slot, fell_back, active }));
                    }
                    Err(error) => {
                        let (version, reason) = (kept.version.clone(), error.reason);
                        tracing::error!(%network, %version, error = chain(error), "A bundle can't be used.");
                        fell_back.get_or_insert(Refused { version, reason });
                    }
                }
            }
            if fell_back.is_some() && !self.state().of(network).active.is(&slots.active) {
                // Somebody switched, and removed what was to be loaded.
                continue;
            }
            let bundle = Bundle::shipped(network.shipped(), &self.runtime)?;
            let (slot, active) = (Slot::Program, slots.active);
            return Ok((bundle, InUse { network, slot, fell_back, active }));
        }
    }

    /// To be called before an analysis with these networks in use; written down as long as one is on probation. Tells whether
    /// [`Store::analysis_ended`] must be called.
    pub fn analysis_begins(&self, in_use: &[(Network, Slot)]) -> bool {
        let mut begun = false;
        self.note(in_use, |slots| begun |= slots.analysis_begins());
        begun
    }

    /// To be called after it.
    pub fn analysis_ended(&self, in_use: &[(Network, Slot)], ended: Ended) {
        let well = match ended {
            Ended::Well => Some(true),
            Ended::Badly => Some(false),
            Ended::Otherwise => None,
        };
        self.note(in_use, |slots| slots.analysis_ended(well));
    }

    /// Takes note of something about the bundles in use that are active. An analysis must not fail by it.
    fn note(&self, in_use: &[(Network, Slot)], mut about: impl FnMut(&mut super::Slots)) {
        let state = self.state();
        if self.fixed || !in_use.iter().any(|(network, _)| state.of(*network).on_probation()) {
            return;
        }
        let noted = self.change(|state| {
            for (network, slot) in in_use {
                let slots = state.of_mut(*network);
                if slots.active.is(slot) {
                    about(slots);
                }
            }
            Ok(())
        });
        if let Err(error) = noted {
            tracing::error!(error = chain(error), "How a bundle fares can't be written down.");
        }
    }

    /// Changes the state under the lock: what `change` does to it is on disk when this returns.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, UpdateError>,
    ) -> Result<T, UpdateError> {
        create_dir(&self.root)?;
        let _lock = self.lock()?;
        let (before, not_understood) = self.read_state()?;
        if let Some(text) = not_understood {
            // A person or a later program may make something of it.
            write_atomically(&self.aside_file(), &text)?;
        }
        self.sweep(&before);
        let mut state = before.clone();
        let result = change(&mut state)?;
        if state != before {
            let text = serde_json::to_vec_pretty(&state).expect("a state is plain data");
            write_atomically(&self.state_file(), &text)?;
            self.sweep(&state);
        }
        Ok(result)
    }

    fn lock(&self) -> Result<File, UpdateError> {
        let path = self.root.join("lock");
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(FileError::during("open", &path))?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if began.elapsed() < LOCKED_WITHIN => {
                    thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => return Err(Reason::Busy.into()),
                Err(TryLockError::Error(e)) => {
                    return Err(FileError::during("lock", &path)(e).into());
                }
            }
        }
    }

    /// Removes what no slot refers to: bundles that were replaced, and what an update left that didn't come to its end. What a
    /// state names that was put aside is kept with it.
    fn sweep(&self, state: &State) {
        let aside = fs::read(self.aside_file()).unwrap_or_default();
        let aside = String::from_utf8_lossy(&aside);
        for name in names_in(&self.root).unwrap_or_default() {
            let path = self.root.join(&name);
            let is_needed = state.refers_to(&name) || aside.contains(&name);
            let removed = if path.is_dir() && !is_needed {
                fs::remove_dir_all(&path)
            } else if name.starts_with(TEMPORARY_PREFIX) {
                fs::remove_file(&path)
            } else {
                continue;
            };
            if let Err(error) = removed {
                tracing::warn!(%error, "A bundle that isn't needed can't be removed.");
            }
        }
    }

    /// Puts a bundle's folder in place, whole and on disk. One that is there already is kept if it is the same.
    fn write_folder(&self, package: &Package, identity: &str) -> Result<(), UpdateError> {
        let folder = self.folder(identity);
        if folder.exists() {
            if Package::from_folder(&folder).is_ok_and(|there| there == *package) {
                return Ok(());
            }
            fs::remove_dir_all(&folder).map_err(FileError::during("remove", &folder))?;
        }
        let staging = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .tempdir_in(&self.root)
            .map_err(FileError::during("create a folder in", &self.root))?;
        for (name, bytes) in package.files() {
            let path = staging.path().join(name);
            fs::write(&path, bytes).map_err(FileError::during("write", &path))?;
        }
        Ok(publish_dir(staging.path(), &folder)?)
    }

    /// The bundle of a slot, verified from its signature on.
    fn load_from(&self, network: Network, slot: &Slot) -> Result<Bundle, UpdateError> {
        let Slot::Disk(kept) = slot else {
            return Ok(Bundle::shipped(network.shipped(), &self.runtime)?);
        };
        let package = Package::from_folder(&self.folder(&kept.identity))?;
        let signed = package.signed(&self.keys)?;
        if signed.network != network || package.identity() != kept.identity {
            return Err(Reason::WrongDigest.into());
        }
        package.load(&self.runtime)
    }

    fn newer(&self, signed: &Signed) -> Result<(), UpdateError> {
        let slots = self.state().of(signed.network);
        let newer = slots.is_newer(&signed.version, &in_program(signed.network));
        if newer { Ok(()) } else { Err(Reason::NotNewer.into()) }
    }

    /// Whether the staged bundle may become the active one.
    fn fit(&self, network: Network, staged: &Kept) -> Result<(), UpdateError> {
        let mut new = self.load_from(network, &Slot::Disk(staged.clone()))?;
        runs_unrounded(&new)?; // an older program that staged it may not have asked
        let (mut old, _) = self.load(network)?;
        let slowdown = slowdown(&mut new, &mut old)?;
        tracing::info!(%network, slowdown, "The new bundle's time was taken beside that of the one in use.");
        if slowdown <= self.max_slowdown {
            return Ok(());
        }
        let (most, took) = (self.max_slowdown, format!("{slowdown:.2}"));
        Err(Reason::TooSlow.because(format!("it takes {took} times as long; {most} is allowed")))
    }

    /// Writes down that a bundle was refused; gives the error back.
    fn refused(&self, network: Network, version: Version, error: UpdateError) -> UpdateError {
        let reason = error.reason;
        let noted = self.change(|state| {
            state.of_mut(network).refused = Some(Refused { version, reason });
            Ok(())
        });
        if let Err(error) = noted {
            tracing::warn!(
                error = chain(error),
                "That a bundle was refused can't be written down."
            );
        }
        error
    }

    /// Files of another user's would be out of the daemon's reach.
    fn may_change(&self) -> Result<(), UpdateError> {
        use std::os::unix::fs::MetadataExt;
        if self.fixed {
            return Err(Reason::FixedFolder.into());
        }
        let state_dir = self.root.parent().expect("it lies in state_dir");
        let owner = fs::metadata(state_dir).map_err(FileError::during("look at", state_dir))?.uid();
        if owner == rustix::process::geteuid().as_raw() {
            Ok(())
        } else {
            Err(Reason::NotOwner.into())
        }
    }

    fn folder(&self, identity: &str) -> PathBuf {
        self.root.join(identity)
    }

    fn state_file(&self) -> PathBuf {
        self.root.join("state.json")
    }

    /// Holds the last state that couldn't be understood.
    fn aside_file(&self) -> PathBuf {
        self.root.join("state.aside.json")
    }
}

/// An exam whose types hang on little needs the network unrounded too; a blank slice of the smallest size tells whether
/// it runs so.
fn runs_unrounded(bundle: &Bundle) -> Result<(), BundleError> {
    let Input { channels, size_multiple, .. } = &bundle.manifest().input;
    let blank = Array3::zeros((channels.len(), *size_multiple, *size_multiple));
    bundle.unrounded()?.run(blank.view()).map(drop)
}

/// The version of a network's bundle inside the program.
pub(super) fn in_program(network: Network) -> Version {
    let manifest = network.shipped().manifest();
    Version::parse(&manifest.version).expect("the tests load both")
}

fn version(network: Network, slot: &Slot) -> Version {
    slot.kept().map_or_else(|| in_program(network), |kept| kept.version.clone())
}

/// An error with its causes, for the log.
fn chain(error: UpdateError) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const BUNDLE: &str = r#"{"identity":"0a1b","version":"9.0.0","sha256":"s","probation":null}"#;

    /// The store of a box with this state, and the folder of [`BUNDLE`], which doesn't verify.
    fn store(dir: &Path, state: &str) -> (Store, PathBuf) {
        let folder = dir.join("bundles/0a1b");
        fs::create_dir_all(&folder).unwrap();
        fs::write(dir.join("bundles/state.json"), state).unwrap();
        let config: Config = toml::from_str(&format!("state_dir = {dir:?}")).unwrap();
        (Store::new(&config).unwrap(), folder)
    }

    #[test]
    fn a_rollback_that_leads_nowhere_is_refused_and_keeps_the_bundle() {
        let dir = tempfile::tempdir().unwrap();
        let state = format!(r#"{{"modic":{{"previous":{{"disk":{BUNDLE}}}}}}}"#);
        let (store, folder) = store(dir.path(), &state);
        let before = store.state();
        let refused = store.roll_back(Network::Modic).unwrap_err();
        assert_eq!(refused.reason, Reason::NotAPackage);
        store.process_begins();
        assert_eq!(store.state().of(Network::Modic).previous, before.of(Network::Modic).previous);
        assert!(before.refers_to("0a1b") && folder.is_dir());
    }

    #[test]
    fn a_state_that_is_not_understood_is_put_aside_with_its_bundles_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let state = format!(r#"{{"modic":{{"active":{{"shelf":{BUNDLE}}}}}}}"#);
        let (store, folder) = store(dir.path(), &state);
        for _ in 0..2 {
            store.process_begins();
            for network in Network::ALL {
                let slots = store.state().of(*network);
                assert!(slots.went_back && slots.active == Slot::Program);
            }
            assert!(folder.is_dir());
        }
        assert_eq!(fs::read_to_string(store.aside_file()).unwrap(), state);
        assert!(serde_json::from_slice::<State>(&fs::read(store.state_file()).unwrap()).is_ok());
    }
}
