//! The findings for a hospital's information system: a FHIR R4 DiagnosticReport with its Observations, as a Bundle.

use serde_json::{Value, json};

use super::codes::{self, Code, OWN_SCHEME};
use super::content::rounded;
use super::{Exam, Object, other_lesions};
use crate::modic::Finding;
use crate::report::{FindingBody, quality_meaning};

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
        "conclusion": conclusion(exam.body),
    }));
    let entries = std::iter::once((report_url, report)).chain(urls.into_iter().zip(observations));
    let entries: Vec<Value> =
        entries.map(|(url, resource)| json!({ "fullUrl": url, "resource": resource })).collect();
    json!({ "resourceType": "Bundle", "type": "collection", "timestamp": exam.issued, "entry": entries })
}

/// In words: how many changes, what must be known, what else was seen, what is doubtful.
fn conclusion(body: &FindingBody) -> String {
    let count = body.findings.len();
    let changes = format!("{count} Modic change{}", if count == 1 { "" } else { "s" });
    let mut said = vec![changes, body.limits.join("; ")];
    said.extend(other_lesions(body));
    let doubts = body.quality.iter().map(|code| quality_meaning(code).unwrap_or(code));
    said.extend(doubts.map(|doubt| format!("doubt: {}", doubt.trim_end_matches('.'))));
    said.join(". ") + "."
}

fn observation(exam: &Exam, number: u16, finding: &Finding) -> Value {
    let (_, uid) = exam.tracking(number);
    let quantity = |code: &Code, value: f32, unit: &str, ucum: &str| {
        json!({
            "code": concept(code),
            "valueQuantity": {
                "value": rounded(value), "unit": unit,
                "system": "http://unitsofmeasure.org", "code": ucum,
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
        // Several codings would be synonyms, so the side is a component.
        "bodySite": {
            "coding": [coding(&codes::vertebra(finding.level))],
            "text": format!("{} {} endplate", finding.level, finding.side.as_str()),
        },
        "device": { "display": exam.body.software },
        "component": [
            {
                "code": concept(&codes::sct("106233006", "Topographical modifier")),
                "valueCodeableConcept": concept(&codes::side(finding.side)),
            },
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

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::super::dataset::item;
    use super::super::source::{Source, SourceSeries};
    use super::*;
    use crate::domain::{Endplate, EndplateSide, Level};
    use crate::modic::{
        Composition, Config, ModicResult, OtherMarrowLesion, QualityFlag, Spine, Third,
    };

    fn result() -> ModicResult {
        let (level, side) = (Level::L4, EndplateSide::Superior);
        let finding = Finding {
            number: 1,
            level,
            side,
            disc: Some("L3-L4".to_owned()),
            pattern: "2".to_owned(),
            composition_percent: Composition {
                type_1: 0.0,
                type_2: 100.0,
                type_3: 0.0,
                indeterminate: 0.0,
            },
            volume_mm3: 812.5,
            area_mm2: 240.0,
            height_percent: 18.0,
            height_grade: 'A',
            place: vec![Third::Anterior],
            t1_ratio: 1.3,
            t2_ratio: 1.2,
            probability: 0.83,
            slice: 0,
            endplate: Endplate { level, side },
        };
        let other = OtherMarrowLesion {
            level: Level::L2,
            volume_mm3: 500.0,
            t1_ratio: 1.4,
            t2_ratio: 1.3,
            probability: 0.9,
            voxels: Vec::new(),
        };
        let shape = (1, 1, 1);
        ModicResult {
            map: Array3::zeros(shape),
            finding_numbers: Array3::zeros(shape),
            spine: Spine::none(shape),
            findings: vec![finding],
            other_marrow_lesions: vec![other],
            quality: vec![QualityFlag::S1NotSeen],
        }
    }

    #[test]
    fn it_says_where_a_finding_lies_what_else_was_seen_and_what_is_doubtful() {
        let (result, config) = (result(), Config::default());
        let mut body = FindingBody::new(&result, &config, vec![], "f1".to_owned(), vec![], vec![]);
        body.quality.extend(["thick_slices", "of_next_year"].map(str::to_owned));
        let series =
            || SourceSeries { uid: "1.1".into(), sop_class: "1.2".into(), slices: Vec::new() };
        let source = Source {
            patient_and_study: item(),
            study_uid: "1.3".into(),
            frame_of_reference_uid: "1.4".into(),
            t1: series(),
            t2: series(),
        };
        let exam = Exam {
            source: &source,
            result: &result,
            body: &body,
            revision: 1,
            date: "20261130".into(),
            time: "120000".into(),
            issued: "2026-11-30T12:00:00+01:00".into(),
        };
        let bundle = bundle(&exam);
        let [report, finding] = [0, 1].map(|at: usize| &bundle["entry"][at]["resource"]);
        let conclusion = report["conclusion"].as_str().unwrap();
        for said in ["1 Modic change. research use", "not Modic changes: L2.", "S1 was not seen"] {
            assert!(conclusion.contains(said), "{conclusion}");
        }
        assert!(conclusion.ends_with("may be missed. doubt: of_next_year."), "{conclusion}");

        let site = &finding["bodySite"];
        assert_eq!(site["text"], "L4 superior endplate");
        assert_eq!(site["coding"].as_array().map(Vec::len), Some(1), "others are synonyms");
        let components = finding["component"].as_array().unwrap();
        assert_eq!(components[0]["valueCodeableConcept"]["text"], "Superior");
        assert_eq!(components[components.len() - 1]["valueQuantity"]["value"], 0.83);
    }
}
