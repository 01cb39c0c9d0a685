//! Certificates for peers that speak TLS, made anew for each test.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// An authority, and what it signed: a server's certificate for `localhost` and a client's. All are PEM files.
pub struct Certificates {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// The server's certificate.
    pub server: PathBuf,
    /// Its key.
    pub server_key: PathBuf,
    /// The client's certificate.
    pub client: PathBuf,
    /// Its key.
    pub client_key: PathBuf,
}

impl Certificates {
    /// Makes them in `folder`.
    pub fn make(folder: &Path) -> Certificates {
        std::fs::create_dir_all(folder).expect("the test's folder is writable");
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).expect("the test's folder is writable");
            path
        };
        let parameters = |name: &str| {
            let mut parameters = CertificateParams::new(vec![name.to_owned()])
                .expect("a name that can be certified");
            // With one name for all, OpenSSL takes each for self-signed.
            parameters.distinguished_name.push(DnType::CommonName, name);
            parameters
        };
        let key = || KeyPair::generate().expect("a key");

        let authority_key = key();
        let mut authority = parameters("authority.test");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = authority.self_signed(&authority_key).expect("signed");
        let authority_file = write("authority.pem", own.pem());
        let issuer = Issuer::new(authority, authority_key);
        let signed = |name: &str, file: &str| {
            let key = key();
            let certificate = parameters(name).signed_by(&key, &issuer).expect("signed");
            let certificate = write(&format!("{file}.pem"), certificate.pem());
            (certificate, write(&format!("{file}.key"), key.serialize_pem()))
        };
        let (server, server_key) = signed("localhost", "server");
        let (client, client_key) = signed("client.test", "client");
        Certificates { authority: authority_file, server, server_key, client, client_key }
    }
}
