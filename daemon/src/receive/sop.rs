//! What is accepted: SOP classes, transfer syntaxes, and how the latter encode a data set.

use dicom::dictionary_std::uids;

/// How the elements of a data set are encoded (PS3.5, 7.1). Big endian is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    ImplicitLittleEndian,
    ExplicitLittleEndian,
}

/// A transfer syntax that the daemon decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TransferSyntax(&'static str);

impl TransferSyntax {
    pub(super) const IMPLICIT_LITTLE_ENDIAN: TransferSyntax =
        TransferSyntax(uids::IMPLICIT_VR_LITTLE_ENDIAN);
    pub(super) const EXPLICIT_LITTLE_ENDIAN: TransferSyntax =
        TransferSyntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);

    /// In the order of preference: what costs least to read first, lossless before what may be lossy.
    pub(super) const PREFERRED: [TransferSyntax; 8] = [
        Self::EXPLICIT_LITTLE_ENDIAN,
        Self::IMPLICIT_LITTLE_ENDIAN,
        TransferSyntax(uids::RLE_LOSSLESS),
        TransferSyntax(uids::JPEG_LOSSLESS_SV1),
        TransferSyntax(uids::JPEG_LOSSLESS),
        TransferSyntax(uids::JPEGLS_LOSSLESS),
        TransferSyntax(uids::JPEG2000_LOSSLESS),
        TransferSyntax(uids::JPEG2000),
    ];

    /// The accepted transfer syntax of this UID, padding ignored.
    pub(super) fn from_uid(uid: &str) -> Option<TransferSyntax> {
        let uid = trim_uid(uid);
        Self::PREFERRED.into_iter().find(|ts| ts.0 == uid)
    }

    pub(super) fn uid(self) -> &'static str {
        self.0
    }

    pub(super) fn encoding(self) -> Encoding {
        if self == Self::IMPLICIT_LITTLE_ENDIAN {
            Encoding::ImplicitLittleEndian
        } else {
            Encoding::ExplicitLittleEndian
        }
    }
}

/// Whether instances of this SOP class are stored.
pub(super) fn is_storage_class(uid: &str) -> bool {
    [uids::MR_IMAGE_STORAGE, uids::ENHANCED_MR_IMAGE_STORAGE].contains(&trim_uid(uid))
}

/// A UID without its padding; some peers pad with spaces instead of NUL, or pad where they mustn't.
pub(super) fn trim_uid(uid: &str) -> &str {
    uid.trim_matches(['\0', ' '])
}
