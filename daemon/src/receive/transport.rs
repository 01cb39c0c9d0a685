//! PDUs over TCP or TLS, read so that no length a peer declares is believed before it is checked.
//!
//! dicom-ul 0.10.1 decodes and encodes the PDUs; its own framing is not used, since it honours any 32-bit
//! length outside strict mode and closes where an A-ABORT is due.

use dicom_ul::pdu::{self, AbortRQServiceProviderReason, AbortRQSource, Pdu};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// Longest A-ASSOCIATE-RQ accepted: 128 presentation contexts of 20 transfer syntaxes fit.
const MAX_ASSOCIATE_BYTES: u32 = 256 << 10;
/// Length of the PDUs that have no variable part.
const FIXED_PDU_BYTES: u32 = 4;
const HEADER_BYTES: usize = 6;
/// How long a peer may take to close a connection that is over.
const LINGER: Duration = Duration::from_secs(2);

const A_ASSOCIATE_RQ: u8 = 0x01;
const P_DATA_TF: u8 = 0x04;
const A_RELEASE_RQ: u8 = 0x05;
const A_RELEASE_RP: u8 = 0x06;
const A_ABORT: u8 = 0x07;
/// First byte of a TLS connection: the record that carries a handshake (RFC 8446, 5.1).
pub(super) const TLS_HANDSHAKE: u8 = 0x16;

/// Why no PDU could be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    #[error("the peer closed the connection")]
    Closed,
    #[error("the connection failed")]
    Connection(#[from] io::Error),
    #[error("a PDU of type {0:#04x} is not expected here")]
    UnexpectedType(u8),
    #[error("the peer speaks TLS, and this port has no receive.tls")]
    Tls,
    #[error("a PDU of {length} bytes is longer than the {max} accepted")]
    TooLong { length: u32, max: u32 },
    #[error("a PDU can't be decoded")]
    Undecodable(#[source] Box<pdu::ReadError>),
    #[error("a PDU can't be encoded")]
    Unencodable(#[source] Box<pdu::WriteError>),
}

/// A connection, plain or encrypted.
pub(super) type Connection = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A connection that carries PDUs.
pub(super) struct PduStream {
    stream: Connection,
    /// The PDU being read; grows to the longest accepted and no further.
    buffer: Vec<u8>,
}

impl PduStream {
    pub(super) fn new(stream: Connection) -> PduStream {
        PduStream { stream, buffer: Vec::new() }
    }

    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self.stream, Either::Right(_))
    }

    fn socket(&self) -> &TcpStream {
        match &self.stream {
            Either::Left(socket) => socket,
            Either::Right(encrypted) => encrypted.get_ref().0,
        }
    }

    /// Reads the PDU with which a peer opens an association.
    pub(super) async fn read_request(&mut self) -> Result<Pdu, TransportError> {
        self.read(|pdu_type| match pdu_type {
            A_ASSOCIATE_RQ => Some(MAX_ASSOCIATE_BYTES),
            A_ABORT => Some(FIXED_PDU_BYTES),
            _ => None,
        })
        .await
    }

    /// Reads a PDU of an open association, with at most `max` bytes after its header.
    pub(super) async fn read_pdu(&mut self, max: u32) -> Result<Pdu, TransportError> {
        self.read(|pdu_type| match pdu_type {
            P_DATA_TF => Some(max),
            A_RELEASE_RQ | A_RELEASE_RP | A_ABORT => Some(FIXED_PDU_BYTES),
            _ => None,
        })
        .await
    }

    /// Reads a PDU; `max_length` gives the longest accepted of a type, or `None` if none is. Not
    /// cancel-safe: after a time-out the connection is good for an abort only.
    async fn read(
        &mut self,
        max_length: impl FnOnce(u8) -> Option<u32>,
    ) -> Result<Pdu, TransportError> {
        // Peers that leave Nagle's algorithm on, as dcmtk does, hold the data set back until the command is
        // acknowledged: 40 ms an instance with delayed acknowledgements. The kernel forgets the option.
        self.socket().set_quickack(true)?;
        let mut header = [0; HEADER_BYTES];
        self.read_exact(0, &mut header).await?;
        let [pdu_type, _, length @ ..] = header;
        if pdu_type == TLS_HANDSHAKE {
            return Err(TransportError::Tls);
        }
        let length = u32::from_be_bytes(length);
        let max = max_length(pdu_type).ok_or(TransportError::UnexpectedType(pdu_type))?;
        if length > max {
            return Err(TransportError::TooLong { length, max });
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.extend(header);
        buffer.resize(HEADER_BYTES + length as usize, 0);
        self.read_exact(HEADER_BYTES, &mut buffer).await?;
        let decoded = pdu::read_pdu(&buffer[..], max.max(pdu::MINIMUM_PDU_SIZE), true);
        self.buffer = buffer;
        decoded.map_err(|e| TransportError::Undecodable(Box::new(e)))?.ok_or(TransportError::Closed)
    }

    async fn read_exact(&mut self, from: usize, buffer: &mut [u8]) -> Result<(), TransportError> {
        match self.stream.read_exact(&mut buffer[from..]).await {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(TransportError::Closed),
            Err(e) => Err(e.into()),
        }
    }

    /// Writes a PDU.
    pub(super) async fn write(&mut self, pdu: &Pdu) -> Result<(), TransportError> {
        let mut bytes = Vec::with_capacity(1024);
        pdu::write_pdu(&mut bytes, pdu).map_err(|e| TransportError::Unencodable(Box::new(e)))?;
        self.stream.write_all(&bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// Writes a last PDU and waits a little for the peer to close first, as the acceptor does (PS3.8,
    /// table 9-10, AA-1 and AR-4). To close on unread bytes would reset the connection, and the peer might
    /// never see the PDU.
    pub(super) async fn finish(mut self, last: Option<Pdu>) {
        let closing = async {
            if let Some(pdu) = last {
                self.write(&pdu).await?;
            }
            let mut unread = [0; 4096];
            while self.stream.read(&mut unread).await? > 0 {}
            self.stream.shutdown().await?;
            Ok::<(), TransportError>(())
        };
        // the association is over: whether the peer takes part in its end changes nothing
        let _ = timeout(LINGER, closing).await;
    }
}

/// An A-ABORT by the service provider, which the daemon is for the peer.
pub(super) fn abort(reason: AbortRQServiceProviderReason) -> Pdu {
    Pdu::AbortRQ { source: AbortRQSource::ServiceProvider(reason) }
}

impl TransportError {
    /// The abort that this error asks for; `None` when nobody is there to read it.
    pub(super) fn abort(&self) -> Option<Pdu> {
        use AbortRQServiceProviderReason as Reason;
        Some(abort(match self {
            TransportError::Closed | TransportError::Connection(_) => return None,
            TransportError::UnexpectedType(1..=7) => Reason::UnexpectedPdu,
            TransportError::UnexpectedType(_) | TransportError::Tls => Reason::UnrecognizedPdu,
            TransportError::TooLong { .. } | TransportError::Undecodable(_) => {
                Reason::InvalidPduParameter
            }
            TransportError::Unencodable(_) => Reason::ReasonNotSpecified,
        }))
    }
}
