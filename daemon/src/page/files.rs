//! The files of a result.

use std::io;
use std::path::Path;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path as Parameters, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio_util::io::ReaderStream;

use super::access::Peer;
use super::answer::{Failure, blocking};
use super::shared::Shared;
use crate::domain::StudyRef;
use crate::report::{
    FHIR_FILE, FINDING_FILE, MAP_FILE, Object, PICTURE_FILE, T1_FILE, T2_FILE, pdf_in,
};

/// The page as PDF, unpacked from its DICOM object.
const PDF: &str = "report.pdf";
/// With this ending a volume is answered unpacked by the browser, which does it faster than any script.
const VOLUME: &str = ".nii";
/// Media type of compressed volumes.
const GZIP: &str = "application/gzip";
/// Read from the disk at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// What the ending of a volume's file has more.
const COMPRESSED: &str = ".gz";

/// A file that can be taken away.
#[derive(Debug, Serialize)]
pub(super) struct Download {
    name: &'static str,
    title: &'static str,
    kind: &'static str,
    /// Whether it carries the patient's name or identifier.
    names_patient: bool,
    bytes: Option<u64>,
}

const fn download(
    name: &'static str,
    title: &'static str,
    kind: &'static str,
    names_patient: bool,
) -> Download {
    Download { name, title, kind, names_patient, bytes: None }
}

/// What may be asked for, and nothing else.
fn known() -> [Download; 11] {
    const DICOM: &str = "application/dicom";
    [
        download(FINDING_FILE, "Findings (JSON)", "application/json", false),
        download(PICTURE_FILE, "Picture (PNG)", "image/png", false),
        download(PDF, "Report (PDF)", "application/pdf", false),
        download(MAP_FILE, "Modic map (NIfTI)", GZIP, false),
        download(T1_FILE, "T1 as analysed (NIfTI)", GZIP, false),
        download(T2_FILE, "T2 on T1's grid (NIfTI)", GZIP, false),
        download(Object::Segmentation.file(), "Segmentation (DICOM)", DICOM, true),
        download(Object::Report.file(), "Structured report (DICOM)", DICOM, true),
        download(Object::Picture.file(), "Secondary capture (DICOM)", DICOM, true),
        download(Object::Page.file(), "Encapsulated PDF (DICOM)", DICOM, true),
        download(FHIR_FILE, "Report (FHIR)", "application/fhir+json", true),
    ]
}

/// Those that a result has.
pub(super) fn downloads(folder: &Path) -> Vec<Download> {
    let found = known().into_iter().filter_map(|download| {
        let file = if download.name == PDF { Object::Page.file() } else { download.name };
        let bytes = folder.join(file).metadata().ok()?.len();
        Some(Download { bytes: (download.name != PDF).then_some(bytes), ..download })
    });
    found.collect()
}

/// Answers with a file.
pub(super) async fn file(
    State(shared): State<Arc<Shared>>,
    Extension(Peer(address)): Extension<Peer>,
    Parameters((study_ref, revision, asked)): Parameters<(StudyRef, u32, String)>,
) -> Result<Response, Failure> {
    let unpacked = asked.ends_with(VOLUME);
    let name = if unpacked { format!("{asked}{COMPRESSED}") } else { asked };
    let Some(Download { name, kind, .. }) = known().into_iter().find(|d| d.name == name) else {
        return Err(Failure::NotFound);
    };
    let folder = shared.sources.results.dir(&study_ref, revision);
    let saved_as = format!("attachment; filename=\"modicd-{study_ref}-r{revision}-{name}\"");
    let mut headers = vec![(CONTENT_DISPOSITION, saved_as), (CONTENT_TYPE, kind.to_owned())];
    if name == PDF {
        let pdf =
            blocking(move || pdf_in(&folder.join(Object::Page.file())).ok_or(Failure::NotFound));
        let pdf = pdf.await?;
        shared.sources.opened(address, None, &study_ref, Some(name));
        return Ok(with(headers, Body::from(pdf)));
    }
    if unpacked {
        headers.push(gzip_encoded());
    }
    let answer = stream(&folder.join(name), headers).await.map_err(|_| Failure::NotFound)?;
    shared.sources.opened(address, None, &study_ref, Some(name));
    Ok(answer)
}

/// Answers with a compressed volume that the browser unpacks.
pub(super) async fn volume(path: &Path) -> io::Result<Response> {
    stream(path, vec![(CONTENT_TYPE, GZIP.to_owned()), gzip_encoded()]).await
}

/// By it a browser unpacks what it gets.
fn gzip_encoded() -> (HeaderName, String) {
    (CONTENT_ENCODING, "gzip".to_owned())
}

async fn stream(path: &Path, mut headers: Vec<(HeaderName, String)>) -> io::Result<Response> {
    let file = tokio::fs::File::open(path).await?;
    headers.push((CONTENT_LENGTH, file.metadata().await?.len().to_string()));
    Ok(with(headers, Body::from_stream(ReaderStream::with_capacity(file, CHUNK_BYTES))))
}

fn with(headers: Vec<(HeaderName, String)>, body: Body) -> Response {
    let mut response = body.into_response();
    for (name, value) in headers {
        let value = HeaderValue::try_from(value).expect("file names and media types are ASCII");
        response.headers_mut().insert(name, value);
    }
    response
}
