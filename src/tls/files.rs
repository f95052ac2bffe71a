//! Certificates and keys from PEM files. Errors name the file and, where possible, the remedy.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use pkcs8::EncryptedPrivateKeyInfo;
use pkcs8::der::SecretDocument;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};

use super::{Identity, Password, Trust, reason};
use crate::sys::file;

/// The files in which systems keep the certificates of public CAs. The first one that exists is read.
const SYSTEM: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// Loads a certificate with its key.
pub fn identity(identity: &Identity, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, String> {
    let Identity { cert, key, password } = identity;
    let chain = read(cert)
        .and_then(|pem| certificates(&pem))
        .map_err(|why| format!("Failed to load certificate: {}: {why}", cert.display()))?;
    let signer = read(key)
        .and_then(|pem| private_key(&pem, password, provider))
        .map_err(|why| format!("Failed to load private key: {}: {why}", key.display()))?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => Err(format!(
            "Failed to load private key: {}: it does not belong to the certificate {}",
            key.display(),
            cert.display()
        )),
        // An error other than a mismatch is ignored: rustls cannot parse certificates of X.509 version 1, for example,
        // but clients may accept them.
        _ => Ok(Arc::new(certified)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    file::read_regular(path).map_err(|error| file::reason(&error))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("it contains no certificate in PEM format".into()),
        Ok(found) => Ok(found),
        Err(error) => Err(error.to_string()),
    }
}

fn private_key(
    pem: &[u8],
    password: &Password,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, String> {
    let text = String::from_utf8_lossy(pem);
    let key = if let Some(encrypted) = encrypted_section(&text) {
        decrypt(encrypted, password)?
    } else if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(
            "it is encrypted in an old format. Convert it with `openssl pkcs8 -topk8 -in KEY -out NEW`"
                .into(),
        );
    } else {
        PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => {
                "it contains no private key in PEM format".to_owned()
            }
            error => error.to_string(),
        })?
    };
    provider.key_provider.load_private_key(key).map_err(|_| {
        format!("it is malformed, or of a kind that is not supported; supported: {}", reason::SUPPORTED_KEYS)
    })
}

/// Finds the encrypted key in a PEM file.
fn encrypted_section(text: &str) -> Option<&str> {
    const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
    let begin = text.find("-----BEGIN ENCRYPTED PRIVATE KEY-----")?;
    let end = text[begin..].find(END)?;
    Some(&text[begin..begin + end + END.len()])
}

fn decrypt(section: &str, password: &Password) -> Result<PrivateKeyDer<'static>, String> {
    if password.0.is_empty() {
        return Err(
            "it is encrypted, but its password is not set (tls-key-file-pass or tls-client-key-file-pass)"
                .into(),
        );
    }
    let (_, encrypted) = SecretDocument::from_pem(section).map_err(|error| error.to_string())?;
    let info = EncryptedPrivateKeyInfo::try_from(encrypted.as_bytes()).map_err(|error| error.to_string())?;
    let key = info
        .decrypt(&password.0)
        .map_err(|error| format!("it cannot be decrypted with the configured password: {error}"))?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

/// Loads the trusted CAs. In a directory, files without certificates are skipped.
pub fn roots(trust: &Trust) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    let failed = |path: &Path, why: String| {
        format!("Failed to configure CA certificate(s) file/directory: {}: {why}", path.display())
    };
    if let Some(path) = &trust.file {
        add_file(&mut roots, path).map_err(|why| failed(path, why))?;
    }
    if let Some(directory) = &trust.dir {
        let entries = fs::read_dir(directory).map_err(|error| failed(directory, file::reason(&error)))?;
        for entry in entries.flatten() {
            if let Ok(pem) = read(&entry.path()) {
                roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
            }
        }
        if roots.is_empty() {
            return Err(failed(directory, "no file in it contains a certificate in PEM format".into()));
        }
    }
    Ok(Arc::new(roots))
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    for certificate in certificates(&read(path)?)? {
        roots.add(certificate).map_err(|error| reason::of(&error))?;
    }
    Ok(())
}

/// The CAs that `SSL_CERT_FILE` and `SSL_CERT_DIR` name or, without these variables, those that the system trusts.
pub fn system_trust() -> Trust {
    let named = |name| std::env::var_os(name).map(Into::into);
    let trust = Trust { file: named("SSL_CERT_FILE"), dir: named("SSL_CERT_DIR") };
    if !trust.is_empty() {
        return trust;
    }
    let bundle = SYSTEM.iter().map(Path::new).find(|path| path.exists());
    Trust { file: bundle.map(Path::to_owned), dir: None }
}
