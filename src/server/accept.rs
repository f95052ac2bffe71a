//! New connections: accepts them in batches, and rejects them with an error or adds them as clients.

use std::io;

use super::Server;
use super::net::transport::Transport;
use crate::config::LogLevel;
use crate::sys::file;
use crate::sys::net::Address;
use crate::sys::poller::{Interest, Source};

/// Connections accepted from one listener in an iteration.
const BATCH: usize = 256;

pub(super) const PROTECTED: &[u8] = b"-DENIED Redstart is running in protected mode because protected mode is enabled and no \
password is set for the default user. In this mode connections are only accepted from the loopback interface. If you \
want to connect from external computers to Redstart you may adopt one of the following solutions: 1) Just disable \
protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to \
Redstart from the same host the server is running, however MAKE SURE Redstart is not publicly accessible from internet \
if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the protected \
mode by editing the configuration file, and setting the protected mode option to 'no', and then restarting the \
server. 3) If you started the server manually just for testing, restart it with the '--protected-mode no' option. 4) \
Set up an authentication password for the default user. NOTE: You only need to do one of the above things in order \
for the server to start accepting connections from the outside.\r\n";

impl Server {
    /// Accepts up to [`BATCH`] pending connections of the listener `index`.
    pub(super) fn accept(&mut self, index: usize) {
        for _ in 0..BATCH {
            let Some(entrance) = self.net.entrances().get(index) else { return };
            let is_encrypted = entrance.is_encrypted;
            match entrance.listener.accept() {
                Ok(Some((socket, peer))) => {
                    let Some(channel) = self.accepted_channel(socket, peer, is_encrypted) else { continue };
                    let transport = Transport::new(channel);
                    self.log_accepted(&transport);
                    self.take_in(transport);
                }
                Ok(None) => return,
                Err(error) => {
                    return self.cannot_accept(
                        Source::Listener(index as u32),
                        "Accepting client connection",
                        &error,
                    );
                }
            }
        }
    }

    /// A listener cannot accept: see [`Shortage`](super::net::shortage::Shortage).
    #[cold]
    pub(super) fn cannot_accept(&mut self, listener: Source, what: &str, error: &io::Error) {
        self.watch_listener(listener, Interest::NONE);
        if self.net.shortage.begin(listener, self.core.clock.monotonic_us()) {
            self.process.log.warning(format_args!("{what}: {}", file::reason(error)));
        }
    }

    /// Called by cron: listeners that could not accept try again.
    pub(super) fn end_shortage(&mut self) {
        for listener in self.net.shortage.end() {
            self.watch_listener(listener, Interest::READ);
        }
    }

    fn watch_listener(&mut self, listener: Source, interest: Interest) {
        match listener {
            Source::WebListener(index) => self.web.watch_listener(&mut self.net.poller, index, interest),
            Source::BusListener(index) => {
                if let Some(node) = &self.cluster {
                    node.bus.watch_listener(&mut self.net.poller, index, interest);
                }
            }
            Source::Listener(index) => self.net.watch_listener(index, interest),
            _ => unreachable!("no other source accepts"),
        }
    }

    fn log_accepted(&self, transport: &Transport) {
        if self.process.log.is_at(LogLevel::Verbose) {
            match transport.peer() {
                Address::Unix(path) => {
                    self.process.log.verbose(format_args!("Accepted connection to {path}"));
                }
                address => self.process.log.verbose(format_args!("Accepted {address}")),
            }
        }
    }

    fn take_in(&mut self, mut transport: Transport) {
        if self.net.clients.len() >= self.core.config.maxclients as usize {
            self.core.stats.rejected_connections += 1;
            // One attempt to send the reason: a new socket whose buffer is already full is not worth waiting for. In cluster
            // mode it is Redis's text, although connections of the bus do not count here.
            let reason: &[u8] = if self.cluster.is_some() {
                b"-ERR max number of clients + cluster connections reached\r\n"
            } else {
                b"-ERR max number of clients reached\r\n"
            };
            let _ = transport.send(reason);
            return;
        }
        // An encrypted client is checked after its handshake: before that, no error can be sent.
        if !transport.is_encrypted() && self.is_protected_from(&transport) {
            self.core.stats.rejected_connections += 1;
            let _ = transport.send(PROTECTED);
            return;
        }
        if let Err(error) = self.add_client(transport) {
            self.process.log.warning(format_args!("Registering client connection: {error}"));
        }
    }

    /// Whether protected mode refuses the client.
    pub(super) fn is_protected_from(&self, transport: &Transport) -> bool {
        let open = self.core.config.protected_mode && self.core.users.needs_no_password();
        open && !transport.peer().is_loopback()
    }

    fn add_client(&mut self, transport: Transport) -> io::Result<()> {
        transport.tune(self.core.config.tcp_keepalive);
        let rights = self.core.users.initial_rights();
        self.net.add_client(transport, rights, self.core.keyspace.moment.unix_ms)?;
        self.core.stats.connections += 1;
        Ok(())
    }
}
