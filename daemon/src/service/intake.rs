//! What happens to an instance once it is on disk: the index takes note, and only then does the peer hear
//! Success.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::announce::Announcer;
use crate::metrics::Counts;
use crate::receive::{InstanceSink, RefusedInstances, SinkError, StoredInstance};
use crate::store::Index;

/// Hands received instances to the index and refused ones to the announcer.
pub struct Intake {
    index: Index,
    announcer: Arc<Announcer>,
    counts: Counts,
}

impl Intake {
    /// Counts what comes in there.
    pub fn new(index: Index, announcer: Arc<Announcer>, counts: Counts) -> Intake {
        Intake { index, announcer, counts }
    }
}

impl InstanceSink for Intake {
    fn stored(&self, instance: &StoredInstance) -> Result<(), SinkError> {
        let name = instance_name(&instance.path);
        self.index
            .record_instance(&instance.study_ref, &name, instance.sha256, SystemTime::now())
            .map_err(|error| SinkError(Box::new(error)))?;
        self.counts.instances_received.inc();
        Ok(())
    }

    fn refused(&self, refused: &RefusedInstances) {
        for (reason, number) in &refused.counts {
            self.counts.instances_rejected(*reason, *number);
        }
        if let Err(error) = self.announcer.refused_instances(refused) {
            tracing::error!(%error, "Refused instances could not be announced.");
        }
    }
}

/// An instance's name in the index: its file's.
pub fn instance_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
