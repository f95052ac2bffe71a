//! The settings that all sessions of one kind share: certificates and CAs, loaded from files, and cipher suites.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, IpAddr, Ipv4Addr, ServerName, UnixTime};
use rustls::server::{
    NoServerSessionStorage, StoresServerSessions, UnbufferedServerConnection, WebPkiClientVerifier,
};
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, CipherSuite, ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};

use super::cache::SessionCache;
use super::session::Session;
use super::{ClientAuth, ClientOptions, ServerOptions, Suites, files, names};
use crate::sys::clock;
use crate::sys::net::Address;

/// Creates the sessions of accepted connections.
#[derive(Clone, Debug)]
pub struct Acceptor(Arc<ServerConfig>);

impl Acceptor {
    /// Loads the files of `options`. The error is a message for the operator.
    pub fn new(options: &ServerOptions) -> Result<Acceptor, String> {
        let provider = provider(&options.suites)?;
        let versions = versions(&options.suites)?;
        let identity = files::identity(&options.identity, &provider)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(unusable)?;
        // A faulty file is an error even if no client has to present a certificate.
        let roots = files::roots(&options.trust)?;
        let builder = if options.clients == ClientAuth::No {
            builder.with_no_client_auth()
        } else {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = match options.clients {
                ClientAuth::Optional => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            builder.with_client_cert_verifier(verifier.build().map_err(unusable)?)
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
        config.ignore_client_order = options.prefers_own_order;
        if let Some(bounds) = options.cache {
            config.session_storage = Arc::new(SessionCache::new(bounds));
            // One ticket is enough: a client that resumes its session gets a new one.
            config.send_tls13_tickets = 1;
        } else {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Acceptor(Arc::new(config)))
    }

    /// A session for a connection from `peer`.
    pub fn session(&self, peer: Address) -> Result<Session, String> {
        UnbufferedServerConnection::new(Arc::clone(&self.0))
            .map(|connection| Session::of_server(connection, peer))
            .map_err(unusable)
    }
}

/// Creates the sessions of outgoing connections.
#[derive(Clone, Debug)]
pub struct Connector(Arc<ClientConfig>);

/// Clones of a connector are equal.
impl PartialEq for Connector {
    fn eq(&self, other: &Connector) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Connector {}

impl Connector {
    /// Loads the files of `options`. The error is a message for the operator.
    pub fn new(options: &ClientOptions) -> Result<Connector, String> {
        let provider = provider(&options.suites)?;
        let versions = versions(&options.suites)?;
        let verifier: Arc<dyn ServerCertVerifier> = if options.accepts_all {
            Arc::new(AcceptsAll(Arc::clone(&provider)))
        } else {
            let system = options.trust.is_empty().then(files::system_trust);
            let roots = files::roots(system.as_ref().unwrap_or(&options.trust))?;
            let chain = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
            Arc::new(AnyName(chain.build().map_err(unusable)?))
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &options.identity {
            Some(identity) => {
                let identity = files::identity(identity, &provider)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Ok(Connector(Arc::new(config)))
    }

    /// A session for an outgoing connection. `name` is the host name that is sent to the server (SNI), which may choose
    /// its certificate by it.
    pub fn session(&self, name: Option<&str>) -> Result<Session, String> {
        let name = match name {
            Some(name) => {
                ServerName::try_from(name.to_owned()).map_err(|_| format!("'{name}' is not a host name"))?
            }
            // TLS sends no addresses, so this one is a placeholder.
            None => ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0; 4]))),
        };
        UnbufferedClientConnection::new(Arc::clone(&self.0), name)
            .map_err(unusable)
            .and_then(|connection| Session::of_client(connection).map_err(|error| error.to_string()))
    }
}

/// The provider of cryptography, with the permitted cipher suites.
fn provider(permitted: &Suites) -> Result<Arc<CryptoProvider>, String> {
    let names = names::suites(permitted)?;
    let mut provider = rustls::crypto::ring::default_provider();
    let known = provider.cipher_suites;
    let find = |name: &&str| known.iter().find(|suite| Some(suite.suite()) == suite_named(name)).copied();
    provider.cipher_suites = names.iter().filter_map(find).collect();
    Ok(Arc::new(provider))
}

fn suite_named(name: &str) -> Option<CipherSuite> {
    Some(match name {
        "TLS_AES_256_GCM_SHA384" => CipherSuite::TLS13_AES_256_GCM_SHA384,
        "TLS_AES_128_GCM_SHA256" => CipherSuite::TLS13_AES_128_GCM_SHA256,
        "TLS_CHACHA20_POLY1305_SHA256" => CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        "ECDHE-ECDSA-AES256-GCM-SHA384" => CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-ECDSA-AES128-GCM-SHA256" => CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-ECDSA-CHACHA20-POLY1305" => CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-RSA-AES256-GCM-SHA384" => CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-RSA-AES128-GCM-SHA256" => CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-RSA-CHACHA20-POLY1305" => CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        _ => return None,
    })
}

fn versions(permitted: &Suites) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let named = names::versions(&permitted.protocols)?;
    let of_name = |name| match name {
        "TLSv1.2" => &rustls::version::TLS12,
        _ => &rustls::version::TLS13,
    };
    Ok(named.into_iter().map(of_name).collect())
}

impl StoresServerSessions for SessionCache {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        SessionCache::put(self, clock::monotonic_us(), key, value);
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        SessionCache::get(self, clock::monotonic_us(), key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        SessionCache::take(self, clock::monotonic_us(), key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

fn unusable(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Verifies that a trusted CA has issued the server's certificate, and accepts any host name in it.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.0.verify_server_cert(certificate, intermediates, name, ocsp_response, now) {
            // The name is checked last, so the certificate is otherwise valid.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Accepts every certificate: `--insecure` of the tools. The server still has to prove that it has the private key.
#[derive(Debug)]
struct AcceptsAll(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptsAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
