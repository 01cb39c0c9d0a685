//! What the objects take from the series that they were made from.

use std::borrow::Cow;
use std::collections::HashSet;

use dicom::core::{Tag, VR};
use dicom::dictionary_std::tags;
use dicom::object::{DefaultDicomObject, InMemDicomObject};

use super::code_extensions::reread;
use super::dataset::{Build, item};
use super::reference;
use crate::report::ReportError;
use crate::study::file::read_attributes;
use crate::study::{Series, SeriesPair};

/// Attributes of the Patient, General Study and Patient Study modules that are taken over.
const TAKEN: [(Tag, VR); 15] = [
    (tags::PATIENT_NAME, VR::PN),
    (tags::PATIENT_ID, VR::LO),
    (tags::ISSUER_OF_PATIENT_ID, VR::LO),
    (tags::PATIENT_BIRTH_DATE, VR::DA),
    (tags::PATIENT_SEX, VR::CS),
    (tags::PATIENT_AGE, VR::AS),
    (tags::PATIENT_SIZE, VR::DS),
    (tags::PATIENT_WEIGHT, VR::DS),
    (tags::STUDY_INSTANCE_UID, VR::UI),
    (tags::STUDY_DATE, VR::DA),
    (tags::STUDY_TIME, VR::TM),
    (tags::REFERRING_PHYSICIAN_NAME, VR::PN),
    (tags::STUDY_ID, VR::SH),
    (tags::ACCESSION_NUMBER, VR::SH),
    (tags::STUDY_DESCRIPTION, VR::LO),
];

/// Those that must be there, empty where unknown (type 2).
const REQUIRED: [Tag; 9] = [
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::STUDY_ID,
    tags::ACCESSION_NUMBER,
];

/// See the module.
pub(super) struct Source {
    pub patient_and_study: InMemDicomObject,
    pub study_uid: String,
    pub frame_of_reference_uid: String,
    pub t1: SourceSeries,
    pub t2: SourceSeries,
}

/// One series: its instances, in the order of the slices.
pub(super) struct SourceSeries {
    pub uid: String,
    pub sop_class: String,
    /// SOP Instance UID, and the frame from 1 where the object has several.
    pub slices: Vec<(String, Option<u32>)>,
}

impl Source {
    pub fn read(pair: &SeriesPair) -> Result<Source, ReportError> {
        let object = first_file(&pair.t1)?;
        let mut taken = item();
        let text_of = |tag| object.get(tag).and_then(|element| element.to_str().ok());
        let several_sets = text_of(tags::SPECIFIC_CHARACTER_SET).filter(|sets| sets.contains('\\'));
        for (tag, vr) in TAKEN {
            let mut text = text_of(tag);
            if let (Some(sets), Some(read)) = (&several_sets, &text) {
                text = reread(read, sets).map(Cow::Owned).or(text);
            }
            // All of them have one value; a second one is the sender's mistake.
            let text = text.as_deref().and_then(|text| text.split('\\').next());
            match text.map(|text| text.trim_matches([' ', '\0'])).filter(|text| !text.is_empty()) {
                Some(text) => taken = taken.text(tag, vr, text),
                None if REQUIRED.contains(&tag) => taken = taken.text(tag, vr, ""),
                None => {}
            }
        }
        let study_uid = taken
            .get(tags::STUDY_INSTANCE_UID)
            .and_then(|element| element.to_str().ok())
            .map(|uid| uid.into_owned())
            .unwrap_or_default();
        Ok(Source {
            patient_and_study: taken,
            study_uid,
            frame_of_reference_uid: pair.t1.slices[0]
                .frame_of_reference_uid
                .clone()
                .unwrap_or_default(),
            t1: SourceSeries::of(&pair.t1, &object),
            t2: SourceSeries::of(&pair.t2, &first_file(&pair.t2)?),
        })
    }

    /// The patient's identifier, if there is one.
    pub fn patient_id(&self) -> Option<String> {
        let element = self.patient_and_study.get(tags::PATIENT_ID)?;
        let id = element.to_str().ok()?;
        (!id.is_empty()).then(|| id.into_owned())
    }
}

/// The attributes of a series' first file.
fn first_file(series: &Series) -> Result<DefaultDicomObject, ReportError> {
    let read = read_attributes(&series.slices[0].path);
    read.map(|(object, _)| object).map_err(|e| ReportError::Source(Box::new(e)))
}

impl SourceSeries {
    /// `object` is its first file.
    fn of(series: &Series, object: &DefaultDicomObject) -> SourceSeries {
        let first = &series.slices[0];
        let frame =
            |slice: &crate::study::SliceHeader| (slice.frame_count > 1).then_some(slice.frame + 1);
        SourceSeries {
            uid: first.series_uid.clone(),
            sop_class: object.meta().media_storage_sop_class_uid.trim_end_matches('\0').to_owned(),
            slices: series.slices.iter().map(|s| (s.sop_instance_uid.clone(), frame(s))).collect(),
        }
    }

    /// A reference to the image of a slice, to its frame where it has several.
    pub fn image(&self, slice: usize) -> InMemDicomObject {
        let (instance, frame) = &self.slices[slice];
        let image = reference(&self.sop_class, instance);
        match frame {
            Some(frame) => image.text(tags::REFERENCED_FRAME_NUMBER, VR::IS, &frame.to_string()),
            None => image,
        }
    }

    /// A reference to each of its instances, once.
    pub fn instances(&self) -> Vec<InMemDicomObject> {
        // The slices of two Enhanced objects may lie between each other's.
        let mut seen = HashSet::new();
        let instances = self.slices.iter().map(|(uid, _)| uid).filter(|uid| seen.insert(*uid));
        instances.map(|uid| reference(&self.sop_class, uid)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_referred_to_once_wherever_its_frames_lie() {
        let slices = [("1.2", 1), ("1.3", 1), ("1.2", 2), ("1.3", 2)];
        let series = SourceSeries {
            uid: "1".to_owned(),
            sop_class: "1.1".to_owned(),
            slices: slices.map(|(uid, frame)| (uid.to_owned(), Some(frame))).into(),
        };
        let uid = |reference: &InMemDicomObject| {
            let uid = reference.element(tags::REFERENCED_SOP_INSTANCE_UID).unwrap();
            uid.to_str().unwrap().into_owned()
        };
        let instances: Vec<String> = series.instances().iter().map(uid).collect();
        assert_eq!(instances, ["1.2", "1.3"]);
    }
}
