//! The findings on one page: PDF, and as Encapsulated PDF for the PACS (PS3.3 A.45.1).

use std::io::Write;
use std::path::Path;

use dicom::core::{DataElement, PrimitiveValue, VR};
use dicom::dictionary_std::tags;
use dicom::object::{InMemDicomObject, open_file};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use image::RgbImage;
use pdf_writer::{Content, Filter, Finish, Name, Pdf, Rect, Ref, Str, TextStr};

use super::dataset::Build;
use super::{Exam, Object, other_lesions};
use crate::report::FindingBody;

/// A4, points.
const PAGE: [f32; 2] = [595.0, 842.0];
const MARGIN: f32 = 40.0;
const TITLE: &str = "Modic changes of the lumbar spine";
/// Height of a line of text, where there is room; points.
const LINE: f32 = 13.0;
/// The picture's part of the page's height at most.
const PICTURE_HEIGHT: f32 = 470.0;
/// Left ends of the table's columns.
const COLUMNS: [f32; 7] = [0.0, 90.0, 140.0, 230.0, 300.0, 390.0, 455.0];

pub(super) fn object(exam: &Exam, picture: &RgbImage) -> InMemDicomObject {
    let mut bytes = pdf(exam.body, picture);
    let length = bytes.len() as u32;
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    let mut object = exam
        .object(Object::Page)
        .text(tags::CONVERSION_TYPE, VR::CS, "WSD")
        .text(tags::ACQUISITION_DATE_TIME, VR::DT, "")
        // The words in it name no person.
        .text(tags::BURNED_IN_ANNOTATION, VR::CS, "NO")
        .text(tags::DOCUMENT_TITLE, VR::ST, TITLE)
        .items(tags::CONCEPT_NAME_CODE_SEQUENCE, vec![])
        .items(tags::SOURCE_INSTANCE_SEQUENCE, exam.source.t1.instances())
        .text(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, VR::LO, "application/pdf")
        .longs(tags::ENCAPSULATED_DOCUMENT_LENGTH, &[length]);
    let document = PrimitiveValue::U8(bytes.into());
    object.put(DataElement::new(tags::ENCAPSULATED_DOCUMENT, VR::OB, document));
    object
}

/// The PDF in a file that [`object`] made; `None` when it can't be read.
pub(crate) fn pdf_in(file: &Path) -> Option<Vec<u8>> {
    let object = open_file(file).ok()?;
    let length: u32 = object.element(tags::ENCAPSULATED_DOCUMENT_LENGTH).ok()?.to_int().ok()?;
    let mut pdf = object.element(tags::ENCAPSULATED_DOCUMENT).ok()?.to_bytes().ok()?.into_owned();
    pdf.truncate(usize::try_from(length).ok()?);
    Some(pdf)
}

/// Draws the page.
fn pdf(body: &FindingBody, picture: &RgbImage) -> Vec<u8> {
    let [catalog, pages, page, plain, bold, image, content, info] =
        [1, 2, 3, 4, 5, 6, 7, 8].map(Ref::new);
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(pages);
    pdf.document_info(info).title(TextStr(TITLE));
    pdf.pages(pages).kids([page]).count(1);
    let mut one = pdf.page(page);
    one.media_box(Rect::new(0.0, 0.0, PAGE[0], PAGE[1])).parent(pages).contents(content);
    let mut resources = one.resources();
    resources.x_objects().pair(Name(b"picture"), image);
    resources.fonts().pair(Name(b"plain"), plain).pair(Name(b"bold"), bold);
    resources.finish();
    one.finish();
    for (font, name) in [(plain, &b"Helvetica"[..]), (bold, b"Helvetica-Bold")] {
        let encoding = Name(b"WinAnsiEncoding");
        pdf.type1_font(font).base_font(Name(name)).encoding_predefined(encoding);
    }

    let pixels = deflated(picture.as_raw());
    let mut drawn = pdf.image_xobject(image, &pixels);
    drawn.filter(Filter::FlateDecode);
    drawn.width(picture.width() as i32).height(picture.height() as i32);
    drawn.color_space().device_rgb();
    drawn.bits_per_component(8);
    drawn.finish();

    pdf.stream(content, &laid_out(body, picture).finish());
    pdf.finish()
}

fn laid_out(body: &FindingBody, picture: &RgbImage) -> Content {
    let mut content = Content::new();
    let mut top = PAGE[1] - MARGIN - 12.0;
    write(&mut content, b"bold", 16.0, [MARGIN, top], TITLE);
    top -= 18.0;
    content.set_fill_rgb(0.75, 0.0, 0.0);
    write(&mut content, b"bold", 11.0, [MARGIN, top], "Research use, not for diagnosis");
    content.set_fill_rgb(0.0, 0.0, 0.0);
    top -= 10.0;

    let [width, height] = [picture.width() as f32, picture.height() as f32];
    let scale = ((PAGE[0] - 2.0 * MARGIN) / width).min(PICTURE_HEIGHT / height);
    top -= scale * height;
    content.save_state();
    let left = (PAGE[0] - scale * width) / 2.0;
    content.transform([scale * width, 0.0, 0.0, scale * height, left, top]);
    content.x_object(Name(b"picture"));
    content.restore_state();

    let below = below(body);
    let rows = body.findings.len().max(1) + 1;
    // However many there are, they stay on the page.
    let line = LINE.min((top - MARGIN) / (rows + below.len() + 2) as f32);
    let size = line * 0.7;
    top -= 1.5 * line;
    let head = ["Endplate", "Disc", "Type", "Volume", "Height", "Probability", "Slice"];
    row(&mut content, b"bold", size, top, head.map(str::to_owned));
    top -= line;
    for finding in &body.findings {
        let side = finding.side.as_str();
        row(
            &mut content,
            b"plain",
            size,
            top,
            [
                format!("{} {side}", finding.level),
                finding.disc.clone().unwrap_or_default(),
                finding.pattern.clone(),
                format!("{:.0} mm\u{b3}", finding.volume_mm3),
                format!("{:.0} % ({})", finding.height_percent, finding.height_grade),
                format!("{:.2}", finding.probability),
                (finding.slice + 1).to_string(),
            ],
        );
        top -= line;
    }
    if body.findings.is_empty() {
        write(&mut content, b"plain", size, [MARGIN, top], "No Modic change was found.");
        top -= line;
    }
    top -= line / 2.0;
    for text in below {
        write(&mut content, b"plain", 0.85 * size, [MARGIN, top], &text);
        top -= line;
    }
    content
}

/// What must be known of the result.
fn below(body: &FindingBody) -> Vec<String> {
    let mut lines = body.limits.clone();
    lines.extend(other_lesions(body));
    if !body.quality.is_empty() {
        lines.push(format!("doubts: {}", body.quality.join(", ")));
    }
    let networks: Vec<String> = body
        .bundles
        .iter()
        .map(|b| format!("{} {} ({})", b.name, b.version, &b.sha256[..12]))
        .collect();
    lines.push(format!("{}; networks: {}", body.software, networks.join(", ")));
    lines
}

fn row(content: &mut Content, font: &[u8], size: f32, top: f32, cells: [String; 7]) {
    for (cell, column) in cells.iter().zip(COLUMNS) {
        write(content, font, size, [MARGIN + column, top], cell);
    }
}

/// Writes in WinAnsiEncoding, which is Latin-1 for what is written here.
fn write(content: &mut Content, font: &[u8], size: f32, at: [f32; 2], text: &str) {
    let latin: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
    content.begin_text().set_font(Name(font), size).next_line(at[0], at[1]);
    content.show(Str(&latin)).end_text();
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("a vector takes everything")
}
