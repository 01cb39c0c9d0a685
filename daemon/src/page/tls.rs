//! TLS as a server.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;

use super::Tls;
use crate::tls::{self, TlsError};

impl Tls {
    /// Reads the files.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let mut config = tls::server_config(&self.cert_file, &self.key_file, tls::everybody())?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
