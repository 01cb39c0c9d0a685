//! Looks attributes up in one frame of one object, Enhanced or not.

use dicom::core::Tag;
use dicom::dictionary_std::tags;
use dicom::object::InMemDicomObject;
use dicom::object::mem::InMemElement;

/// The attributes that apply to one frame: its own functional groups, then the shared ones, then the data
/// set's (PS3.3 C.7.6.16). A single-frame object has only the last.
pub(super) struct Attributes<'a> {
    frame: Option<&'a InMemDicomObject>,
    shared: Option<&'a InMemDicomObject>,
    root: &'a InMemDicomObject,
}

impl<'a> Attributes<'a> {
    /// One view per frame, in the order of the frames; one for a single-frame object. At most `max_frames`.
    pub(super) fn of_frames(root: &'a InMemDicomObject, max_frames: usize) -> Vec<Attributes<'a>> {
        let shared = first_item(root, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
        let per_frame = items(root, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
        if per_frame.is_empty() {
            return vec![Attributes { frame: None, shared, root }];
        }
        per_frame
            .iter()
            .take(max_frames)
            .map(|f| Attributes { frame: Some(f), shared, root })
            .collect()
    }

    /// An attribute of the functional group `group`, or of the data set itself.
    fn element(&self, group: Tag, tag: Tag) -> Option<&'a InMemElement> {
        [self.frame, self.shared]
            .into_iter()
            .flatten()
            .find_map(|groups| first_item(groups, group)?.get(tag))
            .or_else(|| self.root.get(tag))
    }

    /// Text without padding; `None` when empty or missing.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        text_of(self.root.get(tag)?)
    }

    /// Text of a functional group's attribute.
    pub(super) fn text_in(&self, group: Tag, tag: Tag) -> Option<String> {
        text_of(self.element(group, tag)?)
    }

    /// Finite numbers, however they are stored; `None` when missing or not numbers.
    pub(super) fn numbers_in(&self, group: Tag, tag: Tag) -> Option<Vec<f64>> {
        numbers_of(self.element(group, tag)?)
    }

    /// The first number of a functional group's attribute.
    pub(super) fn number_in(&self, group: Tag, tag: Tag) -> Option<f64> {
        self.numbers_in(group, tag)?.first().copied()
    }

    /// The first number of a data set's attribute.
    pub(super) fn number(&self, tag: Tag) -> Option<f64> {
        numbers_of(self.root.get(tag)?)?.first().copied()
    }

    /// Exactly `N` numbers, or nothing.
    pub(super) fn array_in<const N: usize>(&self, group: Tag, tag: Tag) -> Option<[f64; N]> {
        self.numbers_in(group, tag)?.try_into().ok()
    }

    /// The first item of a sequence inside a functional group, or in the data set.
    pub(super) fn item_in(&self, group: Tag, tag: Tag) -> Option<&'a InMemDicomObject> {
        self.element(group, tag)?.items()?.first()
    }

    /// The items of a sequence of the data set.
    pub(super) fn items(&self, tag: Tag) -> &'a [InMemDicomObject] {
        items(self.root, tag)
    }

    /// Whether the data set holds the sequence with at least one item.
    pub(super) fn has_items(&self, tag: Tag) -> bool {
        !items(self.root, tag).is_empty()
    }
}

/// Text of an attribute of any data set or item.
pub(super) fn text_at(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    text_of(object.get(tag)?)
}

fn text_of(element: &InMemElement) -> Option<String> {
    let text = element.to_str().ok()?;
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

fn numbers_of(element: &InMemElement) -> Option<Vec<f64>> {
    let numbers = element.to_multi_float64().ok()?;
    (!numbers.is_empty() && numbers.iter().all(|n| n.is_finite())).then_some(numbers)
}

fn items(object: &InMemDicomObject, sequence: Tag) -> &[InMemDicomObject] {
    object.get(sequence).and_then(|e| e.items()).unwrap_or_default()
}

fn first_item(object: &InMemDicomObject, sequence: Tag) -> Option<&InMemDicomObject> {
    items(object, sequence).first()
}
