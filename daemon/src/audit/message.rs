//! Audit messages as PS3.15 A.5 has them.
//!
//! No patient is in them, though the standard would have one beside each study. For the study's UID there is its reference,
//! a keyed hash, with a code of our own that says so: who keeps the site's key can tell which study it is. SOP classes are
//! given by number of instances alone.

use std::net::IpAddr;
use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use super::event::Event;
use crate::domain::{AeTitle, StudyRef};
use crate::receive::{Arrivals, Origin};
use crate::report::OWN_SCHEME;
use crate::store::index::Part;

/// A coded term.
#[derive(Debug, Clone, Copy, Serialize)]
struct Code {
    #[serde(rename = "@csd-code")]
    code: &'static str,
    #[serde(rename = "@codeSystemName")]
    scheme: &'static str,
    #[serde(rename = "@originalText")]
    meaning: &'static str,
}

/// Of PS3.16, annex D.
const fn dcm(code: &'static str, meaning: &'static str) -> Code {
    Code { code, scheme: "DCM", meaning }
}

const APPLICATION_ACTIVITY: Code = dcm("110100", "Application Activity");
const INSTANCES_ACCESSED: Code = dcm("110103", "DICOM Instances Accessed");
const INSTANCES_TRANSFERRED: Code = dcm("110104", "DICOM Instances Transferred");
const STUDY_DELETED: Code = dcm("110105", "DICOM Study Deleted");
const IMPORT: Code = dcm("110107", "Import");
const SECURITY_ALERT: Code = dcm("110113", "Security Alert");
const USER_AUTHENTICATION: Code = dcm("110114", "User Authentication");
const APPLICATION_START: Code = dcm("110120", "Application Start");
const APPLICATION_STOP: Code = dcm("110121", "Application Stop");
const LOGIN: Code = dcm("110122", "Login");
const NODE_AUTHENTICATION: Code = dcm("110126", "Node Authentication");
const SOFTWARE_CONFIGURATION: Code = dcm("110131", "Software Configuration");
const RESTRICTED_FUNCTION: Code = dcm("110132", "Use of Restricted Function");
const APPLICATION: Code = dcm("110150", "Application");
const DESTINATION: Code = dcm("110152", "Destination Role ID");
const SOURCE: Code = dcm("110153", "Source Role ID");
const SOURCE_MEDIA: Code = dcm("110155", "Source Media");
const URI: Code = dcm("110037", "URI");
const NODE_ID: Code = dcm("110182", "Node ID");
const STUDY_REFERENCE: Code =
    Code { code: "study_ref", scheme: OWN_SCHEME, meaning: "Keyed hash of Study Instance UID" };

/// Who writes the messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The site.
    pub site: String,
    /// The box.
    pub device: String,
    /// The title of its DICOM port.
    pub ae_title: AeTitle,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AuditMessage {
    event_identification: EventIdentification,
    active_participant: Vec<ActiveParticipant>,
    audit_source_identification: AuditSourceIdentification,
    #[serde(skip_serializing_if = "Option::is_none")]
    participant_object_identification: Option<ParticipantObjectIdentification>,
}

#[derive(Serialize)]
struct EventIdentification {
    #[serde(rename = "@EventActionCode")]
    action: &'static str,
    #[serde(rename = "@EventDateTime")]
    time: String,
    #[serde(rename = "@EventOutcomeIndicator")]
    outcome: &'static str,
    #[serde(rename = "EventID")]
    id: Code,
    #[serde(rename = "EventTypeCode", skip_serializing_if = "Option::is_none")]
    kind: Option<Code>,
}

#[derive(Serialize)]
struct ActiveParticipant {
    #[serde(rename = "@UserID")]
    user_id: String,
    #[serde(rename = "@AlternativeUserID", skip_serializing_if = "Option::is_none")]
    ae_titles: Option<String>,
    #[serde(rename = "@UserIsRequestor")]
    is_requestor: bool,
    #[serde(rename = "@NetworkAccessPointID", skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(rename = "@NetworkAccessPointTypeCode", skip_serializing_if = "Option::is_none")]
    address_type: Option<&'static str>,
    #[serde(rename = "RoleIDCode", skip_serializing_if = "Option::is_none")]
    role: Option<Code>,
    #[serde(rename = "MediaIdentifier", skip_serializing_if = "Option::is_none")]
    media: Option<MediaIdentifier>,
}

#[derive(Serialize)]
struct MediaIdentifier {
    #[serde(rename = "MediaType")]
    kind: Code,
}

#[derive(Serialize)]
struct AuditSourceIdentification {
    #[serde(rename = "@AuditEnterpriseSiteID")]
    site: String,
    #[serde(rename = "@AuditSourceID")]
    device: String,
}

#[derive(Serialize)]
struct ParticipantObjectIdentification {
    #[serde(rename = "@ParticipantObjectID")]
    id: String,
    #[serde(rename = "@ParticipantObjectTypeCode")]
    kind: &'static str,
    #[serde(rename = "@ParticipantObjectTypeCodeRole")]
    role: &'static str,
    #[serde(rename = "ParticipantObjectIDTypeCode")]
    id_type: Code,
    #[serde(rename = "ParticipantObjectName")]
    name: String,
    #[serde(rename = "ParticipantObjectDetail")]
    details: Vec<Detail>,
    #[serde(rename = "ParticipantObjectDescription", skip_serializing_if = "Option::is_none")]
    description: Option<Description>,
}

#[derive(Serialize)]
struct Description {
    #[serde(rename = "SOPClass")]
    sop_class: SopClass,
}

#[derive(Serialize)]
struct SopClass {
    #[serde(rename = "@NumberOfInstances")]
    number_of_instances: u64,
}

#[derive(Serialize)]
struct Detail {
    #[serde(rename = "@type")]
    kind: &'static str,
    /// In base64.
    #[serde(rename = "@value")]
    value: String,
}

/// The message about an event, as XML on one line.
pub(super) fn encode(event: &Event, author: &Author, time: SystemTime) -> String {
    let is_failure = matches!(
        event,
        Event::SignedIn { accepted: false, .. }
            | Event::Commanded { succeeded: false, .. }
            | Event::TurnedAway { .. }
    );
    let (id, kind, action) = identify(event);
    let message = AuditMessage {
        event_identification: EventIdentification {
            action,
            time: humantime::format_rfc3339_millis(time).to_string(),
            // Success, or a minor failure: the box goes on.
            outcome: if is_failure { "4" } else { "0" },
            id,
            kind,
        },
        active_participant: participants(event, author),
        audit_source_identification: AuditSourceIdentification {
            site: author.site.clone(),
            device: author.device.clone(),
        },
        participant_object_identification: object(event),
    };
    quick_xml::se::to_string(&message).expect("elements and attributes of text can be written")
}

/// The event's code, its type's, and the action's.
fn identify(event: &Event) -> (Code, Option<Code>, &'static str) {
    const CREATE: &str = "C";
    const READ: &str = "R";
    const UPDATE: &str = "U";
    const DELETE: &str = "D";
    const EXECUTE: &str = "E";
    match event {
        Event::Started => (APPLICATION_ACTIVITY, Some(APPLICATION_START), EXECUTE),
        Event::Stopped => (APPLICATION_ACTIVITY, Some(APPLICATION_STOP), EXECUTE),
        Event::Reconfigured => (SECURITY_ALERT, Some(SOFTWARE_CONFIGURATION), EXECUTE),
        Event::Received { origin: Origin::Folder(_), .. } => (IMPORT, None, CREATE),
        Event::Received { instances, .. } => {
            let action = match instances {
                Arrivals { new: 1.., .. } => CREATE,
                Arrivals { replaced: 1.., .. } => UPDATE,
                _ => READ,
            };
            (INSTANCES_TRANSFERRED, None, action)
        }
        // Who sends doesn't know what the receiver held, and reads its own.
        Event::Sent { .. } => (INSTANCES_TRANSFERRED, None, READ),
        Event::Opened { .. } => (INSTANCES_ACCESSED, None, READ),
        Event::Removed { part: Part::Everything, .. } => (STUDY_DELETED, None, DELETE),
        // The results stay.
        Event::Removed { part: Part::Instances, .. } => (INSTANCES_ACCESSED, None, DELETE),
        Event::TurnedAway { .. } => (SECURITY_ALERT, Some(NODE_AUTHENTICATION), EXECUTE),
        Event::SignedIn { .. } => (USER_AUTHENTICATION, Some(LOGIN), EXECUTE),
        Event::Commanded { .. } => (SECURITY_ALERT, Some(RESTRICTED_FUNCTION), EXECUTE),
    }
}

/// Who took part, the box among them; who asked for it comes first.
fn participants(event: &Event, author: &Author) -> Vec<ActiveParticipant> {
    let this = || ActiveParticipant::named(&author.device).with_title(Some(&author.ae_title));
    match event {
        Event::Started | Event::Stopped => vec![this().in_role(APPLICATION)],
        Event::Reconfigured | Event::Removed { .. } => vec![this().requesting()],
        Event::Received { origin: Origin::Association { peer, calling_ae }, .. } => vec![
            ActiveParticipant::peer(*peer, calling_ae.as_ref()).in_role(SOURCE).requesting(),
            this().in_role(DESTINATION),
        ],
        Event::Received { origin: Origin::Folder(folder), .. } => {
            let folder = folder.display().to_string();
            vec![
                this().in_role(DESTINATION).requesting(),
                ActiveParticipant::named(&folder).in_role(SOURCE_MEDIA).of_media(URI),
            ]
        }
        Event::Sent { destination, .. } => vec![
            this().in_role(SOURCE).requesting(),
            ActiveParticipant::named(destination).in_role(DESTINATION),
        ],
        Event::Opened { address, reader, .. } => {
            let name = reader.clone().unwrap_or_else(|| address.to_string());
            vec![ActiveParticipant::named(&name).at(*address).requesting(), this()]
        }
        Event::SignedIn { address, .. } => {
            vec![ActiveParticipant::peer(*address, None).requesting(), this()]
        }
        Event::TurnedAway { peer, calling_ae, .. } => {
            vec![this().requesting(), ActiveParticipant::peer(*peer, calling_ae.as_ref())]
        }
        // The broker alone knows who.
        Event::Commanded { .. } => vec![ActiveParticipant::named("MQTT").requesting(), this()],
    }
}

/// What it was about.
fn object(event: &Event) -> Option<ParticipantObjectIdentification> {
    let object = match event {
        Event::Received { study, instances, .. } => {
            ParticipantObjectIdentification::study(study).of_instances(instances.total())
        }
        Event::Sent { study, objects, .. } => {
            ParticipantObjectIdentification::study(study).of_instances(*objects)
        }
        Event::Opened { study, file: Some(file), .. } => {
            ParticipantObjectIdentification::study(study).with("file", file)
        }
        Event::Opened { study, .. } | Event::Removed { study, .. } => {
            ParticipantObjectIdentification::study(study)
        }
        Event::TurnedAway { peer, reason, .. } => {
            ParticipantObjectIdentification::node(peer).with("Alert Description", reason)
        }
        Event::Commanded { command, .. } => {
            ParticipantObjectIdentification::node("MQTT").with("Alert Description", command)
        }
        Event::Started | Event::Stopped | Event::Reconfigured | Event::SignedIn { .. } => {
            return None;
        }
    };
    Some(object)
}

impl ActiveParticipant {
    fn named(user_id: &str) -> ActiveParticipant {
        ActiveParticipant {
            user_id: user_id.to_owned(),
            ae_titles: None,
            is_requestor: false,
            address: None,
            address_type: None,
            role: None,
            media: None,
        }
    }

    /// A peer that is known by its title, or else by its address.
    fn peer(address: IpAddr, ae_title: Option<&AeTitle>) -> ActiveParticipant {
        let name = ae_title.map_or_else(|| address.to_string(), ToString::to_string);
        ActiveParticipant::named(&name).with_title(ae_title).at(address)
    }

    fn with_title(self, ae_title: Option<&AeTitle>) -> ActiveParticipant {
        ActiveParticipant { ae_titles: ae_title.map(|title| format!("AETITLES={title}")), ..self }
    }

    fn at(self, address: IpAddr) -> ActiveParticipant {
        const IP_ADDRESS: &str = "2";
        ActiveParticipant { address: Some(address), address_type: Some(IP_ADDRESS), ..self }
    }

    fn in_role(self, role: Code) -> ActiveParticipant {
        ActiveParticipant { role: Some(role), ..self }
    }

    fn of_media(self, kind: Code) -> ActiveParticipant {
        ActiveParticipant { media: Some(MediaIdentifier { kind }), ..self }
    }

    fn requesting(self) -> ActiveParticipant {
        ActiveParticipant { is_requestor: true, ..self }
    }
}

impl ParticipantObjectIdentification {
    fn study(study: &StudyRef) -> ParticipantObjectIdentification {
        const REPORT: &str = "3";
        Self::of(study, REPORT, STUDY_REFERENCE)
    }

    fn node(node: impl ToString) -> ParticipantObjectIdentification {
        const SECURITY_RESOURCE: &str = "13";
        Self::of(node, SECURITY_RESOURCE, NODE_ID)
    }

    fn of(id: impl ToString, role: &'static str, id_type: Code) -> ParticipantObjectIdentification {
        const SYSTEM: &str = "2";
        let (id, name) = (id.to_string(), id.to_string());
        ParticipantObjectIdentification {
            id,
            kind: SYSTEM,
            role,
            id_type,
            name,
            details: Vec::new(),
            description: None,
        }
    }

    fn of_instances(self, number_of_instances: u64) -> ParticipantObjectIdentification {
        let sop_class = SopClass { number_of_instances };
        ParticipantObjectIdentification { description: Some(Description { sop_class }), ..self }
    }

    fn with(mut self, kind: &'static str, value: impl ToString) -> ParticipantObjectIdentification {
        let value = BASE64_STANDARD.encode(value.to_string());
        self.details.push(Detail { kind, value });
        self
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    fn encoded(event: &Event) -> String {
        let author = Author {
            site: "north & south".to_owned(),
            device: "mr-1".to_owned(),
            ae_title: "MODICD".to_owned().try_into().unwrap(),
        };
        encode(event, &author, SystemTime::UNIX_EPOCH + Duration::from_millis(1500))
    }

    #[test]
    fn every_event_has_its_code_action_and_outcome() {
        let study = StudyRef::derive(b"key", "1.2.3");
        let address = IpAddr::from([192, 0, 2, 7]);
        let association = Origin::Association { peer: address, calling_ae: None };
        let folder = Origin::Folder(PathBuf::from("/srv/<in>"));
        let received = |origin: &Origin, new, replaced, unchanged| Event::Received {
            origin: origin.clone(),
            study: study.clone(),
            instances: Arrivals { new, replaced, unchanged },
        };
        let removed = |part| Event::Removed { study: study.clone(), part };
        let opened = |file: Option<&str>| Event::Opened {
            address,
            reader: None,
            study: study.clone(),
            file: file.map(str::to_owned),
        };
        let sent = Event::Sent { destination: "pacs".to_owned(), study: study.clone(), objects: 4 };
        let commanded = |succeeded| Event::Commanded { command: "self-test".to_owned(), succeeded };
        for (event, id, kind, action, outcome) in [
            (Event::Started, "110100", Some("110120"), "E", "0"),
            (Event::Stopped, "110100", Some("110121"), "E", "0"),
            (Event::Reconfigured, "110113", Some("110131"), "E", "0"),
            (received(&association, 2, 1, 0), "110104", None, "C", "0"),
            (received(&association, 0, 1, 3), "110104", None, "U", "0"),
            (received(&association, 0, 0, 3), "110104", None, "R", "0"),
            (received(&folder, 0, 0, 3), "110107", None, "C", "0"),
            (sent, "110104", None, "R", "0"),
            (opened(None), "110103", None, "R", "0"),
            (opened(Some("t1.nii.gz")), "110103", None, "R", "0"),
            (removed(Part::Everything), "110105", None, "D", "0"),
            (removed(Part::Instances), "110103", None, "D", "0"),
            (
                Event::TurnedAway { peer: address, calling_ae: None, reason: "tls_required" },
                "110113",
                Some("110126"),
                "E",
                "4",
            ),
            (Event::SignedIn { address, accepted: true }, "110114", Some("110122"), "E", "0"),
            (Event::SignedIn { address, accepted: false }, "110114", Some("110122"), "E", "4"),
            (commanded(true), "110113", Some("110132"), "E", "0"),
            (commanded(false), "110113", Some("110132"), "E", "4"),
        ] {
            let xml = encoded(&event);
            let head = format!(
                "<AuditMessage><EventIdentification EventActionCode=\"{action}\" \
                 EventDateTime=\"1970-01-01T00:00:01.500Z\" EventOutcomeIndicator=\"{outcome}\">\
                 <EventID csd-code=\"{id}\" "
            );
            assert!(xml.starts_with(&head), "{head}\n{xml}");
            let typed = kind.map(|kind| format!("<EventTypeCode csd-code=\"{kind}\" "));
            assert!(typed.is_none_or(|typed| xml.contains(&typed)), "{xml}");
            assert_eq!(kind.is_some(), xml.contains("EventTypeCode"), "{xml}");
            assert!(xml.contains("AuditEnterpriseSiteID=\"north &amp; south\""), "{xml}");
        }
        assert!(encoded(&received(&association, 2, 1, 4)).contains("NumberOfInstances=\"7\""));
        let import = encoded(&received(&folder, 1, 0, 0));
        assert!(import.contains("UserID=\"/srv/&lt;in&gt;\""), "{import}");
        assert!(import.contains("<MediaIdentifier><MediaType csd-code=\"110037\""), "{import}");
    }
}
