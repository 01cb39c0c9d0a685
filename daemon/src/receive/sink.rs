//! What the receive stage tells the next one.

use super::commitment::CommitmentReport;
use super::refusal::RefusedInstances;
use super::spool::StoredInstance;

/// Takes note of instances. Called on blocking threads, possibly several at once.
pub trait InstanceSink: Send + Sync + 'static {
    /// An instance is on disk and fsynced. It is called for every arrival, also for one that changed
    /// nothing, so that an index that missed it the first time gets it the second. Only after `Ok` does the
    /// peer hear Success.
    ///
    /// # Errors
    /// When it couldn't be recorded; the peer then hears "out of resources" and may send again.
    fn stored(&self, instance: &StoredInstance) -> Result<(), SinkError>;

    /// Instances were refused: called once at the end of an association or of a folder scan, and only if
    /// there were any.
    fn refused(&self, refused: &RefusedInstances);
}

/// Takes a storage provider's reports on storage commitment. Called on blocking threads.
pub trait CommitmentSink: Send + Sync + 'static {
    /// A report came. The provider hears Success after `Ok`, also if nobody waited for the report.
    ///
    /// # Errors
    /// When it couldn't be recorded; the provider then hears "processing failure" and may report again.
    fn report(&self, report: &CommitmentReport) -> Result<(), SinkError>;
}

/// The sink couldn't record what it was told.
#[derive(Debug, thiserror::Error)]
#[error("what was received could not be recorded")]
pub struct SinkError(#[source] pub Box<dyn std::error::Error + Send + Sync>);
