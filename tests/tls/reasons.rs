//! Errors of a session as sentences for the log.

use std::sync::Arc;

use redstart::tls::reason;
use rustls::{AlertDescription, CertificateError, Error, OtherError, PeerIncompatible};

#[test]
fn errors_are_sentences() {
    let other = |name: &'static str| {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(std::io::Error::other(name)))))
    };
    for (error, text) in [
        (Error::AlertReceived(AlertDescription::UnknownCA), "the peer has sent the alert 'unknown CA'"),
        (
            Error::AlertReceived(AlertDescription::CertificateExpired),
            "the peer has sent the alert 'certificate expired'",
        ),
        (
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            "the peer is incompatible: no cipher suites in common",
        ),
        (
            CertificateError::UnknownIssuer.into(),
            "invalid peer certificate: it was not issued by a trusted CA",
        ),
        (CertificateError::Revoked.into(), "invalid peer certificate: revoked"),
        (other("CaUsedAsEndEntity"), "invalid peer certificate: it is the certificate of a CA"),
        (other("NameConstraintViolation"), "invalid peer certificate: name constraint violation"),
    ] {
        assert_eq!(reason::of(&error), text);
    }
}
