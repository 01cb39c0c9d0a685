//! Counts and a reading as the flat numbers of the MQTT topic `metrics`.

use super::counts::Counts;
use super::reading::Reading;
use crate::deliver::payload::Metrics;

/// Every number of the topic.
pub(super) fn flat(counts: &Counts, reading: &Reading) -> Metrics {
    let queue = reading.queue.unwrap_or_default();
    let process = reading.process.unwrap_or_default();
    let [instances_bytes, results_bytes] = counts.storage_bytes();
    let celsius = reading.temperatures.iter().map(|zone| zone.celsius);
    Metrics {
        uptime_s: reading.age_s(reading.started) as u64,
        associations_active: counts.active(),
        associations_accepted_total: counts.associations_accepted.get(),
        associations_rejected_total: counts.all_associations_rejected(),
        instances_received_total: counts.instances_received.get(),
        instances_rejected_total: counts.all_instances_rejected(),
        studies_received_total: counts.studies_received.get(),
        studies_completed_total: counts.studies_completed.get(),
        studies_rejected_total: counts.all_studies_rejected(),
        studies_failed_total: counts.studies_failed.get(),
        cache_hits_total: counts.cache_hits.get(),
        analysis_errors_total: counts.analysis_errors.get(),
        queue: queue.studies,
        queue_oldest_age_s: queue.oldest_age_ms / 1000,
        pacs_objects: reading.pacs.values().map(|backlog| backlog.objects).sum(),
        last_analysis_s: counts.last_analysis_s(),
        last_volume_s: counts.last_stage_s("volume"),
        last_segment_s: counts.last_stage_s("segment"),
        last_modic_s: counts.last_stage_s("modic"),
        last_report_s: counts.last_stage_s("report"),
        resident_bytes: process.resident_bytes,
        cpu_seconds_total: process.cpu_seconds,
        open_files: process.open_fds,
        threads: process.threads,
        disk_free_bytes: reading.disk.map(|disk| disk.free_bytes),
        disk_size_bytes: reading.disk.map(|disk| disk.size_bytes),
        instances_bytes,
        results_bytes,
        removals_total: counts.all_storage_removals(),
        temperature_celsius: celsius.reduce(f64::max),
        certificate_days_left: reading.certificate_days_left(),
        mqtt_reconnects_total: counts.reconnects(),
        outbox_messages: reading.outbox.messages,
        outbox_bytes: reading.outbox.bytes,
        outbox_oldest_age_s: reading.outbox.oldest_age_s,
    }
}
