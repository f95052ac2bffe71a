//! TLS: clients of `tls-port`, certificates and their rotation, outgoing connections, the tools, and hostile peers.
//!
//! The peers are redis-cli, redis-py and node-redis with OpenSSL, `redis-server`, and the test client with this crate's
//! own sessions.

mod certificates;
mod clients;
mod files;
mod forged;
mod handshakes;
mod hostile;
mod links;
mod metrics;
mod reasons;
mod session;
#[path = "../support/mod.rs"]
mod support;
mod tools;
mod traffic;

use std::path::Path;
use std::process::Command;

use redstart::tls::{ClientOptions, Connector, Identity, Password, Suites, Trust};
use support::server::{Directory, free_port};
use support::{Client, Launch, Server};

/// A server with TLS, and the certificates of its clients.
struct Encrypted {
    server: Server,
    port: u16,
    files: Directory,
}

impl Encrypted {
    /// Starts a server with these additional flags.
    fn start(flags: &str) -> Encrypted {
        let files = Directory::new();
        certificates::write_all(files.path());
        Encrypted::start_with(files, flags)
    }

    fn start_with(files: Directory, flags: &str) -> Encrypted {
        let port = free_port();
        let flags = format!("--tls-port {port} {} {flags}", directives(files.path()));
        Encrypted { server: Launch::subject().flags(&flags).start(), port, files }
    }

    /// Connects with the certificate `name`.
    fn try_client(&self, name: &str) -> std::io::Result<Client> {
        Client::encrypted(self.port, &self.connector(Some(name)))
    }

    /// Connects with a valid certificate.
    fn client(&self) -> Client {
        self.try_client("client").expect("the server accepts the certificate")
    }

    fn connector(&self, name: Option<&str>) -> Connector {
        connector(self.files.path(), name)
    }

    /// `redis-cli` with TLS, but without a certificate.
    fn redis_cli(&self) -> Command {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string(), "--tls", "--cacert"]).arg(self.files.join("ca.crt"));
        command
    }

    /// The options of `redis-cli` for a certificate.
    fn certificate(&self, name: &str) -> [std::ffi::OsString; 4] {
        let path = |ending| self.files.join(&format!("{name}.{ending}")).into_os_string();
        ["--cert".into(), path("crt"), "--key".into(), path("key")]
    }
}

/// The directives that name the files of `directory`.
fn directives(directory: &Path) -> String {
    let path = |name| directory.join(name).display().to_string();
    let (ca, cert, key) = (path("ca.crt"), path("server.crt"), path("server.key"));
    format!("--tls-ca-cert-file {ca} --tls-cert-file {cert} --tls-key-file {key}")
}

/// A connector that trusts the CA in `directory`, and presents the certificate `name` from there.
fn connector(directory: &Path, name: Option<&str>) -> Connector {
    let path = |name: &str, ending| directory.join(format!("{name}.{ending}"));
    Connector::new(&ClientOptions {
        identity: name.map(|name| Identity {
            cert: path(name, "crt"),
            key: path(name, "key"),
            password: Password::default(),
        }),
        trust: Trust { file: Some(directory.join("ca.crt")), dir: None },
        suites: Suites::default(),
        accepts_all: false,
    })
    .expect("the files are valid")
}
