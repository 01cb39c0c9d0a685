//! The result as other systems of a hospital take it: for the PACS a segmentation, a structured report, a picture and a
//! page; for the information system a FHIR report.
//!
//! They belong to the patient's study, so unlike everything else that is written they name the patient, as the T1
//! series does. Series and SOP UIDs follow from the result's fingerprint and revision: an object sent twice is the
//! same, a new revision's is another.

mod code_extensions;
mod codes;
mod content;
mod dataset;
mod fhir;
mod object;
mod page;
mod picture;
mod report;
mod segmentation;
mod source;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use dicom::core::VR;
use dicom::dictionary_std::{tags, uids};
use dicom::object::{FileMetaTableBuilder, InMemDicomObject};
use image::RgbImage;

use super::{FindingBody, ReportError};
use crate::domain::derived_uid;
use crate::modic::ModicResult;
use crate::study::SeriesPair;
pub(crate) use codes::OWN_SCHEME;
use dataset::{Build, item};
pub use object::Object;
pub(crate) use page::pdf_in;
use source::Source;

/// File name of the FHIR report.
pub(crate) const FHIR_FILE: &str = "report.fhir.json";

/// What is made known as the maker of the objects.
const MANUFACTURER: &str = "modicd";
const MODEL: &str = "modicd";

/// Writes all objects into `folder`.
pub(super) fn write(
    folder: &Path,
    pair: &SeriesPair,
    picture: &RgbImage,
    result: &ModicResult,
    body: &FindingBody,
    revision: u32,
) -> Result<(), ReportError> {
    let source = Source::read(pair)?;
    let made = chrono::Local::now();
    let exam = Exam {
        source: &source,
        result,
        body,
        revision,
        date: made.format("%Y%m%d").to_string(),
        time: made.format("%H%M%S").to_string(),
        issued: made.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
    };
    let segments = segmentation::segments(&exam);
    // One after the other, since each holds its pixels.
    for kind in Object::ALL {
        let object = match kind {
            Object::Segmentation => segmentation::object(&exam, pair, &segments),
            Object::Report => report::object(&exam, segmentation::numbers_of_findings(&segments)),
            Object::Picture => picture::object(&exam, picture),
            Object::Page => page::object(&exam, picture),
        };
        let name = kind.file();
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
            .media_storage_sop_class_uid(kind.sop_class())
            .media_storage_sop_instance_uid(exam.instance_uid(kind));
        let written = object.with_meta(meta).map_err(Into::into).and_then(|object| {
            let mut file = private_file(&folder.join(name))?;
            object.write_all(&mut file)?;
            Ok(file.flush()?)
        });
        written.map_err(|source| ReportError::Object { name, source })?;
    }
    let written = private_file(&folder.join(FHIR_FILE)).and_then(|mut file| {
        serde_json::to_writer_pretty(&mut file, &fhir::bundle(&exam))?;
        file.flush()
    });
    written.map_err(|e| ReportError::Object { name: FHIR_FILE, source: Box::new(e) })
}

/// A file that only its owner may read: it names a patient.
fn private_file(path: &Path) -> std::io::Result<BufWriter<File>> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).map(BufWriter::new)
}

/// Where changes lie that are no Modic ones, if there are any.
fn other_lesions(body: &FindingBody) -> Option<String> {
    let others = &body.other_marrow_lesions;
    let levels: Vec<String> = others.iter().map(|lesion| lesion.level.to_string()).collect();
    (!levels.is_empty())
        .then(|| format!("other marrow lesions, not Modic changes: {}", levels.join(", ")))
}

/// What all objects of one result are made from.
struct Exam<'a> {
    source: &'a Source,
    result: &'a ModicResult,
    body: &'a FindingBody,
    revision: u32,
    /// When they are made, local time as DA and TM.
    date: String,
    time: String,
    /// The same with its zone, as FHIR writes it.
    issued: String,
}

impl Exam<'_> {
    fn uid(&self, part: &str) -> String {
        let Exam { source, body, revision, .. } = self;
        derived_uid(&format!("modicd {} {} {revision} {part}", source.study_uid, body.fingerprint))
    }

    fn series_uid(&self, kind: Object) -> String {
        self.uid(&format!("series {kind:?}"))
    }

    fn instance_uid(&self, kind: Object) -> String {
        self.uid(&format!("instance {kind:?}"))
    }

    /// Names and UID by which a finding is known in all objects of this revision; `number` counts from 1.
    fn tracking(&self, number: u16) -> (String, String) {
        let finding = &self.body.findings[usize::from(number) - 1];
        let side = finding.side.as_str();
        let name = format!("Finding {number}: {} {side} endplate", finding.level);
        (name, self.uid(&format!("finding {number}")))
    }

    /// The algorithm's version and what it depends on.
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// The networks by version and digest, one line each.
    fn networks(&self) -> Vec<String> {
        let line = |b: &super::BundleUsed| format!("{} {} sha256:{}", b.name, b.version, b.sha256);
        self.body.bundles.iter().map(line).collect()
    }

    /// What an object of any kind begins with: patient, study, series, equipment, SOP.
    fn object(&self, kind: Object) -> InMemDicomObject {
        self.source
            .patient_and_study
            .clone()
            .text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192")
            .text(tags::SOP_CLASS_UID, VR::UI, kind.sop_class())
            .text(tags::SOP_INSTANCE_UID, VR::UI, &self.instance_uid(kind))
            .text(tags::INSTANCE_CREATION_DATE, VR::DA, &self.date)
            .text(tags::INSTANCE_CREATION_TIME, VR::TM, &self.time)
            .text(tags::MODALITY, VR::CS, kind.modality())
            .text(tags::SERIES_INSTANCE_UID, VR::UI, &self.series_uid(kind))
            .text(tags::SERIES_NUMBER, VR::IS, &(kind.series_number() + self.revision).to_string())
            .text(tags::SERIES_DESCRIPTION, VR::LO, kind.description())
            .text(tags::SERIES_DATE, VR::DA, &self.date)
            .text(tags::SERIES_TIME, VR::TM, &self.time)
            .text(tags::CONTENT_DATE, VR::DA, &self.date)
            .text(tags::CONTENT_TIME, VR::TM, &self.time)
            .text(tags::INSTANCE_NUMBER, VR::IS, "1")
            .text(tags::MANUFACTURER, VR::LO, MANUFACTURER)
            .text(tags::MANUFACTURER_MODEL_NAME, VR::LO, MODEL)
            // Of the box nothing is known here; the attribute must have a value.
            .text(tags::DEVICE_SERIAL_NUMBER, VR::LO, "0")
            .text(tags::SOFTWARE_VERSIONS, VR::LO, self.version())
            .items(
                tags::CODING_SCHEME_IDENTIFICATION_SEQUENCE,
                vec![item().text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, codes::OWN_SCHEME).text(
                    tags::CODING_SCHEME_NAME,
                    VR::ST,
                    "Modic changes, by modicd",
                )],
            )
    }

    /// A reference to an instance of this result.
    fn reference(&self, kind: Object) -> InMemDicomObject {
        reference(kind.sop_class(), &self.instance_uid(kind))
    }
}

/// An item that refers to an instance.
fn reference(sop_class: &str, instance: &str) -> InMemDicomObject {
    item().text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, sop_class).text(
        tags::REFERENCED_SOP_INSTANCE_UID,
        VR::UI,
        instance,
    )
}
