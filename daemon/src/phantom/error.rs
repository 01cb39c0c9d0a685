//! Why a phantom couldn't be written.

use std::path::PathBuf;

/// What failed, and on which file.
#[derive(Debug, thiserror::Error)]
pub enum PhantomError {
    /// A folder or a text file.
    #[error("can't write {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A NIfTI file.
    #[error("can't write NIfTI file {}", path.display())]
    Nifti {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: nifti::NiftiError,
    },
    /// A DICOM file.
    #[error("can't write DICOM file {}", path.display())]
    Dicom {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An image or a mask of a data set.
    #[error(transparent)]
    Dataset(#[from] crate::dataset::DatasetError),
    /// A table.
    #[error("can't write {}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: csv::Error,
    },
    /// A truth file as JSON.
    #[error("can't write the truth to {}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}
