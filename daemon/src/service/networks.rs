//! The networks that the daemon analyses with, and what it tells of them.
//!
//! Owns the analyser. Promises that another bundle is taken between two studies as soon as the bundles' state says so, that
//! `info`, the metrics and `bundle/{name}/state` then follow, and that the store hears of every analysis of a bundle on
//! probation before it begins.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use modic_models::BundleError;
use tokio::sync::watch;

use crate::analysis::{Analyser, Analysis, AnalysisError, Prepared, Refused, Verdict};
use crate::bundles::{self, Ended, InUse, Network, Slot, Store};
use crate::config::Config;
use crate::deliver::bundle::{BundleSlot, BundleSource, BundleState, RefusedBundle};
use crate::deliver::payload::Info;
use crate::metrics::Counts;
use crate::report::BundleUsed;
use crate::segment::OnSlice;

/// The analyser with the bundles that it has.
pub(super) struct Networks {
    config: Config,
    store: Arc<Store>,
    counts: Counts,
    analyser: Analyser,
    /// Empty where the configuration names a folder.
    in_use: Vec<InUse>,
    /// The state that was followed last.
    followed: bundles::State,
    info: watch::Sender<Info>,
    states: watch::Sender<Vec<BundleState>>,
}

impl Networks {
    /// Loads them.
    ///
    /// # Errors
    /// A bundle inside the program, or in the folder that the configuration names, doesn't verify.
    pub fn load(
        config: &Config,
        store: Arc<Store>,
        counts: Counts,
    ) -> Result<Networks, BundleError> {
        let followed = store.state();
        let (analyser, in_use) = bundles::analyser_with(config, &store)?;
        let networks = Networks {
            info: watch::Sender::new(info(config)),
            states: watch::Sender::new(Vec::new()),
            config: config.clone(),
            store,
            counts,
            analyser,
            in_use,
            followed,
        };
        networks.tell();
        Ok(networks)
    }

    /// Versions and bundles, as published.
    pub fn info(&self) -> watch::Receiver<Info> {
        self.info.subscribe()
    }

    /// The state of each network's bundles, as published.
    pub fn states(&self) -> watch::Receiver<Vec<BundleState>> {
        self.states.subscribe()
    }

    /// Reads headers and chooses series.
    pub fn analyser(&self) -> &Analyser {
        &self.analyser
    }

    /// Whether the box uses another bundle than a person has chosen.
    pub fn went_back(&self) -> bool {
        self.in_use
            .iter()
            .any(|chosen| chosen.fell_back.is_some() || self.followed.of(chosen.network).went_back)
    }

    /// Takes other bundles if the state says so. To be called between two studies.
    pub fn follow(&mut self) {
        let state = self.store.state();
        if state == self.followed || self.in_use.is_empty() {
            return;
        }
        let switched = self.in_use.iter().any(|c| !state.of(c.network).active.is(&c.active));
        self.followed = state;
        if switched {
            match bundles::analyser_with(&self.config, &self.store) {
                Ok((analyser, in_use)) => {
                    (self.analyser, self.in_use) = (analyser, in_use);
                    tracing::info!("Studies are analysed with other networks from now on.");
                }
                Err(error) => tracing::error!(%error, "The networks stay as they are."),
            }
        }
        self.tell();
    }

    /// Analyses an exam, see [`Analyser::analyse`]. A panic of a codec or the runtime is an error of this study, not the end
    /// of the daemon.
    pub fn analyse(
        &mut self,
        prepared: &Prepared,
        on_step: OnSlice,
    ) -> anyhow::Result<Verdict<Analysis>> {
        let in_use: Vec<_> = self.in_use.iter().map(|c| (c.network, c.slot.clone())).collect();
        let noted = self.store.analysis_begins(&in_use);
        let analyser = &mut self.analyser;
        let analysed = catch_unwind(AssertUnwindSafe(|| analyser.analyse(prepared, on_step)));
        if noted {
            self.store.analysis_ended(&in_use, how_it_ended(analysed.as_ref().ok()));
        }
        Ok(analysed.map_err(|_| anyhow::anyhow!("the analysis ended in a panic"))??)
    }

    fn tell(&self) {
        let bundles = self.analyser.bundles();
        self.counts.use_bundles(&bundles);
        let states = Network::ALL.iter().zip(&bundles);
        let states = states.map(|(network, used)| self.state_of(*network, used)).collect();
        self.states.send_if_modified(|old| replace(old, states));
        let bundles = bundles.into_iter().map(|b| (b.name, b.sha256)).collect();
        self.info.send_if_modified(|old| replace(&mut old.bundles, bundles));
    }

    fn state_of(&self, network: Network, used: &BundleUsed) -> BundleState {
        let slots = self.followed.of(network);
        let chosen = self.in_use.iter().find(|chosen| chosen.network == network);
        let source = match chosen.map(|chosen| &chosen.slot) {
            None => BundleSource::Folder,
            Some(Slot::Program) => BundleSource::Program,
            Some(Slot::Disk(_)) => BundleSource::Disk,
        };
        let active =
            BundleSlot { version: used.version.clone(), sha256: used.sha256.clone(), source };
        let Some(chosen) = chosen else {
            return BundleState {
                name: network,
                active,
                on_probation: false,
                staged: None,
                previous: None,
                refused: None,
            };
        };
        let refused = chosen.fell_back.as_ref().or(slots.refused.as_ref());
        BundleState {
            name: network,
            active,
            on_probation: chosen.slot.is(&slots.active) && slots.on_probation(),
            staged: slots.staged.map(|kept| told(network, &Slot::Disk(kept))),
            previous: slots.previous.map(|slot| told(network, &slot)),
            refused: refused.map(|refused| RefusedBundle {
                version: refused.version.to_string(),
                reason: refused.reason,
            }),
        }
    }
}

fn how_it_ended(analysed: Option<&Result<Verdict<Analysis>, AnalysisError>>) -> Ended {
    match analysed {
        Some(Ok(Ok(_))) => Ended::Well,
        None | Some(Err(AnalysisError::Segment(_))) => Ended::Badly,
        Some(Ok(Err(Refused { .. })) | Err(AnalysisError::Read(_) | AnalysisError::BrokenOff)) => {
            Ended::Otherwise
        }
    }
}

fn told(network: Network, slot: &Slot) -> BundleSlot {
    match slot {
        Slot::Disk(kept) => BundleSlot {
            version: kept.version.to_string(),
            sha256: kept.sha256.clone(),
            source: BundleSource::Disk,
        },
        Slot::Program => {
            let manifest = network.shipped().manifest();
            let (version, sha256) = (manifest.version, manifest.sha256);
            BundleSlot { version, sha256, source: BundleSource::Program }
        }
    }
}

fn info(config: &Config) -> Info {
    Info {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        typing: config.modic.typing_version.clone(),
        bundles: Default::default(),
        limits: [
            ("max_associations", config.receive.max_associations as u64),
            ("max_object_bytes", config.receive.max_object_bytes),
        ]
        .into(),
    }
}

/// Whether it was another.
fn replace<T: PartialEq>(old: &mut T, new: T) -> bool {
    let other = *old != new;
    *old = new;
    other
}
