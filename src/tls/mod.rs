//! TLS: sessions over sockets, for clients of the server, its outgoing links, and the tools.
//!
//! ```text
//! Identity, Trust, Suites ─▶ Acceptor or Connector ─▶ a Session per connection, inside a Channel with its Socket
//! ```
//!
//! rustls implements the protocol, with ring for cryptography; no other module uses them. The Cargo feature `tls`
//! compiles them in. Without it, this module has the same types, but an [`Acceptor`] or [`Connector`] cannot be created
//! and a [`Session`] cannot exist: the rest of the program is the same, and the compiler removes the code for sessions.
//!
//! As in Redis, host names are not verified: a peer is trusted if a trusted CA has issued its certificate.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(any(feature = "tls", test))]
mod cache;
mod channel;
#[cfg(feature = "tls")]
mod context;
#[cfg(feature = "tls")]
mod files;
#[cfg(any(feature = "tls", test))]
mod names;
#[cfg(feature = "tls")]
pub mod reason;
#[cfg(feature = "tls")]
mod session;

use std::fmt;
use std::path::PathBuf;

#[cfg(not(feature = "tls"))]
pub use absent::{Acceptor, Connector, Session};
pub use channel::Channel;
#[cfg(feature = "tls")]
pub use context::{Acceptor, Connector};
#[cfg(feature = "tls")]
pub use session::Session;

/// Whether this build has TLS.
pub const IS_AVAILABLE: bool = cfg!(feature = "tls");

/// How to get TLS: an error message of builds without it.
pub const HOW_TO_GET: &str =
    "this build has no TLS; build one with `cargo build --release --features tls` or `make static TLS=1`";

/// A certificate and its private key, as PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, followed by those of intermediate CAs.
    pub cert: PathBuf,
    /// The private key: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
    /// The password of an encrypted key, which has to be PKCS #8.
    pub password: Password,
}

/// A password, which debug output hides.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Password(pub Vec<u8>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "(hidden)" })
    }
}

/// The trusted CAs: the certificates in a PEM file, and those in the files of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// A PEM file.
    pub file: Option<PathBuf>,
    /// A directory of PEM files.
    pub dir: Option<PathBuf>,
}

impl Trust {
    /// Whether neither a file nor a directory is given.
    pub fn is_empty(&self) -> bool {
        self.file.is_none() && self.dir.is_none()
    }
}

/// Protocol versions and cipher suites by their OpenSSL names; an empty list means the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suites {
    /// The value of `tls-protocols`: `TLSv1.2 TLSv1.3`.
    pub protocols: String,
    /// The value of `tls-ciphers`, for TLS 1.2: `ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256`.
    pub ciphers: String,
    /// The value of `tls-ciphersuites`, for TLS 1.3: `TLS_AES_256_GCM_SHA384`.
    pub suites: String,
}

/// Whether clients have to present a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// A certificate is neither requested nor verified.
    No,
    /// A certificate is verified if the client presents one.
    Optional,
    /// A client without a valid certificate is refused.
    Required,
}

/// The bounds of the cache of resumable sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheBounds {
    /// The maximum number of sessions.
    pub size: usize,
    /// How long a session can be resumed.
    pub timeout_s: u32,
}

/// The settings of an [`Acceptor`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// The certificate to present.
    pub identity: Identity,
    /// The CAs that issue the certificates of clients.
    pub trust: Trust,
    /// See [`Suites`].
    pub suites: Suites,
    /// See [`ClientAuth`].
    pub clients: ClientAuth,
    /// Whether the server's order of cipher suites takes precedence over the client's.
    pub prefers_own_order: bool,
    /// The cache of resumable sessions; `None` disables resumption.
    pub cache: Option<CacheBounds>,
}

/// The settings of a [`Connector`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// The certificate to present if the server requests one.
    pub identity: Option<Identity>,
    /// The CAs that issue the certificates of servers; if empty, those of the system.
    pub trust: Trust,
    /// See [`Suites`].
    pub suites: Suites,
    /// Whether any certificate is accepted.
    pub accepts_all: bool,
}
