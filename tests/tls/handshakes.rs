//! Handshakes after the first one: resumed sessions, and renegotiation, which the server refuses.

use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, SupportedProtocolVersion};

use crate::Encrypted;
use crate::support::DEADLINE;

/// A client without a certificate that remembers its sessions.
struct Resuming(Arc<ClientConfig>);

impl Resuming {
    fn new(encrypted: &Encrypted, version: &'static SupportedProtocolVersion) -> Resuming {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(encrypted.files.join("ca.crt")).expect("a certificate");
        roots.add(ca).expect("a CA");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("the provider has both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Resuming(Arc::new(config))
    }

    /// Connects, and sends a request. Returns the kind of the handshake.
    fn connect(&self, port: u16) -> HandshakeKind {
        let name = "localhost".try_into().expect("a name");
        let mut connection = ClientConnection::new(Arc::clone(&self.0), name).expect("a valid configuration");
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        connection.writer().write_all(b"PING\r\n").unwrap();
        let mut reply = [0; 7];
        let mut tls = rustls::Stream::new(&mut connection, &mut stream);
        std::io::Read::read_exact(&mut tls, &mut reply).expect("a reply");
        assert_eq!(&reply, b"+PONG\r\n");
        connection.handshake_kind().expect("the handshake is complete")
    }
}

#[test]
fn sessions_are_resumed_until_caching_ends_or_the_certificates_are_loaded_again() {
    let encrypted = Encrypted::start("--tls-auth-clients no");
    let mut plain = encrypted.server.client();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        plain.ok("CONFIG SET tls-session-caching yes");
        let client = Resuming::new(&encrypted, version);
        // Of TLS 1.3, each session is resumed once, and the client gets another one.
        let kinds: Vec<HandshakeKind> = (0..4).map(|_| client.connect(encrypted.port)).collect();
        let resumed = HandshakeKind::Resumed;
        assert_eq!(kinds, [HandshakeKind::Full, resumed, resumed, resumed], "{version:?}");
        // A client with a session of the previous settings is verified again.
        plain.ok(&format!("CONFIG SET tls-cert-file {}", encrypted.files.join("server.crt").display()));
        assert_eq!(client.connect(encrypted.port), HandshakeKind::Full);
        assert_eq!(client.connect(encrypted.port), HandshakeKind::Resumed);
        plain.ok("CONFIG SET tls-session-caching no");
        for _ in 0..2 {
            assert_eq!(client.connect(encrypted.port), HandshakeKind::Full, "{version:?}");
        }
    }
}

/// Runs `openssl s_client` with a certificate and this input. Returns its output.
fn s_client(encrypted: &Encrypted, options: &[&str], input: &str) -> String {
    let path = |name: &str| encrypted.files.join(name).into_os_string();
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{}", encrypted.port)]).args(options);
    command.arg("-CAfile").arg(path("ca.crt"));
    command.arg("-cert").arg(path("client.crt")).arg("-key").arg(path("client.key"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("openssl, which tests/prepare installs");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("its output");
    [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
}

#[test]
fn openssl_resumes_sessions() {
    let encrypted = Encrypted::start("");
    // Connects once, and five times with the session of the first connection.
    let text = s_client(&encrypted, &["-tls1_2", "-ign_eof", "-reconnect"], "QUIT\r\n");
    assert_eq!(text.matches("Reused, TLSv1.2").count(), 5, "{text}");
    let session = encrypted.files.join("session").display().to_string();
    let text = s_client(&encrypted, &["-tls1_3", "-ign_eof", "-sess_out", &session], "QUIT\r\n");
    assert!(text.contains("New, TLSv1.3") && text.contains("+OK"), "{text}");
    let text = s_client(&encrypted, &["-tls1_3", "-ign_eof", "-sess_in", &session], "QUIT\r\n");
    assert!(text.contains("Reused, TLSv1.3") && text.contains("+OK"), "{text}");
}

#[test]
fn renegotiation_is_refused_while_other_clients_are_served() {
    let encrypted = Encrypted::start("");
    let mut plain = encrypted.server.client();
    let mut other = encrypted.client();
    // s_client renegotiates at a line that begins with R.
    let text = s_client(&encrypted, &["-tls1_2"], "R\n");
    assert!(text.contains("RENEGOTIATING"), "{text}");
    assert!(text.contains("no renegotiation") && !text.contains("PONG"), "{text}");
    assert_eq!(other.run("PING").text(), "PONG");
    plain.wait_for_info("connected_clients", |count| count == 2);
}
