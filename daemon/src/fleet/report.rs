//! What a run showed, as JSON and as a table.

use std::fmt::Write;
use std::time::Instant;

use serde::Serialize;

use super::ledger::{Ledger, Tally};
use super::member::Studies;
use super::watcher::Outage;
use super::{Options, Sample};
use crate::quantile::quantile;
use crate::usage::Usage;

/// What a run showed. Times are s unless the name says ms, memory bytes.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The program's version.
    pub software: String,
    /// Boxes.
    pub boxes: usize,
    /// Over TLS.
    pub tls: bool,
    /// Exams a box and hour, on average.
    pub exams_per_hour: f64,
    /// How long exams came in.
    pub duration_s: f64,
    /// Seed of the exams.
    pub seed: u64,
    /// From the first connection begun until every box was seen online.
    pub all_online_s: f64,
    /// How exams ended.
    pub studies: Studies,
    /// What became of the messages.
    pub messages: Tally,
    /// Whether nothing was lost, out of order, or doubled without saying so.
    pub holds: bool,
    /// From the beginning of enqueuing to the subscriber.
    pub latency_ms: Latency,
    /// Connections that were dropped on purpose.
    pub dropped: usize,
    /// Times without the broker.
    pub outages: Vec<OutageReport>,
    /// Boxes that said `stopped` at the end.
    pub stopped: usize,
    /// While exams came in, PUBLISH packets of all boxes a second.
    pub messages_per_s: f64,
    /// While exams came in, bytes of PUBLISH packets a box and hour, without TCP/IP and TLS.
    pub bytes_per_box_hour: f64,
    /// The broker's process.
    pub broker: Option<Cost>,
    /// This process: all boxes and the subscriber.
    pub fleet: Cost,
}

/// Percentiles of a latency, ms; the nearest measured value.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[allow(missing_docs)]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
}

/// One time without the broker.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct OutageReport {
    /// From the loss until the subscriber was back.
    pub away_s: f64,
    /// From then until every box was back; absent if one never was.
    pub all_online_s: Option<f64>,
}

/// What one process used.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cost {
    /// Resident memory before the first box.
    pub resident_alone: u64,
    /// With all boxes connected.
    pub resident_connected: u64,
    /// When the last exam had come in.
    pub resident_busy: u64,
    /// The first two's difference, for each box.
    pub resident_per_box: f64,
    /// CPU time until all boxes were connected.
    pub cpu_connecting_s: f64,
    /// CPU time while exams came in.
    pub cpu_busy_s: f64,
    /// That as a share of one core, %.
    pub cpu_busy_percent: f64,
    /// That for 1000 PUBLISH packets.
    pub cpu_per_1000_messages_s: f64,
}

impl Report {
    pub(super) fn new(
        options: &Options,
        began: Instant,
        [alone, connected, busy]: [Sample; 3],
        studies: Studies,
        dropped: usize,
        ledger: &Ledger,
        outages: &[Outage],
    ) -> Report {
        let busy_s = busy.at.duration_since(connected.at).as_secs_f64();
        let messages = (busy.traffic.messages - connected.traffic.messages) as f64;
        let bytes = (busy.traffic.bytes - connected.traffic.bytes) as f64;
        let cost = |usage: fn(&Sample) -> Option<Usage>| {
            let (alone, connected, busy) = (usage(&alone)?, usage(&connected)?, usage(&busy)?);
            let cpu_busy_s = busy.cpu_s - connected.cpu_s;
            let grown = connected.resident as f64 - alone.resident as f64;
            Some(Cost {
                resident_alone: alone.resident,
                resident_connected: connected.resident,
                resident_busy: busy.resident,
                resident_per_box: grown / options.boxes as f64,
                cpu_connecting_s: connected.cpu_s - alone.cpu_s,
                cpu_busy_s,
                cpu_busy_percent: 100.0 * cpu_busy_s / busy_s,
                cpu_per_1000_messages_s: 1000.0 * cpu_busy_s / messages,
            })
        };
        let seconds = |from: Instant, to: Instant| to.duration_since(from).as_secs_f64();
        let outages = outages.iter().map(|outage| OutageReport {
            away_s: seconds(outage.lost, outage.back),
            all_online_s: ledger.all_online_after(outage.lost).map(|at| seconds(outage.back, at)),
        });
        let tally = ledger.tally();
        Report {
            software: format!("modicd {}", env!("CARGO_PKG_VERSION")),
            boxes: options.boxes,
            tls: options.mqtt.tls.is_some(),
            exams_per_hour: options.exams_per_hour,
            duration_s: busy_s,
            seed: options.seed,
            all_online_s: ledger.all_online_after(began).map_or(f64::NAN, |at| seconds(began, at)),
            studies,
            messages: tally,
            holds: tally.holds(),
            latency_ms: Latency::of(&ledger.latencies_ms()),
            dropped,
            outages: outages.collect(),
            stopped: ledger.stopped(),
            messages_per_s: messages / busy_s,
            bytes_per_box_hour: bytes / options.boxes as f64 * 3600.0 / busy_s,
            broker: cost(|sample| sample.broker),
            fleet: cost(|sample| Some(sample.own)).expect("this process is always measured"),
        }
    }

    /// As lines of text for people.
    pub fn table(&self) -> String {
        let Tally { enqueued, arrived, lost, out_of_order, contradictory, .. } = self.messages;
        let Tally { replayed, redelivered, unexplained, state, metrics, .. } = self.messages;
        let Studies { completed, rejected, failed } = self.studies;
        let Latency { p50, p90, p99, max } = self.latency_ms;
        let mut lines = vec![
            ("boxes", format!("{}, all online after {:.1} s", self.boxes, self.all_online_s)),
            ("exams", format!("{completed} completed, {rejected} rejected, {failed} failed")),
            (
                "messages",
                format!(
                    "{arrived} of {enqueued} arrived, {lost} lost, {out_of_order} out of order, {contradictory} contradictory"
                ),
            ),
            (
                "duplicates",
                format!(
                    "{replayed} replayed, {redelivered} redelivered by the broker, {unexplained} unexplained"
                ),
            ),
            (
                "beside them",
                format!(
                    "{state} on availability, info, health and alarm, {metrics} on metrics (QoS 0)"
                ),
            ),
            (
                "latency",
                format!("p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms, max {max:.1} ms"),
            ),
            (
                "traffic",
                format!(
                    "{:.1} messages/s, {:.0} kB a box and hour",
                    self.messages_per_s,
                    self.bytes_per_box_hour / 1e3
                ),
            ),
        ];
        if self.dropped > 0 {
            lines.push(("dropped", format!("{} connections", self.dropped)));
        }
        for outage in &self.outages {
            let back = outage.all_online_s;
            let back = back.map_or("not all".to_owned(), |s| format!("all boxes {s:.1} s later"));
            lines.push((
                "outage",
                format!("broker away {:.1} s, {back} online again", outage.away_s),
            ));
        }
        lines.extend(self.broker.as_ref().map(|cost| ("broker", cost.line())));
        lines.push(("fleet", self.fleet.line()));
        lines.push(("ended", format!("{} boxes said stopped", self.stopped)));
        lines.iter().fold(String::new(), |mut text, (name, value)| {
            let _ = writeln!(text, "{name:<12}{value}");
            text
        })
    }
}

impl Latency {
    fn of(sorted: &[f64]) -> Latency {
        let at = |q| quantile(sorted, q).unwrap_or_default();
        Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
    }
}

impl Cost {
    fn line(&self) -> String {
        format!(
            "{:.1} MB alone, {:.1} MB connected ({:.1} kB a box), {:.1} MB busy; CPU {:.2} s connecting, {:.2} s busy ({:.1} % of a core, {:.3} s for 1000 messages)",
            self.resident_alone as f64 / 1e6,
            self.resident_connected as f64 / 1e6,
            self.resident_per_box / 1e3,
            self.resident_busy as f64 / 1e6,
            self.cpu_connecting_s,
            self.cpu_busy_s,
            self.cpu_busy_percent,
            self.cpu_per_1000_messages_s,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let sorted: Vec<f64> = (0..=100).map(f64::from).collect();
        let Latency { p50, p90, p99, max } = Latency::of(&sorted);
        assert_eq!([p50, p90, p99, max], [50.0, 90.0, 99.0, 100.0]);
        assert_eq!(Latency::of(&[]).max, 0.0);
    }
}
