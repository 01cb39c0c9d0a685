//! The findings as a Comprehensive 3D SR (PS3.3 A.35.13) by template 1500, Measurement Report (PS3.16).

use dicom::core::VR;
use dicom::dictionary_std::tags;
use dicom::object::InMemDicomObject;

use super::codes::{self, Code, dcm, loinc, own, sct, ucum};
use super::content::{Relation, code, container, image, number, root, text, uid, with};
use super::dataset::{Build, item};
use super::{Exam, MANUFACTURER, MODEL, Object};
use crate::domain::derived_uid;
use crate::modic::{Finding, OtherMarrowLesion};

/// `segments` are the numbers of the findings' segments.
pub(super) fn object(exam: &Exam, segments: Vec<u16>) -> InMemDicomObject {
    let device = dcm("121007", "Device");
    let mut items = vec![
        code(
            Relation::HasConceptMod,
            &dcm("121049", "Language of Content Item and Descendants"),
            &Code { value: "en".into(), scheme: "RFC5646", meaning: "English".into() },
        ),
        code(Relation::HasObsContext, &dcm("121005", "Observer Type"), &device),
        uid(Relation::HasObsContext, &dcm("121012", "Device Observer UID"), &derived_uid(MODEL)),
        text(Relation::HasObsContext, &dcm("121013", "Device Observer Name"), MANUFACTURER),
        text(Relation::HasObsContext, &dcm("121015", "Device Observer Model Name"), MODEL),
        code(
            Relation::HasConceptMod,
            &dcm("121058", "Procedure reported"),
            &loinc("24968-4", "MR Lumbar spine"),
        ),
        image_library(exam),
    ];
    let findings = (1..).zip(&exam.body.findings).zip(segments);
    let groups = findings.map(|((number, f), segment)| finding(exam, number, f, segment));
    let others = (1..).zip(&exam.body.other_marrow_lesions).map(|(n, l)| other(exam, n, l));
    let groups: Vec<_> = groups.chain(others).collect();
    if !groups.is_empty() {
        items.push(container(&dcm("126010", "Imaging Measurements"), None, groups));
    }
    items.push(qualitative(exam));

    let object = exam
        .object(Object::Report)
        .text(tags::COMPLETION_FLAG, VR::CS, "COMPLETE")
        .text(tags::VERIFICATION_FLAG, VR::CS, "UNVERIFIED")
        .text(tags::PRELIMINARY_FLAG, VR::CS, "PRELIMINARY")
        .items(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, vec![])
        .items(tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, vec![])
        .items(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, vec![evidence(exam)])
        .text(tags::VALUE_TYPE, VR::CS, "CONTAINER")
        .code(tags::CONCEPT_NAME_CODE_SEQUENCE, &dcm("126000", "Imaging Measurement Report"));
    root(object, Some("1500"), items)
}

/// All instances that the report refers to, and the picture that shows the same.
fn evidence(exam: &Exam) -> InMemDicomObject {
    let series = |uid: &str, instances: Vec<InMemDicomObject>| {
        item()
            .text(tags::SERIES_INSTANCE_UID, VR::UI, uid)
            .items(tags::REFERENCED_SOP_SEQUENCE, instances)
    };
    let own = |kind| series(&exam.series_uid(kind), vec![exam.reference(kind)]);
    item().text(tags::STUDY_INSTANCE_UID, VR::UI, &exam.source.study_uid).items(
        tags::REFERENCED_SERIES_SEQUENCE,
        vec![
            series(&exam.source.t1.uid, exam.source.t1.instances()),
            series(&exam.source.t2.uid, exam.source.t2.instances()),
            own(Object::Segmentation),
            own(Object::Picture),
            own(Object::Page),
        ],
    )
}

fn image_library(exam: &Exam) -> InMemDicomObject {
    let of = |series: &super::source::SourceSeries| {
        let images = series.instances().into_iter().map(|instance| image(None, instance)).collect();
        container(&dcm("126200", "Image Library Group"), None, images)
    };
    let groups = vec![of(&exam.source.t1), of(&exam.source.t2)];
    container(&dcm("111028", "Image Library"), None, groups)
}

/// Template 1411, Volumetric ROI Measurements and Qualitative Evaluations.
fn finding(exam: &Exam, index: u16, finding: &Finding, segment: u16) -> InMemDicomObject {
    let tracking = exam.tracking(index);
    let site = code(
        Relation::HasConceptMod,
        &sct("363698007", "Finding Site"),
        &codes::vertebra(finding.level),
    );
    let modifier = code(
        Relation::HasConceptMod,
        &sct("106233006", "Topographical modifier"),
        &codes::side(finding.side),
    );
    let mut items = vec![
        text(Relation::HasObsContext, &dcm("112039", "Tracking Identifier"), &tracking.0),
        uid(Relation::HasObsContext, &dcm("112040", "Tracking Unique Identifier"), &tracking.1),
        code(Relation::Contains, &dcm("121071", "Finding"), &codes::pattern(&finding.pattern)),
    ];
    let reference =
        exam.reference(Object::Segmentation).shorts(tags::REFERENCED_SEGMENT_NUMBER, &[segment]);
    items.push(image(Some(&dcm("121191", "Referenced Segment")), reference));
    items.push(uid(
        Relation::Contains,
        &dcm("121232", "Source series for segmentation"),
        &exam.source.t1.uid,
    ));
    items.extend(algorithm(exam));
    items.push(with(site, vec![modifier]));

    let percent = ucum("%", "Percent");
    let ratio = ucum("1", "no units");
    let share = finding.composition_percent;
    items.extend([
        number(&sct("118565006", "Volume"), finding.volume_mm3, &ucum("mm3", "Cubic millimeter")),
        number(&sct("42798000", "Area"), finding.area_mm2, &ucum("mm2", "Square millimeter")),
        number(&codes::HEIGHT.code(), finding.height_percent, &percent),
        number(&codes::SHARES[0].code(), share.type_1, &percent),
        number(&codes::SHARES[1].code(), share.type_2, &percent),
        number(&codes::SHARES[2].code(), share.type_3, &percent),
        number(&codes::SHARES[3].code(), share.indeterminate, &percent),
        number(&codes::RATIOS[0].code(), finding.t1_ratio, &ratio),
        number(&codes::RATIOS[1].code(), finding.t2_ratio, &ratio),
        number(&codes::PROBABILITY.code(), finding.probability, &ratio),
    ]);
    let grade = match finding.height_grade {
        'A' => own("HEIGHT-A", "Height below 25 % of the vertebra"),
        'B' => own("HEIGHT-B", "Height from 25 to 50 % of the vertebra"),
        _ => own("HEIGHT-C", "Height above 50 % of the vertebra"),
    };
    items.push(code(Relation::Contains, &own("HEIGHT-GRADE", "Grade of height"), &grade));
    for third in &finding.place {
        items.push(code(
            Relation::Contains,
            &own("PLACE", "Place from front to back"),
            &codes::third(*third),
        ));
    }
    if let Some(answer) = codes::rad_element(&finding.pattern) {
        items.push(code(Relation::Contains, &codes::rad_element_question(), &answer));
    }
    container(&dcm("125007", "Measurement Group"), Some("1411"), items)
}

/// Template 1501, Measurement and Qualitative Evaluation Group.
fn other(exam: &Exam, index: usize, lesion: &OtherMarrowLesion) -> InMemDicomObject {
    let name = format!("Other marrow lesion {index}: {}", lesion.level);
    let ratio = ucum("1", "no units");
    let mut items = vec![
        text(Relation::HasObsContext, &dcm("112039", "Tracking Identifier"), &name),
        uid(
            Relation::HasObsContext,
            &dcm("112040", "Tracking Unique Identifier"),
            &exam.uid(&format!("other {index}")),
        ),
        code(
            Relation::Contains,
            &dcm("121071", "Finding"),
            &own("OTHER-MARROW", "Marrow lesion without contact to an endplate"),
        ),
    ];
    items.extend(algorithm(exam));
    items.extend([
        code(
            Relation::HasConceptMod,
            &sct("363698007", "Finding Site"),
            &codes::vertebra(lesion.level),
        ),
        number(&sct("118565006", "Volume"), lesion.volume_mm3, &ucum("mm3", "Cubic millimeter")),
        number(&codes::RATIOS[0].code(), lesion.t1_ratio, &ratio),
        number(&codes::RATIOS[1].code(), lesion.t2_ratio, &ratio),
        number(&codes::PROBABILITY.code(), lesion.probability, &ratio),
    ]);
    container(&dcm("125007", "Measurement Group"), Some("1501"), items)
}

/// Template 4019, Algorithm Identification.
fn algorithm(exam: &Exam) -> Vec<InMemDicomObject> {
    let mut items = vec![
        text(Relation::HasConceptMod, &dcm("111001", "Algorithm Name"), "modicd"),
        text(Relation::HasConceptMod, &dcm("111003", "Algorithm Version"), exam.version()),
    ];
    let parameters = dcm("111002", "Algorithm Parameters");
    items.extend(exam.networks().iter().map(|n| text(Relation::HasConceptMod, &parameters, n)));
    items
}

/// What holds for the exam as a whole.
fn qualitative(exam: &Exam) -> InMemDicomObject {
    let presence = if exam.body.findings.is_empty() {
        sct("272519000", "Absent")
    } else {
        sct("52101004", "Present")
    };
    let mut items = vec![code(Relation::Contains, &codes::rad_element_question(), &presence)];
    let comment = dcm("121106", "Comment");
    items.extend(exam.body.limits.iter().map(|limit| text(Relation::Contains, &comment, limit)));
    items.push(text(
        Relation::Contains,
        &own("NUMBERING", "Confidence of the levels' numbering, 0 to 1"),
        &exam.body.numbering_confidence.to_string(),
    ));
    let doubt = own("QUALITY", "What makes the result doubtful");
    items.extend(exam.body.quality.iter().map(|flag| text(Relation::Contains, &doubt, flag)));
    let name = Code {
        value: "C0034375".into(),
        scheme: "UMLS",
        meaning: "Qualitative Evaluations".into(),
    };
    container(&name, None, items)
}
