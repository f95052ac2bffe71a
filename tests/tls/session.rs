//! Hostile bytes for the server's side of a session, without a server: random ones, endless ones, and those of a client
//! with random changes, in pieces of random sizes. A session never panics, its memory is bounded, and after an error it
//! neither receives nor sends.
//!
//! A change affects one flight of the client, so that it also reaches states behind a valid beginning. These are unit
//! tests instead of a fuzz target, because the fuzz targets are built without TLS.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use redstart::sys::net::{Address, Socket};
use redstart::tls::{
    Acceptor, CacheBounds, Channel, ClientAuth, Identity, Password, ServerOptions, Suites, Trust,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use crate::certificates;
use crate::support::Random;
use crate::support::random::seeds;
use crate::support::server::Directory;

/// The most memory of a session: received bytes, plaintext and output of 64 to 80 KiB each, in vectors that may have
/// grown to twice of that.
const MOST_BYTES: usize = 320 << 10;

/// The server's side of a session, and the peer's socket.
struct Side {
    channel: Channel,
    far: UnixStream,
    /// Why the session has ended.
    error: Option<String>,
    /// The number of plaintext bytes that were received and sent back.
    echoed: usize,
}

impl Side {
    fn new(acceptor: &Acceptor) -> Side {
        let (far, near) = UnixStream::pair().expect("sockets");
        far.set_nonblocking(true).unwrap();
        let session = acceptor.session(Address::Unknown).expect("a session");
        let channel = Channel::encrypted(Socket::new(near).expect("a socket"), session);
        Side { channel, far, error: None, echoed: 0 }
    }

    /// Passes bytes from the peer to the session. Returns what the session has sent.
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut sent = Vec::new();
        let mut at = 0;
        while at < bytes.len() && self.error.is_none() {
            match self.far.write(&bytes[at..]) {
                Ok(count) => at += count,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            self.receive();
            let _ = (&self.far).read_to_end(&mut sent);
        }
        sent
    }

    /// Receives until nothing more is there, and sends it back.
    fn receive(&mut self) {
        let mut room = [0; 5000];
        loop {
            match self.channel.receive(&mut room) {
                Ok(0) => {
                    self.error = Some("the end".into());
                    break;
                }
                Ok(count) => {
                    self.echoed += count;
                    let _ = self.channel.send(&room[..count]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !self.channel.has_more() {
                        break;
                    }
                }
                Err(error) => {
                    self.error = Some(error.to_string());
                    let again = self.channel.receive(&mut room).expect_err("the session has failed");
                    assert_ne!(again.kind(), ErrorKind::WouldBlock);
                    assert!(self.channel.send(b"x").is_err());
                    break;
                }
            }
        }
        let bytes = self.channel.memory_bytes();
        assert!(bytes < MOST_BYTES, "{bytes} bytes");
        let _ = self.channel.flush();
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.channel.end();
    }
}

fn path(files: &Path, name: &str) -> std::path::PathBuf {
    files.join(name)
}

fn acceptor(files: &Path, clients: ClientAuth) -> Acceptor {
    Acceptor::new(&ServerOptions {
        identity: Identity {
            cert: path(files, "server.crt"),
            key: path(files, "server.key"),
            password: Password::default(),
        },
        trust: Trust { file: Some(path(files, "ca.crt")), dir: None },
        suites: Suites::default(),
        clients,
        prefers_own_order: false,
        cache: Some(CacheBounds { size: 10, timeout_s: 300 }),
    })
    .expect("the files are valid")
}

/// The configuration of a client with a certificate.
fn client_config(files: &Path, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(path(files, "ca.crt")).expect("a certificate")).expect("a CA");
    let chain = vec![CertificateDer::from_pem_file(path(files, "client.crt")).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(path(files, "client.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("the provider has both versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .expect("they belong together");
    Arc::new(config)
}

/// Changes bytes at random.
fn change(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len());
    let end = at + random.below(bytes.len() - at + 1);
    match random.below(7) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => {
            let len = 1 + random.below(300);
            let inserted = random.bytes(len);
            bytes.splice(at..at, inserted);
        }
        2 => drop(bytes.drain(at..end)),
        3 => {
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        4 => {
            bytes.truncate(at);
            bytes.extend(random.bytes(200));
        }
        5 => {
            // The length of the first record.
            let len: [u8; 2] = *random.pick(&[[0, 0], [0, 1], [0x40, 0], [0x41, 0], [0xff, 0xff]]);
            if bytes.len() > 4 {
                bytes[3..5].copy_from_slice(&len);
            }
        }
        _ => {
            let types: [u8; 6] = [20, 21, 22, 23, 24, 99];
            bytes[0] = *random.pick(&types);
        }
    }
}

/// One session with a client whose flight `changed` is changed.
fn converse(side: &mut Side, config: &Arc<ClientConfig>, changed: Option<usize>, random: &mut Random) {
    let name = "localhost".try_into().expect("a name");
    let mut client = ClientConnection::new(Arc::clone(config), name).expect("a valid configuration");
    for flight in 0..6 {
        let len = random.below(40_000);
        // Fails after an alert of the server.
        let _ = client.writer().write_all(&random.bytes(len));
        if random.chance(4) {
            // Fails during the handshake and with TLS 1.2.
            let _ = client.refresh_traffic_keys();
        }
        let mut bytes = Vec::new();
        while client.wants_write() && client.write_tls(&mut bytes).is_ok() {}
        if changed == Some(flight) {
            change(&mut bytes, random);
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() && side.error.is_none() {
            let piece = if random.chance(2) { rest.len() } else { 1 + random.below(rest.len().min(2000)) };
            let sent = side.feed(&rest[..piece]);
            rest = &rest[piece..];
            let mut sent = &sent[..];
            while !sent.is_empty() && client.read_tls(&mut sent).is_ok_and(|count| count > 0) {
                // A client that has failed goes on sending what it has.
                let _ = client.process_new_packets();
                let _ = client.reader().read_to_end(&mut Vec::new());
            }
        }
    }
}

#[test]
fn changed_bytes_of_a_client_end_its_session_at_most() {
    const ROUNDS: usize = 300;
    let files = Directory::new();
    certificates::write_all(files.path());
    for seed in seeds(&[1, 2]) {
        let mut random = Random::new(seed);
        let (mut errors, mut echoes) = (BTreeSet::new(), 0);
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let config = client_config(files.path(), version);
            for clients in [ClientAuth::Required, ClientAuth::No] {
                let acceptor = acceptor(files.path(), clients);
                let mut unchanged = Side::new(&acceptor);
                converse(&mut unchanged, &config, None, &mut random);
                assert!(unchanged.echoed > 0 && unchanged.error.is_none(), "{:?}", unchanged.error);
                for _ in 0..ROUNDS / 4 {
                    let mut side = Side::new(&acceptor);
                    let flight = random.below(5);
                    converse(&mut side, &config, Some(flight), &mut random);
                    echoes += usize::from(side.echoed > 0);
                    errors.extend(side.error.clone());
                }
            }
        }
        // The changes reach different states, before and after the handshake.
        assert!(errors.len() > 8 && echoes > ROUNDS / 10, "seed {seed}: {echoes} echoes, {errors:?}");
    }
}

#[test]
fn random_and_endless_bytes_end_a_session_or_take_no_memory() {
    let files = Directory::new();
    certificates::write_all(files.path());
    let acceptor = acceptor(files.path(), ClientAuth::Required);
    let mut random = Random::new(3);
    let record = |kind: u8, payload: &[u8]| {
        let len = (payload.len() as u16).to_be_bytes();
        [&[kind, 3, 3], &len[..], payload].concat()
    };
    // A handshake message that claims 16 MB.
    let first = record(22, &[&[1, 0xff, 0xff, 0xff], &[0; 1000][..]].concat());
    for (name, first, repeated) in [
        ("a large ClientHello", first.clone(), record(22, &[0; 16_000])),
        ("a large ClientHello in small records", first, record(22, &[0; 1])),
        ("empty records", Vec::new(), record(22, &[])),
        ("ChangeCipherSpecs", Vec::new(), record(20, &[1])),
        ("warnings", Vec::new(), record(21, &[1, 0])),
        ("plaintext", Vec::new(), record(23, b"PING\r\n")),
        ("HelloRequests", Vec::new(), record(22, &[0, 0, 0, 0])),
    ] {
        let mut side = Side::new(&acceptor);
        side.feed(&first);
        for _ in 0..(1 << 20) / repeated.len() {
            side.feed(&repeated);
        }
        assert!(side.error.is_some(), "{name}: the session goes on");
    }
    for _ in 0..2000 {
        let mut side = Side::new(&acceptor);
        let len = random.below(400);
        let mut bytes = random.bytes(len);
        if random.chance(2) {
            bytes = record(22, &bytes);
        }
        for piece in bytes.chunks(1 + random.below(50)) {
            side.feed(piece);
        }
        assert_eq!(side.echoed, 0);
    }
}
