//! What changes, told to open pages as server-sent events.
//!
//! `exams`: the list has changed, ask again; `health`: the overview as `/api/health` gives it; `logs`: new records as
//! `/api/logs` gives them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use axum::routing::get;
use tokio::sync::mpsc;
use tokio::sync::watch::Receiver;
use tokio::time::sleep;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;

use super::health::Overview;
use super::logs;
use super::shared::Shared;

/// Events that wait for a page that doesn't read; what comes meanwhile is told when it does.
const BUFFER: usize = 4;
/// No event follows another within this time.
const PAUSE: Duration = Duration::from_millis(200);
/// A page that reads nothing is missed after this time at the latest.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Behind the token.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/api/events", get(events))
}

async fn events(
    State(shared): State<Arc<Shared>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let (sender, receiver) = mpsc::channel(BUFFER);
    tokio::spawn(async move {
        let shutdown = shared.shutdown.clone();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tell(&shared, sender) => {}
        }
    });
    Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

/// Ends when the page is gone.
async fn tell(shared: &Shared, page: mpsc::Sender<Result<Event, Infallible>>) {
    let mut studies = shared.sources.index.changes();
    let mut health = shared.sources.health.clone();
    let mut metrics = shared.sources.metrics.clone();
    let mut logs = logs::newest();
    let mut logged = *logs.borrow_and_update();
    // What changed before the page asked is news to it too.
    studies.mark_changed();
    health.mark_changed();
    loop {
        let event = tokio::select! {
            () = page.closed() => return,
            () = changed(&mut studies) => Event::default().event("exams").data("{}"),
            () = changed(&mut health) => overview(shared),
            () = changed(&mut metrics) => overview(shared),
            () = changed(&mut logs) => {
                let records = logs::after(logged);
                logged = records.last().map_or(logged, |record| record.seq);
                Event::default().event("logs").json_data(records).expect("text is always JSON")
            }
        };
        if page.send(Ok(event)).await.is_err() {
            return;
        }
        sleep(PAUSE).await;
    }
}

/// Waits for the next change; for ever when its source is gone, which happens at a stop only.
async fn changed<T>(receiver: &mut Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending().await
    }
}

fn overview(shared: &Shared) -> Event {
    Event::default()
        .event("health")
        .json_data(Overview::of(shared))
        .expect("numbers and names are always JSON")
}
