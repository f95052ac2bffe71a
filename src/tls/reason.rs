//! Errors of rustls as sentences for the log: many of its own texts are names of Rust variants.

use std::fmt::Debug;

use rustls::{CertificateError, Error, ExtendedKeyPurpose};

/// The keys of certificates that the provider of cryptography supports.
pub const SUPPORTED_KEYS: &str = "ECDSA with P-256 or P-384, Ed25519, RSA from 2048 bits";

/// Why a session has failed.
pub fn of(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => format!("invalid peer certificate: {}", of_certificate(why)),
        Error::NoCertificatesPresented => "the peer has sent no certificate".into(),
        Error::AlertReceived(alert) => format!("the peer has sent the alert '{}'", words(alert)),
        Error::PeerIncompatible(why) => format!("the peer is incompatible: {}", words(why)),
        Error::PeerMisbehaved(why) => format!("the peer violates the protocol: {}", words(why)),
        Error::InvalidMessage(why) => format!("the peer has sent an invalid message: {}", words(why)),
        Error::InappropriateMessage { got_type, .. } => {
            format!("the peer has sent an unexpected message: {}", words(got_type))
        }
        Error::InappropriateHandshakeMessage { got_type, .. } => {
            format!("the peer has sent an unexpected message: {}", words(got_type))
        }
        error => error.to_string(),
    }
}

/// Why a certificate is rejected.
fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet, according to the clock of this machine".into()
        }
        CertificateError::UnknownIssuer => "it was not issued by a trusted CA".into(),
        CertificateError::BadSignature => {
            "its signature is invalid: it was issued by another CA of the same name, or the peer does not have its key"
                .into()
        }
        CertificateError::BadEncoding => "it is malformed".into(),
        CertificateError::InvalidPurposeContext { required, .. } => {
            let required = match required {
                ExtendedKeyPurpose::ClientAuth => "clientAuth",
                ExtendedKeyPurpose::ServerAuth => "serverAuth",
                ExtendedKeyPurpose::Other(_) => "another purpose",
            };
            format!("its extendedKeyUsage does not have {required}")
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            format!("its key or that of its CA is not supported; supported: {SUPPORTED_KEYS}")
        }
        CertificateError::Other(other) => match other.0.to_string().as_str() {
            "CaUsedAsEndEntity" => "it is the certificate of a CA".into(),
            "EndEntityUsedAsCa" => "it was issued by a certificate that is not a CA's".into(),
            "UnsupportedCertVersion" => "it is not of X.509 version 3".into(),
            name => words(&format_args!("{name}")),
        },
        error => words(error),
    }
}

/// The name of a variant as words: `NoCipherSuitesInCommon` becomes `no cipher suites in common`.
fn words(variant: &impl Debug) -> String {
    let name = format!("{variant:?}");
    let (mut text, mut before) = (String::new(), ' ');
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter.is_ascii_uppercase() && before.is_ascii_alphanumeric() && !before.is_ascii_uppercase() {
            text.push(' ');
        }
        let is_acronym = letters.peek().is_some_and(char::is_ascii_uppercase) || before.is_ascii_uppercase();
        text.push(if is_acronym { letter } else { letter.to_ascii_lowercase() });
        before = letter;
    }
    text
}
