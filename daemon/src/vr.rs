//! Value representations (PS3.5, 6.2) as far as safety depends on them.

use dicom::core::VR;

/// Whether a value of this length can be one of this representation. A binary value of another length than a multiple of its
/// unit leaves dicom-rs in the midst of it, to take what follows for elements, with lengths that nobody has checked.
pub(crate) fn may_be_so_long(vr: VR, length: u64) -> bool {
    let unit = match vr {
        VR::US | VR::SS | VR::OW => 2,
        VR::UL | VR::SL | VR::FL | VR::AT | VR::OL | VR::OF => 4,
        VR::FD | VR::SV | VR::UV | VR::OD | VR::OV => 8,
        _ => 1,
    };
    length.is_multiple_of(unit)
}

/// VRs with two reserved bytes and a length of four (PS3.5, table 7.1-1).
pub(crate) fn has_long_length(vr: VR) -> bool {
    use VR::*;
    matches!(vr, OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV)
}
