//! A reading in the exposition.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::PREFIX;
use super::reading::{Reading, Sources};
use crate::deliver::HealthReason;

/// Gives every number of a reading its name.
impl Collector for Sources {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let reading = self.read();
        let mut page = Page(encoder);
        page.box_state(&reading)?;
        page.machine(&reading)?;
        page.process(&reading)
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// The exposition as it is written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    /// Queues, outbox and alarms.
    fn box_state(&mut self, reading: &Reading) -> fmt::Result {
        if let Some(queue) = reading.queue {
            let oldest_s = queue.oldest_age_ms as f64 / 1000.0;
            self.gauge("queue_studies", "Studies that wait for analysis.", queue.studies as f64)?;
            self.gauge(
                "queue_oldest_age_seconds",
                "Time since the last instance of the study that has waited for longest.",
                oldest_s,
            )?;
        }
        let (outbox, limits) = (reading.outbox, reading.outbox_limits);
        for (name, help, value) in [
            ("outbox_messages", "Messages that wait for the MQTT broker.", outbox.messages),
            ("outbox_bytes", "Bytes that wait for the MQTT broker.", outbox.bytes),
            ("outbox_oldest_age_seconds", "Age of the oldest message.", outbox.oldest_age_s),
            ("outbox_max_messages", "Messages that may wait.", limits.max_messages as u64),
            ("outbox_max_bytes", "Bytes that may wait.", limits.max_bytes),
        ] {
            self.gauge(name, help, value as f64)?;
        }
        let backlogs =
            reading.pacs.iter().map(|(name, backlog)| ([("destination", name)], backlog));
        self.gauges(
            "pacs_objects_waiting",
            "Objects not delivered to a PACS yet.",
            backlogs.clone().map(|(label, backlog)| (label, backlog.objects as f64)),
        )?;
        self.gauges(
            "pacs_oldest_age_seconds",
            "Age of the oldest object not delivered to a PACS yet.",
            backlogs.map(|(label, b)| (label, b.oldest.map_or(0.0, |then| reading.age_s(then)))),
        )?;
        self.gauges(
            "alarm",
            "Whether an alarm stands.",
            HealthReason::ALL.iter().map(|alarm| {
                let stands = reading.alarms.since(*alarm).is_some();
                ([("alarm", alarm.as_str())], f64::from(u8::from(stands)))
            }),
        )
    }

    /// Disk, temperatures and certificates.
    fn machine(&mut self, reading: &Reading) -> fmt::Result {
        if let Some(disk) = reading.disk {
            self.gauge(
                "disk_free_bytes",
                "Free space where the state is kept.",
                disk.free_bytes as f64,
            )?;
            self.gauge(
                "disk_size_bytes",
                "Size of the file system where the state is kept.",
                disk.size_bytes as f64,
            )?;
        }
        self.gauges(
            "temperature_celsius",
            "Temperature of a thermal zone.",
            reading.temperatures.iter().map(|zone| {
                ([("zone", zone.zone.as_str()), ("type", zone.kind.as_str())], zone.celsius)
            }),
        )?;
        self.gauges(
            "certificate_not_after_timestamp_seconds",
            "When a certificate expires, by the configuration's key.",
            reading.certificates.iter().map(|(key, end)| ([("certificate", key)], *end as f64)),
        )
    }

    /// The names that every client library has for the process.
    fn process(&mut self, reading: &Reading) -> fmt::Result {
        self.write(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            ConstGauge::new(reading.started_s()),
        )?;
        let Some(process) = reading.process else { return Ok(()) };
        self.write(
            "process_cpu_seconds",
            "Total user and system CPU time spent in seconds.",
            ConstCounter::new(process.cpu_seconds),
        )?;
        for (name, help, value) in [
            (
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
                process.resident_bytes,
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes.",
                process.virtual_bytes,
            ),
            ("process_threads", "Number of OS threads in the process.", process.threads),
            ("process_open_fds", "Number of open file descriptors.", process.open_fds),
            ("process_max_fds", "Maximum number of open file descriptors.", process.max_fds),
        ] {
            self.write(name, help, ConstGauge::new(value as f64))?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.write(&format!("{PREFIX}_{name}"), help, ConstGauge::new(value))
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut values = values.peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let name = format!("{PREFIX}_{name}");
        let mut family = self.0.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn write(&mut self, name: &str, help: &str, metric: impl EncodeMetric) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, None, metric.metric_type())?;
        metric.encode(encoder)
    }
}
