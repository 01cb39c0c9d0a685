//! One instance on its way from an association to the spool: gathers fragments, writes on blocking threads.

use super::ingest::ingest_file;
use super::refusal::{Reason, Refusal};
use super::sink::InstanceSink;
use super::spool::{Claim, Incoming, InstanceStore, StoredInstance};
use std::path::Path;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// Gathered before it is written; with the longest PDU this is an association's memory. Most single-frame
/// MR images fit, and cost one trip to a blocking thread.
const WRITE_BUFFER_BYTES: usize = 512 << 10;

/// Where instances go.
#[derive(Clone)]
pub(super) struct Destination {
    pub(super) store: Arc<InstanceStore>,
    pub(super) sink: Arc<dyn InstanceSink>,
}

impl Destination {
    /// Gives a whole instance its place and tells the sink.
    fn settle(&self, incoming: Incoming) -> Result<StoredInstance, Refusal> {
        let _arriving = self.store.arriving();
        let stored = self.store.commit(incoming)?;
        self.announce(stored)
    }

    /// Takes a file in and tells the sink.
    pub(super) fn ingest(&self, path: &Path) -> Result<StoredInstance, Refusal> {
        let _arriving = self.store.arriving();
        self.announce(ingest_file(&self.store, path)?)
    }

    /// Tells the sink of a stored instance.
    fn announce(&self, stored: StoredInstance) -> Result<StoredInstance, Refusal> {
        match self.sink.stored(&stored) {
            Ok(()) => Ok(stored),
            Err(e) => Err(Refusal { reason: Reason::IndexFailed, source: Some(e.0) }),
        }
    }
}

/// An instance being received.
pub(super) struct Upload {
    destination: Destination,
    claim: Claim,
    buffer: Vec<u8>,
    /// `None` until the buffer was first full.
    incoming: Option<Incoming>,
    /// Set once, and from then on fragments are discarded.
    refusal: Option<Refusal>,
}

impl Upload {
    pub(super) fn new(destination: Destination, claim: Claim) -> Upload {
        Upload { destination, claim, buffer: Vec::new(), incoming: None, refusal: None }
    }

    /// Takes the next fragment of the data set.
    pub(super) async fn push(&mut self, fragment: &[u8]) {
        if self.refusal.is_some() {
            return;
        }
        self.buffer.extend_from_slice(fragment);
        if self.buffer.len() < WRITE_BUFFER_BYTES {
            return;
        }
        let write = self.write();
        match blocking(move || write.run()).await {
            Ok(incoming) => self.incoming = Some(incoming),
            Err(refusal) => self.refusal = Some(refusal),
        }
    }

    /// The data set is whole: stores it. The work runs to its end even if the caller doesn't wait.
    pub(super) async fn finish(mut self) -> Result<StoredInstance, Refusal> {
        if let Some(refusal) = self.refusal.take() {
            return Err(refusal);
        }
        let write = self.write();
        let destination = self.destination;
        blocking(move || destination.settle(write.run()?)).await
    }

    fn write(&mut self) -> Write {
        Write {
            store: Arc::clone(&self.destination.store),
            claim: self.claim.clone(),
            incoming: self.incoming.take(),
            bytes: std::mem::take(&mut self.buffer),
        }
    }
}

/// A full buffer to be written, on a blocking thread.
struct Write {
    store: Arc<InstanceStore>,
    claim: Claim,
    incoming: Option<Incoming>,
    bytes: Vec<u8>,
}

impl Write {
    fn run(self) -> Result<Incoming, Refusal> {
        let mut incoming = match self.incoming {
            Some(incoming) => incoming,
            None => self.store.begin(self.claim)?,
        };
        incoming.write(&self.bytes)?;
        Ok(incoming)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    spawn_blocking(work).await.unwrap_or_else(|panicked| Err(Refusal::storage(panicked)))
}
