//! What happens to an instance once it is on disk: the index takes note, and only then does the peer hear
//! Success.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::announce::Announcer;
use crate::receive::{InstanceSink, RefusedInstances, SinkError, StoredInstance};
use crate::store::Index;

/// Hands received instances to the index and refused ones to the announcer.
pub struct Intake {
    index: Index,
    announcer: Arc<Announcer>,
    received: AtomicU64,
    refused: AtomicU64,
}

impl Intake {
    /// Nothing counted yet.
    pub fn new(index: Index, announcer: Arc<Announcer>) -> Intake {
        Intake { index, announcer, received: AtomicU64::new(0), refused: AtomicU64::new(0) }
    }

    /// Instances received and refused since the start.
    pub fn counts(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }
}

impl InstanceSink for Intake {
    fn stored(&self, instance: &StoredInstance) -> Result<(), SinkError> {
        let name = instance_name(&instance.path);
        self.index
            .record_instance(&instance.study_ref, &name, instance.sha256, SystemTime::now())
            .map_err(|error| SinkError(Box::new(error)))?;
        self.received.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn refused(&self, refused: &RefusedInstances) {
        self.refused.fetch_add(refused.total(), Ordering::Relaxed);
        if let Err(error) = self.announcer.refused_instances(refused) {
            tracing::error!(%error, "Refused instances could not be announced.");
        }
    }
}

/// An instance's name in the index: its file's.
pub fn instance_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
