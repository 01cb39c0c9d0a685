//! Content items of a structured report (PS3.3 C.17.3).

use dicom::core::VR;
use dicom::dictionary_std::tags;
use dicom::object::InMemDicomObject;

use super::codes::Code;
use super::dataset::{Build, item};

/// How an item stands to the one that holds it.
#[derive(Clone, Copy)]
pub(super) enum Relation {
    Contains,
    HasConceptMod,
    HasObsContext,
}

impl Relation {
    fn as_str(self) -> &'static str {
        match self {
            Relation::Contains => "CONTAINS",
            Relation::HasConceptMod => "HAS CONCEPT MOD",
            Relation::HasObsContext => "HAS OBS CONTEXT",
        }
    }
}

fn of_type(value_type: &str, relation: Relation, name: &Code) -> InMemDicomObject {
    item()
        .text(tags::RELATIONSHIP_TYPE, VR::CS, relation.as_str())
        .text(tags::VALUE_TYPE, VR::CS, value_type)
        .code(tags::CONCEPT_NAME_CODE_SEQUENCE, name)
}

pub(super) fn container(
    name: &Code,
    template: Option<&str>,
    items: Vec<InMemDicomObject>,
) -> InMemDicomObject {
    root(of_type("CONTAINER", Relation::Contains, name), template, items)
}

/// Makes a data set or an item a container.
pub(super) fn root(
    object: InMemDicomObject,
    template: Option<&str>,
    items: Vec<InMemDicomObject>,
) -> InMemDicomObject {
    let object = object.text(tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE");
    let object = match template {
        None => object,
        Some(identifier) => object.items(
            tags::CONTENT_TEMPLATE_SEQUENCE,
            vec![item().text(tags::MAPPING_RESOURCE, VR::CS, "DCMR").text(
                tags::TEMPLATE_IDENTIFIER,
                VR::CS,
                identifier,
            )],
        ),
    };
    if items.is_empty() { object } else { object.items(tags::CONTENT_SEQUENCE, items) }
}

pub(super) fn text(relation: Relation, name: &Code, value: &str) -> InMemDicomObject {
    of_type("TEXT", relation, name).free_text(tags::TEXT_VALUE, VR::UT, value)
}

pub(super) fn code(relation: Relation, name: &Code, value: &Code) -> InMemDicomObject {
    of_type("CODE", relation, name).code(tags::CONCEPT_CODE_SEQUENCE, value)
}

pub(super) fn uid(relation: Relation, name: &Code, value: &str) -> InMemDicomObject {
    of_type("UIDREF", relation, name).text(tags::UID, VR::UI, value)
}

/// A number to three decimal places, as readers get it: a float's others say nothing.
pub(super) fn rounded(value: f32) -> f64 {
    (1e3 * f64::from(value)).round() / 1e3
}

/// A number, to three digits for readers; a floating point value beside it keeps it exactly.
pub(super) fn number(name: &Code, value: f32, unit: &Code) -> InMemDicomObject {
    let mut measured = item()
        .decimals(tags::NUMERIC_VALUE, &[rounded(value)])
        .code(tags::MEASUREMENT_UNITS_CODE_SEQUENCE, unit);
    measured.put(dicom::core::DataElement::new(
        tags::FLOATING_POINT_VALUE,
        VR::FD,
        dicom::core::PrimitiveValue::F64([f64::from(value)].as_slice().into()),
    ));
    of_type("NUM", Relation::Contains, name).items(tags::MEASURED_VALUE_SEQUENCE, vec![measured])
}

/// An image, without a concept name where `name` is none.
pub(super) fn image(name: Option<&Code>, reference: InMemDicomObject) -> InMemDicomObject {
    let image = item().text(tags::RELATIONSHIP_TYPE, VR::CS, Relation::Contains.as_str()).text(
        tags::VALUE_TYPE,
        VR::CS,
        "IMAGE",
    );
    let image = match name {
        Some(name) => image.code(tags::CONCEPT_NAME_CODE_SEQUENCE, name),
        None => image,
    };
    image.items(tags::REFERENCED_SOP_SEQUENCE, vec![reference])
}

/// Puts items below another.
pub(super) fn with(object: InMemDicomObject, items: Vec<InMemDicomObject>) -> InMemDicomObject {
    object.items(tags::CONTENT_SEQUENCE, items)
}
