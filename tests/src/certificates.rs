//! Certificates for peers that speak TLS, made anew for each test.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};

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
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Certificates {
    /// Makes them in `folder`.
    pub fn make(folder: &Path) -> Certificates {
        std::fs::create_dir_all(folder).expect("the test's folder is writable");
        let key = KeyPair::generate().expect("a key");
        let mut authority = parameters("authority.test");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = authority.self_signed(&key).expect("signed");
        let authority_file = write(folder, "authority.pem", &own.pem());
        let issuer = Issuer::new(authority, key);
        let [(server, server_key), (client, client_key)] =
            [("localhost", "server"), ("client.test", "client")]
                .map(|(name, file)| sign(&issuer, folder, parameters(name), file));
        let folder = folder.to_owned();
        let authority = authority_file;
        Certificates { authority, server, server_key, client, client_key, folder, issuer }
    }

    /// One more client's certificate and key, for a common name; the files are called `file`.
    pub fn sign(&self, name: &str, file: &str) -> (PathBuf, PathBuf) {
        sign(&self.issuer, &self.folder, parameters(name), file)
    }

    /// One that is good until `end` only.
    pub fn sign_until(&self, name: &str, file: &str, end: SystemTime) -> (PathBuf, PathBuf) {
        let mut parameters = parameters(name);
        parameters.not_after = end.into();
        sign(&self.issuer, &self.folder, parameters, file)
    }

    /// One that [`Certificates::revocation_list`] revokes.
    pub fn sign_to_revoke(&self, name: &str, file: &str) -> (PathBuf, PathBuf) {
        let mut parameters = parameters(name);
        parameters.serial_number = Some(SerialNumber::from(REVOKED));
        sign(&self.issuer, &self.folder, parameters, file)
    }

    /// The authority's list of revoked certificates, good for an hour.
    pub fn revocation_list(&self) -> PathBuf {
        let now = SystemTime::now();
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(REVOKED),
            revocation_time: now.into(),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + Duration::from_secs(3600)).into(),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("signed");
        write(&self.folder, "revoked.crl", &list.pem().expect("PEM"))
    }
}

/// The serial number of what is revoked.
const REVOKED: u64 = 4711;

fn sign(
    issuer: &Issuer<'static, KeyPair>,
    folder: &Path,
    parameters: CertificateParams,
    file: &str,
) -> (PathBuf, PathBuf) {
    let key = KeyPair::generate().expect("a key");
    let certificate = parameters.signed_by(&key, issuer).expect("signed");
    let certificate = write(folder, &format!("{file}.pem"), &certificate.pem());
    (certificate, write(folder, &format!("{file}.key"), &key.serialize_pem()))
}

fn parameters(name: &str) -> CertificateParams {
    let mut parameters =
        CertificateParams::new(vec![name.to_owned()]).expect("a name that can be certified");
    // With one name for all, OpenSSL takes each for self-signed.
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("the test's folder is writable");
    path
}
