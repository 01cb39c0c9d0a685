//! What is read when somebody asks: queues, disk, process, temperatures, certificates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::certificates::CertificateFile;
use super::system::{Process, THERMAL_ZONES, Temperature, temperatures};
use crate::deliver::Outbox;
use crate::deliver::alarm::Reasons;
use crate::deliver::outbox::Limits;
use crate::deliver::payload::{Health, OutboxHealth};
use crate::pacs::{Backlog, Pacs};
use crate::store::index::unix_ms;
use crate::store::{Disk, Index};

/// Where a [`Reading`] is read.
pub struct Sources {
    /// The studies.
    pub index: Index,
    /// What waits for the broker.
    pub outbox: Arc<Outbox>,
    /// How much may wait.
    pub outbox_limits: Limits,
    /// What waits for the PACS.
    pub pacs: Arc<Pacs>,
    /// Which alarms stand.
    pub health: watch::Receiver<Health>,
    /// Whose file system is watched.
    pub state_dir: PathBuf,
    /// Which certificates are watched.
    pub certificates: Vec<CertificateFile>,
    /// When the process began.
    pub started: SystemTime,
}

/// Studies that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Queue {
    /// How many.
    pub studies: u64,
    /// Time since the last instance of the one that has waited for longest, ms.
    pub oldest_age_ms: u64,
}

/// How the box is at one moment. What can't be read is absent.
#[derive(Debug, Clone)]
pub struct Reading {
    /// When it was read.
    pub now: SystemTime,
    /// When the process began.
    pub started: SystemTime,
    /// Studies that wait.
    pub queue: Option<Queue>,
    /// What waits for the broker.
    pub outbox: OutboxHealth,
    /// How much may wait.
    pub outbox_limits: Limits,
    /// What waits for each PACS, by its configured name.
    pub pacs: BTreeMap<String, Backlog>,
    /// Which alarms stand.
    pub alarms: Reasons,
    /// The process.
    pub process: Option<Process>,
    /// The state folder's file system.
    pub disk: Option<Disk>,
    /// Of every thermal zone.
    pub temperatures: Vec<Temperature>,
    /// Until when each certificate is good, Unix time in s, by the configuration's key.
    pub certificates: BTreeMap<String, i64>,
}

impl Sources {
    /// Reads everything. Blocks on the disk.
    pub fn read(&self) -> Reading {
        let now = SystemTime::now();
        let not_after = |file: &CertificateFile| Some((file.key.clone(), file.not_after()?));
        Reading {
            now,
            started: self.started,
            queue: self.queue(now),
            outbox: self.outbox.health(now),
            outbox_limits: self.outbox_limits,
            pacs: self.pacs.backlog().unwrap_or_default(),
            alarms: self.health.borrow().reasons.clone(),
            process: Process::read(),
            disk: Disk::read(&self.state_dir),
            temperatures: temperatures(Path::new(THERMAL_ZONES)),
            certificates: self.certificates.iter().filter_map(not_after).collect(),
        }
    }

    fn queue(&self, now: SystemTime) -> Option<Queue> {
        let studies = self.index.studies().ok()?;
        let waiting = studies.iter().filter(|(_, study)| study.has_work());
        let ages = waiting.map(|(_, study)| unix_ms(now).saturating_sub(study.last_activity_ms));
        Some(ages.fold(Queue::default(), |queue, age| Queue {
            studies: queue.studies + 1,
            oldest_age_ms: queue.oldest_age_ms.max(age),
        }))
    }
}

impl Reading {
    /// Unix time in s.
    pub(super) fn started_s(&self) -> f64 {
        self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }

    /// Time since `then`, s.
    pub(super) fn age_s(&self, then: SystemTime) -> f64 {
        self.now.duration_since(then).unwrap_or_default().as_secs_f64()
    }

    /// Time until the first certificate expires, days; negative when one has.
    pub(super) fn certificate_days_left(&self) -> Option<f64> {
        const DAY_S: f64 = 86_400.0;
        let now_s = self.now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.certificates.values().min().map(|end| (*end as f64 - now_s) / DAY_S)
    }
}
