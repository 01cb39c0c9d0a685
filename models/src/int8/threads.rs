//! A standing pool of threads that share a map's rows, and what tract runs.

use std::sync::Arc;

use rayon::prelude::*;
use tract_onnx::tract_core::tract_linalg::multithread::{Executor, multithread_tract_scope};

use super::memory::Layout;

/// One thread, or a pool of several.
#[derive(Clone, Default)]
pub(crate) struct Threads(Option<Arc<rayon::ThreadPool>>);

/// Parts of a map for each thread: more than one, so that one that is held up holds up little.
const PARTS: usize = 2;

/// Fewer rows of a float plane than this aren't worth a change of threads.
const SHARED_ROWS: usize = 64;

impl Threads {
    /// A pool of `count` threads; for one, the caller's own.
    pub fn new(count: usize) -> Result<Threads, String> {
        if count <= 1 {
            return Ok(Threads(None));
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|k| format!("network-{k}"))
            .build()
            .map(|pool| Threads(Some(Arc::new(pool))))
            .map_err(|e| format!("starting {count} threads: {e}"))
    }

    /// Runs `work` where [`Threads::parts`] finds the pool without waiting.
    pub fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.0 {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// Runs `work` where tract's own operators share the pool.
    pub fn lend<R>(&self, work: impl FnOnce() -> R) -> R {
        match &self.0 {
            Some(pool) => multithread_tract_scope(Executor::MultiThread(pool.clone()), work),
            None => work(),
        }
    }

    /// Calls `each` with the first row, the number of rows and the bytes of parts of a map; a part has a multiple
    /// of `together` rows. The bytes begin at the map's first channel.
    pub(super) fn parts(
        &self,
        bytes: &mut [u8],
        to: Layout,
        together: usize,
        each: impl Fn(usize, usize, &mut [u8]) + Sync,
    ) {
        let interior = &mut bytes[to.pixel_at(0) + to.offset..];
        let Some(pool) = &self.0 else { return each(0, to.rows, interior) };
        let parts = PARTS * pool.current_num_threads();
        let rows = to.rows.div_ceil(parts).next_multiple_of(together);
        interior.par_chunks_mut(rows * to.row).enumerate().for_each(|(part, bytes)| {
            if let Some(left) = to.rows.checked_sub(part * rows).filter(|left| *left > 0) {
                each(part * rows, left.min(rows), bytes);
            }
        });
    }

    /// Calls `each` with every row and its pixels, which begin without the map's offset.
    pub(super) fn rows(
        &self,
        bytes: &mut [u8],
        to: Layout,
        each: impl Fn(usize, &mut [u8]) + Sync,
    ) {
        self.parts(bytes, to.whole_pixels(), 1, |first, rows, bytes| {
            for row in 0..rows {
                each(first + row, &mut bytes[row * to.row..][..to.row_bytes()]);
            }
        });
    }

    /// Calls `each` with the rows of a plane.
    pub(super) fn share(
        &self,
        plane: &mut [f32],
        columns: usize,
        each: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        match &self.0 {
            None => plane.chunks_mut(columns).enumerate().for_each(|(row, part)| each(row, part)),
            Some(_) => {
                let rows = plane.par_chunks_mut(columns).with_min_len(SHARED_ROWS).enumerate();
                rows.for_each(|(row, part)| each(row, part));
            }
        }
    }
}
