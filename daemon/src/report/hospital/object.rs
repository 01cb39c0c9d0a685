//! The kinds of DICOM objects that a result is written as.

use dicom::dictionary_std::uids;
use serde::{Deserialize, Serialize};

/// A DICOM object of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Object {
    /// The Modic map as Segmentation.
    Segmentation,
    /// The picture as Secondary Capture.
    Picture,
    /// The page as Encapsulated PDF.
    Page,
    /// The findings as structured report.
    Report,
}

impl Object {
    /// All, what refers to another after it.
    pub const ALL: [Object; 4] =
        [Object::Segmentation, Object::Picture, Object::Page, Object::Report];

    /// As the configuration calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Object::Segmentation => "segmentation",
            Object::Picture => "picture",
            Object::Page => "page",
            Object::Report => "report",
        }
    }

    /// Its file in a result's folder.
    pub fn file(self) -> &'static str {
        match self {
            Object::Segmentation => "map.seg.dcm",
            Object::Picture => "summary.sc.dcm",
            Object::Page => "report.pdf.dcm",
            Object::Report => "report.sr.dcm",
        }
    }

    pub(super) fn sop_class(self) -> &'static str {
        match self {
            Object::Segmentation => uids::SEGMENTATION_STORAGE,
            Object::Report => uids::COMPREHENSIVE3_DSR_STORAGE,
            Object::Picture => uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
            Object::Page => uids::ENCAPSULATED_PDF_STORAGE,
        }
    }

    pub(super) fn modality(self) -> &'static str {
        match self {
            Object::Segmentation => "SEG",
            Object::Report => "SR",
            Object::Picture => "OT",
            Object::Page => "DOC",
        }
    }

    pub(super) fn description(self) -> &'static str {
        match self {
            Object::Segmentation => "Modic map (research use)",
            Object::Report => "Modic findings (research use)",
            Object::Picture => "Modic summary (research use)",
            Object::Page => "Modic report (research use)",
        }
    }

    /// Of the series: high, so that it comes after the scanner's.
    pub(super) fn series_number(self) -> u32 {
        match self {
            Object::Segmentation => 7100,
            Object::Report => 7200,
            Object::Picture => 7300,
            Object::Page => 7400,
        }
    }
}
