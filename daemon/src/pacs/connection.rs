//! An open way to a destination, whatever protocol it speaks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dicom::dictionary_std::tags;
use dicom::object::OpenFileOptions;

use super::config::{ConfigError, Destination, Service};
use super::scu::Association;
use super::stow::Stow;
use crate::store::FileError;
use crate::tls::TlsError;

/// Why something wasn't sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Nobody answers, the association is refused or the connection broke.
    #[error("the destination can't be reached or ended the connection: {0}")]
    Connection(String),
    /// The destination doesn't take objects of this kind, or no requests for storage commitment.
    #[error("the destination takes nothing of SOP class {0}")]
    NotAccepted(String),
    /// It takes none of the SOP classes that it was offered.
    #[error("the destination takes nothing of what it was offered")]
    NothingAccepted,
    /// It answered with a failure of DICOM (PS3.7 C, PS3.4 B.2.3, J.3; PS3.18 I.2.2).
    #[error("the destination answered with status {0:#06x}")]
    Status(u16),
    /// It answered with a failure of HTTP.
    #[error("the destination answered with HTTP status {0}")]
    Http(u16),
    /// Its answer doesn't say that the instance was stored.
    #[error("the destination's answer doesn't name the object among those stored")]
    Unconfirmed,
    /// An object can't be read.
    #[error("an object can't be read from the result's folder: {0}")]
    File(String),
    /// Certificates or a key can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A file of secrets can't be read, or the queue not written.
    #[error(transparent)]
    Disk(#[from] FileError),
    /// The configuration is impossible.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The destination answered, and said no.
const REFUSED: &str = "refused";

impl SendError {
    /// Codes of what fails: the way there, the destination's answer, this box.
    pub(super) const REASONS: [&str; 3] = ["unreachable", REFUSED, "local"];

    /// One of [`SendError::REASONS`], for counting.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            SendError::Connection(_) => "unreachable",
            SendError::NotAccepted(_)
            | SendError::NothingAccepted
            | SendError::Status(_)
            | SendError::Http(_)
            | SendError::Unconfirmed => REFUSED,
            SendError::File(_) | SendError::Tls(_) | SendError::Disk(_) | SendError::Config(_) => {
                "local"
            }
        }
    }

    /// Whether the destination answered, and said no.
    pub fn is_refusal(&self) -> bool {
        self.reason() == REFUSED
    }

    /// Whether the next object may fare better on the same connection.
    pub fn is_of_the_object(&self) -> bool {
        match self {
            SendError::NotAccepted(_)
            | SendError::Status(_)
            | SendError::Unconfirmed
            | SendError::File(_) => true,
            // Bad request, conflict, too large, wrong type, not processable.
            SendError::Http(status) => [400, 409, 413, 415, 422].contains(status),
            _ => false,
        }
    }
}

/// Asks a destination whether it answers: C-ECHO, or a query of the DICOMweb server. Blocks.
///
/// # Errors
/// It doesn't, or refuses.
pub fn echo(destination: &Destination) -> Result<(), SendError> {
    let mut connection = Connection::open(destination, &[])?;
    connection.echo()?;
    connection.close();
    Ok(())
}

/// An association, or a client of a DICOMweb server. Methods block.
pub enum Connection {
    /// Of a storage provider.
    Dicom(Association),
    /// Of a DICOMweb server.
    Web(Stow),
}

impl Connection {
    /// Opens one that will take these files.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn open(to: &Destination, files: &[PathBuf]) -> Result<Connection, SendError> {
        match to.service()? {
            Service::Dicom(dicom) => {
                Association::establish(to, dicom, &classes(files)).map(Connection::Dicom)
            }
            Service::Web(web) => Stow::new(to, web).map(Connection::Web),
        }
    }

    /// Asks whether the destination answers.
    ///
    /// # Errors
    /// It doesn't, or with a failure.
    pub fn echo(&mut self) -> Result<(), SendError> {
        match self {
            Connection::Dicom(association) => association.echo(),
            Connection::Web(server) => server.echo(),
        }
    }

    /// Stores a file; the destination has it when this returns.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn store(&mut self, file: &Path) -> Result<(), SendError> {
        match self {
            Connection::Dicom(association) => association.store(file),
            Connection::Web(server) => server.store(file),
        }
    }

    /// Asks for storage commitment for instances, each by SOP class and instance UID; see [`Association`].
    ///
    /// # Errors
    /// The request wasn't taken.
    pub fn request_commitment(
        &mut self,
        transaction_uid: &str,
        instances: &[(String, String)],
    ) -> Result<(), SendError> {
        match self {
            Connection::Dicom(association) => {
                association.request_commitment(transaction_uid, instances)
            }
            Connection::Web(_) => Err(SendError::NotAccepted("storage commitment".to_owned())),
        }
    }

    /// Ends it in order.
    pub fn close(self) {
        if let Connection::Dicom(association) = self {
            // All answers are in; an end out of order changes nothing.
            let _ = association.release();
        }
    }
}

/// The SOP classes of files, each once; of one that can't be read, nothing: storing it says why.
fn classes(files: &[PathBuf]) -> Vec<String> {
    let classes: BTreeSet<String> =
        files.iter().filter_map(|file| Some(sop_uids(file).ok()?.0)).collect();
    classes.into_iter().collect()
}

/// A file's SOP class and instance UID, from its meta information.
pub(super) fn sop_uids(file: &Path) -> Result<(String, String), SendError> {
    let object = OpenFileOptions::new().read_until(tags::SOP_INSTANCE_UID).open_file(file);
    let object = object.map_err(|e| SendError::File(e.to_string()))?;
    let meta = object.meta();
    let trimmed = |uid: &str| uid.trim_end_matches('\0').to_owned();
    Ok((trimmed(&meta.media_storage_sop_class_uid), trimmed(&meta.media_storage_sop_instance_uid)))
}
