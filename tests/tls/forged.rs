//! Records that are encrypted with the right keys and violate the protocol: their sender has completed the handshake,
//! so the server decrypts them, and must close the connection without harm to other clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, ContentType, ProtocolVersion, RootCertStore,
    SupportedCipherSuite,
};

use crate::Encrypted;
use crate::support::DEADLINE;

/// A KeyUpdate message that requests one in return.
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 1];

/// The type and the plaintext of a record.
type Record<'a> = (ContentType, &'a [u8]);

/// A client that has completed the handshake of TLS 1.3, and now encrypts any records.
struct Forger {
    stream: TcpStream,
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
}

impl Forger {
    /// Connects without a certificate.
    fn connect(port: u16, ca: &Path) -> Forger {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).expect("a certificate")).expect("a CA");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.enable_secret_extraction = true;
        let name = "localhost".try_into().expect("a name");
        let mut connection = ClientConnection::new(Arc::new(config), name).expect("a valid configuration");
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        while connection.is_handshaking() || connection.wants_write() {
            connection.complete_io(&mut stream).expect("the server accepts the client");
        }
        let Some(SupportedCipherSuite::Tls13(suite)) = connection.negotiated_cipher_suite() else {
            panic!("the handshake was of TLS 1.3")
        };
        let (sequence, secrets) = connection.dangerous_extract_secrets().expect("it is enabled").tx;
        let (ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = secrets
        else {
            panic!("the suite is one of TLS 1.3")
        };
        Forger { stream, encrypter: suite.aead_alg.encrypter(key, iv), sequence }
    }

    /// The bytes of a record.
    fn record(&mut self, (typ, plain): Record<'_>) -> Vec<u8> {
        let payload = OutboundChunks::Single(plain);
        let message = OutboundPlainMessage { typ, version: ProtocolVersion::TLSv1_3, payload };
        let record = self.encrypter.encrypt(message, self.sequence).expect("the plaintext fits a record");
        self.sequence += 1;
        record.encode()
    }
}

#[test]
fn encrypted_records_that_violate_the_protocol_close_only_their_connection() {
    let encrypted = Encrypted::start("--tls-auth-clients no");
    let mut plain = encrypted.server.client();
    let ca = encrypted.files.join("ca.crt");
    let large = [&[24, 0, 0xff, 0xff][..], &[0; 16_000]].concat();
    let rest = [0; 16_000];
    let handshake = ContentType::Handshake;
    let cases: [(&str, &[Record<'_>]); 5] = [
        ("two KeyUpdates in one record", &[(handshake, &[KEY_UPDATE, KEY_UPDATE].concat())]),
        ("two empty ClientHellos in one record", &[(handshake, &[1, 0, 0, 0, 1, 0, 0, 0])]),
        (
            "a message larger than the server keeps",
            &[
                (handshake, &large),
                (handshake, &rest),
                (handshake, &rest),
                (handshake, &rest),
                (handshake, &rest),
                (handshake, &rest),
            ],
        ),
        (
            "two KeyUpdates after a request",
            &[(ContentType::ApplicationData, b"PING\r\n"), (handshake, &[KEY_UPDATE, KEY_UPDATE].concat())],
        ),
        ("a record of an unknown type", &[(ContentType::Unknown(99), b"PING\r\n")]),
    ];
    for (name, records) in cases {
        let mut forger = Forger::connect(encrypted.port, &ca);
        let bytes: Vec<u8> = records.iter().flat_map(|&record| forger.record(record)).collect();
        // The server may close the connection before it has received all of them.
        let _ = forger.stream.write_all(&bytes);
        let end = forger.stream.read_to_end(&mut Vec::new());
        assert!(
            !end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
            "{name}: the server has not closed the connection"
        );
        assert_eq!(plain.run("PING").text(), "PONG", "{name}");
        plain.wait_for_info("connected_clients", |count| count == 1);
    }
}
