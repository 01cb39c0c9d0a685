//! The findings for a hospital's information system: a FHIR R4 DiagnosticReport with its Observations, as a Bundle.

use serde_json::{Value, json};

use super::codes::{self, Code, OWN_SCHEME};
use super::{Exam, Object};
use crate::modic::Finding;

/// The system of our own codes, which has no address of its own.
const OWN_SYSTEM: &str = "urn:oid:2.25.99104116551300457389412703302148371201";

/// The bundle of one revision.
pub(super) fn bundle(exam: &Exam) -> Value {
    let observations: Vec<Value> =
        (1..).zip(&exam.body.findings).map(|(number, f)| observation(exam, number, f)).collect();
    let urls: Vec<String> =
        (1..).take(observations.len()).map(|n| url(&exam.tracking(n).1)).collect();
    let report_url = url(&exam.instance_uid(Object::Report));
    let results: Vec<Value> = urls.iter().map(|url| json!({ "reference": url })).collect();
    let count = observations.len();
    let report = without_empty(json!({
        "resourceType": "DiagnosticReport",
        "identifier": [{ "system": "urn:dicom:uid", "value": report_url }],
        "status": "preliminary",
        "category": [{ "coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD", "display": "Radiology",
        }] }],
        "code": concept(&codes::loinc("24968-4", "MR Lumbar spine")),
        "subject": subject(exam),
        "issued": exam.issued,
        "performer": [{ "display": exam.body.software }],
        "result": results,
        "imagingStudy": [study(exam)],
        "conclusion": format!(
            "{count} Modic change{}. {}.",
            if count == 1 { "" } else { "s" },
            exam.body.limits.join("; "),
        ),
    }));
    let entries = std::iter::once((report_url, report)).chain(urls.into_iter().zip(observations));
    let entries: Vec<Value> =
        entries.map(|(url, resource)| json!({ "fullUrl": url, "resource": resource })).collect();
    json!({ "resourceType": "Bundle", "type": "collection", "timestamp": exam.issued, "entry": entries })
}

fn observation(exam: &Exam, number: u16, finding: &Finding) -> Value {
    let (name, uid) = exam.tracking(number);
    let quantity = |code: &Code, value: f32, unit: &str, ucum: &str| {
        json!({
            "code": concept(code),
            "valueQuantity": {
                "value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": ucum,
            },
        })
    };
    let share = finding.composition_percent;
    let mut kind = vec![coding(&codes::pattern(&finding.pattern))];
    kind.extend(codes::rad_element(&finding.pattern).as_ref().map(coding));
    without_empty(json!({
        "resourceType": "Observation",
        "identifier": [{ "system": "urn:dicom:uid", "value": url(&uid) }],
        "status": "preliminary",
        "code": concept(&codes::rad_element_question()),
        "subject": subject(exam),
        "issued": exam.issued,
        "derivedFrom": [study(exam)],
        "valueCodeableConcept": { "coding": kind },
        "bodySite": {
            "coding": [coding(&codes::vertebra(finding.level)), coding(&codes::side(finding.side))],
            "text": name,
        },
        "device": { "display": exam.body.software },
        "component": [
            quantity(&codes::sct("118565006", "Volume"), finding.volume_mm3, "mm3", "mm3"),
            quantity(&codes::sct("42798000", "Area"), finding.area_mm2, "mm2", "mm2"),
            quantity(&codes::HEIGHT.code(), finding.height_percent, "%", "%"),
            quantity(&codes::SHARES[0].code(), share.type_1, "%", "%"),
            quantity(&codes::SHARES[1].code(), share.type_2, "%", "%"),
            quantity(&codes::SHARES[2].code(), share.type_3, "%", "%"),
            quantity(&codes::SHARES[3].code(), share.indeterminate, "%", "%"),
            quantity(&codes::RATIOS[0].code(), finding.t1_ratio, "1", "1"),
            quantity(&codes::RATIOS[1].code(), finding.t2_ratio, "1", "1"),
            quantity(&codes::PROBABILITY.code(), finding.probability, "1", "1"),
        ],
    }))
}

/// The patient by the identifier that the pictures carry.
fn subject(exam: &Exam) -> Value {
    match exam.source.patient_id() {
        Some(id) => json!({ "identifier": { "value": id } }),
        None => Value::Null,
    }
}

fn study(exam: &Exam) -> Value {
    let value = url(&exam.source.study_uid);
    json!({ "identifier": { "system": "urn:dicom:uid", "value": value }, "type": "ImagingStudy" })
}

/// A DICOM UID as an address.
fn url(uid: &str) -> String {
    format!("urn:oid:{uid}")
}

fn concept(code: &Code) -> Value {
    json!({ "coding": [coding(code)], "text": code.meaning })
}

fn coding(code: &Code) -> Value {
    let system = match code.scheme {
        "SCT" => "http://snomed.info/sct",
        "LN" => "http://loinc.org",
        "DCM" => "http://dicom.nema.org/resources/ontology/DCM",
        "RADELEMENT" => "https://radelement.org",
        OWN_SCHEME => OWN_SYSTEM,
        scheme => unreachable!("{scheme} isn't used in FHIR"),
    };
    json!({ "system": system, "code": code.value, "display": code.meaning })
}

/// FHIR knows no empty values.
fn without_empty(mut resource: Value) -> Value {
    if let Value::Object(members) = &mut resource {
        members
            .retain(|_, value| !(value.is_null() || value.as_array().is_some_and(Vec::is_empty)));
    }
    resource
}
