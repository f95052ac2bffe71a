//! TLS in the server: the certificates and settings, which are loaded again when the configuration or a file changes,
//! and the additional work for encrypted clients.
//!
//! As in Redis, a connection to `tls-port` counts as a client before its handshake, so a stalled handshake takes up a
//! slot of `maxclients`. Unlike in Redis, it does so for at most [`HANDSHAKE_MS`].

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;

use super::accept::PROTECTED;
use super::net::client::Client;
use super::replication::upstream::{Progress, Sink};
use super::{Io, Server};
use crate::command::waiting::Blocked;
use crate::config::{ByteText, Change, Config, Directive, SetError, TlsClients};
use crate::sys::net::{Address, Socket};
use crate::sys::poller::{Event, Source, Token};
use crate::tls::{
    Acceptor, CacheBounds, Channel, ClientAuth, ClientOptions, Connector, Identity, Password, ServerOptions,
    Suites, Trust,
};

/// The maximum duration of a handshake.
pub(super) const HANDSHAKE_MS: i64 = 10_000;

/// What identifies the state of a file: its device, inode, length and modification time. `None` if it cannot be read.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// The certificates and settings of TLS.
#[derive(Default)]
pub(super) struct Encryption {
    /// For clients.
    acceptor: Option<Acceptor>,
    /// For other cluster nodes, which always have to present a certificate.
    bus: Option<Acceptor>,
    /// For connections to a primary, to other cluster nodes, and for `MIGRATE`.
    connector: Option<Connector>,
    /// The files, with their stamps from just before they were loaded.
    files: Vec<(ByteText, Stamp)>,
}

impl Encryption {
    /// Loads the files that `config` names, if it enables TLS. The error is a message for the log.
    pub fn new(config: &Config) -> Result<Encryption, String> {
        let connects = config.tls_replication || config.tls_cluster;
        let serves = config.tls_port != 0 || config.metrics_tls && config.metrics_port != 0;
        if !serves && !connects {
            return Ok(Encryption::default());
        }
        let files = stamps(config);
        let options = server_options(config)?;
        let acceptor = Some(Acceptor::new(&options)?);
        // As in Redis, a client certificate has to be valid even before an outgoing connection uses it.
        let loads_client = connects || client_identity(config).is_some();
        let connector =
            loads_client.then(|| Connector::new(&client_options(config, &options))).transpose()?;
        let of_nodes = ServerOptions { clients: ClientAuth::Required, ..options };
        let bus = config.tls_cluster.then(|| Acceptor::new(&of_nodes)).transpose()?;
        Ok(Encryption { acceptor, bus, connector, files })
    }
}

/// The files that `config` names, with their current stamps.
fn stamps(config: &Config) -> Vec<(ByteText, Stamp)> {
    let named = [
        &config.tls_cert_file,
        &config.tls_key_file,
        &config.tls_client_cert_file,
        &config.tls_client_key_file,
        &config.tls_ca_cert_file,
        &config.tls_ca_cert_dir,
    ];
    named.into_iter().filter(|path| !path.is_empty()).map(|path| (path.clone(), stamp(path))).collect()
}

fn stamp(path: &ByteText) -> Stamp {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

fn server_options(config: &Config) -> Result<ServerOptions, String> {
    let clients = match config.tls_auth_clients {
        TlsClients::No => ClientAuth::No,
        TlsClients::Optional => ClientAuth::Optional,
        TlsClients::Yes => ClientAuth::Required,
    };
    let (identity, trust) = (identity(config)?, trust(config));
    if trust.is_empty() && (clients != ClientAuth::No || config.tls_replication || config.tls_cluster) {
        return Err("Either tls-ca-cert-file or tls-ca-cert-dir must be specified when tls-cluster, tls-replication or \
                    tls-auth-clients are enabled!"
            .into());
    }
    Ok(ServerOptions {
        identity,
        trust,
        suites: Suites {
            protocols: config.tls_protocols.to_string(),
            ciphers: config.tls_ciphers.to_string(),
            suites: config.tls_ciphersuites.to_string(),
        },
        clients,
        prefers_own_order: config.tls_prefer_server_ciphers,
        cache: config.tls_session_caching.then_some(CacheBounds {
            size: config.tls_session_cache_size as usize,
            timeout_s: config.tls_session_cache_timeout,
        }),
    })
}

/// The options of outgoing connections. They present the server's certificate unless they have one of their own.
fn client_options(config: &Config, options: &ServerOptions) -> ClientOptions {
    ClientOptions {
        identity: Some(client_identity(config).unwrap_or_else(|| options.identity.clone())),
        trust: options.trust.clone(),
        suites: options.suites.clone(),
        accepts_all: false,
    }
}

/// The own certificate of outgoing connections, if both its files are configured.
fn client_identity(config: &Config) -> Option<Identity> {
    let (cert, key) = (&config.tls_client_cert_file, &config.tls_client_key_file);
    let is_configured = !cert.is_empty() && !key.is_empty();
    is_configured.then(|| identity_of(cert, key, &config.tls_client_key_file_pass))
}

fn identity(config: &Config) -> Result<Identity, String> {
    for (name, path) in [("tls-cert-file", &config.tls_cert_file), ("tls-key-file", &config.tls_key_file)] {
        if path.is_empty() {
            return Err(format!("No {name} configured!"));
        }
    }
    Ok(identity_of(&config.tls_cert_file, &config.tls_key_file, &config.tls_key_file_pass))
}

fn identity_of(cert: &ByteText, key: &ByteText, password: &ByteText) -> Identity {
    Identity {
        cert: cert.as_path().into(),
        key: key.as_path().into(),
        password: Password(password.as_bytes().to_vec()),
    }
}

fn trust(config: &Config) -> Trust {
    let named = |path: &ByteText| (!path.is_empty()).then(|| path.as_path().to_owned());
    Trust { file: named(&config.tls_ca_cert_file), dir: named(&config.tls_ca_cert_dir) }
}

impl Server {
    /// Prepares the new state for a CONFIG SET that changes a directive of TLS, or of the metrics, which may use TLS.
    /// On an error, nothing has changed.
    pub(super) fn encryption_for(&self, change: &Change) -> Result<Option<Encryption>, SetError> {
        let matters = |directive: &Directive| {
            directive.name.starts_with("tls-") || directive.name.starts_with("metrics-")
        };
        let Some(directive) = change.changed.iter().find(|directive| matters(directive)) else {
            return Ok(None);
        };
        Encryption::new(&change.config).map(Some).map_err(|why| {
            self.process.log.warning(format_args!("{why}"));
            SetError::refused(directive, "Unable to update TLS configuration. Check server logs.")
        })
    }

    /// Loads the certificates again if their files have changed, so that rotation needs no command. If a file is
    /// faulty, the previous certificates stay in use until a file changes again.
    pub(super) fn renew_encryption(&mut self) {
        let files = &self.encryption.files;
        if files.iter().all(|(path, seen)| stamp(path) == *seen) {
            return;
        }
        match Encryption::new(&self.core.config) {
            Ok(renewed) => {
                self.encryption = renewed;
                self.process.log.notice(format_args!("TLS certificates have changed and were reloaded"));
            }
            Err(why) => {
                self.encryption.files = stamps(&self.core.config);
                self.process.log.warning(format_args!("{why}: the previous TLS certificates stay in use"));
            }
        }
    }

    /// The channel of a connection from `peer`. `None` if the connection has to be closed.
    pub(super) fn accepted_channel(
        &self,
        socket: Socket,
        peer: Address,
        is_encrypted: bool,
    ) -> Option<Channel> {
        if !is_encrypted {
            return Some(Channel::plain(socket));
        }
        match self.encryption.acceptor.as_ref()?.session(peer) {
            Ok(session) => Some(Channel::encrypted(socket, session)),
            Err(why) => {
                self.process.log.warning(format_args!("Error accepting a client connection: {why}"));
                None
            }
        }
    }

    /// The channel of an outgoing connection.
    ///
    /// # Errors
    /// The connection has to be encrypted, but TLS is not configured or the session cannot be created.
    pub(super) fn outgoing_channel(&self, socket: Socket, is_encrypted: bool) -> io::Result<Channel> {
        if !is_encrypted {
            return Ok(Channel::plain(socket));
        }
        let session = self.encryption.connector.as_ref().map(|connector| connector.session(None));
        match session {
            Some(Ok(session)) => Ok(Channel::encrypted(socket, session)),
            Some(Err(why)) => Err(io::Error::other(why)),
            None => Err(io::Error::other("TLS is not configured")),
        }
    }

    /// The channel of a connection from `peer` to the cluster bus.
    ///
    /// # Errors
    /// The same as for [`Server::outgoing_channel`].
    pub(super) fn bus_channel(&self, socket: Socket, peer: Address) -> io::Result<Channel> {
        if !self.core.config.tls_cluster {
            return Ok(Channel::plain(socket));
        }
        match self.encryption.bus.as_ref().map(|acceptor| acceptor.session(peer)) {
            Some(Ok(session)) => Ok(Channel::encrypted(socket, session)),
            Some(Err(why)) => Err(io::Error::other(why)),
            None => Err(io::Error::other("TLS is not configured")),
        }
    }

    /// The port that this replica announces to its primary, where Sentinel finds it.
    pub(super) fn replication_port(&self) -> u16 {
        let config = &self.core.config;
        if config.tls_replication && config.tls_port > 0 { config.tls_port } else { config.port }
    }

    /// Whether replies show the TLS ports of nodes: if the client that is being served uses TLS or, outside of a
    /// client's turn, if the cluster bus does.
    pub(super) fn tells_tls_ports(&self) -> bool {
        self.net.served_client().map_or(self.core.config.tls_cluster, Client::is_encrypted)
    }

    /// Whether the connection to the primary holds decrypted bytes that can be processed now.
    pub(super) fn upstream_is_buffering(&self) -> bool {
        let Some(Progress::Linking(linking)) = self.replication.upstream.as_ref().map(|it| &it.progress)
        else {
            return false;
        };
        let waits_for_loader = matches!(linking.sink, Some(Sink::Loader)) && self.loading.has_work();
        linking.channel.has_more() && !waits_for_loader && !self.is_busy()
    }

    /// Closes a client whose handshake has failed.
    #[cold]
    pub(super) fn handshake_failed(&mut self, token: Token, error: &io::Error) {
        let Some(client) = self.net.clients.get(token) else { return };
        let (addr, laddr) = (client.peer(), client.local());
        self.process.log.warning(format_args!(
            "Error accepting a client connection: {error} (addr={addr} laddr={laddr})"
        ));
        self.net.doom(token);
    }

    /// Called after a client's turn. An encrypted client's session may hold decrypted bytes or unsent records, which
    /// the poller does not know of.
    #[inline]
    pub(super) fn after_encrypted(&mut self, token: Token) {
        if self.net.has_encrypted && self.net.clients.get(token).is_some_and(Client::is_encrypted) {
            self.look_after_session(token);
        }
    }

    fn look_after_session(&mut self, token: Token) {
        let is_suspended = self.is_suspended(token);
        let Some(client) = self.net.clients.get_mut(token) else { return };
        if client.doomed {
            return;
        }
        let is_client = !client.session.flags.primary;
        let Some(line) = client.line_mut() else { return };
        if line.transport.take_completed() && is_client && self.refuse_if_protected(token) {
            return;
        }
        let Some(client) = self.net.clients.get_mut(token) else { return };
        let waits = client.resumable || client.session.blocked.is_some_and(Blocked::ends_by_itself);
        let Some(line) = client.line() else { return };
        if line.transport.has_more() && !waits && !is_suspended && !client.session.is_closing() {
            self.net.note_buffering(token);
        } else if line.transport.has_unsent() && line.pending.is_none() && !client.session.flags.replica {
            // Only records of the protocol itself are waiting: there is no pending output and no replication stream.
            self.watch_client(token);
        }
    }

    /// Applies protected mode to a client after its handshake. Returns whether the client was refused.
    fn refuse_if_protected(&mut self, token: Token) -> bool {
        let Some(line) = self.net.clients.get(token).and_then(Client::line) else { return false };
        if !self.is_protected_from(&line.transport) {
            return false;
        }
        self.core.stats.rejected_connections += 1;
        self.net.session(token).flags.close_after_reply = true;
        self.net.reply_to(token).error(&PROTECTED[1..PROTECTED.len() - 2]);
        true
    }

    /// Serves the clients whose sessions still held decrypted bytes after their last turn, and the connection to the
    /// primary.
    pub(super) fn serve_buffering(&mut self, io: &mut Io) {
        for token in self.net.take_buffering() {
            if self.process.exit {
                return;
            }
            let event =
                Event { source: Source::Client(token), readable: true, writable: false, closed: false };
            self.on_client_event(io, token, event);
        }
        if self.upstream_is_buffering() {
            let event = Event { source: Source::Upstream, readable: true, writable: false, closed: false };
            self.on_upstream_event(event);
        }
    }

    /// Sends the records that the socket has not accepted. Returns whether all have been sent.
    pub(super) fn flush_encrypted(&mut self, token: Token) -> bool {
        let Some(client) = self.net.clients.get_mut(token) else { return false };
        let is_replica = client.session.flags.replica;
        let Some(line) = client.line_mut() else { return false };
        match line.transport.flush() {
            Ok(()) => {
                if line.pending.is_none() && !is_replica {
                    self.watch_client(token);
                }
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => {
                self.send_failed(token, &error);
                false
            }
        }
    }
}
