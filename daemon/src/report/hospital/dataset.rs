//! Short words for building a DICOM data set.

use dicom::core::value::DataSetSequence;
use dicom::core::{DataElement, PrimitiveValue, Tag, VR};
use dicom::dictionary_std::tags;
use dicom::object::InMemDicomObject;

use super::codes::Code;

/// Longest value of a Code Value, characters; what is longer is a Long Code Value.
const MAX_CODE_VALUE: usize = 16;

pub(super) trait Build: Sized {
    /// Sets a text; values of a multiple one are separated by backslashes.
    fn text(self, tag: Tag, vr: VR, text: &str) -> Self;
    /// Sets a text of one value, in which a backslash is only a character.
    fn free_text(self, tag: Tag, vr: VR, text: &str) -> Self;
    /// Sets unsigned shorts.
    fn shorts(self, tag: Tag, values: &[u16]) -> Self;
    /// Sets unsigned longs.
    fn longs(self, tag: Tag, values: &[u32]) -> Self;
    /// Sets decimal strings.
    fn decimals(self, tag: Tag, values: &[f64]) -> Self;
    /// Sets a pointer to an attribute.
    fn pointer(self, tag: Tag, to: Tag) -> Self;
    /// Sets a sequence.
    fn items(self, tag: Tag, items: Vec<InMemDicomObject>) -> Self;
    /// Sets a sequence of one coded concept.
    fn code(self, tag: Tag, code: &Code) -> Self;
    /// Sets the pixels and what they are: rows and columns, photometric interpretation, samples a pixel and bits a
    /// sample; unsigned, in an even number of bytes.
    fn pixels(self, shape: [u16; 2], photometric: &str, of: [u16; 2], bytes: Vec<u8>) -> Self;
}

/// An empty data set or item.
pub(super) fn item() -> InMemDicomObject {
    InMemDicomObject::new_empty()
}

impl Build for InMemDicomObject {
    fn text(mut self, tag: Tag, vr: VR, text: &str) -> Self {
        let values = text.split('\\').map(str::to_owned).collect();
        self.put(DataElement::new(tag, vr, PrimitiveValue::Strs(values)));
        self
    }

    fn free_text(mut self, tag: Tag, vr: VR, text: &str) -> Self {
        self.put(DataElement::new(tag, vr, PrimitiveValue::Str(text.to_owned())));
        self
    }

    fn shorts(mut self, tag: Tag, values: &[u16]) -> Self {
        self.put(DataElement::new(tag, VR::US, PrimitiveValue::U16(values.into())));
        self
    }

    fn longs(mut self, tag: Tag, values: &[u32]) -> Self {
        self.put(DataElement::new(tag, VR::UL, PrimitiveValue::U32(values.into())));
        self
    }

    fn decimals(self, tag: Tag, values: &[f64]) -> Self {
        let texts: Vec<String> = values.iter().map(|value| decimal(*value)).collect();
        self.text(tag, VR::DS, &texts.join("\\"))
    }

    fn pointer(mut self, tag: Tag, to: Tag) -> Self {
        self.put(DataElement::new(tag, VR::AT, PrimitiveValue::from(to)));
        self
    }

    fn items(mut self, tag: Tag, items: Vec<InMemDicomObject>) -> Self {
        self.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
        self
    }

    fn code(self, tag: Tag, code: &Code) -> Self {
        let coded = if code.value.len() > MAX_CODE_VALUE {
            item().text(tags::LONG_CODE_VALUE, VR::UC, &code.value)
        } else {
            item().text(tags::CODE_VALUE, VR::SH, &code.value)
        };
        let coded = coded.text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, code.scheme).free_text(
            tags::CODE_MEANING,
            VR::LO,
            &code.meaning,
        );
        self.items(tag, vec![coded])
    }

    fn pixels(
        self,
        [rows, columns]: [u16; 2],
        photometric: &str,
        [samples, bits]: [u16; 2],
        bytes: Vec<u8>,
    ) -> Self {
        let mut object = self
            .text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, photometric)
            .shorts(tags::SAMPLES_PER_PIXEL, &[samples])
            .shorts(tags::ROWS, &[rows])
            .shorts(tags::COLUMNS, &[columns])
            .shorts(tags::BITS_ALLOCATED, &[bits])
            .shorts(tags::BITS_STORED, &[bits])
            .shorts(tags::HIGH_BIT, &[bits - 1])
            .shorts(tags::PIXEL_REPRESENTATION, &[0]);
        let value = PrimitiveValue::U8(bytes.into());
        object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, value));
        object
    }
}

/// A decimal string (PS3.5, 6.2: at most 16 characters), as exact as fits.
fn decimal(value: f64) -> String {
    let plain = value.to_string();
    if plain.len() <= 16 {
        return plain;
    }
    (0..=12)
        .rev()
        .map(|digits| format!("{value:.digits$}"))
        .find(|text| text.len() <= 16)
        .unwrap_or_else(|| format!("{value:.8e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_where_they_fit_and_never_too_long() {
        assert_eq!(decimal(-0.5), "-0.5");
        for value in [1.0 / 3.0, -123.456_789_012_345, 1e-12, -1e15 / 3.0, 7e22] {
            let text = decimal(value);
            assert!(text.len() <= 16, "{text}");
            assert!((text.parse::<f64>().unwrap() - value).abs() <= value.abs() * 1e-6 + 1e-11);
        }
    }
}
