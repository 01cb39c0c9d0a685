//! The name and the meaning of every count. Units and `_total` are appended by the library.

use prometheus_client::registry::{Metric, Registry, Unit};

use super::counts::Counts;

impl Counts {
    /// Registers every count.
    pub(super) fn register(&self, to: &mut Registry) {
        let c = self.clone();
        to.register(
            "associations_accepted",
            "DICOM associations accepted",
            c.associations_accepted,
        );
        to.register(
            "associations_rejected",
            "DICOM associations rejected",
            c.associations_rejected,
        );
        to.register("associations_active", "DICOM associations open now", c.associations_active);
        to.register("instances_received", "Instances received and stored", c.instances_received);
        to.register("instances_rejected", "Instances refused", c.instances_rejected);
        to.register("studies_received", "Studies taken up for analysis", c.studies_received);
        to.register("studies_completed", "Studies with a result", c.studies_completed);
        to.register("studies_rejected", "Studies outside of what is analysed", c.studies_rejected);
        to.register("studies_failed", "Studies given up after errors", c.studies_failed);
        to.register("cache_hits", "Studies whose result was there already", c.cache_hits);
        to.register(
            "analyses_unrounded",
            "Analyses done again with the networks unrounded",
            c.analyses_unrounded,
        );
        to.register(
            "analysis_errors",
            "Attempts at a study that ended in an error",
            c.analysis_errors,
        );
        to.register("bundle_info", "Networks in use", c.bundles);
        to.register("mqtt_connected", "Whether the MQTT broker is connected", c.mqtt_connected);
        to.register(
            "mqtt_reconnects",
            "Connections to the broker after the first",
            c.mqtt_reconnects,
        );
        to.register("pacs_objects_sent", "Objects that a PACS answered Success for", c.pacs_sent);
        to.register("pacs_failures", "Failed attempts at a PACS", c.pacs_failures);
        to.register(
            "storage_removals",
            "Studies removed, wholly or their instances alone",
            c.storage_removals,
        );
        to.register("audit_messages", "Audit messages that syslog took", c.audit_messages);
        to.register(
            "audit_messages_lost",
            "Audit messages that syslog never took",
            c.audit_messages_lost,
        );
        to.register_with_unit(
            "storage",
            "What instances and results take on the disk",
            Unit::Bytes,
            c.storage,
        );

        let mut seconds = Seconds(to);
        seconds.register("stage_duration", "Time of a stage of an analysis", c.stage_duration);
        seconds.register("analysis_duration", "Time of a whole analysis", c.analysis_duration);
        seconds.register(
            "last_stage_duration",
            "Time of a stage in the last analysis",
            c.last_stage,
        );
        seconds.register("last_analysis_duration", "Time of the last analysis", c.last_analysis);
        let acknowledge = "Time from publishing a message to its acknowledgement";
        seconds.register("mqtt_acknowledge_duration", acknowledge, c.acknowledge_duration);
    }
}

#[cfg(test)]
impl Counts {
    /// What is counted, for tests of those who count.
    pub(crate) fn exposition(&self) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        self.register(&mut registry);
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("it is text");
        text
    }
}

/// Registers what is measured in seconds.
struct Seconds<'a>(&'a mut Registry);

impl Seconds<'_> {
    fn register(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.0.register_with_unit(name, help, Unit::Seconds, metric);
    }
}
