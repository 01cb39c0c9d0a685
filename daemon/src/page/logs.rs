//! The newest log records, kept in memory for the page.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::SystemTime;

use axum::extract::Query;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::shared::Shared;
use crate::deliver::TimePrecision;

/// Records kept; the oldest go first.
const MAX_RECORDS: usize = 500;
/// Bytes of a record's text, the rest is cut off.
const MAX_TEXT_BYTES: usize = 2048;

/// One log record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Record {
    /// Counts all records since the start, from 1.
    pub seq: u64,
    time: String,
    level: &'static str,
    /// The module that wrote it.
    target: String,
    /// Its sentence and its fields, as in the journal.
    text: String,
}

/// The records of this process: like the subscriber that fills it, there is one.
static LOG: LazyLock<Log> = LazyLock::new(Log::default);

#[derive(Default)]
struct Log {
    records: Mutex<VecDeque<Record>>,
    /// The newest record's number.
    newest: watch::Sender<u64>,
}

impl Log {
    fn push(&self, level: &'static str, target: &str, text: String) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = *self.newest.borrow() + 1;
        if records.len() == MAX_RECORDS {
            records.pop_front();
        }
        let time = TimePrecision::Millisecond.format(SystemTime::now());
        records.push_back(Record { seq, time, level, target: target.to_owned(), text });
        self.newest.send_replace(seq);
    }

    fn after(&self, seq: u64) -> Vec<Record> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().filter(|record| record.seq > seq).cloned().collect()
    }
}

/// Records after `seq` that are still kept, oldest first.
pub(super) fn after(seq: u64) -> Vec<Record> {
    LOG.after(seq)
}

/// All that are kept, a line each.
pub(crate) fn text() -> String {
    let line = |r: &Record| format!("{} {:5} {}: {}\n", r.time, r.level, r.target, r.text);
    after(0).iter().map(line).collect()
}

/// The number of the newest record, and of every later one.
pub(super) fn newest() -> watch::Receiver<u64> {
    LOG.newest.subscribe()
}

/// Keeps what is logged.
pub(crate) fn layer<S: Subscriber>() -> impl Layer<S> {
    Keep
}

struct Keep;

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let Text { message, fields } = text;
        let metadata = event.metadata();
        LOG.push(metadata.level().as_str(), metadata.target(), cut(message + &fields));
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        let end = (0..=MAX_TEXT_BYTES).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string doesn't fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

/// Behind the token.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/api/logs", get(logs))
}

async fn logs(Query(After { after }): Query<After>) -> Json<Vec<Record>> {
    Json(self::after(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_records_go_first_and_long_ones_are_cut() {
        let log = Log::default();
        for n in 0..MAX_RECORDS + 3 {
            log.push("INFO", "test", n.to_string());
        }
        let kept = log.after(0);
        assert_eq!((kept.len(), kept[0].seq, kept[0].text.as_str()), (MAX_RECORDS, 4, "3"));
        assert_eq!(log.after(MAX_RECORDS as u64 + 2).len(), 1);
        let long = cut("ä".repeat(MAX_TEXT_BYTES));
        assert!(long.len() <= MAX_TEXT_BYTES + '…'.len_utf8());
    }
}
