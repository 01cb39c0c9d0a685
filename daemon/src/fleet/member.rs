//! One simulated box: what a daemon has between its worker and the broker, and exams in place of a scanner.

use std::ops::AddAssign;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use rand::Rng;
use rand_pcg::Pcg64;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};

use super::exams::{Exam, Outcome};
use super::ledger::Ledger;
use crate::audit::Auditor;
use crate::deliver::commands::Desk;
use crate::deliver::mqtt::Feeds;
use crate::deliver::payload::{EventBody, Health, Info, Metrics, Status};
use crate::deliver::{Config, Delivery, HealthReason, Identity, Outbox, OutboxError};
use crate::service::announce::Announcer;

/// Time of an analysis, s.
const ANALYSIS_S: std::ops::Range<f64> = 0.5..3.0;

/// How often a box becomes degraded, a mean over an hour.
const DEGRADED_PER_HOUR: f64 = 2.0;

/// For how long it does, s.
const DEGRADED_S: std::ops::Range<f64> = 1.0..30.0;

/// One box.
pub(super) struct Member {
    /// Its place in the fleet.
    pub index: usize,
    config: Config,
    outbox: Arc<Outbox>,
    identity: Identity,
    desk: Arc<Desk>,
    announcer: Arc<Announcer>,
    health: watch::Sender<Health>,
    metrics: watch::Sender<Metrics>,
    ledger: Arc<Ledger>,
}

/// How exams ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Studies {
    /// With a finding document.
    pub completed: usize,
    /// Refused.
    pub rejected: usize,
    /// Given up.
    pub failed: usize,
}

impl AddAssign for Studies {
    fn add_assign(&mut self, other: Studies) {
        self.completed += other.completed;
        self.rejected += other.rejected;
        self.failed += other.failed;
    }
}

impl Member {
    /// Opens its outbox in `folder`.
    pub(super) fn open(
        index: usize,
        config: Config,
        folder: &Path,
        ledger: Arc<Ledger>,
    ) -> anyhow::Result<Member> {
        let outbox = Arc::new(Outbox::open(folder, (&config).into())?);
        let identity = Identity::new(&config.device, config.time_precision);
        let (topics, retain) = (config.topics()?, config.retain_findings);
        let announcer = Announcer::new(identity.clone(), topics, Arc::clone(&outbox), retain);
        // It takes no commands.
        let (desk, _) = Desk::open(
            &folder.join("commands.json"),
            &[],
            identity.clone(),
            config.topics()?,
            Arc::clone(&outbox),
            Auditor::default(),
        );
        Ok(Member {
            index,
            desk: Arc::new(desk),
            config,
            outbox,
            identity,
            announcer: Arc::new(announcer),
            health: watch::channel(Health::default()).0,
            metrics: watch::channel(Metrics::default()).0,
            ledger,
        })
    }

    /// Its delivery task.
    pub(super) fn delivery(&self) -> anyhow::Result<Delivery> {
        let info = Info {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            typing: crate::modic::Config::default().typing_version,
            bundles: super::exams::bundles().into_iter().map(|b| (b.name, b.sha256)).collect(),
            limits: [("max_associations", 16), ("max_object_bytes", 256 << 20)].into(),
        };
        let feeds = Feeds {
            info: watch::Sender::new(info).subscribe(),
            bundles: watch::Sender::new(Vec::new()).subscribe(),
            health: self.health.subscribe(),
            metrics: self.metrics.subscribe(),
        };
        let (identity, outbox) = (self.identity.clone(), Arc::clone(&self.outbox));
        Ok(Delivery::new(&self.config, identity, outbox, Arc::clone(&self.desk), feeds)?)
    }

    /// Takes exams until `until`, at random times, and finishes the last one.
    pub(super) async fn live(
        self,
        exams_per_hour: f64,
        until: Instant,
        mut random: Pcg64,
    ) -> anyhow::Result<Studies> {
        let began = Instant::now();
        let mut studies = Studies::default();
        let mut exam_due = began + interval(&mut random, exams_per_hour);
        let mut degraded_due = began + interval(&mut random, DEGRADED_PER_HOUR);
        while exam_due.min(degraded_due) < until {
            sleep_until(exam_due.min(degraded_due)).await;
            if degraded_due < exam_due {
                self.degrade(&mut random);
                degraded_due += interval(&mut random, DEGRADED_PER_HOUR);
                continue;
            }
            self.health.send_modify(|health| health.queue = 1);
            studies += self.examine(&mut random).await?;
            self.health.send_modify(|health| health.queue = 0);
            self.metrics.send_replace(Metrics {
                uptime_s: began.elapsed().as_secs(),
                studies_received_total: (studies.completed + studies.rejected + studies.failed)
                    as u64,
                studies_completed_total: studies.completed as u64,
                studies_rejected_total: studies.rejected as u64,
                studies_failed_total: studies.failed as u64,
                ..Metrics::default()
            });
            exam_due = Instant::now().max(exam_due + interval(&mut random, exams_per_hour));
        }
        Ok(studies)
    }

    /// Is degraded for a while.
    fn degrade(&self, random: &mut Pcg64) {
        let health = self.health.clone();
        let well_again = Duration::from_secs_f64(random.random_range(DEGRADED_S));
        health.send_modify(|h| {
            h.status = Status::Degraded;
            h.reasons.update(&[HealthReason::AnalysisError], SystemTime::now());
        });
        tokio::spawn(async move {
            sleep(well_again).await;
            health.send_modify(|h| {
                h.status = Status::Ok;
                h.reasons.update(&[], SystemTime::now());
            });
        });
    }

    /// Takes one exam the way the worker does: the same messages in the same order.
    async fn examine(&self, random: &mut Pcg64) -> anyhow::Result<Studies> {
        let Exam { study_ref, instances, refused_instances, outcome } = Exam::draw(random);
        let of_study = study_ref.clone();
        self.announce(move |announcer| {
            if let Some(refused) = refused_instances {
                announcer.refused_instances(&refused)?;
            }
            announcer.study(&of_study, 1, None, EventBody::StudyReceived { instances })
        })
        .await?;
        let analysis_s = random.random_range(ANALYSIS_S);
        sleep(Duration::from_secs_f64(analysis_s)).await;
        match outcome {
            Outcome::Completed(body) => {
                let event = EventBody::StudyCompleted {
                    findings: body.findings.len(),
                    quality: body.quality.clone(),
                    cached: false,
                    analysis_s,
                };
                self.announce(move |announcer| {
                    let document = announcer.document(&study_ref, 1, &body);
                    let document = serde_json::to_value(&document).and_then(serde_json::from_value);
                    let document = document.expect("a finding document is a JSON object");
                    announcer.finding(&study_ref, &document)?;
                    announcer.study(&study_ref, 1, Some(1), event)
                })
                .await?;
                Ok(Studies { completed: 1, ..Studies::default() })
            }
            Outcome::Rejected(event) => {
                self.announce(move |announcer| announcer.study(&study_ref, 1, None, event)).await?;
                Ok(Studies { rejected: 1, ..Studies::default() })
            }
            Outcome::Failed(event) => {
                self.announce(move |announcer| announcer.study(&study_ref, 1, None, event)).await?;
                Ok(Studies { failed: 1, ..Studies::default() })
            }
        }
    }

    /// Says something where it may block, and enters what the outbox took in the ledger.
    async fn announce(
        &self,
        say: impl FnOnce(&Announcer) -> Result<(), OutboxError> + Send + 'static,
    ) -> anyhow::Result<()> {
        let (announcer, outbox) = (Arc::clone(&self.announcer), Arc::clone(&self.outbox));
        let (ledger, index) = (Arc::clone(&self.ledger), self.index);
        let said = spawn_blocking(move || {
            let (began, before) = (std::time::Instant::now(), outbox.newest());
            let said = say(&announcer);
            ledger.enqueued(index, before + 1..=outbox.newest(), began);
            said
        });
        said.await.context("announcing ended in a panic")?.context("a box could not enqueue")
    }
}

/// Time to the next of events that come at random, `per_hour` on average; a year when there are none.
fn interval(random: &mut Pcg64, per_hour: f64) -> Duration {
    const YEAR_S: f64 = 365.0 * 86_400.0;
    let uniform: f64 = random.random();
    Duration::from_secs_f64((-(1.0 - uniform).ln() * 3600.0 / per_hour).min(YEAR_S))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn intervals_have_the_mean_that_was_asked_for() {
        let mut random = Pcg64::seed_from_u64(1);
        let sum: f64 = (0..10_000).map(|_| interval(&mut random, 60.0).as_secs_f64()).sum();
        assert!((sum / 10_000.0 - 60.0).abs() < 2.0, "{sum}");
        assert!(interval(&mut random, 0.0) > Duration::from_secs(86_400 * 300));
    }
}
