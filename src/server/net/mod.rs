//! Connections and their bytes: what was received and not executed, and what was not sent. Nothing here knows a key.

pub mod batch;
pub mod client;
pub mod output;

use client::Clients;
use output::Output;

use crate::sys::net::Listener;
use crate::sys::poller::{NativePoller, Token};

/// Connections and their bytes. It knows no key.
pub struct Net {
    pub(in crate::server) poller: NativePoller,
    pub(in crate::server) listeners: Vec<Listener>,
    pub(in crate::server) clients: Clients,
    pub(in crate::server) output: Output,
    /// Clients with whole requests left from the last iteration.
    pub(in crate::server) resumable: Vec<Token>,
    /// Clients to be closed at the end of the iteration.
    pub(in crate::server) doomed: Vec<Token>,
    pub(in crate::server) next_client_id: u64,
}
