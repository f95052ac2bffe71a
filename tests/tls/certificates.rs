//! Certificates for tests: a CA with a server and clients, another CA with a client, and an expired client.

use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// Writes `NAME.crt` and `NAME.key` into `directory`.
    pub fn issue(&self, directory: &Path, name: &str) {
        self.write(directory, name, &named(name));
    }

    /// The same with a certificate that has expired.
    pub fn issue_expired(&self, directory: &Path, name: &str) {
        let mut params = named(name);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.write(directory, name, &params);
    }

    fn write(&self, directory: &Path, name: &str, params: &CertificateParams) {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(directory.join(format!("{name}.crt")), certificate.pem()).expect("write");
        fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).expect("write");
    }

    /// Writes the certificate of the CA as `NAME.crt`, and its key as `NAME.key`.
    pub fn publish(&self, directory: &Path, name: &str) {
        fs::write(directory.join(format!("{name}.crt")), &self.pem).expect("write");
        fs::write(directory.join(format!("{name}.key")), self.issuer.key().serialize_pem()).expect("write");
    }
}

/// The parameters of a certificate for this machine with the common name `name`.
fn named(name: &str) -> CertificateParams {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Writes all certificates: `ca`, `server`, `client`, `expired`, `other-ca` and `stranger`.
pub fn write_all(directory: &Path) {
    let (authority, other) = (Authority::new("test CA"), Authority::new("another CA"));
    authority.publish(directory, "ca");
    other.publish(directory, "other-ca");
    authority.issue(directory, "server");
    authority.issue(directory, "client");
    authority.issue_expired(directory, "expired");
    other.issue(directory, "stranger");
}
